"""The table of timings: every row runs at toy size, its two sides agree where they must, and lines say what was met."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pandas as pd
import pytest

from benchmarks import __main__ as table
from benchmarks.rows import MORE, Bench, Pair, Row, Skipped, measure, run_command

OF_PROCESSES = {"start_help", "start_import", "start_trainer", "train_busy"}  # seconds each, whatever their size
EQUAL = {"metrics_monai", "metrics_surface", "apta", "data_opening", "data_preprocess", "predict_png"}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow) if name == "train_compiled" else name
        for name in table.ROWS
        if name not in OF_PROCESSES
    ],
)
def test_a_row_runs_and_its_sides_agree(tmp_path, name):
    row = table.ROWS[name]
    try:
        pair = row.make(Bench(tmp_path, toy=True))
    except Skipped as why:
        if name == "train_compiled":
            assert "needs a C++ compiler, fails here" in str(why)
            return
        missing = {"predict_volume_nnunet": "nnunetv2", "train_nnunet": "nnunetv2", "train_monai": "ignite"}[name]
        assert find_spec(missing) is None and "pip install" in str(why)
        return
    values = [run_command(side) if isinstance(side, list) else side() for side in (pair.ours, pair.peer)]
    assert (pair.equal is not None) == (name in EQUAL or name == "data_augment")
    assert pair.equal is None or pair.equal(*values)


def slow(seconds: float):
    return lambda: seconds


@pytest.mark.parametrize(
    ("unit", "aim", "ours", "peer", "ratio", "met"),
    [
        ("times as fast", 2.0, 1.0, 3.0, 3.0, "yes"),
        ("times as fast", 2.0, 2.0, 3.0, 1.5, "no"),
        (MORE, 0.3, 1.2, 1.0, 0.2, "yes"),
        (MORE, 0.3, 1.5, 1.0, 0.5, "no"),
        ("times as fast", None, 2.0, 1.0, 0.5, ""),
    ],
)
def test_a_ratio_is_the_peers_seconds_over_ours(tmp_path, unit, aim, ours, peer, ratio, met):
    row = Row("a", "b", aim, lambda bench: Pair(slow(ours), slow(peer), own_clock=True), unit)
    found = measure(row, Bench(tmp_path), 3)
    assert (found["ours"], found["peer"], found["met"]) == (pytest.approx(ours), pytest.approx(peer), met)
    assert found["ratio"] == pytest.approx(ratio)


def test_a_peers_seconds_count_as_often_as_said(tmp_path):
    row = Row("a", "b", 1.0, lambda bench: Pair(slow(30.0), slow(2.0), peer_times=20, own_clock=True))
    assert measure(row, Bench(tmp_path), 1)["peer"] == pytest.approx(40)


def test_sides_that_differ_are_no_row(tmp_path):
    row = Row("a", "b", 1.0, lambda bench: Pair(slow(1.0), slow(2.0), lambda one, other: one == other))
    with pytest.raises(AssertionError, match="different values"):
        measure(row, Bench(tmp_path), 1)


def test_a_skipped_row_says_why_and_replaces_no_measured_one(tmp_path):
    def missing(bench: Bench) -> Pair:
        raise Skipped("no such package")

    line = table.line("apta", Row("a", "b", 1.0, missing), "cpu", 1)
    assert (line["met"], line["note"]) == ("skipped", "no such package")
    path = tmp_path / "table.csv"
    assert list(table.merged([line], path)["met"]) == ["skipped"]
    pd.DataFrame([line | {"met": "no", "ratio": 3.0}], columns=table.COLUMNS).to_csv(path, index=False)
    assert list(table.merged([line], path)["ratio"]) == [3.0]
    newer = table.merged([line | {"met": "yes", "ratio": 4.0}, line | {"row": "start_help"}], path)
    assert list(newer["row"]) == ["apta", "start_help"] and newer["ratio"][0] == 4.0


def test_the_page_tells_aims_beside_values_and_where_they_were_measured():
    facts = {"device": "cpu", "machine": "a machine", "versions": "Python 3", "code": "abc", "runs": 5}
    rows = [
        {"stage": "quick", "against": "a loop", "ours": 0.5, "peer": 1.25, "ratio": 2.5, "aim": 2.0, "met": "yes"},
        {"stage": "slow", "against": "a loop", "aim": 3.0, "met": "skipped", "note": "no such package"},
    ]
    page = table.as_page(pd.DataFrame([row | facts | {"unit": "times as fast"} for row in rows], columns=table.COLUMNS))
    assert "| quick | a loop | 0.5 | 1.25 | 2.5 times as fast | 2 | yes |  |" in page
    assert "| 3 | skipped | no such package |" in page and page.count("a machine; Python 3; code abc; 5 runs.") == 1


def test_a_commands_peak_memory_is_its_own():
    small = [sys.executable, "-c", "pass"]
    large = [sys.executable, "-c", "x = bytearray(300_000_000); x[::4096] = bytes(len(x[::4096]))"]
    assert run_command(small).peak_gb < 0.1 < 0.3 <= run_command(large).peak_gb < 0.5
    with pytest.raises(subprocess.CalledProcessError):
        run_command([sys.executable, "-c", "raise SystemExit(3)"])


def test_a_device_that_is_not_there_is_named():
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--device", "cuda"], capture_output=True, text=True, cwd=root
    )
    assert done.returncode == 2 and done.stderr.startswith("error: device: 'cuda' is not available")
