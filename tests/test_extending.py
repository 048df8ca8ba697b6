"""docs/extending.md: every example runs as it stands, and every file that it names is there."""

import re
from contextlib import ExitStack
from pathlib import Path
from unittest.mock import patch

import pytest

from spider_utils import evaluate, models, train
from spider_utils.data.check.dataset import CHECKS
from spider_utils.data.sources import SOURCES

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
EXAMPLES = dict(re.findall(r"^## ([^\n]+)\n.*?^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE))


@pytest.fixture(autouse=True)
def lists(monkeypatch, tmp_path):
    """Take out again what an example adds to the lists, and leave its files in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    with ExitStack() as stack:
        for known in (models.MODELS, train.losses.LOSSES, evaluate.METRICS, SOURCES, CHECKS):
            stack.enter_context(patch.dict(known))
        yield


def test_there_are_six():
    assert list(EXAMPLES) == ["A network", "A loss", "A metric", "A data source", "A check", "A study arm"]


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_runs_as_it_stands(name):
    assert "assert " in EXAMPLES[name]
    exec(compile(EXAMPLES[name], f"docs/extending.md: {name}", "exec"), {"__name__": "example"})


def test_every_file_of_the_table_is_there():
    rows = [line for line in PAGE.splitlines() if line.startswith("| ")][2:]
    assert len(rows) == 10
    for row in rows:
        files = re.findall(r"`([a-z_/]+(?:\.(?:py|yaml)|/))`", row)
        assert files and all((ROOT / "spider_utils" / file).exists() for file in files), row
