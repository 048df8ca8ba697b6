"""Figures of augmentation: what a level does to a slice and its mask."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from spider_utils.data.labels import CLASSES, FOREGROUND
from spider_utils.figures.painting import grey_levels, show_slice
from spider_utils.figures.style import CLASS_COLOURS, class_patches, finish, new_figure

Pair = tuple[np.ndarray, np.ndarray]  # image (H, W) in 0..1 and mask (H, W) of classes 0..3


def augmentation_levels(before: Pair, draws: Mapping[str, Sequence[Pair]], *, source: str) -> Figure:
    """A slice as it is, and some draws of each level beside it, one row a level, with their masks' outlines."""
    longest = max(len(pairs) for pairs in draws.values())
    figure, grid = new_figure(len(draws), longest + 1, width_ratios=[1.6] + [1] * longest)
    whole = grid[0, 0].get_gridspec()[:, 0]
    for axes in grid[:, 0]:
        axes.remove()
    _show_pair(figure.add_subplot(whole), before, "none", before[0])
    for row, (level, pairs) in zip(grid[:, 1:], draws.items(), strict=True):
        for axes in row[len(pairs) :]:
            axes.set_axis_off()
        for number, (axes, pair) in enumerate(zip(row, pairs, strict=False), start=1):
            _show_pair(axes, pair, f"{level}, draw {number}", before[0])
    title = "What a network sees of one slice in different epochs"
    return finish(figure, title, source=source, legend=class_patches())


def _show_pair(axes: Axes, pair: Pair, title: str, reference: np.ndarray) -> None:
    image, mask = pair
    show_slice(axes, np.repeat(grey_levels(image, reference)[..., None], 3, axis=2), title)
    for name in FOREGROUND:
        inside = mask == CLASSES.index(name)
        if inside.any() and not inside.all():
            axes.contour(inside, levels=[0.5], colors=[CLASS_COLOURS[name]], linewidths=1.2)
