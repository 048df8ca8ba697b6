"""Browsing slices by hand in a notebook. Pictures are plain PNGs, so that JupyterLab and Colab both show them."""

import html
from io import BytesIO

import ipywidgets
import numpy as np
import pandas as pd
from IPython.display import display
from PIL import Image

from spider_utils.labels import FOREGROUND
from spider_utils.progress import is_static
from spider_utils.style import CLASS_COLOURS, ERROR_COLOURS, SOURCE_NOTES, grey_levels, paint_classes, paint_errors

PICTURE_HEIGHT = 520  # pixels on the screen
VIEWS = ("prediction", "reference", "errors")


class SliceBrowser(ipywidgets.VBox):
    """A slice slider, an opacity slider, one switch a class, and the picture. Made by `browse`."""

    def __init__(self, images: np.ndarray, classes: np.ndarray | None, source: str, aspect: float) -> None:
        self._images, self._classes, self._aspect = images, classes, aspect
        self.slice = _slider("Slice", len(images), len(images) // 2)
        self.opacity = _opacity()
        self.shown = {name: _switch(name) for name in FOREGROUND}
        self.picture = ipywidgets.Image(format="png")
        switches = [self.opacity, *self.shown.values()] if classes is not None else []
        _watch([self.slice, *switches], self._draw)
        parts = [ipywidgets.HBox([self.slice, *switches]), self.picture]
        super().__init__([*parts, _foot(source, CLASS_COLOURS if classes is not None else {})])

    def _draw(self, _change: object = None) -> None:
        image = self._images[self.slice.value]
        shown = tuple(name for name, switch in self.shown.items() if switch.value)
        if self._classes is None:
            picture = grey_levels(image)
        else:
            picture = paint_classes(image, self._classes[self.slice.value], self.opacity.value, shown)
        _show(self.picture, picture, self._aspect)


class PredictionBrowser(ipywidgets.VBox):
    """A slice slider, an order, a view (prediction, reference, errors), and the picture; of `browse_predictions`."""

    def __init__(
        self, images: np.ndarray, reference: np.ndarray, prediction: np.ndarray, table: pd.DataFrame, source: str
    ) -> None:
        self._arrays, self._table = (images, reference, prediction), table
        self._worst_first = np.argsort(table["dice"].to_numpy(), kind="stable")
        self.slice = _slider("Slice", len(table), 0)
        self.worst_first = _switch("worst first")
        self.view = ipywidgets.ToggleButtons(options=VIEWS, value="errors")
        self.opacity = _opacity()
        self.caption = ipywidgets.HTML()
        self.picture = ipywidgets.Image(format="png")
        _watch([self.slice, self.worst_first, self.view, self.opacity], self._draw)
        controls = [ipywidgets.HBox([self.slice, self.worst_first, self.opacity]), self.view, self.caption]
        super().__init__([*controls, self.picture, _foot(source, CLASS_COLOURS | ERROR_COLOURS)])

    def _draw(self, _change: object = None) -> None:
        row = int(self._worst_first[self.slice.value]) if self.worst_first.value else self.slice.value
        image, reference, prediction = (array[row] for array in self._arrays)
        if self.view.value == "errors":
            picture = paint_errors(image, reference, prediction, self.opacity.value)
        else:
            mask = prediction if self.view.value == "prediction" else reference
            picture = paint_classes(image, mask, self.opacity.value)
        facts = self._table.iloc[row]
        name = html.escape(str(facts["series"]))
        self.caption.value = f"{name}, slice {facts['slice_index']}: foreground Dice {facts['dice']:.3f}"
        _show(self.picture, picture, 1.0)


def browse(images: np.ndarray, classes: np.ndarray | None = None, *, source: str, aspect: float = 1.0) -> SliceBrowser:
    """Browse slices (N, H, W) with classes 0..3 painted over; `aspect` is row over column spacing.

    Works on memory-mapped arrays: only the slice on the screen is read.
    """
    return SliceBrowser(images, classes, source, aspect)


def browse_predictions(
    images: np.ndarray, reference: np.ndarray, prediction: np.ndarray, table: pd.DataFrame, *, source: str
) -> PredictionBrowser:
    """Browse predictions (N, H, W), the worst slice first; `table` has one row a slice: series, slice_index, dice."""
    return PredictionBrowser(images, reference, prediction, table, source)


def show_widget(widget: ipywidgets.Widget) -> None:
    """Display a widget; where SPIDER_STATIC is 1 (a run without a reader) print one sentence in its place."""
    if is_static():
        print("Run this cell in JupyterLab or Colab to browse by hand; the figure above shows the same, still.")
    else:
        display(widget)


def _slider(name: str, length: int, value: int) -> ipywidgets.IntSlider:
    return ipywidgets.IntSlider(value, 0, length - 1, description=name, layout={"flex": "0 0 360px"})


def _switch(name: str) -> ipywidgets.Checkbox:
    return ipywidgets.Checkbox(True, description=name, indent=False, layout={"flex": "0 0 110px"})


def _opacity() -> ipywidgets.FloatSlider:
    return ipywidgets.FloatSlider(
        0.3, min=0, max=1, step=0.1, description="Opacity", readout_format=".1f", layout={"flex": "0 0 260px"}
    )


def _watch(controls: list[ipywidgets.Widget], draw) -> None:
    for control in controls:
        control.observe(draw, names="value")
    draw()


def _show(place: ipywidgets.Image, picture: np.ndarray, aspect: float) -> None:
    """Put a picture (H, W) or (H, W, 3) uint8 into the widget; a pixel is `aspect` times as high as wide."""
    buffer = BytesIO()
    Image.fromarray(picture).save(buffer, "PNG", compress_level=1)
    place.value = buffer.getvalue()
    width = PICTURE_HEIGHT * picture.shape[1] / (picture.shape[0] * aspect)
    place.height, place.width = PICTURE_HEIGHT, round(width)


def _foot(source: str, colours: dict[str, str]) -> ipywidgets.HTML:
    names = {name: colour for name, colour in colours.items() if name != "background"}
    legend = " ".join(f'<span style="color:{colour}">&#9632;</span> {name}' for name, colour in names.items())
    return ipywidgets.HTML(f"{legend}<br><small>{html.escape(SOURCE_NOTES[source])}</small>")
