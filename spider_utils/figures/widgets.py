"""Browsing slices by hand in a notebook. Pictures are plain PNGs, so that JupyterLab and Colab both show them."""

import html
from collections.abc import Callable, Mapping
from functools import lru_cache
from io import BytesIO

import ipywidgets
import numpy as np
import pandas as pd
from IPython.display import display
from PIL import Image

from spider_utils.common.errors import SpiderError
from spider_utils.common.progress import is_static
from spider_utils.data.labels import CLASSES, FOREGROUND
from spider_utils.evaluate.metrics import dice, overlap_counts
from spider_utils.figures.painting import grey_levels, paint_classes, paint_errors
from spider_utils.figures.style import CLASS_COLOURS, ERROR_COLOURS, source_note

PICTURE_HEIGHT = 640  # pixels on the screen, as many as a stored slice has rows
PICTURES_KEPT = 100  # encoded pictures of the last steps, about 0.4 MB each
BESIDE, GAP = " | ", 12  # in the name of a view with two pictures; pixels between them
VIEWS = ("image", "reference", "prediction", "errors", f"reference{BESIDE}prediction")
LEGENDS = {"image": {}, "errors": ERROR_COLOURS}  # of the other views: the classes
ORDER = ["patient", "series", "slice_index"]  # side to side through each series


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
        legend = ipywidgets.HTML(_legend(CLASS_COLOURS if classes is not None else {}))
        super().__init__([_row(self.slice, *switches), legend, self.picture, _foot(source)])

    def _draw(self, _change: object = None) -> None:
        image = self._images[self.slice.value]
        if self._classes is None:
            picture = grey_levels(image)
        else:
            picture = paint_classes(image, self._classes[self.slice.value], self.opacity.value, _chosen(self.shown))
        _show(self.picture, *_as_png(picture, self._aspect))


class PredictionBrowser(ipywidgets.VBox):
    """Patient, order, slice, view, model, opacity and classes to choose, a caption, and the picture.

    Made by `browse_predictions`.
    """

    def __init__(
        self,
        images: np.ndarray,
        reference: np.ndarray,
        models: Mapping[str, np.ndarray],
        table: pd.DataFrame,
        source: str,
    ) -> None:
        self._images, self._reference, self._models = images, reference, models
        self._table = table.reset_index(drop=True)
        self._rows = self._table.index.to_numpy()  # the table's rows in the slider's order
        self._encoded = lru_cache(PICTURES_KEPT)(self._encode)
        patients = [(str(patient), patient) for patient in sorted(self._table["patient"].unique().tolist())]
        self.patient = _choice("Patient", [("all", None), *patients])
        self.worst_first = _switch("worst first")
        self.slice = _slider("Slice", len(table), 0)
        self.previous, self.next = _button("◀ previous", self._step, -1), _button("next ▶", self._step, 1)
        self.view = ipywidgets.ToggleButtons(options=VIEWS, value="errors", style={"button_width": "auto"})
        self.model = _choice("Model", list(models))
        self.opacity = _opacity()
        self.shown = {name: _switch(name) for name in FOREGROUND}
        self.caption, self.legend = ipywidgets.HTML(), ipywidgets.HTML()
        self.picture = ipywidgets.Image(format="png", layout={"max_width": "99%", "height": "auto"})
        _watch([self.patient, self.worst_first, self.model], self._reorder)
        _watch([self.slice, self.view, self.opacity, *self.shown.values()], self._draw)
        controls = [
            _row(self.patient, self.worst_first, self.slice, self.previous, self.next),
            _row(self.view, *([self.model] if len(models) > 1 else [])),
            _row(self.opacity, *self.shown.values()),
        ]
        super().__init__([*controls, self.caption, self.legend, self.picture, _foot(source)])

    def _step(self, by: int) -> None:
        self.slice.value += by  # the slider stops at its ends

    def _reorder(self, change: dict | None = None) -> None:
        """Give the slider the slices of the chosen patient, or of all, in the chosen order.

        It stays on the slice that is shown where it can, but "worst first" begins with the worst.
        """
        table, patient, shown_row = self._table, self.patient.value, self._rows[self.slice.value]
        score = f"dice_{self.model.value}"
        order = [score if score in table else "dice"] if self.worst_first.value else ORDER
        chosen = table if patient is None else table[table["patient"] == patient]
        self._rows = chosen.sort_values(order, kind="stable").index.to_numpy()
        stays = not self.worst_first.value or (change is not None and change["owner"] is self.model)
        places = np.flatnonzero(self._rows == shown_row) if stays else [0]
        with self.slice.hold_trait_notifications():
            self.slice.max = len(self._rows) - 1
            self.slice.value = int(places[0]) if len(places) else len(self._rows) // 2
        self._draw()

    def _draw(self, _change: object = None) -> None:
        row, model, view = int(self._rows[self.slice.value]), self.model.value, self.view.value
        _show(self.picture, *self._encoded(row, model, view, self.opacity.value, _chosen(self.shown)))
        self.caption.value = self._describe(row, model)
        self.legend.value = _legend(LEGENDS.get(view, CLASS_COLOURS))

    def _encode(self, row: int, model: str, view: str, opacity: float, shown: tuple[str, ...]) -> tuple[bytes, int]:
        image = self._images[row]
        masks = {"reference": self._reference[row], "prediction": self._models[model][row]}
        if view == "image":
            return _as_png(grey_levels(image))
        if view == "errors":
            kept = np.array([code if name in shown else 0 for code, name in enumerate(CLASSES)])
            return _as_png(paint_errors(image, kept[masks["reference"]], kept[masks["prediction"]], opacity))
        pictures = [paint_classes(image, masks[name], opacity, shown) for name in view.split(BESIDE)]
        padding = [(0, 0), (0, GAP), (0, 0)]
        padded = [np.pad(picture, padding, constant_values=255) for picture in pictures[:-1]]
        return _as_png(np.hstack([*padded, pictures[-1]]))

    def _describe(self, row: int, model: str) -> str:
        """Name the slice and say how well each structure in it was met, whether it is painted or not."""
        facts, reference, prediction = self._table.iloc[row], self._reference[row], self._models[model][row]
        codes = {name: CLASSES.index(name) for name in FOREGROUND}
        counts = {name: overlap_counts(reference == code, prediction == code) for name, code in codes.items()}
        scores = pd.Series({name: float(dice(*count)) for name, count in counts.items()})
        scores["mean"] = scores.mean()  # over what is in at least one of the two masks
        order = ", worst first" if self.worst_first.value else ""
        place = f"{self.slice.value + 1} of {len(self._rows)}{order}"
        by = f" by {model}" if len(self._models) > 1 else ""
        words = ", ".join(f"{name} {'-' if np.isnan(value) else f'{value:.3f}'}" for name, value in scores.items())
        name = f"<b>Patient {html.escape(str(facts['patient']))}</b>: {html.escape(str(facts['series']))}"
        return f"{name}, slice {facts['slice_index']} ({place})<br>Dice of this slice{html.escape(by)}: {words}"


