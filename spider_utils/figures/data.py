"""Figures of notebooks 01 and 02: what is in the data, and the way from a volume to a slice."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from spider_utils.data.labels import CLASSES, FOREGROUND
from spider_utils.data.series import CODINGS, SEQUENCES
from spider_utils.figures.painting import paint_classes, show_slices
from spider_utils.figures.style import (
    BESIDE,
    CLASS_COLOURS,
    LINE_COLOURS,
    SEQUENCE_COLOURS,
    SEQUENCE_MARKERS,
    SLIDE,
    class_patches,
    finish,
    found_in,
    new_figure,
    spoken,
)

KEPT_COLOUR = "#0072B2"
DROPPED_COLOURS = ("#EDEDED", "#D2D2D2", "#B0B0B0", "#8C8C8C")  # 1, 2, 3, 4 classes present
STRIP_COLUMNS = 240  # positions across a row of the audit figure
MOST_NAMES = 24  # more series than this are drawn without their names


def series_counts(table: pd.DataFrame, *, source: str) -> Figure:
    """Bars of the number of series by sequence and subset. `table`: one row a series, columns sequence and subset."""
    figure, ((axes,),) = new_figure()
    subsets = found_in(table["subset"], ("training", "validation", ""))
    sequences = found_in(table["sequence"], SEQUENCES)
    width = 0.8 / len(subsets)
    for place, subset in enumerate(subsets):
        counts = [((table["sequence"] == name) & (table["subset"] == subset)).sum() for name in sequences]
        x = np.arange(len(sequences)) + (place - (len(subsets) - 1) / 2) * width
        edges = [SEQUENCE_COLOURS[name] for name in sequences]
        fill, hatch = (edges, "") if place == 0 else ("white", "//")
        bars = axes.bar(x, counts, width * 0.92, color=fill, edgecolor=edges, hatch=hatch, linewidth=1.5)
        axes.bar_label(bars, [f"{count}\n{subset or 'subset unknown'}" for count in counts], padding=3)
    axes.set_xticks(range(len(sequences)), [spoken(name) for name in sequences], fontsize=13)
    axes.set_ylabel("Number of series")
    half = max(len(sequences), 3) / 2 + 0.1
    axes.set_xlim((len(sequences) - 1) / 2 - half, (len(sequences) - 1) / 2 + half)
    axes.margins(y=0.18)
    return finish(figure, f"{len(table)} series by sequence and subset", source=source)


def spacing_scatter(table: pd.DataFrame, *, source: str) -> Figure:
    """Distance of slices against pixel size, both in mm, one point a series.

    `table`: columns sequence, pixel_mm_row and slice_mm; series with NaN (spacing not known) are counted, not drawn.
    """
    figure, ((axes,),) = new_figure(grid="both")
    known = table.dropna(subset=["pixel_mm_row", "slice_mm"])
    for name in found_in(known["sequence"], SEQUENCES):
        part = known[known["sequence"] == name]
        label = f"{spoken(name)} ({len(part)} series)"
        style = {"s": 80, "marker": SEQUENCE_MARKERS[name], "color": SEQUENCE_COLOURS[name], "alpha": 0.6}
        axes.scatter(part["pixel_mm_row"], part["slice_mm"], label=label, clip_on=False, **style)
    axes.set(xlabel="Pixel size within a slice, mm", ylabel="Distance of neighbouring slices, mm", xlim=(0, None))
    axes.set_ylim(0, None)
    missing = f"{len(table) - len(known)} of {len(table)} series do not state their spacing"
    if len(known):
        axes.legend(**BESIDE)
        axes.set_title(missing if len(known) < len(table) else "", fontsize=12, color="#555555")
    else:
        axes.text(0.5, 0.5, missing, transform=axes.transAxes, ha="center", fontsize=14)
        axes.set_axis_off()
    return finish(figure, "Pixel size and distance of slices, by sequence", source=source)


def overlay(image: np.ndarray, classes: np.ndarray, title: str, *, source: str, aspect: float = 1.0) -> Figure:
    """One slice (H, W) without and with its classes 0..3 painted; `aspect` is row over column spacing."""
    panels = [("MRI", image), ("MRI with reference classes", paint_classes(image, classes))]
    return finish(show_slices(panels, aspects=[aspect] * 2), title, source=source, legend=class_patches())


def slice_grid(
    images: Sequence[np.ndarray],
    classes: Sequence[np.ndarray | None],
    titles: Sequence[str],
    *,
    source: str,
    heading: str = "Slices from the patient's right to the left",
    aspect: float | Sequence[float] = 1.0,
) -> Figure:
    """Slices (H, W) in order of reading, with their classes painted where there are any; up to twelve are readable.

    `aspect`: row over column spacing, of all or of each. Slices may have different sizes.
    """
    columns = min(6, len(images)) if len(images) != 8 else 4
    rows = -(-len(images) // columns)
    pictures = _pictures(images, classes)
    size = SLIDE if rows > 1 else (10, 3.3)
    panels = list(zip(titles, pictures, strict=False))
    aspects = list(aspect) if isinstance(aspect, Sequence) else [aspect] * len(panels)
    figure = show_slices(panels, size, (rows, columns), aspects=aspects, fontsize=11)
    return finish(figure, heading, source=source, legend=_patches(classes))


def label_values(values: Mapping[str, Sequence[int]], coding: str, *, source: str) -> Figure:
    """Which values stand in each series' mask: one row a series, one column a value, coloured by class.

    `values`: series name to the values found; `coding`: what they mean, one of series.CODINGS.
    """
    to_class = CODINGS[coding]
    columns = np.array(sorted(set().union(*(map(int, found) for found in values.values()))))
    colours = np.array([to_rgb(CLASS_COLOURS[CLASSES[number]]) for number in to_class(columns)])
    present = np.array([np.isin(columns, np.asarray(list(found))) for found in values.values()])
    figure, ((axes,),) = new_figure()
    axes.imshow(np.where(present[..., None], colours, 1.0), aspect="auto", interpolation="nearest")
    axes.set_xticks(range(len(columns)), columns, rotation=90 if len(columns) > 20 else 0)
    _name_rows(axes, list(values))
    for edge in range(1, len(columns)):
        axes.axvline(edge - 0.5, color="white", linewidth=1)
    for edge in range(1, len(values) if len(values) <= MOST_NAMES else 0):
        axes.axhline(edge - 0.5, color="white", linewidth=1)
    axes.set_xlabel("SPIDER label number" if coding == "spider" else "Value in the mask")
    title = "Values found in each series' mask (white: absent)"
    return finish(figure, title, source=source, legend=class_patches(CLASSES))


def class_balance(table: pd.DataFrame, *, source: str) -> Figure:
    """Share of pixels by class and sequence: of all pixels at the left, of the foreground at the right.

    `table`: one row a slice, columns sequence and n_background, n_vertebrae, n_canal, n_discs (pixels).
    """
    sequences = found_in(table["sequence"], SEQUENCES)
    counts = table.groupby("sequence")[[f"n_{name}" for name in CLASSES]].sum().loc[sequences]
    half = max(len(sequences), 2) / 2 + 0.1
    figure, ((whole, front),) = new_figure(1, 2, sharey=True)
    for axes, names, title in ((whole, CLASSES, "All pixels"), (front, FOREGROUND, "Foreground pixels only")):
        part = counts[[f"n_{name}" for name in names]].to_numpy(float)
        share = 100 * part / part.sum(axis=1, keepdims=True)
        left = np.zeros(len(sequences))
        for column, name in enumerate(names):
            width = share[:, column]
            look = {"color": CLASS_COLOURS[name], "height": 0.6, "edgecolor": "white"}
            bars = axes.barh(range(len(sequences)), width, left=left, **look)
            labels = [f"{value:.1f} %" if value >= 12 else "" for value in width]
            ink = "white" if name == "background" else "black"
            axes.bar_label(bars, labels, label_type="center", color=ink, fontsize=12)
            left += width
        axes.set(title=title, xlabel="Share of pixels, %", xlim=(0, 100))
        axes.set_ylim((len(sequences) - 1) / 2 + half, (len(sequences) - 1) / 2 - half)
    whole.set_yticks(range(len(sequences)), [spoken(name) for name in sequences], fontsize=13)
    return finish(figure, "Class balance by sequence", source=source, legend=class_patches(CLASSES))


def pose(
    stored: np.ndarray, spacing_mm: Sequence[float], common: np.ndarray, pixel_mm: Sequence[float], *, source: str
) -> Figure:
    """The middle plane along each axis of a stored volume, and the middle slice of the same series in the common pose.

    `stored`: array as read from the file, with the spacing of its three axes; `common`: (D, H, W) of a SliceStack with
    its pixel_mm (row, column).
    """
    planes = [np.take(stored, size // 2, axis=axis) for axis, size in enumerate(stored.shape)] + [
        common[len(common) // 2]
    ]
    spacings = [np.delete(np.asarray(spacing_mm, float), axis) for axis in range(3)] + [np.asarray(pixel_mm, float)]
    titles = [f"as stored, middle\nof array axis {axis}" for axis in range(3)] + ["common pose,\nmiddle slice"]
    widths = np.array([plane.shape[1] * spacing[1] for plane, spacing in zip(planes, spacings, strict=True)])
    panels, aspects = list(zip(titles, planes, strict=True)), [spacing[0] / spacing[1] for spacing in spacings]
    figure = show_slices(panels, (10, 4.6), aspects=aspects, width_ratios=np.maximum(widths, widths.max() * 0.6))
    last = figure.axes[3]
    style: dict[str, Any] = {"color": "white", "fontsize": 11, "transform": last.transAxes}
    style["bbox"] = {"facecolor": "black", "alpha": 0.6, "edgecolor": "none", "pad": 2}
    for text, x, y, across, down, rotation in (
        ("superior", 0.5, 0.98, "center", "top", 0),
        ("inferior", 0.5, 0.02, "center", "bottom", 0),
        ("anterior", 0.03, 0.5, "left", "center", 90),
        ("posterior", 0.97, 0.5, "right", "center", 90),
    ):
        last.text(x, y, text, ha=across, va=down, rotation=rotation, **style)
    return finish(figure, "Direction cosines, not the order of the array, decide the pose", source=source)


def preprocess_steps(
    steps: Sequence[tuple[str, np.ndarray, np.ndarray | None]], *, source: str, aspects: Sequence[float] | None = None
) -> Figure:
    """One panel a step: (title, slice (H, W), classes or None), with the size in pixels under the title.

    `aspects`: row over column spacing in each step, where it is not 1.
    """
    titles, images, masks = zip(*steps, strict=True)
    sizes = [f"{image.shape[1]} × {image.shape[0]} px" for image in images]
    titles = [f"{title}\n{size}" for title, size in zip(titles, sizes, strict=True)]
    panels = list(zip(titles, _pictures(images, masks), strict=True))
    figure = show_slices(panels, (10, 4.6), aspects=aspects, fontsize=12)
    return finish(figure, "One slice, step by step (width × height)", source=source, legend=_patches(masks))


def intensity_histograms(before: np.ndarray, after: Mapping[str, np.ndarray], *, source: str) -> Figure:
    """Histograms of intensity as stored and after each named scaling to 0..255 (any shapes)."""
    figure, (row,) = new_figure(1, 1 + len(after), sharey=True)
    panels = {"as stored": before, **after}
    for place, (axes, (title, values)) in enumerate(zip(row, panels.items(), strict=True)):
        share, edges = np.histogram(np.asarray(values, np.float32).ravel(), bins=128)
        axes.stairs(100 * share / share.sum(), edges, fill=True, color=LINE_COLOURS[min(place, 1)])
        axes.set(title=title, xlabel="Intensity, a.u." if place == 0 else "Grey value", yscale="log")
        axes.locator_params(axis="x", nbins=5)
    row[0].set_ylabel("Share of pixels, %")
    return finish(figure, "Intensities before and after scaling", source=source)


def audit_strips(audit: pd.DataFrame, *, source: str) -> Figure:
    """Which slices were kept: one row a series from its first slice to its last, blue kept, grey dropped.

    `audit`: one row a slice with series, sequence, slice_index, classes_present and kept.
    """
    colours = np.array([to_rgb(colour) for colour in (*DROPPED_COLOURS, KEPT_COLOUR)])
    names, rows = [], []
    for name in found_in(audit["sequence"], SEQUENCES):
        for series, part in audit[audit["sequence"] == name].groupby("series", sort=True):
            part = part.sort_values("slice_index")
            code = np.where(part["kept"], 4, part["classes_present"].clip(1, 4) - 1).astype(int)
            rows.append(colours[code[np.arange(STRIP_COLUMNS) * len(code) // STRIP_COLUMNS]])
            names.append(series)
    figure, ((axes,),) = new_figure()
    axes.imshow(np.array(rows), aspect="auto", interpolation="nearest", extent=(0, 100, len(rows) - 0.5, -0.5))
    for edge in range(1, len(rows) if len(rows) <= MOST_NAMES else 0):
        axes.axhline(edge - 0.5, color="white", linewidth=2)
    _name_rows(axes, names)
    axes.set_xlabel("Position in the series, % (first slice to last)")
    kept = int(audit["kept"].sum())
    patches = [Patch(color=KEPT_COLOUR, label="kept")]
    for number in sorted(audit.loc[~audit["kept"].astype(bool), "classes_present"].clip(1, 4).unique()):
        label = f"dropped, {number} class" + ("es" if number > 1 else "")
        patches.append(Patch(color=DROPPED_COLOURS[int(number) - 1], label=label))
    title = f"{kept} of {len(audit)} slices kept, {len(names)} series"
    return finish(figure, title, source=source, legend=patches)


def _pictures(images: Sequence[np.ndarray], masks: Sequence[np.ndarray | None]) -> list[np.ndarray]:
    """Give each slice with its classes painted where there are any."""
    pairs = zip(images, masks, strict=False)
    return [image if mask is None else paint_classes(image, mask) for image, mask in pairs]


def _patches(masks: Sequence[np.ndarray | None]) -> list[Patch]:
    """Give the legend's entries of the classes, where there are any."""
    return class_patches() if any(mask is not None for mask in masks) else []


def _name_rows(axes: Axes, names: Sequence[str]) -> None:
    if len(names) <= MOST_NAMES:
        axes.set_yticks(range(len(names)), names)
    else:
        axes.set_yticks([])
        axes.set_ylabel(f"{len(names)} series, one row each")
