"""What was published, and the presentation: numbers from results/, slides that quote them, the PowerPoint file."""

from spider_utils.common.face import make_face

__getattr__, __dir__, __all__ = make_face(
    __name__,
    {
        # numbers and slides
        "RESULTS": "numbers",  # the folder of the published tables, in a checkout of the repository
        "read_numbers": "numbers",  # every number that may be quoted, from results/
        # what notebooks show of the results, whatever data they run on
        "table": "published",  # a table of results/
        "command": "published",  # the command that made it
        "picture": "published",  # a figure of figures/
        "tell": "published",  # a text with its numbers filled in
        "read_slides": "slides",  # the slides with their numbers filled in
        "write_deck": "powerpoint",
        "deck_texts": "powerpoint",  # what stands on a deck's slides
    },
)
