"""Figures of notebook 03 that draw networks: one as a path of blocks, and two side by side as tiles, one a layer."""

from collections.abc import Mapping, Sequence
from difflib import SequenceMatcher
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import FancyBboxPatch, Patch, Rectangle
from torch import Tensor, nn

from spider_utils.figures.style import DECK, FOOT_INCHES, LEGEND_INCHES, SLIDE, finish, foot_room, new_figure
from spider_utils.models.build import Stage, count_parameters
from spider_utils.models.dropout import Dropout
from spider_utils.models.facts import StageLayers, path_layers

STAGE_COLOURS = {"encoder": "#CFE6F5", "bottleneck": "#F3D9E6", "decoder": "#FBE3B6", "head": "#DDDDDD"}
SKIP_COLOUR = "#0072B2"
PATH_COLOUR = "#444444"
UNLIKE_COLOUR = "#D55E00"
TILES = {  # letter, name and colour of a layer
    nn.Conv2d: ("C", "convolution", "#DDDDDD"),
    nn.ConvTranspose2d: ("T", "transposed convolution", "#FBE3B6"),
    nn.BatchNorm2d: ("B", "batch normalisation", "#CFE6F5"),
    nn.ReLU: ("R", "ReLU", "#C4E8DC"),
    nn.LeakyReLU: ("L", "Leaky ReLU", "#F3D9E6"),
    Dropout: ("D", "dropout", "#FFFFFF"),
    nn.MaxPool2d: ("P", "max pooling", "#FFFFFF"),
}
TILE_HEIGHT = 0.34  # the distance of two rows is 1, the width of a tile 1
ON_WHITE = {"facecolor": "white", "edgecolor": "none", "pad": 1}


def network_diagram(stages: Sequence[Stage], title: str = "Modified U-Net", brief: bool = False) -> Figure:
    """Draw the path of a U-Net: one box a stage with its output shape, one row a resolution.

    `stages` stand in the order of the path. A dashed arrow joins each encoder stage with the first decoder stage of the
    same height. `brief`: for a slide of the presentation, the channels alone and no title.
    """
    heights = sorted({stage.height for stage in stages}, reverse=True)
    places = _diagram_places(stages, heights)
    figure, ((axes,),) = new_figure(size=DECK if brief else SLIDE)
    box = 0.94, 0.72
    for stage, (x, y) in zip(stages, places, strict=True):
        draw_box(axes, (x, y), box, STAGE_COLOURS[stage.kind])
        if brief:
            axes.text(x, y, str(stage.channels), ha="center", va="center", fontsize=13, weight="bold")
            continue
        axes.text(x, y + 0.22, stage.name, ha="center", va="center", fontsize=11)
        axes.text(x, y, f"{stage.channels} ch", ha="center", va="center", fontsize=12, weight="bold")
        axes.text(x, y - 0.23, f"{stage.height} × {stage.width}", ha="center", va="center", fontsize=11)
    for start, end in zip(places, places[1:], strict=False):
        draw_arrow(axes, _rim(start, end, box), _rim(end, start, box), "-", PATH_COLOUR)
    for stage, (x, y) in zip(stages, places, strict=True):
        partners = [p for s, p in zip(stages, places, strict=True) if s.kind == "decoder" and s.height == stage.height]
        if stage.kind == "encoder" and partners:
            draw_arrow(axes, (x + box[0] / 2, y), (partners[0][0] - box[0] / 2, y), "--", SKIP_COLOUR)
    x, y = np.array(places).T
    axes.set_xlim(x.min() - 0.52, x.max() + 0.52)
    axes.set_ylim(y.min() - 0.4, y.max() + 0.4)
    axes.set_axis_off()
    title = "" if brief else f"{title}: channels and height × width leaving each block"
    skip = Line2D([], [], linestyle="--", linewidth=1.5, color=SKIP_COLOUR, label="skip")
    return finish(figure, title, legend=[*stage_patches(), skip])


