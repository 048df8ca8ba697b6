"""The table of Pythons and versions: what its lines say of tests, failures and lower bounds. No environment is made."""

import subprocess
import sys
from pathlib import Path

import pandas as pd
from packaging.requirements import Requirement

from tools.matrix import COLUMNS, PROJECT, Place, as_page, cause, constraints_of, last_line, run_tests, told

TESTS = """\
import pytest

def test_right(): pass
def test_wrong(): assert 1 == 2
@pytest.mark.skip
def test_left_out(): pass
@pytest.mark.slow
def test_slow(): assert False
@pytest.fixture
def broken(): raise ValueError("no ground")
def test_without_ground(broken): pass
"""


def test_tests_are_counted_and_failures_named(tmp_path):
    place = Place(Path(sys.executable), tmp_path / "checkout", tmp_path / "empty")
    for folder in (place.checkout, place.empty):
        folder.mkdir()
    (place.checkout / "test_four.py").write_text(TESTS)
    failures: list[str] = []
    found = run_tests(place, ["test_four.py"], failures)
    assert found == {"tests": 'test_four.py -m "not slow"', "passed": "1", "failed": "2", "skipped": "1"}
    assert [one.split(":")[0] for one in failures] == ["test_four.test_wrong", "test_four.test_without_ground"]
    assert "assert 1 == 2" in failures[0] and "no ground" in failures[1]
    run_tests(place, ["test_none.py"], failures)
    assert failures[-1].startswith("tests: ") and str(tmp_path) not in failures[-1]


def test_the_oldest_versions_are_the_lower_bounds(tmp_path):
    _, bounds = constraints_of("oldest", tmp_path)
    oldest = dict(line.split("==") for line in Path(bounds).read_text().splitlines())
    assert oldest["torch"] == "2.4" and oldest["numpy"] == "1.26"
    for line in PROJECT["dependencies"]:
        requirement = Requirement(line)
        assert requirement.specifier.contains(oldest[requirement.name])
    assert constraints_of("newest", tmp_path) == []


def test_a_failure_is_told_without_this_machines_folders():
    failures: list[str] = []
    done = subprocess.CompletedProcess([], 1, "a line\n", "error: /home/anna/runs/out: no place\n\n")
    assert told(done, "predict", failures) == "failed" and failures == ["predict: error: …/out: no place"]
    assert told(subprocess.CompletedProcess([], 0, "", ""), "--help", failures) == "ok" and len(failures) == 1
    assert last_line(subprocess.CompletedProcess([], 9, "", "")) == "status 9"


def test_requirements_that_exclude_each_other_are_named():
    said = "ERROR: no\n\nThe conflict is caused by:\n    a 1 depends on b>=2\n    asked for b==1\n\nTo fix\n"
    assert cause(subprocess.CompletedProcess([], 1, "", said)) == "a 1 depends on b>=2, asked for b==1"
    assert cause(subprocess.CompletedProcess([], 1, "", "ERROR: no network\n")) == "ERROR: no network"


def test_the_page_has_a_row_a_line_and_every_failure():
    line = dict.fromkeys(COLUMNS, "") | {"python": "3.13.0", "set": "newest", "torch": "2.14.1"}
    page = as_page(pd.DataFrame([line | {"failures": "test_a: 1; test_b: 2"}, line | {"set": "colab"}]))
    assert page.count("| 3.13.0 |") == 2 and "- test_a: 1\n- test_b: 2" in page
    assert page.count("## What failed") == 1
