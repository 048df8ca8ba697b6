"""Vertebrae and discs counted on masks drawn by hand and on real references; T1 and T2 slices from file to table."""

import json
from types import SimpleNamespace
from unittest.mock import patch

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from spider_utils.__main__ import main
from spider_utils.analysis.unseen import Unseen
from spider_utils.common.errors import SpiderError
from spider_utils.data.labels import classes_from_grey
from spider_utils.data.png import read_grey
from spider_utils.data.spider import read_overview
from spider_utils.figures import calibration
from spider_utils.masks.counting import SpineCount, along_line, count_structures, first_of_each
from spider_utils.predict.network import InferenceSettings, ready_network
from spider_utils.predict.slices import predict_folder
from spider_utils.studies import counting
from spider_utils.studies.bodies import AS_TRAINED, STANDARD
from spider_utils.studies.counting import (
    SQUARE,
    STRETCHED,
    Segmented,
    counting_table,
    find_exported,
    segment_slice,
    segment_slices,
    space_table,
    summarise_counting,
)
from tests.helpers.figure_layout import check_layout

BONE, CANAL, DISC = 1, 2, 3
HEIGHT, DEPTH, THICK, TOP = 40, 50, 12, 20  # of bodies and discs in the drawn spine


def spine(count: int = 6) -> np.ndarray:
    """A mask (460, 300) of `count` bodies with a disc under each, leaning to the back; behind them canal and arches."""
    mask = np.zeros((460, 300), np.uint8)
    for number in range(count):
        top, left = body_corner(number)
        mask[top : top + HEIGHT, left : left + DEPTH] = BONE
        mask[top + HEIGHT + 3 : top + HEIGHT + 3 + THICK, left : left + DEPTH] = DISC
        mask[top : top + HEIGHT + THICK + 6, left + DEPTH + 5 : left + DEPTH + 25] = CANAL
        mask[top + 15 : top + 15 + HEIGHT, left + DEPTH + 35 : left + DEPTH + 80] = BONE  # as large as a body
    return mask


def body_corner(number: int) -> tuple[int, int]:
    """The first row and column of a body, 0 at the top; the disc under it begins 3 rows below it."""
    return TOP + number * (HEIGHT + THICK + 6), 60 + 8 * number


@pytest.mark.parametrize("count", [5, 6, 7])
def test_bodies_and_discs_are_counted_and_arches_are_not(count):
    assert count_structures(spine(count)) == SpineCount(count, count)


def test_pixels_of_any_shape_give_the_same_number():
    tall = np.repeat(spine(), 2, axis=0)
    assert count_structures(tall) == count_structures(np.repeat(spine(), 3, axis=1)) == SpineCount(6, 6)


def test_bodies_that_touch_are_parted_by_their_disc():
    mask = spine()
    for number in range(6):
        top, left = body_corner(number)
        mask[top + HEIGHT : top + HEIGHT + THICK + 6, left : left + 3] = BONE  # a bridge in front of every disc
    assert count_structures(mask) == SpineCount(6, 6)


def test_a_missed_disc_leaves_two_bodies_unless_they_touch():
    mask = spine()
    top, left = body_corner(2)
    mask[top + HEIGHT : top + HEIGHT + THICK + 6, left : left + DEPTH] = 0
    assert count_structures(mask) == SpineCount(6, 5)
    mask[top + HEIGHT : top + HEIGHT + THICK + 6, left : left + DEPTH] = BONE
    assert count_structures(mask) == SpineCount(5, 5)


def test_parts_are_one_and_specks_are_none():
    mask = spine()
    top, left = body_corner(1)
    mask[top + 26 : top + 30, left : left + DEPTH] = 0  # a quarter is broken off
    mask[top + HEIGHT + 3 : top + HEIGHT + 3 + THICK, left + 20 : left + 30] = 0  # a broken disc
    mask[5:8, 70:90], mask[440:443, 110:130], mask[440:448, 0:20] = DISC, BONE, DISC
    assert count_structures(mask) == SpineCount(6, 6)
    top, left = body_corner(3)
    mask[top : top + HEIGHT, left : left + DEPTH] = 0  # no body at all
    mask[top : top + 10, left : left + 10] = BONE  # but a twentieth of one
    assert count_structures(mask) == SpineCount(5, 6)


