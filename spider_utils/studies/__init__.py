"""One question a study, and tables that answer it.

A study that trains is a YAML file (`ablation.yaml`: its arms), run by `harness`; the others are a module each.
"""

from spider_utils.common.face import make_face

__getattr__, __dir__, __all__ = make_face(
    __name__,
    {
        # copying: a mask without a network
        "copying_table": "copying",
        "neighbour_overlap": "copying",  # Dice of slices 1 to 3 apart
        "typical_neighbours": "copying",  # two slices to show
        "NEIGHBOUR": "copying",  # the split by slice, LEAKY
        "OTHER_PATIENT": "copying",  # the split by patient
        # reference: how masks were drawn
        "audit_reference": "reference",  # a row a series
        "audit_summary": "reference",
        "examples": "reference",  # slices that show it
        # paired: arms of a study patient by patient
        "paired_table": "paired",  # each arm's difference to one of them, with intervals and p
        "differs": "paired",  # whether a difference is shown: the one rule for better and worse
    },
)
