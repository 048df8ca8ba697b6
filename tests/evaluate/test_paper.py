"""The paper's table, against the copy of the paper that lies beside the data, and by its sums."""

from pathlib import Path

import numpy as np
import pytest

from spider_utils.data.labels import CLASSES
from spider_utils.evaluate.paper import PAPER_TABLE

# Added up from the paper's Table 2, a column each: iou, dice, asd, nsd, precision, recall and f1.
SUMS = (11.4379, 11.6444, 0.5277, 11.9142, 11.6790, 11.7126, 11.7026)


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
