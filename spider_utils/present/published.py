"""What the repository has published, for notebooks: tables of results/, pictures of figures/, and sentences with their
numbers filled in.
"""

import io
from typing import TYPE_CHECKING

import pandas as pd
from PIL.Image import open as open_picture

from spider_utils.common.errors import SpiderError
from spider_utils.common.files import REPOSITORY
from spider_utils.present.numbers import RESULTS, read_numbers
from spider_utils.present.slides import FIGURES

if TYPE_CHECKING:
    from pathlib import Path

    from IPython.display import Image, Markdown

REMEDY = "run this notebook in a clone of the repository"


def table(name: str) -> pd.DataFrame:
    """Read a published table by its place below results/: "leakage/dice". Raises SpiderError where there is none."""
    return pd.read_csv(_there(RESULTS / f"{name}.csv"))


def command(folder: str) -> str:
    """Return the command that made a folder of results/. Raises SpiderError where there is none."""
    return _there(RESULTS / folder / "command.txt").read_text(encoding="utf-8").strip()


def picture(name: str, width: int = 900) -> "Image":
    """Show a published figure by its name below figures/, `width` pixels wide, as a notebook's own output.

    A larger one is made smaller. Raises SpiderError where there is none.
    """
    from IPython.display import Image

    with open_picture(_there(FIGURES / f"{name}.png")) as opened:
        smaller = opened.convert("RGB")
        if smaller.width > width:
            smaller = smaller.resize((width, round(width * smaller.height / smaller.width)))
    buffer = io.BytesIO()
    smaller.save(buffer, "PNG", optimize=True)
    return Image(data=buffer.getvalue(), width=width)


def tell(text: str) -> "Markdown":
    """Show a text with the numbers of the results in it: "Dice {unseen}" becomes "Dice 0.890" (see `numbers`)."""
    from IPython.display import Markdown

    numbers = read_numbers(text=text)
    for file in numbers.missing(text):
        _there(RESULTS / file)
    return Markdown(numbers.fill(text))


def _there(path: "Path") -> "Path":
    if not path.is_file():
        raise SpiderError(f"{path.relative_to(REPOSITORY)}: expected a published result, found no such file; {REMEDY}")
    return path
