"""Figures of notebooks 03 and 04: what the network's parts and its loss do, and how it trained."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from spider_utils.data.labels import CLASSES
from spider_utils.figures.painting import foreground_box, paint_classes, show_slice, show_slices
from spider_utils.figures.style import (
    BESIDE,
    CLASS_COLOURS,
    DOTTED,
    FOREGROUND_COLOUR,
    LINE_COLOURS,
    LINE_STYLES,
    class_patches,
    finish,
    new_figure,
)


def activation_curves(slope: float = 0.1) -> Figure:
    """ReLU and Leaky ReLU with this negative slope, and the gradient that each passes back."""
    x = np.linspace(-4, 4, 401)
    curves = {"ReLU": 0.0, f"Leaky ReLU, slope {slope:g}": slope}
    figure, ((value, gradient),) = new_figure(1, 2, grid="both")
    for (name, negative), colour, style in zip(curves.items(), LINE_COLOURS, LINE_STYLES, strict=False):
        value.plot(x, np.where(x > 0, x, negative * x), style, color=colour, label=name)
        for side in (x[x < 0], x[x > 0]):
            gradient.plot(side, np.full(side.size, 1.0 if side[0] > 0 else negative), style, color=colour)
    value.set(title="Output", xlabel="Input x", ylabel="f(x)")
    gradient.set(title="Gradient", xlabel="Input x", ylabel="f'(x)", ylim=(-0.08, 1.12))
    for axes in (value, gradient):
        axes.axvline(0, color="#BBBBBB", linewidth=1, zorder=0)
    value.legend(loc="upper left")
    return finish(figure, "Leaky ReLU still passes a gradient where ReLU passes none")


def init_spread(spread: Mapping[str, Sequence[float]]) -> Figure:
    """Standard deviation of the activations after each layer of a fresh network, one line an initialisation."""
    figure, ((axes,),) = new_figure(grid="both")
    for place, (name, values) in enumerate(spread.items()):
        style = {"color": LINE_COLOURS[place % 4], "linestyle": LINE_STYLES[place % 4], "marker": "os^D"[place % 4]}
        axes.plot(range(1, len(values) + 1), values, label=name, **style)
    axes.set(
        xlabel="Encoder block (the last is the bottleneck)", ylabel="Standard deviation of activations", yscale="log"
    )
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.legend(**BESIDE)
    return finish(figure, "Signal through the layers before any training")


def focal_curves(gammas: Sequence[float] = (0, 2, 4)) -> Figure:
    """Focal loss -(1 - p)^gamma log p of one pixel against the probability p of its true class (Lin et al. 2017)."""
    figure, ((linear, logarithmic),) = new_figure(1, 2, grid="both")
    for axes in (linear, logarithmic):
        focal_lines(axes, {gamma: f"γ = {gamma:g}" + (" (cross-entropy)" if gamma == 0 else "") for gamma in gammas})
        axes.set(xlabel="Probability p of the true class", ylabel="Loss")
    linear.set(title="Linear axis", ylim=(0, 4))
    logarithmic.set(title="Logarithmic axis", yscale="log", ylim=(1e-6, 10))
    linear.legend(loc="upper right")
    return finish(figure, "Focal loss: easy pixels count less as γ grows")


def focal_lines(axes: Axes, labels: Mapping[float, str], **look: Any) -> None:
    """Draw the focal loss of one pixel against the probability of its true class, one line a gamma, and its label."""
    p = np.linspace(0.005, 1, 400)
    for (gamma, label), colour, style in zip(labels.items(), LINE_COLOURS, LINE_STYLES, strict=False):
        axes.plot(p, -((1 - p) ** gamma) * np.log(p), style, color=colour, label=label, **look)


def loss_terms(x: Sequence[float], terms: Mapping[str, Sequence[float]], xlabel: str, title: str) -> Figure:
    """Loss terms against whatever was swept (`x`), one line a term, drawn up to a shared linear axis."""
    figure, ((axes,),) = new_figure(grid="both")
    for place, (name, values) in enumerate(terms.items()):
        axes.plot(x, values, LINE_STYLES[place % 4], color=LINE_COLOURS[place % 4], label=name)
    axes.set(xlabel=xlabel, ylabel="Loss", ylim=(0, None))
    axes.legend(**BESIDE)
    return finish(figure, title)


def focal_map(image: np.ndarray, mask: np.ndarray, probability: np.ndarray, gamma: float, *, source: str) -> Figure:
    """The spine of a slice (H, W), its classes, and each pixel's probability p of its true class and focal weight.

    The weight is (1 - p)^gamma.
    """
    box = foreground_box(mask)
    maps = {"probability p\nof the true class": probability}
    maps[f"focal weight\n(1 − p)$^{{{gamma:g}}}$"] = (1 - probability) ** gamma
    panels = [("slice\n", image[box]), ("reference\n", paint_classes(image, mask)[box])]
    figure = show_slices([*panels, *((title, values[box]) for title, values in maps.items())])
    for axes, values in zip(figure.axes[2:], maps.values(), strict=True):
        axes.images[0].remove()
        shown = axes.imshow(values[box], cmap="inferno", vmin=0, vmax=1, interpolation="nearest")
    figure.colorbar(shown, ax=figure.axes, shrink=0.85, pad=0.01)
    return finish(figure, "Focal loss looks where the network is wrong", source=source, legend=class_patches())


def feature_maps(
    image: np.ndarray, maps: Mapping[str, np.ndarray], title: str = "", *, source: str, shown: int = 6
) -> Figure:
    """The channels that vary most after each named block: (C, h, w) each, beside the slice (H, W) that caused them."""
    figure, grid = new_figure(len(maps), shown + 1)
    for row, (name, channels) in zip(grid, maps.items(), strict=True):
        for axes in row:
            axes.set_axis_off()
        best = np.argsort(channels.std(axis=(1, 2)))[::-1][:shown]
        show_slice(row[0], image, "input slice", fontsize=11)
        label = f"{name}\n{' × '.join(map(str, channels.shape))}"
        row[0].text(-0.15, 0.5, label, transform=row[0].transAxes, rotation=90, ha="center", va="center", fontsize=11)
        for axes, number in zip(row[1:], best, strict=False):
            low, high = np.percentile(channels[number], (1, 99))
            axes.imshow(channels[number], cmap="gray", vmin=low, vmax=high, interpolation="nearest")
            axes.set_title(f"channel {number}", fontsize=11)
    return finish(figure, title or "What the blocks respond to (the channels that vary most)", source=source)


def training_curves(log: pd.DataFrame, kept: int, *, source: str, loss_name: str = "combined") -> Figure:
    """Loss, learning rate and validation IoU by epoch; `kept` is the epoch whose network was kept, which is marked.

    `log`: columns epoch, learning_rate, train_loss and, where there is a validation side, val_loss, val_mean_iou and
    val_iou_<class>.
    """
    legend = []
    figure, ((loss, iou), (rate, spare)) = new_figure(2, 2, height_ratios=(3, 1), sharex="col")
    spare.remove()
    iou.set_subplotspec(iou.get_gridspec()[:, 1])
    epoch = log["epoch"]
    marker = {"marker": "."} if len(log) < 40 else {}
    loss.plot(epoch, log["train_loss"], "-", color=LINE_COLOURS[0], label="training", **marker)
    if "val_loss" in log:
        loss.plot(epoch, log["val_loss"], "--", color=LINE_COLOURS[1], label="validation", **marker)
    loss.set(title=f"{loss_name.capitalize().replace('_', ' ')} loss", ylabel="Loss")
    if log["train_loss"].min() >= 0:  # the boundary loss can be negative
        loss.set_ylim(0, None)
    loss.legend(loc="best")
    rate.step(epoch, log["learning_rate"], where="post", color="#000000")
    rate.set(xlabel="Epoch", ylabel="Learning\nrate", yscale="log")
    ticks = sorted({log["learning_rate"].max(), log["learning_rate"].min()})
    rate.set_yticks(ticks, [f"{tick:.2g}" for tick in ticks])
    rate.set_yticks([], minor=True)
    rate.margins(y=0.3)
    for name in CLASSES:
        if f"val_iou_{name}" in log:
            iou.plot(epoch, log[f"val_iou_{name}"], color=CLASS_COLOURS[name], label=name, **marker)
    if "val_mean_iou" in log:
        iou.plot(epoch, log["val_mean_iou"], "--", color=FOREGROUND_COLOUR, label="mean", **marker)
        value = log.loc[log["epoch"] == kept, "val_mean_iou"].item()
        iou.plot(kept, value, "*", color=FOREGROUND_COLOUR, markersize=16, label="kept epoch")
        title = f"Validation IoU: mean {value:.3f}, kept epoch {kept}"
        iou.set(title=title, xlabel="Epoch", ylim=(0, 1.02))
        iou.tick_params(labelbottom=True)
        legend = iou.get_legend_handles_labels()[0]
    else:
        iou.set_title("No validation side")
        iou.set_axis_off()
    for axes in (loss, rate, *([iou] if iou.axison else [])):
        axes.axvline(kept, zorder=0, **DOTTED)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
    return finish(figure, f"Training over {len(log)} epochs", source=source, legend=legend)
