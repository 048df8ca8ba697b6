"""Count SPIDER's series by the vertebrae and discs in view: what "16 classes" are.

    python -m tools.spider_levels data/spider/overview.csv

Writes results/spider_levels.csv: num_vertebrae, num_discs, labels (with background and canal), series.
"""

import argparse
import sys
from pathlib import Path

import pandas as pd

from spider_utils.scores import write_metrics
from tools.notebooks import ROOT


def count_levels(overview: pd.DataFrame) -> pd.DataFrame:
    """Return how many series show each number of vertebrae and discs, most frequent first."""
    table = overview.groupby(["num_vertebrae", "num_discs"]).size().rename("series").reset_index()
    table.insert(2, "labels", 2 + table["num_vertebrae"] + table["num_discs"])
    return table.sort_values("series", ascending=False, ignore_index=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("overview", type=Path, help="SPIDER's overview.csv")
    write_metrics(count_levels(pd.read_csv(parser.parse_args().overview)), ROOT / "results" / "spider_levels.csv")
    return 0


if __name__ == "__main__":
    sys.exit(main())