def test_a_sliver_is_a_vertebra_at_the_upper_edge_alone():
    mask = spine()
    mask[TOP - 3 - 6 : TOP - 3, 52:102] = DISC  # above the topmost body
    mask[4:7, 52:102] = BONE  # three rows of a vertebra, a thirteenth of one
    assert count_structures(mask) == SpineCount(6, 7)
    assert count_structures(mask[4:]) == SpineCount(7, 7)


def test_without_two_discs_there_is_no_line():
    assert count_structures(np.zeros((50, 40), np.uint8)) == SpineCount(0, 0)
    mask = np.where(spine() == DISC, 0, spine()).astype(np.uint8)
    assert count_structures(mask) == SpineCount(0, 0)
    mask[100:110, 70:120] = DISC
    assert count_structures(mask) == SpineCount(0, 1)
    assert count_structures(np.where(spine() == BONE, 0, spine()).astype(np.uint8)) == SpineCount(0, 6)


def test_places_along_a_line_by_hand():
    line = np.array([[0.0, 0.0], [10.0, 0.0], [10.0, 5.0]])
    points = np.array([[4.0, 3.0], [-2.0, 1.0], [10.0, 9.0], [13.0, 2.0], [10.0, 0.0]])
    along, across = along_line(points, line)
    np.testing.assert_allclose(along, [4, -2, 19, 12, 10])
    np.testing.assert_allclose(across, [3, 1, 0, 3, 0])
    assert first_of_each(np.array([9.0, 1, 2, 4, 8]), 3).tolist() == [1, 4, 8]


