"""What a notebook was made from is recorded, and a change of it is noticed."""

import shutil
from functools import partial
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from tools import made_from
from tools.made_from import MADE_FROM, ROOT, WHOLE, changed, code_alone, digest, recorded, sources
from tools.notebooks import execute

CODE = """\
import pandas as pd

from spider_utils.data import labels
print(len(pd.read_csv(RESULTS)), labels.FOREGROUND[0])"""


@pytest.fixture(scope="module")
def notebook(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recorded")
    place = new_code_cell(f"RESULTS = {str(ROOT / 'results' / 'spider_series.csv')!r}")
    return recorded(new_notebook(cells=[place, new_code_cell(CODE)]), partial(execute, folder=folder, runs=folder))


def test_modules_and_tables_that_were_opened_are_recorded_and_no_others(notebook):
    found = notebook.metadata[MADE_FROM]
    assert {"results/spider_series.csv", "spider_utils/data/labels.py", "spider_utils/__init__.py"} <= set(found)
    assert not [name for name in found if name.startswith("results/") and name != "results/spider_series.csv"]
    assert "spider_utils/train/trainer.py" not in found
    assert all(len(value) == 12 for value in found.values())


def test_the_recording_leaves_no_cell_behind(notebook):
    assert [cell.source for cell in notebook.cells][1:] == [CODE]
    assert notebook.cells[1].outputs[0].text == "4 vertebrae\n"
    assert changed(notebook) == []


def test_another_table_is_noticed(notebook):
    other = nbformat.from_dict(notebook)
    other.metadata = nbformat.from_dict({MADE_FROM: notebook.metadata[MADE_FROM] | {"results/spider_series.csv": "0"}})
    assert changed(other) == ["was made from another results/spider_series.csv; run `make notebooks`"]
    other.metadata[MADE_FROM] |= {"results/gone.csv": "1"}
    assert "and 1 more" in changed(other)[0]
    assert "does not say" in changed(new_notebook())[0]


def test_code_counts_and_comments_do_not():
    plain = "def f(x):\n    return x + 1\n"
    told = '"""A module."""\n\n\ndef f(x):\n    """Add."""\n    return (x + 1)  # one\n'
    assert code_alone(plain) == code_alone(told) != code_alone(plain.replace("1", "2"))


def test_a_changed_file_has_another_digest(tmp_path):
    folder = Path(shutil.copytree(ROOT / WHOLE / "masks", tmp_path / "masks"))
    before = digest("masks", tmp_path)
    made_from.digest.cache_clear()
    next(folder.iterdir()).write_bytes(b"other")
    assert digest("masks", tmp_path) != before
    assert digest("absent.csv", tmp_path) == ""


def test_what_lies_elsewhere_is_no_source(tmp_path):
    sample = ROOT / WHOLE / "slices.csv"
    opened = [str(sample), str(ROOT / "README.md"), str(tmp_path), __file__, str(ROOT / "spider_utils/__init__.py")]
    assert sources(opened) == ["spider_utils/__init__.py", WHOLE]
    weights = ROOT / "spider_utils" / "weights" / "paper_baseline.json"
    assert sources([str(weights)]) == [
        "spider_utils/weights/paper_baseline.json",
        "spider_utils/weights/paper_baseline.safetensors",
    ]
