"""Widgets, driven as a hand would: set a control, look whether the picture changes."""

import io

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from spider_utils import widgets
from spider_utils.style import SOURCE_NOTES, grey_levels, paint_classes, paint_errors


@pytest.fixture
def slices() -> tuple[np.ndarray, np.ndarray]:
    """Five slices of 60 x 48 pixels and their classes, all different."""
    rng = np.random.default_rng(0)
    classes = np.zeros((5, 60, 48), np.uint8)
    for number in range(5):
        classes[number, 10 : 30 + number, 5:20] = 1
        classes[number, 5:55, 25 : 30 + number] = 2
        classes[number, 35:42, 5 : 18 + number] = 3
    return rng.integers(0, 256, classes.shape, np.uint8), classes


def shown(widget) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(widget.picture.value)))


def texts(widget) -> str:
    return " ".join(
        child.value for child in widget.children if hasattr(child, "value") and isinstance(child.value, str)
    )


def test_browse_follows_slice_opacity_and_classes(slices):
    images, classes = slices
    widget = widgets.browse(images, classes, source="phantom")
    assert (shown(widget) == paint_classes(images[2], classes[2], 0.3)).all()
    widget.slice.value = 4
    assert (shown(widget) == paint_classes(images[4], classes[4], 0.3)).all()
    widget.opacity.value = 0.9
    assert (shown(widget) == paint_classes(images[4], classes[4], 0.9)).all()
    widget.shown["canal"].value = False
    assert (shown(widget) == paint_classes(images[4], classes[4], 0.9, ("vertebrae", "discs"))).all()
    assert SOURCE_NOTES["phantom"] in texts(widget)


def test_browse_without_classes_shows_the_slice_alone(slices):
    images, _ = slices
    widget = widgets.browse(images, source="released")
    assert (shown(widget) == grey_levels(images[2])).all()
    assert SOURCE_NOTES["released"] in texts(widget)


def test_browse_draws_a_pixel_by_its_aspect(slices):
    images, _ = slices
    square = widgets.browse(images, source="phantom").picture
    tall = widgets.browse(images, source="phantom", aspect=2.0).picture
    assert int(square.height) == int(tall.height) and int(square.width) == 2 * int(tall.width)


def test_browse_reads_memory_mapped_slices(slices, tmp_path):
    np.save(tmp_path / "images.npy", slices[0])
    images = np.load(tmp_path / "images.npy", mmap_mode="r")
    widget = widgets.browse(images, source="phantom")
    widget.slice.value = 0
    assert (shown(widget) == grey_levels(slices[0][0])).all()


def test_browse_predictions_by_worst_by_order_and_by_view(slices):
    images, classes = slices
    prediction = np.roll(classes, 2, axis=1)
    table = pd.DataFrame({"series": [f"{n}_t2" for n in range(5)], "slice_index": range(5)})
    table["dice"] = [0.9, 0.8, 0.95, 0.3, 0.7]
    widget = widgets.browse_predictions(images, classes, prediction, table, source="phantom")
    assert (shown(widget) == paint_errors(images[3], classes[3], prediction[3], 0.3)).all()
    assert "3_t2, slice 3: foreground Dice 0.300" in widget.caption.value
    widget.slice.value = 1
    assert "4_t2" in widget.caption.value
    widget.worst_first.value = False
    assert "1_t2" in widget.caption.value
    widget.view.value = "prediction"
    assert (shown(widget) == paint_classes(images[1], prediction[1], 0.3)).all()
    widget.view.value = "reference"
    assert (shown(widget) == paint_classes(images[1], classes[1], 0.3)).all()


def test_show_widget_prints_one_sentence_in_a_static_run(slices, monkeypatch, capsys):
    widget = widgets.browse(slices[0], source="phantom")
    displayed = []
    monkeypatch.setattr(widgets, "display", displayed.append)
    monkeypatch.setenv("SPIDER_STATIC", "1")
    widgets.show_widget(widget)
    assert displayed == []
    assert capsys.readouterr().out.count("\n") == 1
    monkeypatch.delenv("SPIDER_STATIC")
    widgets.show_widget(widget)
    assert displayed == [widget]
    assert capsys.readouterr().out == ""
