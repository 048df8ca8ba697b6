"""The networks by name, what they are made of, and the way of stored slices into them."""

from spider_utils.common.face import make_face

__getattr__, __dir__, __all__ = make_face(
    __name__,
    {
        # networks
        "MODELS": "build",  # every network by name
        "build_model": "build",  # one of them: slices (N, C, H, W) to logits (N, 4, H, W)
        "count_parameters": "build",
        "trace_stages": "build",  # each block's output on the way
        "multiply_adds": "facts",
        "network_facts": "facts",  # sizes, receptive fields and costs of the blocks
        # the paper's parts
        "PaperTextUNet": "paper",
        "conv_block": "paper",
        "upsample_block": "paper",
        "LEAKY_SLOPE": "paper",
        # attention
        "attention_maps": "variants",  # what each gate lets through
        # batches
        "network_images": "batches",  # stored slices at the network's size
        "network_inputs": "batches",  # the same with neighbours as channels
        "network_masks": "batches",
        "to_input": "batches",  # as float32 0..1 on a device
        "shuffled_batches": "batches",  # the seeded order of an epoch
    },
)