def compare_networks(networks: Mapping[str, nn.Module], slices: Tensor) -> Figure:
    """Draw two U-Nets side by side as slices (N, C, H, W) pass them: one tile a layer, one row a resolution.

    Left column down, right column up, the number of channels beside each block. Stages of the same side and number of
    channels are compared: a layer that the other network's stage lacks has a thick rim. What counts is the kind of a
    layer, and the kernel size of a transposed convolution.
    """
    paths = {name: path_layers(model, slices) for name, model in networks.items()}
    sizes = {part.stage.height: part.stage.width for path in paths.values() for part in path}
    rows = {height: row for row, height in enumerate(sorted(sizes, reverse=True))}
    longest = max(len(part.block) for path in paths.values() for part in path)
    figure, ((axes,),) = new_figure()
    for number, (name, path) in enumerate(paths.items()):
        (other,) = (path for key, path in paths.items() if key != name)
        down = number * (2 * longest + 9) + longest / 2  # the middle of the left column, in tiles
        up = down + longest + 3
        _draw_path(axes, path, other, rows, (down, up))
        title = f"{name}: {count_parameters(networks[name]):,} parameters"
        axes.text((down + up) / 2, -1.35, title, ha="center", va="center", fontsize=13, weight="bold")
    for height, row in rows.items():
        axes.text(-2.6, row, f"{height} × {sizes[height]}", ha="right", va="center", fontsize=11, bbox=ON_WHITE)
        axes.axhline(row, color="#EEEEEE", linewidth=1, zorder=0)
    axes.set(xlim=(-6.4, 4 * longest + 14), ylim=(len(rows) - 0.6, -1.6))
    axes.set_axis_off()
    figure.suptitle("Text and code, layer by layer, with the channels that leave each block")
    _tile_legend(figure)
    return figure


def _draw_path(
    axes: Axes,
    path: Sequence[StageLayers],
    other: Sequence[StageLayers],
    rows: Mapping[int, int],
    columns: tuple[float, float],
) -> None:
    """Draw one network in two columns of blocks; the head stands above the row of its resolution."""
    x, y, half = columns[0], -1.0, 0.0  # where the path comes from, and half the length of that block
    decoded = {part.stage.height for part in path if part.stage.kind == "decoder"}
    for part in path:
        stage, start = part.stage, (x, y, half)
        down = stage.kind == "encoder" or (stage.kind == "bottleneck" and bool(part.way_in))
        x, half = columns[0 if down else 1], len(part.block) / 2
        y = rows[stage.height] - (0.85 if stage.kind == "head" else 0.0)
        twin = next((p for p in other if _side(p) == _side(part) and p.stage.channels == stage.channels), None)
        if part is not path[0]:
            _draw_step(axes, start, (x, y, half))
        _draw_tiles(axes, (x, y + 0.55 * np.sign(start[1] - y)), part.way_in, twin.way_in if twin else ())
        _draw_tiles(axes, (x, y), part.block, twin.block if twin else ())
        beside, align = (x - half - 0.3, "right") if down else (x + half + 0.3, "left")
        axes.text(beside, y, str(stage.channels), ha=align, va="center", fontsize=11, bbox=ON_WHITE)
        if stage.kind == "encoder" and stage.height in decoded:
            draw_arrow(axes, (x + half, y), (columns[1] - half, y), "--", SKIP_COLOUR)


def _draw_step(axes: Axes, start: tuple[float, float, float], end: tuple[float, float, float]) -> None:
    """Join two blocks, each (x, y, half its length): along a row, or first along the row and then up or down."""
    if start[1] == end[1]:
        draw_arrow(axes, (start[0] + start[2], start[1]), (end[0] - end[2], end[1]), "-", PATH_COLOUR)
        return
    axes.plot([start[0], end[0]], [start[1], start[1]], color=PATH_COLOUR, linewidth=1.5, zorder=1)
    rim = end[1] + np.sign(start[1] - end[1]) * TILE_HEIGHT / 2
    draw_arrow(axes, (end[0], start[1]), (end[0], rim), "-", PATH_COLOUR)


