"""Widgets, driven as a hand would: set a control, look whether the picture changes."""

import io

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from spider_utils.common.errors import SpiderError
from spider_utils.figures import widgets
from spider_utils.figures.painting import grey_levels, paint_classes, paint_errors
from spider_utils.figures.style import SOURCE_NOTES


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


@pytest.fixture
def table() -> pd.DataFrame:
    """The five slices' rows: three of patient 7, out of order, and two of patient 20; slice 3 scored worst."""
    table = pd.DataFrame({"patient": [20, 7, 7, 20, 7], "slice_index": [4, 9, 2, 8, 5]}, index=[3, 1, 4, 1, 5])
    table["series"] = table["patient"].astype(str) + "_t2"
    table["dice"] = [0.9, 0.8, 0.95, 0.3, 0.7]
    return table


def test_predictions_begin_with_the_worst_slice_of_all_patients(slices, table):
    images, classes = slices
    prediction = np.roll(classes, 2, axis=1)
    widget = widgets.browse_predictions(images, classes, prediction, table, source="phantom")
    assert widget.patient.value is None and widget.slice.max == 4
    seen = []
    for _ in range(5):
        seen.append(widget.caption.value.split(" (")[0])
        widget.next.click()  # the last one stays where it is
    assert seen == [
        "<b>Patient 20</b>: 20_t2, slice 8",
        "<b>Patient 7</b>: 7_t2, slice 5",
        "<b>Patient 7</b>: 7_t2, slice 9",
        "<b>Patient 20</b>: 20_t2, slice 4",
        "<b>Patient 7</b>: 7_t2, slice 2",
    ]
    assert widget.slice.value == 4 and "(5 of 5, worst first)" in widget.caption.value
    widget.previous.click()
    assert "20_t2, slice 4 (4 of 5, worst first)" in widget.caption.value
    assert (shown(widget) == paint_errors(images[0], classes[0], prediction[0], 0.3)).all()


def test_predictions_of_one_patient_go_from_side_to_side(slices, table):
    images, classes = slices
    widget = widgets.browse_predictions(images, classes, classes, table, source="phantom")
    widget.patient.value = 7
    assert widget.slice.max == 2 and "7_t2, slice 5 (1 of 3, worst first)" in widget.caption.value
    widget.worst_first.value = False  # the slice on the screen stays there, between its neighbours
    assert "7_t2, slice 5 (2 of 3)" in widget.caption.value
    widget.previous.click()
    assert "7_t2, slice 2 (1 of 3)" in widget.caption.value
    widget.slice.value = 2
    assert "7_t2, slice 9 (3 of 3)" in widget.caption.value
    assert (shown(widget) == paint_errors(images[1], classes[1], classes[1], 0.3)).all()
    widget.patient.value = 20
    assert "20_t2, slice 8 (2 of 2)" in widget.caption.value
    widget.worst_first.value = True
    widget.patient.value = None
    assert "20_t2, slice 8 (1 of 5, worst first)" in widget.caption.value


def test_predictions_in_every_view(slices, table):
    images, classes = slices
    prediction = np.roll(classes, 2, axis=1)
    image, truth, found = images[3], classes[3], prediction[3]
    widget = widgets.browse_predictions(images, classes, prediction, table, source="phantom")
    assert "false negative" in texts(widget)
    widget.view.value = "prediction"
    assert (shown(widget) == paint_classes(image, found, 0.3)).all()
    assert "false negative" not in texts(widget) and "canal" in widget.legend.value
    widget.view.value = "reference"
    widget.opacity.value = 0.8
    assert (shown(widget) == paint_classes(image, truth, 0.8)).all()
    widget.view.value = "image"
    assert (shown(widget) == grey_levels(image)).all()
    widget.view.value = "reference | prediction"
    both = shown(widget)
    assert (both[:, :48] == paint_classes(image, truth, 0.8)).all()
    assert (both[:, -48:] == paint_classes(image, found, 0.8)).all()
    assert both.shape[1] > 96 and (both[:, 48:-48] == 255).all()


