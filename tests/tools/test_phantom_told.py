"""A number of synthetic spines is told as one wherever it stands: PHANTOM in the same paragraph, cell, slide or row."""

import re
from pathlib import Path

import nbformat
import pandas as pd
import pytest

from spider_utils.common.files import read_json
from spider_utils.present.numbers import RESULTS, read_registry
from spider_utils.present.slides import SLIDES
from tools.notebooks import FOLDER, README, ROOT
from tools.present import TEMPLATE

WORD = "PHANTOM"
FOLDERS = sorted(
    path.parent.name
    for path in RESULTS.glob("*/provenance.json")
    if read_json(path).get("settings", {}).get("source") == "phantom"
)
NAMES = [one.name for one in read_registry() if one.file.split("/")[0] in FOLDERS]
OF_A_PHANTOM = re.compile("|".join([*(rf"\{{{name}\}}" for name in NAMES), *(rf"\b{folder}/" for folder in FOLDERS)]))
PAGES = [README, *RESULTS.glob("*.md"), *(ROOT / "docs").glob("*.md")]


def paragraphs(text: str) -> list[str]:
    """The paragraphs of a page, each line of a table for itself, without tables of nothing but links."""
    return [part for block in text.split("\n\n") for part in (block.split("\n|") if "\n|" in block else [block])]


def unlabelled(parts: list[str]) -> list[str]:
    return [part for part in parts if OF_A_PHANTOM.search(part) and WORD not in part]


def test_there_are_phantom_results_and_numbers_to_look_for():
    assert FOLDERS == ["labels", "roundtrip"] and NAMES
    assert unlabelled([f"Dice {{{NAMES[0]}}}", f"PHANTOM: {{{NAMES[0]}}}", "Dice 0.9"]) == [f"Dice {{{NAMES[0]}}}"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: f"{page.parent.name}/{page.name}")
def test_pages_say_so(page):
    assert unlabelled(paragraphs(page.read_text(encoding="utf-8"))) == []


def test_slides_and_answers_say_so():
    assert unlabelled(SLIDES.read_text(encoding="utf-8").split("\n- title:")) == []
    assert unlabelled(paragraphs(TEMPLATE.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.ipynb")), ids=lambda path: path.stem)
def test_notebooks_say_so_in_the_cell_or_beside_it(path: Path):
    cells = [cell.source for cell in nbformat.read(path, as_version=4).cells]
    for number, cell in enumerate(cells):
        if OF_A_PHANTOM.search(cell):
            assert WORD in "".join(cells[max(0, number - 1) : number + 2]), cell


def test_claims_say_so():
    claims = pd.read_csv(RESULTS / "claims.csv")
    evidence = claims["evidence"][claims["evidence"].str.contains("|".join(f"results/{name}" for name in FOLDERS))]
    assert len(evidence) and evidence.str.contains(WORD).all()
