"""Figures of the error analysis: what fails, where, why, in whom. They show the tables of spider_utils.analysis."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from spider_utils.analysis.causes import CAUSES, FAULTS
from spider_utils.analysis.pathology import FEWEST
from spider_utils.analysis.unseen import Unseen
from spider_utils.analysis.where import LIMITS, REGIONS
from spider_utils.analysis.wrong import EVERY
from spider_utils.data.labels import FOREGROUND
from spider_utils.figures.forest import intervals
from spider_utils.figures.painting import (
    foreground_box,
    grey_levels,
    paint_classes,
    paint_errors,
    show_slice,
    show_slices,
)
from spider_utils.figures.results import scores_by_patient
from spider_utils.figures.style import (
    FOREGROUND_COLOUR,
    SCORE_COLOURS,
    SCORED,
    class_patches,
    error_patches,
    finish,
    found_in,
    new_figure,
    point_entry,
    rgb,
)

COLOURS = SCORE_COLOURS | {EVERY: FOREGROUND_COLOUR}
MARKERS = {"vertebrae": "o", "canal": "s", "discs": "^", "foreground": "D", EVERY: "D"}
# Okabe and Ito's colours, and grey and white for what is left; the order is that of the tables.
KIND_COLOURS = ("#CC79A7", "#F0E442", "#0072B2", "#D55E00", "#E69F00", "#56B4E9", "#009E73", "#999999", "#FFFFFF")
CAUSE_COLOURS = dict(zip(CAUSES, KIND_COLOURS[:6], strict=True))
HALF = 42  # rows and columns around a suspected fault, on a slice of 640 rows
SIDE_BY_SIDE = 5


def groups(table: pd.DataFrame, *, source: str) -> Figure:
    """Dice of each class by place in the series, size in the slice, and field strength where it is known.

    `table`: of `analysis.groups.group_table`.
    """
    names = {"lateral": "Slice in its series", "size": "Structure's size in the slice", "field": "Field strength"}
    shown = found_in(table["group"], names)
    counts = [table.loc[table["group"] == name, "value"].nunique() for name in shown]
    figure, (row,) = new_figure(1, len(shown), grid="y", sharey=True, width_ratios=[count + 1 for count in counts])
    for axes, name in zip(row, shown, strict=True):
        part = table[table["group"] == name]
        values = list(dict.fromkeys(part["value"]))
        for shift, kind in zip(np.linspace(-0.24, 0.24, len(SCORED)), SCORED, strict=True):
            own = part[part["class"] == kind].set_index("value").loc[values]
            _points(axes, np.arange(len(values)) + shift, own, "dice", kind)
        patients = part[part["class"] == "foreground"].set_index("value")["patients"]
        texts = [f"{value.replace(' third', '')}\n({patients[value]} patients)" for value in values]
        axes.set_xticks(range(len(values)), texts, fontsize=9)
        axes.set(title=names[name], xlim=(-0.6, len(values) - 0.4))
        axes.title.set_fontsize(12)
    row[0].set_ylabel("Dice, mean over patients")
    title = "Dice on unseen patients by place, size and scanner (95 % intervals over patients)"
    return finish(figure, title, source=source, legend=_class_entries(SCORED))


def patients(table: pd.DataFrame, *, source: str) -> Figure:
    """Dice by patient and class, the worst patient first; `table`: of `analysis.groups.group_table`."""
    part = table[table["group"] == "patient"].rename(columns={"value": "patient"})
    return scores_by_patient(part, source=source)


def distances(table: pd.DataFrame, *, source: str) -> Figure:
    """Share of the wrong pixels within so many pixels of the contour; `table`: of `analysis.where.distance_table`."""
    figure, ((axes,),) = new_figure(grid="y")
    for shift, name in zip((-0.06, -0.02, 0.02, 0.06), (*FOREGROUND, EVERY), strict=True):
        part = table[table["class"] == name]
        axes.plot(part["within"] + shift, 100 * part["share"], color=COLOURS[name])
        _points(axes, part["within"] + shift, part, "share", name, 100)
    for row in table[table["class"] == EVERY].itertuples():
        place = {"textcoords": "offset points", "ha": "left", "va": "top", "fontsize": 11}
        axes.annotate(f"{100 * row.share:.0f} %", (row.within, 100 * row.share), (10, -8), **place)
    axes.set_xticks(LIMITS)
    axes.set(xlabel="Pixels from the reference's contour, at most", ylabel="Share of the wrong pixels, %")
    axes.set(ylim=(0, 100), xlim=(LIMITS[0] - 0.4, LIMITS[-1] + 0.6))
    title = "How near the contour the wrong pixels lie (95 % intervals over patients)"
    return finish(figure, title, source=source, legend=_class_entries((*FOREGROUND, EVERY)))


def shares(table: pd.DataFrame, by: str, *, source: str) -> Figure:
    """Wrong pixels by region or cause (`by`), the classes stacked; `table`: of `region_table` or `cause_table`."""
    whole = table[table["class"] == EVERY].set_index(by)
    order = [name for name in whole.sort_values("pixels").index if whole.loc[name, "pixels"] > 0]
    figure, ((axes,),) = new_figure(grid="x")
    left = np.zeros(len(order))
    for name in FOREGROUND:
        width = 100 * table[table["class"] == name].set_index(by).loc[order, "share_of_all"].to_numpy()
        axes.barh(order, width, left=left, color=COLOURS[name])
        left += width
    low, high = (100 * whole.loc[order, name].to_numpy() for name in ("ci_low", "ci_high"))
    intervals(axes, order, left, low, high, lying=True, fmt="none", ecolor="#000000")
    for place in range(len(order)):
        axes.text(np.nanmax([high[place], left[place]]) + 0.7, place, f"{left[place]:.1f} %", va="center", fontsize=11)
    axes.set(xlabel="Share of all wrong pixels, %", xlim=(0, 1.12 * np.nanmax([*high, *left])))
    heading = {"region": "Where the wrong pixels sit", "cause": "Why pixels are wrong"}[by]
    return finish(figure, f"{heading} (95 % intervals over patients)", source=source, legend=class_patches())


def levels(table: pd.DataFrame, *, source: str) -> Figure:
    """Dice of every vertebra and disc by its level; `table`: of `analysis.structures.structure_table`."""
    figure, (row,) = new_figure(1, 2, grid="y", sharey=True)
    for axes, (structure, name) in zip(row, (("vertebra", "vertebrae"), ("disc", "discs")), strict=True):
        part = table[table["structure"] == structure]
        numbers = sorted(part["number"].unique())
        for number in numbers:
            values = part.loc[part["number"] == number, "dice"].dropna()
            spread = np.linspace(-0.25, 0.25, len(values)) if len(values) > 1 else np.zeros(len(values))
            axes.plot(number + spread, values, ".", color=COLOURS[name], alpha=0.6, markersize=6)
            axes.plot([number - 0.32, number + 0.32], [values.mean()] * 2, color="#000000")
        texts = [part.loc[part["number"] == number, "level"].iloc[0] for number in numbers]
        sizes = [(part["number"] == number).sum() for number in numbers]
        names = [f"{text} ({size})" for text, size in zip(texts, sizes, strict=True)]
        axes.set_xticks(numbers, names, fontsize=10, rotation=45, ha="right", rotation_mode="anchor")
        axes.set(title=f"{name}, from below (and how many)")
    row[0].set_ylabel("Dice of the single structure")
    return finish(figure, "Every vertebra and disc of the unseen patients (line: mean)", source=source)


def pathology(table: pd.DataFrame, *, source: str) -> Figure:
    """What a finding changes in the Dice of the disc and of the vertebra above it, within patients and levels.

    `table`: of `analysis.pathology.pathology_table`; findings that fewer than FEWEST patients have beside others are
    not drawn.
    """
    chosen = table[table["adjusted"].notna() & (table["pairs"] >= FEWEST)]
    figure, ((axes,),) = new_figure(size=(10, 6.4), grid="x")
    names = list(dict.fromkeys(zip(chosen["finding"], chosen["grade"], strict=True)))[::-1]
    for shift, (structure, kind) in zip((0.15, -0.15), (("disc", "discs"), ("vertebra", "vertebrae")), strict=True):
        part = chosen[chosen["structure"] == structure]
        for row in part.itertuples():
            y = names.index((row.finding, row.grade)) + shift
            axes.plot((row.adjusted_low, row.adjusted_high), (y, y), color=COLOURS[kind])
            axes.plot(row.adjusted, y, MARKERS[kind], color=COLOURS[kind], markersize=8)
    discs = chosen[chosen["structure"] == "disc"].set_index(["finding", "grade"])
    texts = []
    for name in names:
        counts = (
            f" ({discs.loc[name, 'structures']} discs, {discs.loc[name, 'patients']} patients)"
            if name in discs.index
            else ""
        )
        texts.append(f"{name[0]}{'' if name[1] == '1' and 'grade' not in name[0] else ' ' + name[1]}{counts}")
    axes.set_yticks(range(len(names)), texts, fontsize=10)
    axes.axvline(0, color="#666666", linewidth=1, linestyle="--")
    axes.set(xlabel="Dice with the finding minus without it,\nwithin patients, levels taken out")
    legend = [_entry("discs", "the disc"), _entry("vertebrae", "the vertebra above it")]
    title = "Does disease make a structure harder? (95 % intervals over patients)"
    return finish(figure, title, source=source, legend=legend)


def example(unseen: Unseen, wrong: pd.DataFrame, worst: pd.DataFrame, *, source: str) -> Figure:
    """The wrong pixels of the worst slice: right and wrong, by region, and by cause."""
    number = int(worst["slice"].iloc[0])
    image, reference, prediction = (array[number] for array in (unseen.images, unseen.reference, unseen.prediction))
    part, box = wrong[wrong["slice"] == number], foreground_box(reference, prediction)
    figure, (row,) = new_figure(1, 3, size=(10, 6.4))
    show_slice(row[0], paint_errors(image, reference, prediction)[box], "hits and errors")
    row[0].legend(handles=error_patches(), loc="upper center", bbox_to_anchor=(0.5, -0.01), fontsize=9)
    for axes, name, kinds in ((row[1], "region", REGIONS), (row[2], "cause", CAUSES)):
        there = found_in(part[name], kinds)
        known = dict(zip(there, KIND_COLOURS, strict=False)) if name == "region" else CAUSE_COLOURS
        colours = {kind: known.get(kind, KIND_COLOURS[-1]) for kind in there}
        picture = np.repeat(grey_levels(image)[..., None] // 2, 3, axis=2)
        for kind, colour in colours.items():
            own = part[part[name] == kind]
            picture[own["row"], own["column"]] = rgb(colour)
        show_slice(axes, picture[box], f"wrong pixels by {name}")
        handles = [Patch(facecolor=colour, edgecolor="#666666", label=kind) for kind, colour in colours.items()]
        axes.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, -0.01), fontsize=8.5, ncols=2)
    place = unseen.table.loc[number]
    title = f"The worst slice: {place['series']}, slice {place['slice_index']}, Dice {worst['dice'].iloc[0]:.3f}"
    return finish(figure, title, source=source)


def worst_slices(unseen: Unseen, worst: pd.DataFrame, *, source: str) -> Figure:
    """The worst slices, worst first: hits and errors. `worst`: of `analysis.worst.worst_table`; at most ten fit."""
    worst = worst.head(2 * SIDE_BY_SIDE)
    rows = -(-len(worst) // SIDE_BY_SIDE)
    panels = []
    for row in worst.itertuples():
        arrays = [array[row.slice] for array in (unseen.images, unseen.reference, unseen.prediction)]
        place = f"patient {row.patient}, slice {row.slice_index}"
        scores = f"Dice {row.dice:.3f}; {row.worst} {getattr(row, f'dice_{row.worst}'):.3f}"
        title = f"{place}\n{scores}\n{row.cause} {100 * row.cause_share:.0f} %"
        panels.append((title, paint_errors(*arrays)[foreground_box(*arrays[1:])]))
    shape = rows, min(len(worst), SIDE_BY_SIDE)
    figure = show_slices(panels, (10, 3.4 * rows + 0.9), shape, fontsize=9)
    title = f"The {len(worst)} worst slices of the unseen patients: hits and errors, the largest cause"
    return finish(figure, title, source=source, legend=error_patches())


def faults(unseen: Unseen, wrong: pd.DataFrame, table: pd.DataFrame, *, source: str) -> Figure:
    """The costliest suspected fault of the reference of each kind, close up: image, reference, prediction.

    `table`: of `analysis.causes.suspected_faults`.
    """
    kinds = found_in(table["fault"], FAULTS)
    figure, grid = new_figure(3, len(kinds), size=(10, 6.4))
    half = round(HALF * unseen.reference.shape[1] / 640)
    for column, kind in enumerate(kinds):
        row = table[table["fault"] == kind].iloc[0]
        number = int(np.flatnonzero(unseen.table["row"] == row["row"])[0])
        own = wrong[(wrong["slice"] == number) & (wrong["fault"] == kind) & (wrong["class"] == row["class"])]
        middle = own.iloc[((own[["row", "column"]] - own[["row", "column"]].median()) ** 2).sum(axis=1).argmin()]
        box = tuple(
            slice(start, start + 2 * half)
            for start in (
                int(np.clip(middle[name] - half, 0, size - 2 * half))
                for name, size in zip(("row", "column"), unseen.reference.shape[1:], strict=True)
            )
        )
        image = unseen.images[number][box]
        title = f"{kind}\npatient {row['patient']}, slice {row['slice_index']}\n{row['wrong']:,} px"
        show_slice(grid[0, column], image, title, fontsize=10)
        show_slice(grid[1, column], paint_classes(image, unseen.reference[number][box], 0.3))
        show_slice(grid[2, column], paint_classes(image, unseen.prediction[number][box], 0.3))
    for axes, name in zip(grid[:, 0], ("image", "reference", "prediction"), strict=True):
        axes.text(-0.06, 0.5, name, transform=axes.transAxes, rotation=90, ha="right", va="center", fontsize=12)
    title = "Suspected faults of the reference, the costliest of each kind"
    return finish(figure, title, source=source, legend=class_patches())


def _points(axes: Axes, x: np.ndarray, rows: pd.DataFrame, name: str, kind: str, scale: float = 1) -> None:
    """Values with their intervals, in the class's colour and marker."""
    ends = (scale * rows[column].to_numpy() for column in (name, "ci_low", "ci_high"))
    look: dict[str, Any] = {"fmt": MARKERS[kind], "color": COLOURS[kind]}
    intervals(axes, x, *ends, markersize=7, capsize=3, linewidth=1.5, **look)


def _class_entries(names: tuple[str, ...]) -> list[Line2D]:
    return [_entry(name, {EVERY: "all three", "foreground": "their mean"}.get(name, name)) for name in names]


def _entry(kind: str, label: str) -> Line2D:
    return point_entry(label, COLOURS[kind], MARKERS[kind])
