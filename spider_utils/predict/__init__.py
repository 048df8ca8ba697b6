"""From slices and volumes to label maps.

`slices` and `volumes` read, segment and write PNG slices and volumes; `segment` is the one loop over batches between
reading and writing, `network` a trained network made ready for it.
"""

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
