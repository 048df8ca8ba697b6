"""Numbers of the results in running text. Each has a name, a file and a place in it; none is typed.

numbers.yaml lists them by file. Of a CSV two pandas queries, `of` for all of the file's numbers and `where`, leave one
row, whose columns `text` writes; `{rows}` is the number of rows that are left. Of a JSON `text` writes what stands in
it, of a list its length. The file "paper" stands for the values that the paper itself publishes
(`evaluate.scores.PAPER_TABLE`). Under "typed" stand the few decimals that are no results, each with its reason.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from string import Formatter
from typing import Any

import pandas as pd
import yaml

from spider_utils.common.errors import SpiderError
from spider_utils.common.files import REPOSITORY, read_json
from spider_utils.evaluate.paper import PAPER_TABLE

RESULTS = REPOSITORY / "results"  # there in a checkout of the repository, not in an installed package
REGISTRY = Path(__file__).with_name("numbers.yaml")
PAPER, TYPED = "paper", "typed"
DECIMAL = re.compile(r"\d+(?:,\d{3})*\.\d+|\d{1,3}(?:,\d{3})+")


@dataclass(frozen=True)
class Number:
    """One number, or a value with its interval: where it stands below results/ and how it is written."""

    name: str
    file: str
    text: str
    queries: tuple[str, ...] = ()

    def tell(self, content: pd.DataFrame | dict) -> str:
        """Write the number as it stands in its file's content.

        Raises SpiderError where the queries leave no row, or several although `text` names a column.
        """
        if isinstance(content, dict):
            return self.text.format(**content)
        for query in self.queries:
            content = content.query(query)
        names = {field for _, field, _, _ in Formatter().parse(self.text) if field}
        if names != {"rows"} and len(content) != 1:
            raise SpiderError(
                f"{self.file}: number '{self.name}' expected one row, found {len(content)}: {'; '.join(self.queries)}; "
                f"mend {REGISTRY.name}"
            )
        columns = {} if content.empty else content.iloc[0].to_dict()
        return self.text.format(**columns, rows=len(content))


@dataclass(frozen=True)
class Numbers:
    """What every number of the registry is now.

    `texts`: by name, only those whose file is there; `files`: by name; `typed`: decimals that may be typed.
    """

    texts: dict[str, str]
    files: dict[str, str]
    typed: frozenset[str]

    def missing(self, text: str) -> list[str]:
        """Name the files that the numbers in `text` need and that are not there, each once, in order.

        Raises SpiderError on a name that is not in the registry.
        """
        return list(dict.fromkeys(self.files[name] for name in self.named(text) if name not in self.texts))

    def named(self, text: str) -> list[str]:
        """Return the names of the numbers in `text`, in order. Raises SpiderError on an unknown one."""
        names = names_in(text)
        for name in names:
            if name not in self.files:
                raise SpiderError(f"number '{name}': not in {REGISTRY.name}; add it there, with its file and its place")
        return names

    def strange(self, text: str) -> list[str]:
        """Return the decimals of a text (0.89, 1,948,276) that are no number of the registry and may not be typed."""
        known = self.typed.union(*(DECIMAL.findall(told) for told in self.texts.values()))
        return [number for number in DECIMAL.findall(text) if number not in known]

    def fill(self, text: str) -> str:
        """Put the numbers into a text: "Dice {unseen}" becomes "Dice 0.890"."""
        return text.format(**{name: self.texts[name] for name in self.named(text)})


def names_in(text: str) -> list[str]:
    """Return what stands in braces in a text, in order."""
    return [field for _, field, _, _ in Formatter().parse(text) if field is not None]


def read_registry(path: Path = REGISTRY) -> list[Number]:
    """Read the list of the numbers. Raises SpiderError where a name stands twice."""
    listed = yaml.safe_load(path.read_text(encoding="utf-8"))
    numbers = []
    for file, places in listed.items():
        if file == TYPED:
            continue
        of = places.pop("of", "")
        for name, place in places.items():
            queries = tuple(query for query in (of, place.get("where", "")) if query)
            numbers.append(Number(name, file, place["text"], queries))
    twice = sorted({one.name for one in numbers if sum(other.name == one.name for other in numbers) > 1})
    if twice:
        raise SpiderError(f"{path}: expected each name once, found {', '.join(twice)} again; rename it")
    return numbers


def read_numbers(results: Path = RESULTS, registry: Path = REGISTRY, text: str | None = None) -> Numbers:
    """Read every number of the registry from the results, or those that a `text` quotes.

    Raises SpiderError as `Number.tell` does.
    """
    numbers = read_registry(registry)
    quoted = None if text is None else set(names_in(text))
    wanted = [one for one in numbers if quoted is None or one.name in quoted]
    contents = {file: read_content(results, file) for file in {one.file for one in wanted}}
    texts = {one.name: one.tell(contents[one.file]) for one in wanted if contents[one.file] is not None}
    typed = yaml.safe_load(registry.read_text(encoding="utf-8")).get(TYPED, {})
    return Numbers(texts, {one.name: one.file for one in numbers}, frozenset(typed))


def read_content(results: Path, file: str) -> pd.DataFrame | dict | None:
    """Return what a file below `results` holds, a CSV or a JSON, of lists the length; None where it is not there."""
    if file == PAPER:
        return PAPER_TABLE
    path = results / file
    if not path.is_file():
        return None
    return _counted(read_json(path)) if path.suffix == ".json" else pd.read_csv(path)


def _counted(content: Any) -> Any:
    if isinstance(content, dict):
        return {name: _counted(value) for name, value in content.items()}
    return len(content) if isinstance(content, list) else content
