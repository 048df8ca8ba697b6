"""What networks get wrong on patients that they have not met (`unseen`).

Which pixels (`wrong`), in which place (`where`), by which cause (`causes`), in which slices (`worst`) and structures,
and whether the networks know (`uncertainty`).
"""

from spider_utils.common.face import make_face

__getattr__, __dir__, __all__ = make_face(
    __name__,
    {
        # findings
        "pathology_statement": "pathology",  # what the gradings explain, in a sentence
    },
)