def test_the_method_agrees_with_the_record_on_most_real_references(shared_data):
    """The middle slice of each of the 30 series, against SPIDER's own table."""
    files = {}
    for path in (shared_data / "released_t2_space" / "masks").glob("*.png"):
        files.setdefault(path.name.split("_slice")[0], []).append(path)
    overview = read_overview(shared_data / "spider_metadata").set_index("new_file_name")
    off = []
    for series, slices in files.items():
        middle = sorted(slices, key=lambda path: int(path.stem.split("_slice")[1]))[len(slices) // 2]
        counted = count_structures(classes_from_grey(read_grey(middle)))
        recorded = overview.loc[series, ["num_vertebrae", "num_discs"]]
        off.append([counted.vertebrae - recorded.iloc[0], counted.discs - recorded.iloc[1]])
    off = np.abs(np.array(off, int))
    assert len(off) == 30
    assert (off == 0).mean(axis=0).min() >= 0.8 and (off <= 1).mean(axis=0).min() >= 0.95


class FromBrightness(torch.nn.Module):
    """Tells the class of a pixel by its brightness: 60, 120 and 180 are vertebrae, canal and discs."""

    def forward(self, slices: torch.Tensor) -> torch.Tensor:
        levels = torch.tensor([0.0, 60, 120, 180])[None, :, None, None] / 255
        return -200 * (slices[:, :1] - levels).abs()


def toy_network(size=(230, 230)) -> SimpleNamespace:
    """A network that needs no training; with these landmarks standardising changes little."""
    landmarks = [0] * 11 + [60, 180, 255]
    return SimpleNamespace(
        model=FromBrightness(), device=torch.device("cpu"), size=size, neighbours=1, settings=InferenceSettings(),
        description={"volumes": {"body_landmarks": landmarks}, "trained_on": {"patients": [2]}}, weights=None,
    )  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Drawn spines as they are stored, the head at the bottom, with a table that records one vertebra more in T1."""
    path = tmp_path_factory.mktemp("slices")
    rows = []
    for name, count in (("2_t1", 5), ("2_t2", 6), ("10_t1", 6), ("10_t2", 6)):
        picture = 60 * spine(count)[::2, ::2]
        picture[0, 0] = 255
        Image.fromarray(picture[::-1].astype(np.uint8)).save(path / f"{name}.png")
        more = 1 if name == "2_t1" else 0
        rows.append({"new_file_name": name, "num_vertebrae": count + more, "num_discs": count, "subset": "training"})
    pd.DataFrame(rows).to_csv(path / "overview.csv", index=False)
    return path


@pytest.fixture(scope="module")
def cases(folder):
    return list(segment_slices(find_exported(folder), toy_network()))


def test_slices_are_turned_upright_and_come_back_at_their_size(cases):
    assert [case.name for case in cases[::4]] == ["2_t1", "2_t2", "10_t1", "10_t2"]
    assert {(case.field, case.intensities) for case in cases[:4]} == {
        (field, scale) for field in (SQUARE, STRETCHED) for scale in (AS_TRAINED, STANDARD)
    }
    square = next(
        case for case in cases if case.name == "10_t1" and (case.field, case.intensities) == (SQUARE, AS_TRAINED)
    )
    wanted = spine(6)[::2, ::2].copy()
    wanted[0, 0] = square.mask[0, 0]
    np.testing.assert_array_equal(square.mask, wanted)
    assert square.expected_dice > 0.99


def test_the_table_and_its_summary_by_hand(cases, folder):
    table = counting_table(cases, read_overview(folder), met=[2])
    one = table[(table["field"] == SQUARE) & (table["intensities"] == AS_TRAINED)].set_index("series")
    assert one["vertebrae"].to_dict() == {"2_t1": 5, "2_t2": 6, "10_t1": 6, "10_t2": 6}
    assert one["recorded_vertebrae"].to_dict() == {"2_t1": 6, "2_t2": 6, "10_t1": 6, "10_t2": 6}
    assert one["met"].to_dict() == {"2_t1": True, "2_t2": True, "10_t1": False, "10_t2": False}
    summary = summarise_counting(one.reset_index())
    rows = summary.set_index(["sequence", "patients", "structure"])[["slices", "exact", "within_one", "difference"]]
    assert rows.loc[("T1", "all", "vertebrae")].tolist() == [2, 0.5, 1, -0.5]
    assert rows.loc[("T2", "all", "vertebrae")].tolist() == [2, 1, 1, 0]
    assert rows.loc[("T1", "not met", "vertebrae")].tolist() == [1, 1, 1, 0]
    assert rows.loc[("T1 minus T2", "all", "vertebrae")].tolist() == [2, -0.5, 0, -0.5]
    assert rows.loc[("T1 minus T2", "all", "discs")].tolist() == [2, 0, 0, 0]
    ends = summary.set_index(["sequence", "patients", "structure"])[["exact_low", "exact_high"]]
    assert ends.loc[("T1 minus T2", "all", "vertebrae")].tolist() == [-1, 0]  # of two patients, one, both or none
    assert ends.loc[("T1", "not met", "vertebrae")].isna().all()


def test_slices_of_t2_space_are_counted_once_a_series_at_their_middle():
    masks = np.stack([spine(count)[::2, ::2] for count in (5, 6, 7, 5)])
    found = np.where(masks == DISC, 0, masks).astype(np.uint8)
    table = pd.DataFrame({"series": ["7_t2_SPACE"] * 3 + ["8_t2_SPACE"], "slice_index": [52, 50, 51, 60]})
    probabilities = np.moveaxis(np.eye(4, dtype=np.float16)[found], -1, 1)
    unseen = Unseen(table, masks, masks, found, probabilities)
    overview = pd.DataFrame({"new_file_name": table["series"].unique(), "num_vertebrae": [7, 5], "num_discs": [7, 6]})
    rows = space_table(unseen, overview)
    assert rows["masks"].tolist() == [counting.REFERENCE, counting.UNSEEN] * 2
    assert rows["vertebrae"].tolist() == [7, 0, 5, 0] and rows["discs"].tolist() == [7, 0, 5, 0]
    assert rows["patient"].tolist() == [7, 7, 8, 8] and set(rows["sequence"]) == {"T2_SPACE"}
    exact = summarise_counting(rows).set_index(["masks", "patients", "structure"])["exact"]
    assert exact[(counting.REFERENCE, "all", "discs")] == 0.5


def test_what_is_missing_is_said_in_one_line(folder, tmp_path, capsys, cases):
    with pytest.raises(SpiderError, match="expected slices <patient>_<t1|t2>.png, found none"):
        find_exported(tmp_path)
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / "12_t2_SPACE.png")
    with pytest.raises(SpiderError, match="12_t2_SPACE.png: expected a name like 12_t1.png"):
        find_exported(tmp_path)
    with pytest.raises(SpiderError, match="expected num_vertebrae of 2_t1, found none"):
        counting_table(cases, pd.DataFrame({"new_file_name": ["3_t1"], "num_vertebrae": [7]}), [])
    assert main(["study", "counting", "--out", str(tmp_path / "out")]) == 2
    assert "expected --data-dir with slices" in capsys.readouterr().err
    line = ["study", "counting", "--data-dir", str(folder), "--out", str(tmp_path / "out")]
    with patch("spider_utils.studies.volumes.ready_network", lambda _: toy_network()):
        assert main([*line, "-p", "errors", str(tmp_path)]) == 2
    assert "expected the folder of the study 'errors', found no study.json whose errors" in capsys.readouterr().err


def test_the_command_writes_tables_and_a_figure(folder, tmp_path):
    with (
        patch("spider_utils.studies.volumes.ready_network", lambda _: toy_network()),
        patch.object(calibration, "EXAMPLES", 1),
    ):
        assert main(["study", "counting", "--data-dir", str(folder), "--out", str(tmp_path)]) == 0
    assert len(pd.read_csv(tmp_path / "counting.csv")) == 16
    assert {"exact", "exact_low", "difference"} <= set(pd.read_csv(tmp_path / "counting_summary.csv").columns)
    assert json.loads((tmp_path / "provenance.json").read_text())["settings"]["source"] == "exported"
    assert (tmp_path / "figures" / "counting.png").is_file() and (tmp_path / "figures" / "counting.svg").is_file()


def test_the_figure_shows_the_largest_differences(folder):
    shown = [
        Segmented(f"{patient}_{sequence}", SQUARE, STANDARD, spine(6), spine(6 - (patient == 3)), 0.9)
        for sequence in ("t1", "t2") for patient in (1, 2, 3, 4)
    ]  # fmt: skip
    overview = pd.DataFrame({"new_file_name": [case.name for case in shown], "num_vertebrae": 6, "num_discs": 6})
    table = counting_table(shown, overview, [])
    figure = calibration.counting(shown, table, summarise_counting(table), source="exported")
    check_layout("counting", figure)
    titles = [axes.get_title() for axes in figure.axes]
    assert titles[2].startswith("T1, patient 3\nvertebrae 5 / 6\ndiscs 5 / 6")
    assert titles[0].startswith("T1, patient 1\nvertebrae 6 / 6") and titles[1].startswith("T1, patient 2\n")


def test_a_stored_slice_is_segmented_as_the_command_predict_does(shared_data, tmp_path):
    path = shared_data / "unlabelled_t1_t2" / "87_t2.png"
    upright = read_grey(path)[::-1]
    Image.fromarray(np.ascontiguousarray(upright)).save(tmp_path / "slice.png")
    done = predict_folder(tmp_path / "slice.png", tmp_path / "masks", device="cpu")
    mask, expected = segment_slice(upright, STRETCHED, ready_network(device="cpu"))
    np.testing.assert_array_equal(mask, np.asarray(Image.open(done.masks[0])))
    assert count_structures(mask).vertebrae == count_structures(mask).discs == 6 and 0.8 < expected < 1
