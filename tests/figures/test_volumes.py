"""Figures of volumes: what they must show. Their look is judged by eye."""

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb

from spider_utils.data.labels import FOREGROUND, four_classes
from spider_utils.evaluate.agreement import bland_altman, compare_measures
from spider_utils.figures import painting, style, volumes
from spider_utils.figures.surface import VIEWS
from spider_utils.figures.volumes import SQUARE_MM
from tests.helpers.figure_layout import check_layout, texts

SPACING = (4.0, 1.0, 0.8)
AT = (4, 50, 20)


def colour(name: str) -> list[int]:
    return [round(255 * part) for part in to_rgb(name)]


def spine() -> np.ndarray:
    """SPIDER's labels in 15 slices of 120 x 110 pixels: L5, L4, their discs and the canal, as boxes."""
    labels = np.zeros((15, 120, 110), np.uint8)
    for number, top in enumerate((70, 30)):
        labels[2:12, top : top + 24, 30:60] = 1 + number
        labels[2:12, top + 26 : top + 36, 30:60] = 201 + number
        labels[6:8, top + 4 : top + 16, 84:98] = 1 + number  # a spinous process
    labels[5:9, 20:115, 64:80] = 100
    return labels


def image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, spine().shape).astype(np.float32)


def agreement_table() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    heights = pd.DataFrame({"series": range(20), "label": 201, "name": "L5/S1", "height_mm": rng.uniform(5, 12, 20)})
    canal = pd.DataFrame({"series": range(20), "label": 1, "name": "L5", "level": "vertebra"})
    canal = canal.assign(ap_mm=rng.uniform(10, 18, 20), area_mm2=rng.uniform(150, 280, 20))
    pairs = []
    for table, shift in ((heights, 0.5), (canal, -0.3)):
        numbers = table.select_dtypes("float").columns
        pairs.append(compare_measures(table, table.assign(**{name: table[name] + shift for name in numbers})))
    return pd.concat(pairs, ignore_index=True)


def planes(**options):
    return volumes.three_planes(image(), four_classes(spine()), SPACING, "a volume", source="phantom", **options)


def picture(axes) -> np.ndarray:
    return np.asarray(axes.images[0].get_array())


def test_planes_have_square_pixels():
    sagittal, coronal, axial = planes(at=(4, 50, 40)).axes
    assert [axes.images[0].axes.get_aspect() for axes in (sagittal, coronal, axial)] == [1, 1, 1]
    shapes = [SQUARE_MM * np.array(picture(axes).shape[:2]) for axes in (sagittal, coronal, axial)]
    np.testing.assert_allclose(shapes[0], (120 * 1.0, 110 * 0.8), atol=SQUARE_MM)
    np.testing.assert_allclose(shapes[1], (120 * 1.0, 15 * 4.0), atol=SQUARE_MM)
    around = (98 - 30) * 0.8 + volumes.AROUND_MM + (110 - 98) * 0.8  # the volume ends behind the spine
    np.testing.assert_allclose(shapes[2], (around, 15 * 4.0), atol=1)


@pytest.mark.parametrize("classes", [None, four_classes(spine())], ids=["plain", "painted"])
def test_planes_cross_where_the_lines_say(classes):
    volume = np.zeros(spine().shape, np.float32)
    volume[AT] = 1  # one bright voxel in front of the spine
    figure = volumes.three_planes(volume, classes, SPACING, "a volume", source="phantom", at=AT)
    for axes in figure.axes:
        shown = picture(axes).reshape(*picture(axes).shape[:2], -1).min(axis=-1)
        rows, columns = np.nonzero(shown == shown.max())
        assert rows.mean() == pytest.approx(axes.lines[0].get_ydata()[0], abs=1)
        assert columns.mean() == pytest.approx(axes.lines[1].get_xdata()[0], abs=1)


def test_planes_without_a_place_go_through_a_disc():
    for axes in planes().axes:
        row, column = round(axes.lines[0].get_ydata()[0]), round(axes.lines[1].get_xdata()[0])
        red, green, blue = picture(axes)[row, column].astype(int)
        assert red > green and blue > green  # the discs' hue


def test_the_patients_right_is_at_the_left():
    labels = np.zeros((15, 120, 110), np.uint8)
    labels[1:4, 20:100, 30:60] = 1  # at the right
    options = {"source": "phantom", "at": (2, 50, 40)}
    _, coronal, axial = volumes.three_planes(image(), labels, SPACING, "", **options).axes
    for axes in (coronal, axial):
        columns = np.nonzero((picture(axes) == colour(style.CLASS_COLOURS["vertebrae"])).all(axis=-1))[1]
        assert columns.max() < picture(axes).shape[1] / 2
        letters = {text.get_text(): text.get_position()[0] for text in axes.texts}
        assert letters["R"] < 0.5 < letters["L"]


def test_planes_show_all_classes_and_every_side():
    sagittal, coronal, axial = planes(at=(7, 60, 70)).axes
    for name in FOREGROUND:
        assert (picture(sagittal) == colour(style.CLASS_COLOURS[name])).all(axis=-1).any()
    for axes, letters in ((sagittal, "SIAP"), (coronal, "SIRL"), (axial, "APRL")):
        assert set(letters) <= {text.get_text() for text in axes.texts}


def bar_mm(axes, pixel_mm: float) -> float:
    line = axes.lines[-1].get_xdata()
    return (line[1] - line[0]) * pixel_mm


