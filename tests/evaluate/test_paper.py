"""The paper's table, against the copy of the paper that lies beside the data, and by its sums."""

from pathlib import Path

import numpy as np
import pytest

from spider_utils.data.labels import CLASSES
from spider_utils.evaluate.paper import PAPER_TABLE

# Added up from the paper's Table 2: its columns iou, dice, asd, nsd, precision, recall and f1, and its rows.
SUMS = (11.4379, 11.6444, 0.5277, 11.9142, 11.6790, 11.7126, 11.7026)
ROWS = {
    "T2_SPACE": {"background": 6.0209, "discs": 5.8639, "vertebrae": 5.8750, "canal": 5.8728},
    "T1": {"background": 6.0000, "discs": 5.8228, "vertebrae": 5.8488, "canal": 5.8466},
    "T2": {"background": 5.9854, "discs": 5.8011, "vertebrae": 5.8425, "canal": 5.8386},
}


def test_the_table_is_the_paper_s(shared_data: Path):
    text = (shared_data.parent / "paper.md").read_text(encoding="utf-8")
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.count("|") == 10]
    stated, sequence = {}, ""
    for first, name, *cells in rows:
        sequence = first.replace(" ", "_") or sequence  # stands in the first of four rows
        if name in CLASSES:
            stated[sequence, name] = [float(cell) for cell in cells]
    assert len(stated) == len(PAPER_TABLE) == 12
    ours = {(row.sequence, row[2]): list(row[3:]) for row in PAPER_TABLE.itertuples()}
    assert ours == stated


def test_no_digit_of_the_table_has_changed():
    numbers = PAPER_TABLE.drop(columns=["sequence", "class"]).to_numpy()
    assert numbers.shape == (12, 7) and (np.round(numbers, 4) == numbers).all()
    assert tuple(numbers.sum(axis=0)) == pytest.approx(SUMS, abs=1e-6)
    assert list(PAPER_TABLE) == ["sequence", "class", "iou", "dice", "asd", "nsd", "precision", "recall", "f1"]
    rows = {(sequence, name): total for sequence, row in ROWS.items() for name, total in row.items()}
    ours = dict(zip(zip(PAPER_TABLE["sequence"], PAPER_TABLE["class"], strict=True), numbers.sum(axis=1), strict=True))
    assert ours == pytest.approx(rows, abs=1e-6)
