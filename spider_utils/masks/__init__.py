"""What a label map says by itself: structures numbered, measured and counted."""

from spider_utils.common.face import make_face

__getattr__, __dir__, __all__ = make_face(
    __name__,
    {
        # structures
        "number_structures": "levels",  # vertebrae and discs numbered from below, as SPIDER does
        "disc_heights": "measures",  # mm
        "canal_diameters": "measures",  # mm and mm2, at every disc and vertebra
    },
)