def test_scale_bars_have_their_length_and_fit():
    assert [bar_mm(axes, SQUARE_MM) for axes in planes().axes] == pytest.approx([50, 20, 20])
    for axes in planes().axes:
        assert axes.get_xlim() == (-0.5, picture(axes).shape[1] - 0.5)
        assert axes.lines[-1].get_xdata()[1] < picture(axes).shape[1]


@pytest.fixture(scope="module")
def surfaces():
    labels = spine()
    return volumes.surfaces(four_classes(labels), SPACING, "a volume", source="released")


def test_surfaces_are_shown_in_all_views_in_one_scale(surfaces):
    assert [axes.get_title() for axes in surfaces.axes] == [view.name for view in VIEWS]
    assert len({picture(axes).shape[0] for axes in surfaces.axes}) == 1
    surfaces.draw_without_rendering()
    scales = [axes.get_window_extent().height / picture(axes).shape[0] for axes in surfaces.axes]
    np.testing.assert_allclose(scales, scales[0], rtol=0.02)
    assert bar_mm(surfaces.axes[0], volumes.SURFACE_MM) == pytest.approx(20)  # 50 does not fit


def test_surfaces_have_the_colours_of_their_classes(surfaces):
    cut = picture(surfaces.axes[3])[..., :3]
    for name in FOREGROUND:
        hue = np.array(to_rgb(style.CLASS_COLOURS[name]))
        bright = cut.max(axis=-1, keepdims=True)
        assert (np.abs(cut - hue / hue.max() * bright).max(axis=-1)[bright[..., 0] > 0.3] < 0.03).sum() > 200, name


def test_legends_name_only_what_is_there():
    vertebrae = np.where(spine() < 100, spine(), 0)
    one = volumes.surfaces(four_classes(vertebrae), SPACING, "", source="chu", views=VIEWS[:1])
    other = volumes.three_planes(image(), four_classes(vertebrae), SPACING, "", source="chu")
    for figure in (one, other):
        assert [text.get_text() for text in figure.legends[0].get_texts()] == ["vertebrae"]


def numbered(**options):
    return volumes.numbered_spine(image()[7], spine()[7], "a spine", source="phantom", **options)


def test_every_vertebra_and_disc_is_named_at_its_place():
    axes = numbered(notes={201: "9.5 mm", 203: "not there"}, aspect=1.25).axes[1]
    assert axes.get_aspect() == 1.25
    named = {text.get_text(): text for text in axes.texts}
    assert set(named) == {"L5", "L4", "L5/S1  9.5 mm", "L4/L5"}
    top = painting.foreground_box(spine()[7], margin=120 // 7)[0].start
    for name, middle in {"L5": 81.5, "L4": 41.5, "L4/L5": 60.5, "L5/S1  9.5 mm": 100.5}.items():
        row = named[name].xy[1] if "/" in name else named[name].get_position()[1]
        assert row == pytest.approx(middle - top, abs=0.1)  # the body's middle, without the spinous process
    assert len(axes.collections) == 5  # an outline each, the canal's too


def test_agreement_draws_bias_limits_and_every_pair():
    table = agreement_table()
    table.loc[0, ["other", "difference", "mean"]] = np.nan
    figure = volumes.measure_agreement(table, source="phantom", measures=("height_mm", "ap_mm", "area_mm2"))
    for axes, (measure, n, unit) in zip(
        figure.axes, (("height_mm", 19, "mm"), ("ap_mm", 20, "mm"), ("area_mm2", 20, "mm²")), strict=True
    ):
        part = table[table["measure"] == measure]
        agreement = bland_altman(part["reference"].to_numpy(), part["other"].to_numpy())
        drawn = [line.get_ydata()[0] for line in axes.lines]
        assert drawn == pytest.approx([agreement.upper, agreement.bias, agreement.lower])
        points = np.concatenate([scatter.get_offsets() for scatter in axes.collections])
        expected = part[["mean", "difference"]].dropna().to_numpy()
        np.testing.assert_allclose(np.sort(points, axis=0), np.sort(expected, axis=0))
        assert f"n = {n}" in axes.get_title() and axes.get_ylabel().endswith(f", {unit}")
    assert {"bias\n+0.50 mm", "bias\n−0.30 mm", "bias\n−0.3 mm²"} <= set(texts(figure))


def test_what_cannot_be_shown_is_said():
    """A network that finds nothing is a result, too."""
    table = agreement_table()
    figure = volumes.measure_agreement(table, source="phantom", measures=("height_mm", "depth_mm"))
    assert "Disc depth:\nnothing was measured on both" in texts(figure)
    assert "bias\n+0.50 mm" in texts(figure)
    empty = volumes.surfaces(np.zeros((3, 20, 20), np.uint8), SPACING, "a volume", source="phantom")
    assert "no voxel is foreground: there is no surface" in texts(empty)


def test_agreement_of_one_pair_has_a_bias():
    table = agreement_table()
    alone = table.groupby("measure").head(1)
    assert "bias\n+0.50 mm" in texts(volumes.measure_agreement(alone, source="phantom"))


def every_figure() -> dict:
    return {
        "planes": planes(),
        "planes without classes": volumes.three_planes(image(), None, SPACING, "a volume", source="sct"),
        "numbered": numbered(notes={201: "9.5 mm", 202: "10.5 mm"}),
        "agreement": volumes.measure_agreement(agreement_table(), source="phantom"),
    }


def test_figures_are_closed_carry_their_source_and_cut_nothing(surfaces):
    before = plt.get_fignums()
    figures = every_figure()
    assert plt.get_fignums() == before
    for name, figure in (figures | {"surfaces": surfaces}).items():
        assert set(style.SOURCE_NOTES.values()) & set(texts(figure)), name
        check_layout(name, figure)
