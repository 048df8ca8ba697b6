"""Figures of notebook 02 on the two ways to labels."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from spider_utils.data.labels import CLASSES, FOREGROUND
from spider_utils.figures.painting import paint_flat
from spider_utils.figures.style import (
    CLASS_COLOURS,
    ERROR_COLOURS,
    class_patches,
    finish,
    new_figure,
)

WINDOW = 72  # pixels, edge of the part of a slice that is shown enlarged
DIFFERENCES = {  # of APTA's labels from the direct ones
    "only direct": ERROR_COLOURS["false negative"],
    "only APTA": ERROR_COLOURS["false positive"],
    "another class": "#F0E442",
}


def apta_stages_figure(
    grey: np.ndarray, stages: Sequence[tuple[str, np.ndarray]], direct: np.ndarray, *, source: str
) -> Figure:
    """A grey mask (H, W) as a viewer shows it, then a window of it: each pass of APTA, the direct labels, and where the
    two differ.

    `stages`: what labels.apta_stages returns; `direct`: classes 0..3, (H, W), from the label values.
    """
    rows, columns = _window(direct)
    figure, grid = new_figure(2, 4, size=(10, 6.2))
    panels = iter(grid.flat)
    whole = next(panels)
    _show(whole, grey, "grey mask in a viewer")
    frame = (columns.start - 0.5, rows.start - 0.5), columns.stop - columns.start, rows.stop - rows.start
    whole.add_patch(Rectangle(*frame, fill=False, edgecolor=CLASS_COLOURS["vertebrae"], linewidth=2))
    before = None
    for number, (name, classes) in enumerate(stages[:-1], start=1):
        changed = "" if before is None else f"\n{(classes != before).sum()} px changed"
        _show(next(panels), _painted(classes[rows, columns]), f"pass {number}: {name}{changed}")
        before = classes
    final = stages[-1][1]
    _show(next(panels), _painted(direct[rows, columns]), "direct, by label value")
    _show(
        next(panels), _differences(final, direct)[rows, columns], f"APTA against direct\n{(final != direct).sum()} px"
    )
    for axes in grid.flat:
        axes.title.set_fontsize(11)
    painted = "; pass 6 then paints canal and discs red" if (final != before).any() else ""
    legend = class_patches() + [Patch(color=colour, label=name) for name, colour in DIFFERENCES.items()]
    title = f"From grey values back to classes: the passes of APTA{painted}"
    return finish(figure, title, source=source, legend=legend)


def _show(axes: Axes, picture: np.ndarray, title: str) -> None:
    """Show a picture pixel by pixel, grey values as a viewer would, without brightening."""
    axes.imshow(picture, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    axes.set_title(title)
    axes.set_axis_off()


def _painted(classes: np.ndarray) -> np.ndarray:
    """Give each class its colour, the background black: (H, W) to (H, W, 3) uint8."""
    masks = {CLASS_COLOURS[name]: classes == CLASSES.index(name) for name in FOREGROUND}
    return paint_flat(np.zeros((*classes.shape, 3), np.uint8), masks)


def _differences(apta: np.ndarray, direct: np.ndarray) -> np.ndarray:
    """Paint where two label images (H, W) differ, (H, W, 3) uint8; equal foreground is dark grey."""
    picture = np.zeros((*direct.shape, 3), np.uint8)
    picture[(apta == direct) & (direct > 0)] = 60
    masks = (apta == 0) & (direct > 0), (apta > 0) & (direct == 0), (apta != direct) & (apta > 0) & (direct > 0)
    return paint_flat(picture, dict(zip(DIFFERENCES.values(), masks, strict=True)))


def _window(classes: np.ndarray) -> tuple[slice, slice]:
    """Give the rows and columns of a window of WINDOW pixels, in the image, where most classes meet: at the canal's
    front edge, half way down.
    """
    height, width = classes.shape
    foreground = np.argwhere(classes > 0)
    canal = np.argwhere(classes == CLASSES.index("canal"))
    row = int(np.median(foreground[:, 0])) if len(foreground) else height // 2
    beside = canal[np.abs(canal[:, 0] - row) < WINDOW // 4]
    column = int(beside[:, 1].min() if len(beside) else np.median(foreground[:, 1]) if len(foreground) else width // 2)
    top = min(max(row - WINDOW // 2, 0), max(height - WINDOW, 0))
    left = min(max(column - 2 * WINDOW // 3, 0), max(width - WINDOW, 0))
    return slice(top, min(top + WINDOW, height)), slice(left, min(left + WINDOW, width))