def _draw_tiles(
    axes: Axes, centre: tuple[float, float], layers: Sequence[nn.Module], others: Sequence[nn.Module]
) -> None:
    """Draw a row of tiles, one a layer; those without a counterpart among `others`, in order, have a thick rim."""
    signs, theirs = [_sign(layer) for layer in layers], [_sign(layer) for layer in others]
    pairs = SequenceMatcher(None, signs, theirs, autojunk=False).get_matching_blocks()
    alike = {pair.a + step for pair in pairs for step in range(pair.size)}
    colours = {letter: colour for letter, _, colour in TILES.values()}
    for place, sign in enumerate(signs):
        x = centre[0] + place - len(signs) / 2
        rim = ("#777777", 0.8, 2) if place in alike else (UNLIKE_COLOUR, 2, 3)
        tile = Rectangle((x, centre[1] - TILE_HEIGHT / 2), 1, TILE_HEIGHT, facecolor=colours[sign[0]])
        tile.set(edgecolor=rim[0], linewidth=rim[1], zorder=rim[2])
        axes.add_patch(tile)
        axes.text(x + 0.5, centre[1], sign, ha="center", va="center", fontsize=10, zorder=4)


def _tile_legend(figure: Figure) -> None:
    """Explain the tiles in two rows, which take the strip of the attribution too: no data are shown."""
    shown = [(f"{letter}: {name}", colour) for letter, name, colour in TILES.values()]
    handles: list[Artist] = [Patch(facecolor=colour, edgecolor="#777777", label=label) for label, colour in shown]
    handles.append(Patch(facecolor="white", edgecolor=UNLIKE_COLOUR, linewidth=2, label="the other lacks it"))
    handles.append(Line2D([], [], linestyle="--", linewidth=1.5, color=SKIP_COLOUR, label="skip"))
    foot_room(figure, FOOT_INCHES + LEGEND_INCHES)
    figure.legend(handles=handles, ncols=5, loc="lower center", borderaxespad=0.3, handlelength=1.2, columnspacing=1.2)


def _sign(layer: nn.Module) -> str:
    """The letter of a layer; a transposed convolution's with its kernel size."""
    letter = next(letter for kind, (letter, _, _) in TILES.items() if isinstance(layer, kind))
    return f"T{layer.kernel_size[0]}" if isinstance(layer, nn.ConvTranspose2d) else letter


def _side(part: StageLayers) -> str:
    return "down" if part.stage.kind in ("encoder", "bottleneck") else part.stage.kind


def _diagram_places(stages: Sequence[Stage], heights: Sequence[int]) -> list[tuple[float, float]]:
    """Columns step by 0.62 between rows and by 1.2 within a row, so that boxes never touch."""
    places, x = [], 0.0
    for number, stage in enumerate(stages):
        if number:
            x += 1.2 if stage.height == stages[number - 1].height else 0.62
        places.append((x, -float(heights.index(stage.height))))
    return places


def _rim(start: tuple[float, float], end: tuple[float, float], box: tuple[float, float]) -> tuple[float, float]:
    """The point on the rim of the box around `start` where an arrow to `end` leaves it."""
    if start[1] == end[1]:
        return start[0] + np.sign(end[0] - start[0]) * box[0] / 2, start[1]
    return start[0] + 0.15 * np.sign(end[0] - start[0]), start[1] + np.sign(end[1] - start[1]) * box[1] / 2


def draw_arrow(
    axes: Axes, start: tuple[float, float], end: tuple[float, float], line: str, colour: str, **look: Any
) -> None:
    """Draw an arrow below boxes; `look` goes to matplotlib's arrow."""
    look = {"arrowstyle": "->", "linestyle": line, "color": colour, "linewidth": 1.5} | look
    axes.annotate("", end, start, arrowprops=look, zorder=1.5)


def draw_box(axes: Axes, centre: tuple[float, float], size: tuple[float, float], fill: str, **look: Any) -> None:
    """Draw a box with round corners; `look` goes to matplotlib's patch."""
    corner = centre[0] - size[0] / 2, centre[1] - size[1] / 2
    look = {"boxstyle": "round,pad=0,rounding_size=0.06", "facecolor": fill, "edgecolor": PATH_COLOUR} | look
    axes.add_patch(FancyBboxPatch(corner, *size, linewidth=1, **look))


def stage_patches() -> list[Patch]:
    """Give the legend's entries for the kinds of stages."""
    return [Patch(facecolor=fill, edgecolor=PATH_COLOUR, label=kind) for kind, fill in STAGE_COLOURS.items()]
