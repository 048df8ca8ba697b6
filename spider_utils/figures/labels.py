"""Figures of notebook 02 on the two ways to labels, and on which slices the named filters keep."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from spider_utils.data.labels import CLASSES, FOREGROUND
from spider_utils.data.series import SEQUENCES
from spider_utils.figures.painting import paint_flat
from spider_utils.figures.style import (
    CLASS_COLOURS,
    ERROR_COLOURS,
    LINE_COLOURS,
    SEQUENCE_COLOURS,
    class_patches,
    finish,
    found_in,
    new_figure,
    spoken,
)

WINDOW = 72  # pixels, edge of the part of a slice that is shown enlarged
REFUTED_COLOUR = ERROR_COLOURS["false positive"]
DIFFERENCES = {  # of APTA's labels from the direct ones
    "only direct": ERROR_COLOURS["false negative"],
    "only APTA": ERROR_COLOURS["false positive"],
    "another class": "#F0E442",
}
COUNTED = {  # column of the comparison -> what is counted
    "enough_direct": "enough classes, direct",
    "enough_apta": "enough classes, APTA",
    "lost_canal": "canal lost",
    "invented_canal": "canal invented",
    "invented_discs": "disc invented",
    "painted_red": "whole slice vertebra",
}


def grey_codes(grey: np.ndarray, classes: np.ndarray, title: str, *, source: str) -> Figure:
    """A mask (H, W) as a picture viewer shows its grey values, and the classes 0..3 that they stand for."""
    figure, ((stored, decoded),) = new_figure(1, 2)
    values = ", ".join(str(value) for value in np.unique(grey))
    _show(stored, grey, f"The file: grey {values}")
    _show(decoded, _painted(classes), "Its classes")
    return finish(figure, title, source=source, legend=class_patches())


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
    painted = "; pass 6 then paints everything red" if (final != before).any() else ""
    legend = class_patches() + [Patch(color=colour, label=name) for name, colour in DIFFERENCES.items()]
    title = f"From grey values back to classes: the passes of APTA{painted}"
    return finish(figure, title, source=source, legend=legend)


def label_comparison(table: pd.DataFrame, *, source: str) -> Figure:
    """Dice of APTA's labels against the direct ones by class and sequence, and what APTA loses and invents.

    `table`: what labelling.compare_labels returns. The boxes (median, quartiles, 5 to 95 %) are over the slices that
    hold enough classes directly; the bars count all slices.
    """
    figure, ((scores, counts),) = new_figure(1, 2, width_ratios=(1.2, 1))
    central = table[table["enough_direct"]]
    sequences = found_in(central["sequence"], SEQUENCES)
    width = 0.8 / max(len(sequences), 1)
    for place, sequence in enumerate(sequences):
        part = central[central["sequence"] == sequence]
        values = [part[f"dice_{name}"].dropna().to_numpy() for name in FOREGROUND]
        positions = np.arange(len(FOREGROUND)) + (place - (len(sequences) - 1) / 2) * width
        look = {"widths": width * 0.8, "whis": (5, 95), "sym": "", "patch_artist": True, "manage_ticks": False}
        boxes = scores.boxplot(values, positions=positions, **look)
        for box in boxes["boxes"]:
            box.set(facecolor=SEQUENCE_COLOURS[sequence], alpha=0.75)
        for line in boxes["medians"]:
            line.set(color="black", linewidth=2)
    scores.set_xticks(range(len(FOREGROUND)), FOREGROUND)
    scores.set(ylabel="Dice, APTA against direct", title=f"{len(central)} slices with enough classes")
    scores.grid(axis="y", alpha=0.3)
    bars = counts.barh(list(COUNTED.values()), [table[name].sum() for name in COUNTED], color=LINE_COLOURS[0])
    counts.bar_label(bars, padding=4)
    counts.invert_yaxis()
    counts.set(xlabel="Slices", title=f"all {len(table)} slices")
    counts.margins(x=0.15)
    legend = [Patch(color=SEQUENCE_COLOURS[name], label=spoken(name), alpha=0.75) for name in sequences]
    return finish(figure, "What the route over grey values does to labels", source=source, legend=legend)


def filter_bars(table: pd.DataFrame, *, source: str) -> Figure:
    """Bars of the share of slices that each named filter keeps; refuted ones in another colour and hatched.

    `table`: what filters.filter_table or filters.verdicts returns.
    """
    figure, ((axes,),) = new_figure()
    names = [name.replace("_", " ") for name in table["filter"]]
    refuted = table["verdict"].eq("refuted") if "verdict" in table else pd.Series(False, index=table.index)
    colours = [REFUTED_COLOUR if no else LINE_COLOURS[0] for no in refuted]
    bars = axes.barh(names, 100 * table["share"], color=colours, height=0.65)
    for bar, no in zip(bars, refuted, strict=True):
        bar.set_hatch("//" if no else "")
    counts = zip(table["kept"], table["of"], refuted, strict=True)
    axes.bar_label(bars, [f"{kept} of {of}{', refuted' if no else ''}" for kept, of, no in counts], padding=5)
    axes.invert_yaxis()
    axes.set(xlabel="Slices kept, % of those with enough classes", xlim=(0, 118), xticks=range(0, 101, 20))
    drops = Patch(facecolor=REFUTED_COLOUR, hatch="//", label="refuted: drops slices that were released")
    legend = [Patch(color=LINE_COLOURS[0], label="not refuted"), drops] if "verdict" in table else []
    return finish(figure, "What each named filter keeps", source=source, legend=legend)


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
