"""How a network learns: every default, the losses, the augmentation and the loop."""

from spider_utils.common.face import make_face

__getattr__, __dir__, __all__ = make_face(
    __name__,
    {
        # settings
        "TrainSettings": "settings",  # every default, with a comment each
        # losses and augmentation
        "losses": "losses",  # all take logits (N, C, H, W) and a target (N, H, W)
        "augment": "augment",  # levels of random change, of slices and masks alike
        # the loop
        "read_slices": "slices",  # rows of a store as it eats them
        "train": "trainer",  # train, or go on with a training that was cut off
    },
)