def test_a_class_switched_off_has_no_paint_and_no_errors(slices, table):
    images, classes = slices
    prediction = np.where(classes == 3, 1, classes)  # discs taken for vertebrae
    widget = widgets.browse_predictions(images, classes, prediction, table, source="phantom")
    for name in ("vertebrae", "canal"):
        widget.shown[name].value = False
    discs = np.where(classes[3] == 3, 3, 0)
    assert (shown(widget) == paint_errors(images[3], discs, np.zeros_like(discs), 0.3)).all()
    widget.view.value = "reference"
    assert (shown(widget) == paint_classes(images[3], classes[3], 0.3, ("discs",))).all()


def test_the_caption_counts_the_dice_of_the_masks_shown(table):
    reference, prediction = np.zeros((2, 5, 4, 10), np.uint8)
    reference[:, 0, :8], prediction[:, 0, 4:] = 1, 1  # 4 pixels in both, 8 and 6: 2 * 4 / 14
    reference[:, 2, :3], prediction[:, 2, :3] = 2, 2  # no disc anywhere
    widget = widgets.browse_predictions(np.zeros_like(reference), reference, prediction, table, source="phantom")
    assert "Dice of this slice: vertebrae 0.571, canal 1.000, discs -, mean 0.786" in widget.caption.value
    widget.shown["canal"].value = False
    assert "canal 1.000" in widget.caption.value


def test_models_are_compared_on_one_slice_and_ranked_by_their_own_scores(slices, table):
    images, classes = slices
    models = {"first": np.roll(classes, 2, axis=1), "<second>": classes}
    table["dice_<second>"] = [0.1, 0.5, 0.4, 0.3, 0.2]
    widget = widgets.browse_predictions(images, classes, models, table, source="phantom")
    widget.view.value = "prediction"
    assert "20_t2, slice 8 (1 of 5, worst first)" in widget.caption.value and "by first:" in widget.caption.value
    widget.model.value = "<second>"
    assert "20_t2, slice 8 (3 of 5, worst first)" in widget.caption.value
    assert "by &lt;second&gt;: vertebrae 1.000, canal 1.000, discs 1.000, mean 1.000" in widget.caption.value
    assert (shown(widget) == paint_classes(images[3], classes[3], 0.3)).all()
    widget.slice.value = 0
    assert "20_t2, slice 4 (1 of 5" in widget.caption.value


class OneAtATime:
    """Slices that can be had one by one only, as from a disk; it counts how often."""

    def __init__(self, array: np.ndarray) -> None:
        self.array, self.shape, self.reads = array, array.shape, 0

    def __getitem__(self, row: int) -> np.ndarray:
        assert isinstance(row, int)
        self.reads += 1
        return self.array[row]


def test_predictions_are_read_slice_by_slice_and_drawn_once(slices, table):
    images, classes = (OneAtATime(array) for array in slices)
    widget = widgets.browse_predictions(images, classes, classes, table, source="phantom")
    widget.next.click()
    before = images.reads
    assert before == 2
    widget.previous.click()
    assert images.reads == before
    assert "slice 8" in widget.caption.value


def test_predictions_that_do_not_fit_the_table_are_refused(slices, table):
    images, classes = slices
    fitting = {"images": images, "reference": classes, "predictions": classes, "table": table}
    wrong = [
        {"predictions": classes[:4]},
        {"predictions": {"first": classes, "second": classes[:, :50]}},
        {"predictions": {}},
        {"reference": classes[:, :, :40]},
        {"table": table.iloc[:4]},
        {name: part[:0] for name, part in fitting.items()},
    ]
    for change in wrong:
        with pytest.raises(SpiderError, match="browse_predictions: expected slices and masks of one shape"):
            widgets.browse_predictions(**fitting | change, source="phantom")
    with pytest.raises(SpiderError, match="expected a table with patient, dice, found slice_index, series$"):
        bare = table.drop(columns=["patient", "dice"])
        widgets.browse_predictions(images, classes, classes, bare, source="phantom")


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
