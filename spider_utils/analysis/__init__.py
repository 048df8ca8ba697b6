"""What networks get wrong on patients that they have not met: which pixels, where, why, and whether they know."""

from spider_utils.common.face import make_face

__getattr__, __dir__, __all__ = make_face(
    __name__,
    {
        # findings
        "pathology_statement": "pathology",  # what the gradings explain, in a sentence
    },
)
