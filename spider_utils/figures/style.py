"""How every figure looks: colours, font sizes, title, legend and attribution, and saving for slides.

The colours are those of Okabe and Ito (2008), which stay apart for colour-blind readers. They stand here once, so that
a class, an error and a sequence keep their colour through all notebooks.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from spider_utils.common.errors import SpiderError
from spider_utils.common.files import atomic_path
from spider_utils.data.labels import FOREGROUND
from spider_utils.data.sources import JOIN, SOURCES

CLASS_COLOURS = {"background": "#666666", "vertebrae": "#E69F00", "canal": "#56B4E9", "discs": "#CC79A7"}
ERROR_COLOURS = {"true positive": "#009E73", "false positive": "#D55E00", "false negative": "#0072B2"}
ERROR_NAMES = {name: name for name in ERROR_COLOURS} | {"false positive": "false positive or wrong class"}
SEQUENCE_COLOURS = {"T1": "#0072B2", "T2": "#D55E00", "T2_SPACE": "#009E73"}
SEQUENCE_MARKERS = {"T1": "o", "T2": "s", "T2_SPACE": "^"}
FOREGROUND_COLOUR = "#000000"  # the mean of the three foreground classes
SCORED = (*FOREGROUND, "foreground")  # what is scored: the classes, and their mean
SCORE_COLOURS = CLASS_COLOURS | {"foreground": FOREGROUND_COLOUR}
LINE_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#000000")  # series of a plot that are none of the above
LINE_STYLES = ("-", "--", ":", "-.")
BESIDE: dict[str, Any] = {"loc": "center left", "bbox_to_anchor": (1.01, 0.5)}  # a legend at the right of its axes
DOTTED: dict[str, Any] = {"color": "#999999", "linewidth": 1, "linestyle": ":"}  # a line to compare with

SLIDE = (10.0, 5.625)  # inches, 16:9
DECK = (5.7, 3.75)  # inches; the presentation shows it 1.4 times as large, beside its text
FOOT_INCHES = 0.24  # strip at the foot of every figure that holds the attribution
NOT_IN_XML = bytes(sorted({*range(32)} - set(b"\t\n\r")))  # control characters
SVG_DPI = 150  # of slices inside an SVG, or it grows to megabytes
LETTER = 0.58  # mean width of a letter, in font sizes
LEGEND_INCHES = 0.32  # strip above it for a legend of the whole figure
SOURCE_NOTES = {name: one.note for name, one in SOURCES.items()} | {  # and of slices and volumes that are no source
    "exported": "MRI: SPIDER (van der Graaf et al. 2024), CC BY 4.0; slices as in the repository ejd230001/medvisor",
    "chu": "MRI: Chu et al., PLoS ONE 2015, as resampled in the public repository JonathanRamos/fastcleverseg",
    "sct": "MRI: tutorial data of the Spinal Cord Toolbox",
}
STYLE = {
    "figure.dpi": 100,
    "figure.facecolor": "white",
    "figure.constrained_layout.use": True,
    "figure.constrained_layout.w_pad": 0.08,  # inches
    "figure.constrained_layout.h_pad": 0.06,
    "font.family": "DejaVu Sans",
    "font.size": 12,
    "figure.titlesize": 15,
    "axes.titlesize": 13,
    "axes.labelsize": 12,
    "xtick.labelsize": 11,
    "ytick.labelsize": 11,
    "legend.fontsize": 11,
    "legend.frameon": False,
    "lines.linewidth": 2,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "hatch.linewidth": 0.8,
    "svg.fonttype": "path",  # text keeps its look on a computer without this font
}


def use_style() -> None:
    """Set matplotlib's parameters to the style of this project (16:9, readable on a slide)."""
    mpl.rcParams.update(STYLE)


def spoken(sequence: str) -> str:
    """Give a sequence as it is said: "T2_SPACE" is "T2 SPACE"; "all" is "all sequences"."""
    return "all sequences" if sequence == "all" else sequence.replace("_", " ")


def found_in(column: pd.Series, names: Iterable[str]) -> list[str]:
    """Give those of the names that stand in a table's column, in the order of the names."""
    return [name for name in names if (column == name).any()]


def rgb(colour: str) -> np.ndarray:
    """Give a colour as red, green and blue, (3,) uint8."""
    return np.round(255 * np.array(to_rgb(colour))).astype(np.uint8)


def new_figure(
    rows: int = 1, columns: int = 1, size: tuple[float, float] = SLIDE, grid: str = "", **options: Any
) -> tuple[Figure, np.ndarray]:
    """Make a figure in this style and its axes, always as an array (rows, columns).

    `grid`: the axis, "x", "y" or "both", whose ticks have pale lines across all panels. `options` go to
    matplotlib.pyplot.subplots. The figure is taken off pyplot's list at once, so that a notebook shows it one time (as
    the value of its cell) and holds no open figures.
    """
    use_style()
    figure, axes = plt.subplots(rows, columns, figsize=size, squeeze=False, **options)
    plt.close(figure)
    foot_room(figure, FOOT_INCHES)
    for panel in axes.flat if grid else ():
        panel.grid(axis=grid, alpha=0.3)
    return figure, axes


