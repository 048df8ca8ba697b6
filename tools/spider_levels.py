"""Count SPIDER's series: by the vertebrae and discs in view, which is what "16 classes" are, and by sequence.

    python -m tools.spider_levels data/spider/overview.csv

Writes results/spider_levels.csv: num_vertebrae, num_discs, labels (with background and canal), series; and
results/spider_series.csv: sequence, series, patients, training and validation (series of SPIDER's subsets), pixel_mm,
thickness_mm and distance_mm of the slices (medians).
"""

import argparse
import sys
from pathlib import Path

import pandas as pd

from spider_utils.evaluate.scores import write_metrics
from tools.notebooks import ROOT


def count_levels(overview: pd.DataFrame) -> pd.DataFrame:
    """Return how many series show each number of vertebrae and discs, most frequent first."""
    table = overview.groupby(["num_vertebrae", "num_discs"]).size().rename("series").reset_index()
    table.insert(2, "labels", 2 + table["num_vertebrae"] + table["num_discs"])
    return table.sort_values("series", ascending=False, ignore_index=True)


def count_series(overview: pd.DataFrame) -> pd.DataFrame:
    """Return how many series and patients there are of each sequence and of all, and how finely they are sampled."""
    names = overview["new_file_name"].str.split("_", n=1, expand=True)
    sequences = names[1].replace({"t1": "T1", "t2": "T2", "t2_SPACE": "T2_SPACE"})
    pixels = overview["PixelSpacing"].str.extract(r"\[\s*([\d.]+)")[0].astype(float)
    rows = []
    for sequence in (*sorted(sequences.unique()), "all"):
        chosen = (sequences == sequence) | (sequence == "all")
        part = overview[chosen]
        subsets = [int((part["subset"] == subset).sum()) for subset in ("training", "validation")]
        sizes = (pixels[chosen], part["SliceThickness"], part["SpacingBetweenSlices"])
        rows.append([sequence, len(part), names.loc[chosen, 0].nunique(), *subsets, *(size.median() for size in sizes)])
    columns = ["sequence", "series", "patients", "training", "validation", "pixel_mm", "thickness_mm", "distance_mm"]
    return pd.DataFrame(rows, columns=columns)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("overview", type=Path, help="SPIDER's overview.csv")
    overview = pd.read_csv(parser.parse_args().overview)
    write_metrics(count_levels(overview), ROOT / "results" / "spider_levels.csv")
    write_metrics(count_series(overview), ROOT / "results" / "spider_series.csv")
    return 0


if __name__ == "__main__":
    sys.exit(main())
