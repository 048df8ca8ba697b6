"""Figures of whole volumes: three planes, surfaces, a numbered spine, and how far measurements agree."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke
from scipy.ndimage import gaussian_filter, zoom
from scipy.ndimage import label as label_pieces

from spider_utils.data.labels import CANAL_LABEL, CLASSES, FOREGROUND, four_classes
from spider_utils.evaluate.agreement import bland_altman
from spider_utils.figures.painting import foreground_box, grey_levels, paint_classes, show_slices
from spider_utils.figures.style import CLASS_COLOURS, class_patches, finish, new_figure, point_entry
from spider_utils.figures.surface import VIEWS, View, distance_fields, render
from spider_utils.masks.measures import FIRST_DISC, structure_name

SQUARE_MM = 0.35  # pixels of a plane as it is drawn
BARS_MM = (50, 20, 10)  # the longest that fits is drawn
AROUND_MM = 20  # shown in front of the spine and behind it in the axial plane
SURFACE_MM = 0.4  # pixels of a surface
BAR_ROOM_MM = 20  # under a surface
ON_DARK: dict[str, Any] = {
    "color": "white",
    "fontsize": 12,
    "path_effects": [withStroke(linewidth=2.5, foreground="black")],
}
PLANES = {"sagittal": (1, 2), "coronal": (1, 0), "axial": (2, 0)}  # the volume's axes along rows and columns
SIDES = {"sagittal": "SIAP", "coronal": "SIRL", "axial": "APRL"}  # at the top, the bottom, the left and the right
MEASURE_NAMES = {
    "height_mm": "Disc height",
    "anterior_mm": "Anterior disc height",
    "middle_mm": "Middle disc height",
    "posterior_mm": "Posterior disc height",
    "depth_mm": "Disc depth",
    "ap_mm": "Canal diameter",
    "area_mm2": "Canal area",
}
UNITS = {"mm": "mm", "mm2": "mm²"}
DIGITS = {"mm": 2, "mm²": 1}
LEVEL_MARKS = {"discs": ("o", "at a disc"), "vertebrae": ("s", "at a vertebra")}


def three_planes(
    image: np.ndarray,
    classes: np.ndarray | None,
    spacing: tuple[float, float, float],
    title: str,
    *,
    source: str,
    at: tuple[int, int, int] | None = None,
) -> Figure:
    """A sagittal, a coronal and an axial plane of a volume (D, H, W) in the common pose, its classes 0..3 painted.

    `spacing`: slice, row and column in mm. `at`: the voxel (slice, row, column) in which the planes cross; without it
    they cross in the disc in the middle of the spine, and without classes in the middle of the volume. Dashed lines
    show where the others cut. Planes are interpolated linearly to square pixels, masks too; the axial one shows what is
    around the spine, enlarged. As usual the patient's right is at the left of the coronal and the axial plane.
    """
    if at is None:
        at = tuple(size // 2 for size in image.shape) if classes is None else _crossing(classes)
    planes = [_plane(image, classes, spacing, at, *axes) for axes in PLANES.values()]
    ratios = [picture.shape[1] / picture.shape[0] for picture, _ in planes]
    named = [(name, picture) for name, (picture, _) in zip(PLANES, planes, strict=True)]
    figure = show_slices(named, width_ratios=ratios)
    for axes, name, (picture, (row, column)) in zip(figure.axes, PLANES, planes, strict=True):
        for line in (axes.axhline(row), axes.axvline(column)):
            line.set(color="white", linewidth=1, linestyle=(0, (4, 4)), alpha=0.8)
        _letters(axes, SIDES[name])
        _scale_bar(axes, picture.shape, SQUARE_MM, 0.92, **ON_DARK)
    return finish(figure, title, source=source, legend=[] if classes is None else _patches(classes))


def surfaces(
    classes: np.ndarray,
    spacing: tuple[float, float, float],
    title: str,
    *,
    source: str,
    views: Sequence[View] = VIEWS,
) -> Figure:
    """Vertebrae, canal and discs of a volume (D, H, W) of classes 0..3 in the common pose, as shaded surfaces.

    `spacing`: slice, row and column in mm. One panel a view, all of one scale, without perspective. Surfaces are
    smoothed, and between thick slices interpolated (see `surface.distance_fields`), so they are for looking at only.
    Where nothing is foreground, the figure says so.
    """
    if not classes.any():
        figure, ((axes,),) = new_figure()
        say_nothing(axes, "no voxel is foreground: there is no surface")
        return finish(figure, title, source=source)
    names, pictures = rendered(classes, spacing, views)
    height = max(len(picture) for picture in pictures.values()) + round(BAR_ROOM_MM / SURFACE_MM)
    widths = [picture.shape[1] for picture in pictures.values()]
    panels = [(name, np.pad(one, [(0, height - len(one)), (0, 0), (0, 0)])) for name, one in pictures.items()]
    figure = show_slices(panels, width_ratios=widths)
    _scale_bar(figure.axes[0], (height, widths[0]), SURFACE_MM, 0.985, color="black", fontsize=12)
    return finish(figure, title, source=source, legend=class_patches(names))


def rendered(
    classes: np.ndarray, spacing: tuple[float, float, float], views: Sequence[View]
) -> tuple[tuple[str, ...], dict[str, np.ndarray]]:
    """Return the classes that are there, and the surfaces by the view's name, (H, W, 4) of 0..1 without empty margins.

    Arguments as in `surfaces`. Raises SpiderError where nothing is foreground.
    """
    fields = distance_fields(classes, spacing)
    colours = {name: to_rgb(CLASS_COLOURS[name]) for name in fields}
    pictures = {view.name: _trimmed(render(fields, colours, view, SURFACE_MM)) for view in views}
    return tuple(fields), pictures


def numbered_spine(
    image: np.ndarray,
    labels: np.ndarray,
    title: str,
    *,
    source: str,
    aspect: float = 1.0,
    notes: Mapping[int, str] | None = None,
) -> Figure:
    """A slice (H, W), and beside it the same with each vertebra and disc of its label map outlined and named.

    Vertebrae carry their names; those of discs stand beside the slice. `labels`: SPIDER's numbers, (H, W), 1 taken as
    L5 (see `measures.structure_name`); `aspect`: row over column spacing; `notes`: what to write after a name, by
    label, such as {201: "8.4 mm"}.
    """
    box = foreground_box(labels, margin=labels.shape[0] // 7)
    image, labels = grey_levels(image)[box], labels[box]
    names = {int(label): structure_name(label) for label in np.unique(labels) if label not in (0, CANAL_LABEL)}
    names |= {label: f"{names[label]}  {note}" for label, note in (notes or {}).items() if label in names}
    figure = show_slices([("MRI", image), ("vertebrae and discs by name", image)], aspects=[aspect] * 2)
    named = figure.axes[1]
    for label in (*names, CANAL_LABEL):
        mask = labels == label
        if mask.any():
            outline = {"colors": [_class_colour(label)], "linewidths": 1.8}
            named.contour(gaussian_filter(mask.astype(float), 0.7), levels=[0.5], **outline)
    for label, name in names.items():
        row, column, front = _body(labels == label)
        if label < FIRST_DISC:
            style = ON_DARK | {"color": _class_colour(label), "fontweight": "bold"}
            named.text(column, max(row, 0.02 * len(labels)), name, ha="center", va="center", **style)
        else:
            outside: dict[str, Any] = {"xytext": (-0.03, row), "textcoords": named.get_yaxis_transform()}
            line = {"arrowstyle": "-", "color": _class_colour(label), "linewidth": 1.2, "shrinkA": 1, "shrinkB": 0}
            named.annotate(name, (front, row), arrowprops=line, ha="right", va="center", **outside)
    return finish(figure, title, source=source, legend=_patches(four_classes(labels)))


def measure_agreement(
    table: pd.DataFrame,
    *,
    source: str,
    measures: Sequence[str] = ("height_mm", "ap_mm"),
    title: str = "Measured on the prediction and on the reference",
    other: str = "Prediction",
) -> Figure:
    """Difference against mean of two readings, one panel a measure (Bland & Altman 1986).

    `table`: of `agreement.compare_measures`, of one series or several, discs and canal together. Lines are the
    bias and the limits of agreement (bias ± 1.96 SD), bands their 95 % intervals, which take levels of a patient as
    independent; `other` names the second reading. A measure without any pair has a panel that says so.
    """
    figure, (panels,) = new_figure(1, len(measures), grid="both")
    for axes, measure in zip(panels, measures, strict=True):
        part = table[table["measure"] == measure].dropna(subset=["difference"])
        if part.empty:
            say_nothing(axes, f"{MEASURE_NAMES[measure]}:\nnothing was measured on both")
            continue
        unit = UNITS[part["unit"].iloc[0]]
        _draw_agreement(axes, part, unit)
        axes.set(title=f"{MEASURE_NAMES[measure]}, n = {len(part)}", xlabel=f"Mean of both, {unit}")
        axes.set_ylabel(f"{other} − reference, {unit}")
    legend = [point_entry(text, CLASS_COLOURS[name], marker) for name, (marker, text) in LEVEL_MARKS.items()]
    return finish(figure, title, source=source, legend=legend)


def say_nothing(axes: Axes, text: str) -> None:
    """Write into empty axes what cannot be shown."""
    axes.text(0.5, 0.5, text, ha="center", va="center", transform=axes.transAxes)
    axes.set_axis_off()


def _draw_agreement(axes: Axes, part: pd.DataFrame, unit: str) -> None:
    agreement = bland_altman(part["reference"].to_numpy(), part["other"].to_numpy())
    kind = np.where(part["label"] >= FIRST_DISC, "discs", "vertebrae")
    for name, (marker, _) in LEVEL_MARKS.items():
        x, y = part.loc[kind == name, ["mean", "difference"]].to_numpy().T
        axes.scatter(x, y, s=45, marker=marker, color=CLASS_COLOURS[name], alpha=0.8, edgecolor="white")
    lines = (
        ("+1.96 SD", agreement.upper, agreement.upper_interval, "--"),
        ("bias", agreement.bias, agreement.bias_interval, "-"),
        ("−1.96 SD", agreement.lower, agreement.lower_interval, "--"),
    )
    for name, value, interval, style in lines:
        if np.isfinite(interval).all():
            axes.axhspan(*interval, color="#666666", alpha=0.15, linewidth=0)
        if np.isfinite(value):
            axes.axhline(value, color="black", linestyle=style, linewidth=1.5)
            written = f"{value:+.{DIGITS[unit]}f} {unit}".replace("-", "−")
            axes.text(1.02, value, f"{name}\n{written}", transform=axes.get_yaxis_transform(), va="center")
    reach = np.nanmax(np.abs([*part["difference"], *agreement.lower_interval, *agreement.upper_interval]))
    limit = 1.15 * (reach or 1.0)
    axes.set_ylim(-limit, limit)


def _body(mask: np.ndarray) -> tuple[float, float, int]:
    """Return the middle (row, column) of a mask's largest piece, of a vertebra its body, and its first column there."""
    pieces, _ = label_pieces(mask)
    rows, columns = np.nonzero(pieces == np.bincount(pieces[mask]).argmax())
    return rows.mean(), columns.mean(), columns[np.abs(rows - rows.mean()) <= 1].min()


