"""From slices and volumes to label maps, with a trained network."""

from spider_utils.common.face import make_face

__getattr__, __dir__, __all__ = make_face(
    __name__,
    {
        # a network and its use
        "ready_network": "network",  # the shipped network, or another, on its device
        "predict_classes": "volumes",  # a volume's classes in the common pose, and their spacing
        "predict_folder": "slices",  # masks for a folder of PNG slices
        "predict_volumes": "volumes",  # label maps for volumes
    },
)
