"""Figures of the losses beyond the paper's: what is false and what is missed, and how far it is to a boundary."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from spider_utils.figures.painting import foreground_box, grey_levels, paint_errors, show_slices
from spider_utils.figures.style import error_patches, finish, new_figure


def wrong_predictions(
    image: np.ndarray, reference: np.ndarray, predictions: Mapping[str, np.ndarray], title: str, *, source: str
) -> Figure:
    """A slice (H, W) with the hits and errors of each prediction, (H, W) of classes 0..3, cropped to the spine."""
    box = foreground_box(reference, *predictions.values())
    painted = [(name, paint_errors(image, reference, mask)[box]) for name, mask in predictions.items()]
    return finish(show_slices([("MRI", image[box]), *painted]), title, source=source, legend=error_patches())


def distance_map(image: np.ndarray, distance: np.ndarray, name: str, *, source: str) -> Figure:
    """A slice (H, W), and beside it the signed distance (H, W) in pixels of each pixel to the boundary of a class.

    Blue inside, red outside, the boundary in black; `name` is the class's. Both are cropped to its surroundings, and
    the colours end at three times the greatest depth.
    """
    figure, ((plain, painted),) = new_figure(1, 2)
    box = foreground_box(distance < 0)
    limit, image, distance = 3 * max(-distance.min(), 1.0), grey_levels(image)[box], distance[box]
    for axes, picture in ((plain, image), (painted, distance)):
        look = {"cmap": "gray"} if axes is plain else {"cmap": "RdBu_r", "vmin": -limit, "vmax": limit}
        shown = axes.imshow(picture, **look)
        axes.contour(distance, levels=[0], colors=["#FFFFFF" if axes is plain else "#000000"], linewidths=1.2)
        axes.set_axis_off()
    plain.set_title(f"MRI, boundary of the {name}")
    painted.set_title(f"signed distance φ of the {name}")
    figure.colorbar(shown, ax=painted, extend="max", label="Pixels to the boundary (inside negative)")
    return finish(figure, "What the Boundary loss multiplies each probability by", source=source)
