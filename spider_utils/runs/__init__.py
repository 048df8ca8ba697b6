"""The run folder: its parameters (`settings`, `profiles/`), its `stages`, which find their result or make it."""

from spider_utils.common.face import make_face

__getattr__, __dir__, __all__ = make_face(
    __name__,
    {
        # a run
        "open_run": "begin",  # open a run folder, or begin one
        # Colab
        "colab": "colab",  # what a notebook needs there
    },
)
