"""The notebooks as a course: short cells, a picture first, figures and sections in order, exercises that are solved,
and no number in their text that nobody measured.
"""

import re
from pathlib import Path

import nbformat
import pytest

from spider_utils.present.numbers import read_numbers
from tests.helpers.typed_numbers import untraced
from tools.made_from import changed
from tools.notebooks import COLAB_TAG, FOLDED_TAG, FOLDER, SOLUTION_TAG

NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
CELLS, LINES, COLUMNS, EXERCISES = 40, 15, 100, 3
EXERCISES_HEAD = re.compile(r"^## \d\.\d+ Exercises$", re.MULTILINE)
PICTURES = re.compile(r"!\[[^\]]*\]\(")
# What may stand typed in the notebooks' text: definitions and settings, never a measurement.
TYPED = {
    **dict.fromkeys(("29", "76", "150", "255"), "grey codes of the released masks, and the highest grey"),
    **dict.fromkeys(("99", "101", "125", "200", "201", "225"), "SPIDER's label numbers"),
    **dict.fromkeys(("50", "80", "95", "100", "10000"), "per cent, percentiles, shares and epochs of explanations"),
    **dict.fromkeys(("0.5", "99.5"), "percentiles of the setting volume_percentile"),
    **dict.fromkeys(("0.8", "32", "1000"), "of an explanation: a probability, five halvings, mm³ of a millilitre"),
    "360": "SPIDER's training series, counted in results/spider_series.csv",
}


def cells(path: Path, kind: str) -> list:
    """The cells of one kind, without those that `make badges` adds."""
    found = nbformat.read(path, as_version=4).cells
    return [cell for cell in found if cell.cell_type == kind and COLAB_TAG not in cell.metadata.get("tags", [])]


def words(path: Path) -> str:
    return "\n\n".join(cell.source for cell in cells(path, "markdown"))


def everything(path: Path) -> str:
    """The sources of all cells: a caption may stand in a cell that tells numbers."""
    return "\n\n".join(cell.source for cell in nbformat.read(path, as_version=4).cells)


def shown(path: Path) -> str:
    """All text that the outputs show."""
    told = []
    for cell in cells(path, "code"):
        for output in cell.outputs:
            data = output.get("data", {})
            told += [output.get("text", ""), data.get("text/markdown", ""), data.get("text/plain", "")]
    return "\n".join(told)


@pytest.fixture(scope="module")
def numbers():
    return read_numbers()


def in_each(test):
    return pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)(test)


@in_each
def test_a_notebook_is_no_longer_than_a_sitting(path):
    assert len(cells(path, "markdown")) + len(cells(path, "code")) <= CELLS


@in_each
def test_no_cell_is_longer_than_a_look(path):
    for number, cell in enumerate(cells(path, "code"), start=1):
        lines = cell.source.splitlines()
        assert len(lines) <= LINES, f"code cell {number} has {len(lines)} lines"
        assert max(map(len, lines)) <= COLUMNS, f"code cell {number}: {max(lines, key=len)}"


@in_each
def test_it_opens_with_its_question_and_a_picture(path):
    first = nbformat.read(path, as_version=4).cells[0]
    assert "The question of this notebook:" in first.source
    pictures = [output for output in cells(path, "code")[0].outputs if "image/png" in output.get("data", {})]
    assert pictures, "the first code cell shows no picture"
    assert "parameters" not in cells(path, "code")[0].metadata.get("tags", [])


@in_each
def test_parameters_are_few_and_explained_in_one_table(path):
    (place,) = [k for k, cell in enumerate(cells(path, "code")) if "parameters" in cell.metadata.get("tags", [])]
    names = re.findall(r"^(\w+) =", cells(path, "code")[place].source, re.MULTILINE)
    table = next(cell.source for cell in cells(path, "markdown") if "| parameter" in cell.source)
    assert [name for name in names if f"`{name}`" not in table] == []


@in_each
def test_figures_are_outputs_with_captions_in_order(path):
    number, text = int(path.stem[:2]), words(path)
    assert not PICTURES.search(text), "a picture that is a link does not show in a run's folder"
    captions = [(int(a), int(b)) for a, b in re.findall(r"\*\*Figure (\d+)\.(\d+)\*\*", everything(path))]
    assert captions == [(number, k) for k in range(1, len(captions) + 1)]


@in_each
def test_sections_are_in_order_and_end_with_a_summary(path):
    number = int(path.stem[:2])
    heads = re.findall(r"^## (\d+)\.(\d+) (.+)$", words(path), re.MULTILINE)
    assert [(int(a), int(b)) for a, b, _ in heads] == [(number, k) for k in range(1, len(heads) + 1)]
    assert heads[-1][2] == "Summary" and heads[-2][2] == "Exercises"


@in_each
def test_there_are_three_exercises_with_solutions_that_check_themselves(path):
    task = next(cell.source for cell in cells(path, "markdown") if EXERCISES_HEAD.search(cell.source))
    assert [int(number) for number in re.findall(r"^(\d)\. ", task, re.MULTILINE)] == [1, 2, 3]
    solutions = [cell for cell in cells(path, "code") if SOLUTION_TAG in cell.metadata.get("tags", [])]
    assert len(solutions) == EXERCISES
    for number, cell in enumerate(solutions, start=1):
        assert cell.source.startswith(f"# Solution {number}: ") and "assert " in cell.source
        assert FOLDED_TAG in cell.metadata["tags"] and cell.metadata["jupyter"]["source_hidden"]


@in_each
def test_a_reader_is_asked_before_the_key_cells(path):
    assert words(path).count("**Predict:**") >= 3


@in_each
def test_links_lead_somewhere(path):
    for target in re.findall(r"\]\(([^)#\s]+)", words(path)):
        assert target.startswith("http") or (path.parent / target).exists(), target


@in_each
def test_its_outputs_are_of_the_code_and_tables_that_are_there_now(path):
    assert changed(nbformat.read(path, as_version=4)) == []


@in_each
def test_no_number_is_typed_that_was_measured(path, numbers):
    """Outside code, formulas and what an exercise gives: numbers are settings, definitions and sections."""
    told = [cell.source for cell in cells(path, "markdown") if not EXERCISES_HEAD.search(cell.source)]
    sections = {f"{a}.{b}" for a, b in re.findall(r"^## (\d+)\.(\d+) ", words(path), re.MULTILINE)}
    assert [number for number in untraced("\n\n".join(told), numbers, TYPED) if number not in sections] == []


@in_each
def test_numbers_are_told_with_few_digits(path):
    long = re.findall(r"\d\.\d{7,}", shown(path))
    assert not long, long[:3]


@in_each
def test_a_phantoms_number_stands_in_no_summary(path):
    found = nbformat.read(path, as_version=4).cells
    start = max(k for k, cell in enumerate(found) if cell.source.startswith("## ") or "\n## " in cell.source)
    summary = "".join(str(cell.get("outputs", cell.source)) for cell in found[start:])
    assert "phantom" not in summary.lower()
