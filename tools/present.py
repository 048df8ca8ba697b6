"""The committed presentation: figures/presentation.pptx and docs/questions.md, of results/ and figures/.

    python -m tools.present

Notebook 07 writes the same deck into its run folder. docs/questions.md is tools/questions.md with its numbers filled
in.
"""

import argparse
import sys
from pathlib import Path

from spider_utils.common.files import write_text
from spider_utils.present.numbers import read_numbers
from spider_utils.present.powerpoint import write_deck
from spider_utils.present.slides import FIGURES, read_slides
from tools.notebooks import ROOT

DECK = FIGURES / "presentation.pptx"
QUESTIONS, TEMPLATE = ROOT / "docs" / "questions.md", Path(__file__).with_name("questions.md")


def main() -> int:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    slides, left_out = read_slides()
    write_deck(slides, DECK)
    print(f"{DECK.name}: {len(slides)} slides")
    for title, lacks in left_out.items():
        print(f"left out: '{title}', for want of {lacks}")
    write_text(QUESTIONS, questions())
    return 0


def questions() -> str:
    """Return docs/questions.md: the template with the numbers of results/."""
    return read_numbers().fill(TEMPLATE.read_text(encoding="utf-8"))


if __name__ == "__main__":
    sys.exit(main())
