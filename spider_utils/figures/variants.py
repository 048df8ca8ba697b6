"""Figures of the networks beyond the paper's: U-Net++'s grid, where attention gates let through, 2.5D's channels."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from spider_utils.figures.network import PATH_COLOUR, SKIP_COLOUR, STAGE_COLOURS, draw_arrow, draw_box, stage_patches
from spider_utils.figures.painting import grey_levels, show_slices
from spider_utils.figures.style import LINE_COLOURS, finish, new_figure
from spider_utils.models.variants import NestedUNet

UP_COLOUR = LINE_COLOURS[2]
BOX = 0.84, 0.5  # of a node; the distance of two columns and of two rows is 1
HEAD_BOX = 0.62, 0.3
HEADS_AT = 0.95  # rows above the first


def nested_grid(model: NestedUNet) -> Figure:
    """Draw U-Net++'s nodes (level, column) with the channels that enter and leave each, and all that joins them.

    Column 0 is the encoder. Heads stand above the nodes whose logits they give.
    """
    figure, ((axes,),) = new_figure()
    blocks: dict[tuple[int, int], Any] = {(level, 0): block for level, block in enumerate(model.encoder)}
    blocks |= {(level, column): model.nodes[f"{level}_{column}"] for level, column in model.grid()}
    deepest = max(level for level, _ in blocks)
    for (level, column), block in blocks.items():
        kind = "decoder" if column else "bottleneck" if level == deepest else "encoder"
        text = f"{block[0].in_channels} → {block[-3].out_channels}"
        _draw_box(axes, _place(level, column), BOX, STAGE_COLOURS[kind], f"{level}, {column}", text)
        _draw_ways_in(axes, level, column)
    for column, _ in zip(range(deepest, 0, -1), model.heads, strict=False):
        x, y = _place(0, column)
        _draw_box(axes, (x, HEADS_AT), HEAD_BOX, STAGE_COLOURS["head"], "head")
        _draw_arrow(axes, (x, y + BOX[1] / 2), (x, HEADS_AT - HEAD_BOX[1] / 2), PATH_COLOUR)
    note = "level, column\nchannels in → out"
    if len(model.heads) > 1:
        note += "\n\nTraining: a loss at every head\nEvaluation: the heads' mean"
    axes.text(deepest + 0.45, -deepest - 0.25, note, ha="right", va="bottom", fontsize=12, linespacing=1.4)
    axes.set(xlim=(-0.5, deepest + 0.5), ylim=(-deepest - 0.32, HEADS_AT + 0.2))
    axes.set_axis_off()
    lines = {"max pooling": (PATH_COLOUR, "-"), "upsampling": (UP_COLOUR, "-"), "skip": (SKIP_COLOUR, "--")}
    looks = [
        Line2D([], [], color=colour, linestyle=line, linewidth=1.5, label=name)
        for name, (colour, line) in lines.items()
    ]
    title = "U-Net++: each node takes all nodes before it in its row, and the one below"
    return finish(figure, title, legend=[*stage_patches(), *looks])


def attention_overlay(image: np.ndarray, maps: Sequence[np.ndarray], title: str, *, source: str) -> Figure:
    """The gates' weights of one slice over it: image (H, W), and for each level from the finest (h, w) in 0..1.

    All levels share one scale, 0 to 1; the range that a level uses stands above it.
    """
    columns = (len(maps) + 2) // 2
    titles = [
        f"level {level}: {weights.min():.2f} to {weights.max():.2f}" for level, weights in enumerate(maps, start=1)
    ]
    figure = show_slices([(title, image) for title in ("input slice", *titles)], shape=(2, columns))
    panels = figure.axes
    height, width = image.shape
    look: dict[str, Any] = {"cmap": "viridis", "vmin": 0, "vmax": 1, "alpha": 0.6, "interpolation": "nearest"}
    for axes, weights in zip(panels[1:], maps, strict=False):
        shown = axes.imshow(weights, extent=(-0.5, width - 0.5, height - 0.5, -0.5), **look)
    bar = figure.colorbar(shown, ax=panels, shrink=0.7, pad=0.02)
    bar.set_label("Weight of the skip connection")
    assert bar.solids is not None  # the bar of a picture is filled
    bar.solids.set_alpha(1)
    return finish(figure, title, source=source)


def input_channels(images: np.ndarray, titles: Sequence[str], *, source: str) -> Figure:
    """The slices (3, H, W) that a 2.5D network sees as channels, and how far the outer two differ, pixel by pixel.

    The differences are drawn from black (alike) to white, on the slices' own scale of grey levels.
    """
    before, own, after = (grey_levels(image, images[1]) for image in images)
    change = np.abs(after.astype(float) - before).astype(np.uint8)
    panels = [*zip(titles, (before, own, after), strict=True), ("the outer two differ", change)]
    panels = [(title, np.repeat(picture[..., None], 3, axis=2)) for title, picture in panels]
    figure = show_slices(panels, size=(10.0, 4.2))
    return finish(figure, "2.5D: three neighbouring slices are the three channels", source=source)


def _place(level: int, column: int) -> tuple[float, float]:
    """Where a node stands: each row half a column further right, so that ways down and up lean alike."""
    return column + level / 2, -float(level)


def _draw_ways_in(axes: Axes, level: int, column: int) -> None:
    """Draw what enters a node: pooling from above in column 0, else upsampling from below and the skips of its row."""
    x, y = _place(level, column)
    if column == 0:
        if level:
            above = _place(level - 1, 0)
            start = above[0] + 0.15, above[1] - BOX[1] / 2
            _draw_arrow(axes, start, (x - 0.15, y + BOX[1] / 2), PATH_COLOUR)
        return
    below = _place(level + 1, column - 1)
    _draw_arrow(axes, (below[0] + 0.15, below[1] + BOX[1] / 2), (x - 0.15, y - BOX[1] / 2), UP_COLOUR)
    for before in range(column):
        left = _place(level, before)[0]
        if before == column - 1:
            _draw_arrow(axes, (left + BOX[0] / 2, y), (x - BOX[0] / 2, y), SKIP_COLOUR, "--")
        else:  # in a bow over the nodes between
            top = y + BOX[1] / 2
            span = column - before
            _draw_arrow(axes, (left + 0.1, top), (x - 0.1, top), SKIP_COLOUR, "--", bow=-0.06 - 0.13 / span)


def _draw_box(
    axes: Axes, centre: tuple[float, float], size: tuple[float, float], fill: str, name: str, below: str = ""
) -> None:
    draw_box(axes, centre, size, fill, zorder=2)
    up = 0.11 if below else 0.0
    look: dict[str, Any] = {"ha": "center", "va": "center", "zorder": 3}
    axes.text(centre[0], centre[1] + up, name, fontsize=11, weight="bold" if below else "normal", **look)
    if below:
        axes.text(centre[0], centre[1] - 0.12, below, fontsize=11, **look)


def _draw_arrow(
    axes: Axes, start: tuple[float, float], end: tuple[float, float], colour: str, line: str = "-", bow: float = 0.0
) -> None:
    look = {"linewidth": 1.3, "shrinkA": 0, "shrinkB": 0, "connectionstyle": f"arc3,rad={bow}"}
    draw_arrow(axes, start, end, line, colour, **look)
