"""Scores of predicted masks, their tables with intervals over patients, and what others report."""

from spider_utils.common.face import make_face

__getattr__, __dir__, __all__ = make_face(
    __name__,
    {
        # slices
        "METRICS": "metrics",  # every score, once
        "confusion": "metrics",  # pixels of reference and prediction, by class
        "boundary_distances": "boundaries",  # of two masks: ASD, HD95 and NSD
        # intervals
        "patient_weights": "bootstrap",  # how often each patient counts in every draw
        "interval": "bootstrap",  # of 95 %
        # tables
        "score_table": "tables",  # values with their intervals
        "beside_paper": "tables",  # ours and the paper's
        "PAPER_TABLE": "paper",  # as published
        # volumes
        "score_classes": "volumes",  # the four classes in 3D
        "score_structures": "challenge",  # SPIDER's own score of numbered structures
        "summarise_structures": "challenge",
        "NNUNET": "challenge",  # published values
        # agreement
        "compare_measures": "agreement",  # two tables of measurements side by side
        "bland_altman": "agreement",  # bias and limits of agreement
    },
)
