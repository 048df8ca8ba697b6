"""What the pages of the studies of volumes say: the detour over slices, and another site's vertebral bodies."""

from pathlib import Path

import pandas as pd

from spider_utils.data.labels import FOREGROUND
from tools.markdown import markdown_table


def roundtrip_page(folder: Path) -> list[str]:
    """What a perfect network loses on the way, lowest Dice over the poses."""
    table = pd.read_csv(folder / "roundtrip_summary.csv")
    answers = {"shares": "each class' share of a pixel", "nearest": "one class a pixel"}
    lines = [
        [row.series, f"{row.spacing_mm} mm", row.network_size, "" if row.network_size == "own" else answers[row.answer],
         *(f"{getattr(row, name):.4f}" for name in FOREGROUND), str(row.poses), "yes" if row.same_grid else "NO"]
        for row in table.itertuples()
    ]  # fmt: skip
    heads = [
        "series",
        "pixel x slice distance",
        "network's slices",
        "perfect answer",
        *FOREGROUND,
        "poses",
        "same grid",
    ]
    told = (
        "Dice in 3D with the reference, the lowest over the poses: as the phantom was made, or in all 48 orders and "
        "flips of the axes and turned by 20 degrees about each of the patient's axes. “Same grid”: size, spacing, "
        "origin and direction equal the input's bit for bit. With the slices at their own size nothing is lost; the "
        "rest is what the network's slice size alone costs, before any error of a network."
    )
    return [markdown_table(heads, lines), told]


def bodies_page(folder: Path) -> list[str]:
    """How much of the vertebral bodies of another site's volumes is found."""
    table = pd.read_csv(folder / "bodies_summary.csv")
    lines = [
        [row.volume, row.network, row.intensities, str(row.bodies), f"{row.mean:.3f}", f"{row.lowest:.3f}"]
        for row in table.itertuples()
    ]
    told = (
        "The share of each labelled vertebral body that a shipped network calls vertebra, mean and lowest over a "
        "volume's bodies. The networks have learnt from one data set, `spine_t2space` from its T2 SPACE alone; these "
        "are T2 TSE of another site (Chu et al., PLoS ONE 10(11): e0143327, 2015). Their masks hold the bodies and "
        "nothing else, so what is called vertebra outside them cannot be judged here. “Standardised”: percentiles "
        "of the body are laid over those of the training slices, as `predict` does with volumes. That this is done was "
        "decided after these two volumes had been seen to fail without it, so they are no untouched test; its values "
        "come from the training slices alone; on SPIDER's own held-out patients percentiles of whole series showed no "
        "difference (results/errors)."
    )
    islands = [
        [row.volume, row.network, row.intensities, str(row.slices), str(row.pieces), f"{row.ml:.1f}"]
        for row in pd.read_csv(folder / "islands.csv").itertuples()
    ]
    beside = (
        "What is called vertebra in slices that show no labelled body (of the PHANTOM: no vertebra): pieces, connected "
        "in their slice, and their volume. In real slices tips of processes may be right."
    )
    heads = ["volume", "network", "intensities"]
    return [
        markdown_table([*heads, "bodies", "mean share", "lowest share"], lines),
        told,
        markdown_table([*heads, "slices beside", "pieces", "ml"], islands),
        beside,
    ]
