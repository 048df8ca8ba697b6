"""The slides: slides.yaml with its numbers filled in, and what was left out since a number or a figure is not there."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import yaml

from spider_utils.common.errors import SpiderError
from spider_utils.common.files import REPOSITORY
from spider_utils.present.numbers import RESULTS, Numbers, read_numbers

SLIDES = Path(__file__).with_name("slides.yaml")
FIGURES = REPOSITORY / "figures"
SENTENCES = ("title", "notes", "short")


@dataclass(frozen=True)
class Slide:
    """One slide: its message, what it shows, and what is said to it."""

    title: str
    notes: str
    lines: tuple[str, ...] = ()
    big: tuple[tuple[str, str], ...] = ()  # a number, and what it is
    cards: tuple[tuple[str, str], ...] = ()  # a heading, and its sentence
    columns: int = 1  # of cards
    figure: Path | None = None
    seconds: int = 0  # how long it is spoken to
    short: str = ""  # its sentence in the version of 60 seconds
    backup: bool = False  # shown only when somebody asks
    sources: tuple[str, ...] = ()  # the files below results/ that its numbers are read from


def read_slides(
    results: Path = RESULTS, figures: Path = FIGURES, path: Path = SLIDES
) -> tuple[list[Slide], dict[str, str]]:
    """Fill the slides with the numbers of `results` and the pictures of `figures`.

    Returns the slides in order, and of each that is left out the title and what it lacks. Raises SpiderError on a key
    or a number that does not exist.
    """
    numbers = read_numbers(results)
    slides, left_out = [], {}
    for entry in yaml.safe_load(path.read_text(encoding="utf-8")):
        unknown = set(entry) - {one.name for one in fields(Slide)}
        if unknown:
            raise SpiderError(f"{path}: slide '{entry['title']}' has the unknown key {', '.join(sorted(unknown))}")
        lacks = numbers.missing(_written(entry))
        picture = figures / f"{entry['figure']}.png" if "figure" in entry else None
        if picture and not picture.is_file():
            lacks.append(f"figures/{picture.name}")
        if lacks:
            left_out[entry["title"]] = ", ".join(lacks)
            continue
        slides.append(_filled(entry, numbers, picture))
    return slides, left_out


def _filled(entry: dict[str, Any], numbers: Numbers, picture: Path | None) -> Slide:
    texts: dict[str, Any] = {name: numbers.fill(" ".join(entry.get(name, "").split())) for name in SENTENCES}
    pairs: dict[str, Any] = {
        name: tuple((numbers.fill(first), numbers.fill(second)) for first, second in entry.get(name, ()))
        for name in ("big", "cards")
    }
    named = numbers.named(_written(entry))
    return Slide(
        **texts,
        **pairs,
        lines=tuple(numbers.fill(line) for line in entry.get("lines", ())),
        figure=picture,
        sources=tuple(dict.fromkeys(numbers.files[name] for name in named)),
        **{name: entry[name] for name in ("columns", "seconds", "backup") if name in entry},
    )


def _written(entry: dict[str, Any]) -> str:
    """Put all texts of a slide together."""
    pairs = [text for name in ("big", "cards") for pair in entry.get(name, ()) for text in pair]
    return "\n".join([*(entry.get(name, "") for name in SENTENCES), *entry.get("lines", ()), *pairs])