def _patches(classes: np.ndarray) -> list[Patch]:
    """Give the legend's entries for the classes that are there."""
    return class_patches(tuple(name for name in FOREGROUND if (classes == CLASSES.index(name)).any()))


def _class_colour(label: int) -> str:
    return CLASS_COLOURS[CLASSES[int(four_classes(np.array(label)))]]


def _crossing(classes: np.ndarray) -> tuple[int, int, int]:
    """Return the voxel of a disc in the middle of the spine; without discs that of the volume."""
    discs = classes == CLASSES.index("discs")
    if not discs.any():
        return tuple(size // 2 for size in classes.shape)
    low, high = np.percentile(np.flatnonzero(classes.any(axis=(0, 2))), (35, 65)).astype(int)
    area = discs.sum(axis=(0, 2))
    row = low + int(area[low : high + 1].argmax()) if area[low : high + 1].any() else int(area.argmax())
    slices, columns = np.nonzero(discs[:, row])
    return int(np.median(slices)), int(row), int(np.median(columns))


def _plane(
    image: np.ndarray,
    classes: np.ndarray | None,
    spacing: tuple[float, float, float],
    at: tuple[int, int, int],
    down: int,
    across: int,
) -> tuple[np.ndarray, tuple[float, float]]:
    """Return a plane through `at` with square pixels, painted, and its row and column where the others cut it.

    `down` and `across`: the volume's axes along the plane's rows and columns. A plane from anterior to posterior is
    shown around the spine only.
    """
    shown = slice(None)
    if down == 2 and classes is not None and classes.any():
        filled, margin = [*np.flatnonzero(classes.any(axis=(0, 1))), at[2]], round(AROUND_MM / spacing[2])
        shown = slice(max(0, int(min(filled)) - margin), int(max(filled)) + margin + 1)
    fixed = 3 - down - across
    scale = np.array([spacing[down], spacing[across]]) / SQUARE_MM
    cut = [volume.take(at[fixed], axis=fixed) for volume in (image, classes) if volume is not None]
    cut = [plane[shown] if down < across else plane.T[shown] for plane in cut]
    picture = _squared(cut[0], scale)
    if classes is not None:
        shares = [_squared(cut[1] == number, scale) for number in range(len(CLASSES))]
        picture = paint_classes(picture, np.argmax(shares, axis=0))
    cuts = (np.array([at[down] - (shown.start or 0), at[across]]) + 0.5) * scale - 0.5
    return picture, tuple(cuts)


def _squared(plane: np.ndarray, scale: np.ndarray) -> np.ndarray:
    return zoom(plane.astype(np.float32), scale, order=1, grid_mode=True, mode="nearest")


def _trimmed(picture: np.ndarray) -> np.ndarray:
    rows, columns = (np.flatnonzero(picture[..., 3].any(axis=axis)) for axis in (1, 0))
    return picture[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _letters(axes: Axes, letters: str) -> None:
    places = (
        (0.5, 0.985, "center", "top"),
        (0.5, 0.015, "center", "bottom"),
        (0.015, 0.5, "left", "center"),
        (0.985, 0.5, "right", "center"),
    )
    for letter, (x, y, ha, va) in zip(letters, places, strict=True):
        axes.text(x, y, letter, transform=axes.transAxes, ha=ha, va=va, fontweight="bold", **ON_DARK)


def _scale_bar(axes: Axes, shape: tuple[int, ...], pixel_mm: float, height: float, **style: Any) -> None:
    """Draw one of BARS_MM at the left of a picture with square pixels, `height` of it down; `style` is its text's."""
    length = next((bar for bar in BARS_MM if bar <= 0.8 * shape[1] * pixel_mm), BARS_MM[-1])
    left, bottom = 0.06 * shape[1], height * shape[0]
    line = {"color": style["color"], "path_effects": style.get("path_effects"), "solid_capstyle": "butt"}
    axes.plot([left, left + length / pixel_mm], [bottom, bottom], linewidth=3, scalex=False, scaley=False, **line)
    axes.annotate(f"{length} mm", (left, bottom), (0, 4), textcoords="offset points", ha="left", va="bottom", **style)