def finish(
    figure: Figure, title: str = "", *, source: str | None = None, legend: Sequence[Artist] = (), bold: bool = False
) -> Figure:
    """Give a figure its title, its legend below and, where it shows data, their source (see `note_source`)."""
    if title:
        figure.suptitle(title, fontweight="bold" if bold else "normal")
    if legend:
        legend_below(figure, legend)
    if source is not None:
        note_source(figure, source)
    return figure


def layout(figure: Figure) -> ConstrainedLayoutEngine:
    """Give the layout of a figure of this style: STYLE makes it the constrained one."""
    engine = figure.get_layout_engine()
    assert isinstance(engine, ConstrainedLayoutEngine)
    return engine


def foot_room(figure: Figure, inches: float) -> None:
    """Keep a strip at the foot of a figure free of axes."""
    share = inches / figure.get_figheight()
    layout(figure).set(rect=(0, share, 1, 1 - share))


def source_note(source: str) -> str:
    """Return what data are, by a name of SOURCE_NOTES, or several joined by "+". Raises SpiderError on another."""
    for part in source.split(JOIN):
        if part not in SOURCE_NOTES:
            raise SpiderError(
                f"figure: expected a source out of {', '.join(SOURCE_NOTES)}, found {part!r}; name one of them"
            )
    return "; ".join(dict.fromkeys(SOURCE_NOTES[part] for part in source.split(JOIN)))


def note_source(figure: Figure, source: str) -> None:
    """Write at the foot of the picture what its data are, by a name of SOURCE_NOTES.

    Raises SpiderError on another one, since a picture of MRI must not go without its attribution.
    """
    note = source_note(source)
    size = min(9.5, 0.97 * 72 * figure.get_figwidth() / (LETTER * len(note)))
    figure.text(0.99, 0.012, note, ha="right", va="bottom", fontsize=size, color="#555555")


def save_figure(figure: Figure, folder: Path | str, name: str, dpi: int = 300) -> list[Path]:
    """Write `folder`/`name`.png and .svg and return both paths. The same figure gives the same bytes each time."""
    figure.draw_without_rendering()  # the layout settles before the first file is written
    metadata = {"png": {"Software": None}, "svg": {"Date": None, "Creator": None}}
    paths = []
    with mpl.rc_context({"svg.hashsalt": name}):
        for suffix, facts in metadata.items():
            path = Path(folder) / f"{name}.{suffix}"
            with atomic_path(path) as temporary:
                figure.savefig(temporary, dpi=dpi if suffix == "png" else min(dpi, SVG_DPI), metadata=facts)
                if suffix == "svg":  # texts stand in comments, and XML has no place for control characters
                    temporary.write_bytes(temporary.read_bytes().translate(None, NOT_IN_XML))
            paths.append(path)
    return paths


def keep(figure: Figure, folder: Path | str, name: str) -> Figure:
    """Save a figure (see `save_figure`) and give it back, so that a notebook's cell ends with it and shows it."""
    save_figure(figure, folder, name)
    return figure


def name_cells(axes: Axes, rows: Sequence[str], columns: Sequence[str]) -> None:
    """Name the rows and columns of a picture with one cell each, without ticks and frame."""
    axes.set_xticks(range(len(columns)), columns)
    axes.set_yticks(range(len(rows)), rows)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def class_patches(names: tuple[str, ...] = FOREGROUND) -> list[Patch]:
    """Give the legend's entries for these classes."""
    return [Patch(color=CLASS_COLOURS[name], label=name) for name in names]


def error_patches(names: Mapping[str, str] = ERROR_NAMES) -> list[Patch]:
    """Give the legend's entries for true positive, false positive and false negative (see `paint_errors`)."""
    return [Patch(color=colour, label=names[name]) for name, colour in ERROR_COLOURS.items()]


def point_entry(label: str, colour: str, marker: str = "o", size: float = 8, **look: Any) -> Line2D:
    """Give a legend's entry for points; `look` goes to Line2D."""
    style: dict[str, Any] = {"linestyle": "none", "marker": marker, "color": colour, "markersize": size, "label": label}
    return Line2D([], [], **style | look)


def legend_below(figure: Figure, handles: Sequence[Artist]) -> None:
    """Put one legend for the whole figure under its axes, in one row, above the attribution."""
    foot_room(figure, FOOT_INCHES + LEGEND_INCHES)
    place = {"loc": "lower center", "bbox_to_anchor": (0.5, FOOT_INCHES / figure.get_figheight()), "borderaxespad": 0}
    figure.legend(handles=handles, ncols=len(handles), columnspacing=1.4, handlelength=1.6, **place)