def browse(images: np.ndarray, classes: np.ndarray | None = None, *, source: str, aspect: float = 1.0) -> SliceBrowser:
    """Browse slices (N, H, W) with classes 0..3 painted over; `aspect` is row over column spacing.

    Works on memory-mapped arrays: only the slice on the screen is read.
    """
    return SliceBrowser(images, classes, source, aspect)


def browse_predictions(
    images: np.ndarray,
    reference: np.ndarray,
    predictions: np.ndarray | Mapping[str, np.ndarray],
    table: pd.DataFrame,
    *,
    source: str,
) -> PredictionBrowser:
    """Browse predictions beside the reference, the worst slice of all patients first.

    `images`, `reference` and `predictions` are (N, H, W), the last two with classes 0..3; several models' predictions
    come by name. `table` has one row a slice, in the arrays' order: series, patient, slice_index, and the score that
    "worst first" goes by, `dice`, or `dice_<name>` where the table knows that model's own. The Dice in the caption is
    counted from the masks shown. Works on memory-mapped arrays: only the slice on the screen is read. Raises
    SpiderError where arrays and table do not fit.
    """
    if missing := [name for name in (*ORDER, "dice") if name not in table]:
        raise SpiderError(f"browse_predictions: expected a table with {', '.join(missing)}, found {', '.join(table)}")
    models = predictions if isinstance(predictions, Mapping) else {"prediction": predictions}
    shapes = {name: masks.shape for name, masks in {"images": images, "reference": reference, **models}.items()}
    wanted = (len(table), *images.shape[1:])
    if not models or len(table) == 0 or any(shape != wanted for shape in shapes.values()):
        found = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise SpiderError(
            f"browse_predictions: expected slices and masks of one shape, one a row of the table ({len(table)} rows), "
            f"found {found}; give the rows of the same slices to all"
        )
    return PredictionBrowser(images, reference, models, table, source)


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


def _choice(name: str, options: list) -> ipywidgets.Dropdown:
    return ipywidgets.Dropdown(options=options, description=name, layout={"flex": "0 0 240px"})


def _button(name: str, act: Callable[[int], None], by: int) -> ipywidgets.Button:
    button = ipywidgets.Button(description=name, layout={"flex": "0 0 110px"})
    button.on_click(lambda _button: act(by))
    return button


def _opacity() -> ipywidgets.FloatSlider:
    return ipywidgets.FloatSlider(
        0.3, min=0, max=1, step=0.1, description="Opacity", readout_format=".1f", layout={"flex": "0 0 260px"}
    )


def _row(*controls: ipywidgets.Widget) -> ipywidgets.HBox:
    """Put controls side by side; in a narrow notebook they go on in the next line."""
    return ipywidgets.HBox(controls, layout={"flex_flow": "row wrap", "align_items": "center"})


def _watch(controls: list[ipywidgets.Widget], draw: Callable) -> None:
    for control in controls:
        control.observe(draw, names="value")
    draw()


def _chosen(switches: dict[str, ipywidgets.Checkbox]) -> tuple[str, ...]:
    return tuple(name for name, switch in switches.items() if switch.value)


def _as_png(picture: np.ndarray, aspect: float = 1.0) -> tuple[bytes, int]:
    """Encode a picture (H, W) or (H, W, 3) uint8; also return its width on the screen.

    A pixel is `aspect` times as high as wide.
    """
    buffer = BytesIO()
    Image.fromarray(picture).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue(), round(PICTURE_HEIGHT * picture.shape[1] / (picture.shape[0] * aspect))


def _show(place: ipywidgets.Image, png: bytes, width: int) -> None:
    with place.hold_sync():  # one message, so that no picture is seen at another one's width
        place.value, place.height, place.width = png, PICTURE_HEIGHT, width


def _legend(colours: dict[str, str]) -> str:
    names = {name: colour for name, colour in colours.items() if name != "background"}
    return "&emsp;".join(f'<span style="color:{colour}">&#9632;</span> {name}' for name, colour in names.items())


def _foot(source: str) -> ipywidgets.HTML:
    return ipywidgets.HTML(f"<small>{html.escape(source_note(source))}</small>")
