"""Figures: colours, attribution, painted slices, and what each figure must show. Their look is judged by eye."""

from xml.etree import ElementTree

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.image import imread
from matplotlib.patches import Rectangle
from matplotlib.text import Annotation

from spider_utils.common.errors import SpiderError
from spider_utils.data.labels import CLASSES, FOREGROUND, classes_from_grey
from spider_utils.figures import data, model, network, painting, results, style
from spider_utils.figures.forest import forest, intervals
from spider_utils.models.build import Stage, build_model, count_parameters
from tests.helpers.figure_layout import check_layout, texts


def colour(name: str) -> np.ndarray:
    return np.round(255 * np.array(to_rgb(name)))


def slice_and_classes(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A slice of 96 x 80 pixels with one rectangle a class."""
    classes = np.zeros((96, 80), np.uint8)
    classes[20:40, 10:30], classes[10:90, 40:48], classes[42:50, 10:30] = 1, 2, 3
    return np.random.default_rng(seed).integers(0, 256, classes.shape, np.uint8), classes


def metrics_table(sequences=("T2_SPACE", "all")) -> pd.DataFrame:
    rows = [
        ("test", sequence, name, way, "dice", "", 0.8 + 0.01 * place, 0.7, 0.9, 5)
        for sequence in sequences
        for place, name in enumerate((*CLASSES, "foreground"))
        for way in results.AGGREGATIONS
    ]
    return pd.DataFrame(rows, columns="split sequence class aggregation metric unit value ci_low ci_high n".split())


def test_one_colour_for_one_thing():
    assert list(style.CLASS_COLOURS) == list(CLASSES)
    on_a_slice = [*style.CLASS_COLOURS.values(), *style.ERROR_COLOURS.values()]
    assert len(set(on_a_slice)) == len(on_a_slice)
    beside_classes = [*style.CLASS_COLOURS.values(), *style.SEQUENCE_COLOURS.values()]
    assert len(set(beside_classes)) == len(beside_classes)


@pytest.mark.parametrize("source", style.SOURCE_NOTES)
def test_saved_pictures_carry_the_source(tmp_path, source):
    image, classes = slice_and_classes()
    figure = data.overlay(image, classes, "a slice", source=source)
    assert style.SOURCE_NOTES[source] in texts(figure)
    svg = style.save_figure(figure, tmp_path, "overlay", dpi=50)[1].read_text(encoding="utf-8")
    assert f"<!-- {style.SOURCE_NOTES[source]} -->" in svg


def test_unknown_source_is_refused():
    with pytest.raises(SpiderError, match="phantom, released, pairs, spider"):
        style.note_source(style.new_figure()[0], "elsewhere")


@pytest.mark.filterwarnings("ignore:Glyph")
def test_a_name_with_control_characters_leaves_an_svg_that_can_be_read(tmp_path):
    figure = Figure()
    figure.text(0.5, 0.5, "a\0b\x1bc")
    ElementTree.parse(style.save_figure(figure, tmp_path, "odd", dpi=20)[1])


def test_save_figure_gives_the_same_bytes_twice(tmp_path):
    image, classes = slice_and_classes()
    makers = [
        lambda: data.overlay(image, classes, "a slice", source="phantom"),
        lambda: results.aggregation_compare(metrics_table(), source="phantom"),
    ]
    for number, make in enumerate(makers):
        figure = make()
        first = [path.read_bytes() for path in style.save_figure(figure, tmp_path / "a", f"f{number}", dpi=60)]
        again = [path.read_bytes() for path in style.save_figure(figure, tmp_path / "a", f"f{number}", dpi=60)]
        anew = [path.read_bytes() for path in style.save_figure(make(), tmp_path / "b", f"f{number}", dpi=60)]
        assert first == again == anew
        assert b"<dc:date>" not in first[1]
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["f0.png", "f0.svg", "f1.png", "f1.svg"]


def test_saved_size_is_that_of_a_slide(tmp_path):
    png = style.save_figure(model.focal_curves(), tmp_path, "focal", dpi=160)[0]
    assert imread(png).shape[:2] == (900, 1600)


def test_a_figure_is_shown_by_its_cell_only():
    before = plt.get_fignums()
    model.activation_curves()
    assert plt.get_fignums() == before


def test_paint_classes_gives_each_class_its_colour_and_leaves_the_rest():
    image, classes = slice_and_classes()
    solid = painting.paint_classes(image, classes, opacity=1.0)
    for number, name in enumerate(FOREGROUND, start=1):
        assert (solid[classes == number] == colour(style.CLASS_COLOURS[name])).all()
    grey = painting.grey_levels(image)
    assert (solid[classes == 0] == grey[classes == 0][:, None]).all()
    only_canal = painting.paint_classes(image, classes, 1.0, shown=("canal",))
    assert (only_canal[classes != 2] == grey[classes != 2][:, None]).all()
    assert (painting.paint_classes(image, classes, opacity=0.0) == grey[..., None]).all()


def test_paint_classes_blends_inside_and_draws_a_solid_rim():
    image, classes = np.zeros((40, 40), np.uint8), np.zeros((40, 40), np.uint8)
    classes[10:30, 10:30] = 3
    picture = painting.paint_classes(image, classes, opacity=0.5)
    full = colour(style.CLASS_COLOURS["discs"])
    assert (picture[10, 10:30] == full).all()
    np.testing.assert_allclose(picture[20, 20], full / 2, atol=1)


def test_paint_errors_on_a_hand_made_mask():
    reference = np.array([[0, 1, 2, 3, 0, 1]], np.uint8)
    prediction = np.array([[0, 1, 0, 1, 3, 0]], np.uint8)
    expected = ["background", "true positive", "false negative", "false positive", "false positive", "false negative"]
    picture = painting.paint_errors(np.zeros((1, 6), np.uint8), reference, prediction, opacity=1.0)
    for pixel, name in zip(picture[0], expected, strict=True):
        assert (pixel == (0 if name == "background" else colour(style.ERROR_COLOURS[name]))).all()


def test_error_masks_split_the_union_of_both_foregrounds():
    rng = np.random.default_rng(1)
    reference, prediction = rng.integers(0, 4, (2, 50, 60))
    masks = painting.error_masks(reference, prediction)
    assert (sum(mask.astype(int) for mask in masks.values()) == ((reference > 0) | (prediction > 0))).all()


def test_foreground_box_holds_the_foreground_and_the_whole_slice_without_one():
    mask = np.zeros((100, 90), np.uint8)
    assert painting.foreground_box(mask) == (slice(0, 100), slice(0, 90))
    mask[30, 40], mask[60, 85] = 1, 2
    rows, columns = painting.foreground_box(mask, np.zeros_like(mask), margin=10)
    assert (rows, columns) == (slice(20, 71), slice(30, 96))
    assert mask[rows, columns].shape == (51, 60)


def test_grey_levels_of_a_constant_slice_are_black():
    assert (painting.grey_levels(np.full((8, 8), 7.0, np.float32)) == 0).all()


def test_real_slice_keeps_its_classes_apart(shared_data):
    name = "110_t2_SPACE_slice55.png"
    folder = shared_data / "released_t2_space"
    image, mask = ((imread(folder / part / name) * 255).round().astype(np.uint8) for part in ("images", "masks"))
    image, mask = (array[..., 0] if array.ndim == 3 else array for array in (image, mask))
    classes = classes_from_grey(mask)
    painted = painting.paint_classes(image, classes, opacity=1.0)
    for number, name in enumerate(FOREGROUND, start=1):
        assert ((painted == colour(style.CLASS_COLOURS[name])).all(axis=2) == (classes == number)).all()


def test_network_diagram_lists_every_stage_and_joins_equal_heights():
    shapes = [("enc 1", "encoder", 16, 64, 48), ("enc 2", "encoder", 32, 32, 24), ("deep", "bottleneck", 64, 16, 12)]
    shapes += [("dec 1", "decoder", 32, 32, 24), ("dec 2", "decoder", 16, 64, 48), ("head", "head", 4, 64, 48)]
    stages = [Stage(*shape) for shape in shapes]
    figure = network.network_diagram(stages)
    found = texts(figure)
    for name, _, channels, height, width in shapes:
        assert name in found and f"{channels} ch" in found and f"{height} × {width}" in found
    lines = [note.arrow_patch.get_linestyle() for note in figure.axes[0].texts if isinstance(note, Annotation)]
    assert lines.count("--") == 2 and lines.count("-") == len(stages) - 1


def unlike_tiles(figure) -> list[str]:
    """The letters of the tiles that have a rim because the other network lacks the layer, sorted."""
    axes = figure.axes[0]
    rim = to_rgb(network.UNLIKE_COLOUR)
    marked = [tile for tile in axes.findobj(Rectangle) if to_rgb(tile.get_edgecolor()) == rim]
    written = [text for text in axes.texts if text.get_text()]
    letters = {tuple(np.round(text.get_position(), 6)): text.get_text() for text in written}
    return sorted(letters[tuple(np.round(tile.get_center(), 6))] for tile in marked)


def test_compare_networks_marks_what_text_and_code_do_not_share():
    networks = {name: build_model(name, width=2) for name in ("paper_text", "author_code")}
    figure = network.compare_networks(networks, torch.zeros(1, 1, 64, 32))
    # Ten of the text's eleven blocks have a counterpart in the code: their Leaky ReLU and second batch normalisation
    # and its ReLU differ. So do the pooling before the deepest block, the first transposed convolution, and what
    # follows the other three. The text's last decoder block has a number of channels that the code's decoder lacks.
    text = ["L"] * 20 + ["B"] * 10 + ["P", "T2"] + ["B", "L"] * 3 + ["T2", "B", "L", *"CBLDCBL"]
    assert unlike_tiles(figure) == sorted([*text, *["R"] * 20, "T3"])
    heading = f"author_code: {count_parameters(networks['author_code']):,} parameters"
    assert {heading, "64 × 32", "4 × 2", "2 × 1"} <= set(texts(figure))


def test_compare_networks_marks_nothing_between_equal_networks():
    unet = build_model("author_code", width=1)
    figure = network.compare_networks({"one": unet, "same": unet}, torch.zeros(1, 1, 32, 32))
    assert unlike_tiles(figure) == []
    assert texts(figure).count("T3") == 2


def test_training_curves_mark_the_epoch_that_is_kept():
    log = pd.DataFrame({"epoch": [1, 2, 3], "learning_rate": 1e-3, "train_loss": [3.0, 2, 1], "val_loss": [3.0, 2, 2]})
    log["val_mean_iou"] = [0.2, 0.61, 0.5]
    for name in CLASSES:
        log[f"val_iou_{name}"] = [0.2, 0.6, 0.5]
    found = texts(model.training_curves(log, 2, source="phantom"))
    assert "Validation IoU: mean 0.610, kept epoch 2" in found
    assert set(CLASSES) < set(found)
    assert "Validation IoU: mean 0.500, kept epoch 3" in texts(model.training_curves(log, 3, source="phantom"))


def test_training_curves_without_a_validation_side_say_so():
    log = pd.DataFrame({"epoch": [1, 2], "learning_rate": [1e-3, 5e-4], "train_loss": [3.0, 2.0]})
    found = texts(model.training_curves(log, 2, source="phantom"))
    assert "No validation side" in found and "validation" not in found


def test_label_values_colours_the_values_present():
    found = {"1_t2": [0, 1, 100, 201], "2_t2": [0, 1, 2, 100]}
    axes = data.label_values(found, "spider", source="phantom").axes[0]
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["0", "1", "2", "100", "201"]
    picture = np.asarray(axes.images[0].get_array())
    np.testing.assert_allclose(picture[0, 4], to_rgb(style.CLASS_COLOURS["discs"]))
    np.testing.assert_allclose(picture[1, 4], 1.0)
    np.testing.assert_allclose(picture[1, 2], to_rgb(style.CLASS_COLOURS["vertebrae"]))


def test_class_balance_bars_are_the_shares():
    table = pd.DataFrame({"sequence": ["T1", "T1"], "n_background": [80, 100], "n_vertebrae": [10, 0]})
    table = table.assign(n_canal=[4, 1], n_discs=[6, 3])  # 204 pixels, 24 of foreground
    whole, front = data.class_balance(table, source="phantom").axes
    np.testing.assert_allclose([bar.get_width() for bar in whole.patches], 100 * np.array([180, 10, 5, 9]) / 204)
    np.testing.assert_allclose([bar.get_width() for bar in front.patches], 100 * np.array([10, 5, 9]) / 24)


def test_audit_strips_show_kept_slices_in_slice_order():
    audit = pd.DataFrame({"series": "1_t2", "sequence": "T2", "slice_index": [3, 0, 1, 2]})
    audit = audit.assign(classes_present=[2, 1, 4, 4], kept=[False, False, True, True])
    figure = data.audit_strips(audit, source="phantom")
    strip = np.asarray(figure.axes[0].images[0].get_array())[0]
    kept = (np.abs(strip - to_rgb(data.KEPT_COLOUR)) < 1e-6).all(axis=1)
    quarter = len(kept) // 4
    assert kept.tolist() == [False] * quarter + [True] * 2 * quarter + [False] * quarter
    assert "2 of 4 slices kept, 1 series" in texts(figure)


def test_confusion_matrix_rows_are_percent():
    counts = np.array([[90, 10, 0, 0], [1, 3, 0, 0], [0, 0, 0, 0], [0, 0, 2, 6]])
    found = texts(results.confusion_matrix(counts, source="phantom"))
    assert {"90.00 %", "10.00 %", "25.00 %", "75.00 %"} <= set(found)


def test_score_points_draw_values_and_intervals_beside_the_paper():
    paper = pd.DataFrame({"sequence": "T2_SPACE", "class": FOREGROUND, "metric": "dice", "value": [0.97, 0.96, 0.95]})
    figure = results.score_points(metrics_table(), paper, source="released")
    (axes,) = figure.axes
    assert {"0.810", "0.820", "0.830", "0.840"} <= set(texts(figure))
    (diamonds,) = [line for line in axes.lines if line.get_marker() == "D"]
    np.testing.assert_allclose(diamonds.get_ydata(), [0.97, 0.96, 0.95])
    spans = [bars.get_segments()[0][:, 1] for bars in axes.collections]
    np.testing.assert_allclose(spans, [[0.7, 0.9]] * 4)


def test_score_points_name_what_is_missing():
    with pytest.raises(SpiderError, match="split validation"):
        results.score_points(metrics_table(), split="validation", source="phantom")


def test_intervals_need_not_be_symmetric_and_lie_or_stand():
    figure, ((standing, lying),) = style.new_figure(1, 2)
    intervals(standing, [0, 1], [0.5, 0.6], [0.4, np.nan], [0.8, np.nan])
    intervals(lying, 3, 0.5, 0.4, 0.8, lying=True)
    first, unknown = standing.collections[0].get_segments()
    np.testing.assert_allclose(first, [[0, 0.4], [0, 0.8]])
    np.testing.assert_allclose(unknown, [[1, 0.6], [1, 0.6]])
    np.testing.assert_allclose(lying.collections[0].get_segments()[0], [[0.4, 3], [0.8, 3]])


def test_a_forest_has_a_row_a_line_and_leaves_out_what_is_not_known():
    rows = pd.DataFrame({"title": ["above", "below"], "value": [0.5, np.nan], "ci_low": 0.4, "ci_high": 0.8})
    figure, ((axes,),) = style.new_figure()
    forest(axes, rows.assign(colour="#000000"), "+.2f")
    assert [label.get_text() for label in axes.get_yticklabels()] == ["above", "below"]
    assert axes.yaxis_inverted() and [text.get_text() for text in axes.texts] == ["+0.50"]
    assert len(axes.collections) == 1


def test_scores_by_patient_go_from_worst_to_best():
    scores = [(patient, name, value) for patient, value in ((7, 0.9), (3, 0.5), (5, 0.7)) for name in FOREGROUND]
    table = pd.DataFrame(scores, columns=["patient", "class", "dice"])
    axes = results.scores_by_patient(table, source="phantom").axes[0]
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["3", "5", "7"]


def every_figure() -> dict:
    image, classes = slice_and_classes()
    series = pd.DataFrame({"sequence": ["T1", "T2", "T2_SPACE"], "subset": ["training", "validation", ""]})
    series = series.assign(pixel_mm_row=[0.6, 0.7, np.nan], slice_mm=[4.0, 3.3, np.nan])
    volume = np.stack([image] * 5).astype(np.float32)
    steps = [("stored", image, None), ("classes", image, classes)]
    maps = {"block": np.random.default_rng(0).random((8, 12, 10))}
    distances = dict.fromkeys(FOREGROUND, np.array([0.0, 1, 2]))
    three = [image] * 3, [classes] * 3, [classes] * 3, ["a", "b", "c"]
    losses = {"Focal": [1.0, 0], "Dice": [0.5, 0]}
    phantom = {"source": "phantom"}
    networks = {name: build_model(name, width=2) for name in ("paper_text", "author_code")}
    return {
        "counts": data.series_counts(series, **phantom),
        "spacing": data.spacing_scatter(series, **phantom),
        "no spacing": data.spacing_scatter(series[2:], **phantom),
        "grid": data.slice_grid(three[0], [classes, None, classes], three[3], **phantom),
        "pose": data.pose(volume.transpose(1, 2, 0), (1, 1, 3), volume, (1, 1), **phantom),
        "steps": data.preprocess_steps(steps, **phantom),
        "histograms": data.intensity_histograms(volume, {"min-max": image}, **phantom),
        "spread": model.init_spread({"Glorot uniform": [1, 0.9], "normal": [1, 0.1]}),
        "networks": network.compare_networks(networks, torch.zeros(1, 1, 640, 512)),
        "losses": model.loss_terms([0, 1], losses, "share", "Loss terms"),
        "focal map": model.focal_map(image, classes, image / 255, 4.0, **phantom),
        "maps": model.feature_maps(image, maps, **phantom),
        "overlays": results.overlay_grid(*three, "Three slices", **phantom),
        "distances": results.distance_histogram(distances, "mm", **phantom),
        "sequences": results.score_points(metrics_table(("T1", "T2", "T2_SPACE")), **phantom),
    }


def test_nothing_is_cut_or_covered_in_any_figure():
    for name, figure in every_figure().items():
        check_layout(name, figure)
