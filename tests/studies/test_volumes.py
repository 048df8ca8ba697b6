"""The studies of volumes: what is found of constructed bodies, and the command that runs them."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk

from spider_utils.__main__ import main
from spider_utils.common.errors import SpiderError
from spider_utils.data.pose import to_pose
from spider_utils.figures.study import bodies as bodies_figure
from spider_utils.figures.study import roundtrip as roundtrip_figure
from spider_utils.studies import bodies, roundtrip
from spider_utils.studies.bodies import STANDARD, Case, body_rows, find_pairs, island_row, summarise_bodies
from spider_utils.studies.roundtrip import Extent, roundtrip_table, summarise_roundtrip


def case(name: str = "a", way: str = STANDARD) -> Case:
    """Two bodies of 8 voxels each: the first is all vertebra, of the second a quarter is disc and a quarter missed."""
    bodies, classes = np.zeros((2, 8, 8), np.uint8), np.zeros((2, 8, 8), np.uint8)
    bodies[:, 1:3, 1:3], classes[:, 1:3, 1:3] = 1, 1
    bodies[:, 5:7, 1:3], classes[:, 5:7, 1:3] = 4, np.array([[1, 1], [3, 0]])
    return Case(name, "net", way, np.random.default_rng(0).random((2, 8, 8)) * 100, bodies, classes, (10.0, 5.0, 2.0))


def test_shares_of_bodies_are_counted():
    table = pd.DataFrame(body_rows(case()))
    assert table["body"].tolist() == [1, 4] and table["ml"].tolist() == [0.8, 0.8]
    assert table["vertebrae"].tolist() == [1.0, 0.5]
    assert table.loc[1, ["background", "canal", "discs"]].tolist() == [0.25, 0.0, 0.25]
    summary = summarise_bodies(table).iloc[0]
    assert (summary["bodies"], summary["mean"], summary["lowest"]) == (2, 0.75, 0.5)


def test_islands_are_counted_in_slices_without_a_body_alone():
    """A third slice without body holds two pieces, 3 pixels of 10 x 5 x 2 mm in all; a disc is none."""
    one = case()
    beside = np.zeros((1, 8, 8), np.uint8)
    beside[0, 0, :2], beside[0, 4, 4], beside[0, 7, 7] = 1, 1, 3
    more = replace(
        one,
        bodies=np.concatenate([one.bodies, 0 * beside]),
        classes=np.concatenate([one.classes, beside]),
    )
    assert island_row(one) | {"volume": ""} == {
        "volume": "", "network": "net", "intensities": STANDARD, "slices": 0, "pieces": 0, "ml": 0.0
    }  # fmt: skip
    found = island_row(more)
    assert (found["slices"], found["pieces"], found["ml"]) == (1, 2, 0.3)


def test_the_figure_of_bodies_states_the_mean_share():
    cases = [case(name, way) for name in ("a", "b") for way in ("as in training", STANDARD)]
    table = pd.DataFrame([row for one in cases for row in body_rows(one)])
    figure = bodies_figure(cases, table, source="chu")
    titles = [axes.get_title() for axes in figure.axes]
    assert titles.count("a\nstandardised: 0.75") == 1 and titles.count("b\nas in training: 0.75") == 1
    assert any("Chu et al." in text.get_text() for text in figure.texts)


def test_only_volumes_with_bodies_are_taken(tmp_path):
    for name in ("x_image", "x_bodies", "y_image", "z"):
        sitk.WriteImage(sitk.Image([4, 4, 4], sitk.sitkUInt8), str(tmp_path / f"{name}.mha"))
    assert [name for name, *_ in find_pairs(tmp_path)] == ["x"]
    (tmp_path / "x_bodies.mha").unlink()
    with pytest.raises(SpiderError, match="expected volumes NAME_image"):
        find_pairs(tmp_path)


def test_bodies_are_segmented_with_both_scales_and_looked_for_outside_the_bodies(tmp_path, monkeypatch):
    """A network that calls every voxel above 500 vertebra: of body 1, at 600, all; of body 2, at 400, nothing."""
    labels = np.zeros((6, 8, 8), np.uint8)
    labels[1:3, 1:3, 1:3], labels[1:3, 5:7, 1:3] = 1, 2
    voxels = np.select([labels == 1, labels == 2], [600, 400], 0).astype(np.int16)
    voxels[5, 0, 0] = 900
    for name, array in (("x_image", voxels), ("x_bodies", labels)):
        volume = sitk.DICOMOrient(sitk.GetImageFromArray(array), "PIR")  # sagittal slices: x runs through them
        sitk.WriteImage(volume, str(tmp_path / f"{name}.mha"))
    asked = []

    def predict(image, network, settings):
        asked.append((network.weights.stem, bool(settings.body_landmarks)))
        posed = to_pose(image)
        return (sitk.GetArrayFromImage(posed) > 500).astype(np.uint8), posed.GetSpacing()[::-1]

    monkeypatch.setattr(bodies, "predict_classes", predict)
    monkeypatch.setattr(bodies, "PHANTOM_PATIENTS", ())
    tables, cases = bodies.bodies_tables(find_pairs(tmp_path))
    assert asked == [(name, way) for name in bodies.NETWORKS for way in (False, True)]
    assert tables["bodies"]["body"].tolist() == [1, 2] * 4 and tables["bodies"]["vertebrae"].tolist() == [1.0, 0.0] * 4
    assert (tables["islands"]["pieces"] == 1).all() and (tables["islands"]["ml"] == 0.0).all()  # 1 mm3
    assert [one.network for one in cases] == [bodies.NETWORKS[0]] * 2
    shifted = sitk.ReadImage(str(tmp_path / "x_bodies.mha"))
    shifted.SetOrigin((0, 0, 5))
    sitk.WriteImage(shifted, str(tmp_path / "x_bodies.mha"))
    with pytest.raises(SpiderError, match="x_bodies.mha: expected the origin of its image"):
        bodies.bodies_tables(find_pairs(tmp_path))


@pytest.fixture(scope="module")
def table():
    """The bench on three slices, in four poses."""
    poses, sizes = roundtrip.ORIENTATIONS, roundtrip.SIZES
    roundtrip.ORIENTATIONS, roundtrip.SIZES = ("LPS", "AIR"), ((0, 0), (160, 128))
    try:
        return roundtrip_table(Extent(across_mm=3.0, columns_mm=120.0))
    finally:
        roundtrip.ORIENTATIONS, roundtrip.SIZES = poses, sizes


def test_the_bench_loses_nothing_at_the_slices_own_size(table):
    own = table[table["network_size"] == "own"]
    assert (own[["vertebrae", "canal", "discs"]] == 1).all(axis=None) and table["same_grid"].all()
    assert set(table["pose"]) == {"as made", "LPS", "AIR", *(f"20 degrees about {axis}" for axis in "xyz")}
    smaller = table[table["network_size"] != "own"]
    assert (smaller[["vertebrae", "canal", "discs"]] < 1).all(axis=None)
    assert set(table["series"]) == set(roundtrip.SAMPLED)


def test_the_summary_holds_the_lowest_dice_over_the_poses(table):
    summary = summarise_roundtrip(table)
    row = summary.query("series == 'T2 SPACE' and network_size == '128 x 160' and answer == 'shares'").iloc[0]
    part = table.query("series == 'T2 SPACE' and network_size == '128 x 160' and answer == 'shares'")
    assert row["poses"] == len(part) == 6 and row["discs"] == part["discs"].min()
    figure = roundtrip_figure(summary, source="phantom")
    assert len(figure.axes) == len(roundtrip.SAMPLED)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (["bodies"], "study 'bodies': expected --data-dir with volumes and label maps of bodies, found none"),
        (["roundtrip", "--data-dir", "d"], "study 'roundtrip': makes its own phantom, found --data-dir; leave it out"),
        (["roundtrip", "-p", "epochs", "3"], "study 'roundtrip': takes no parameter 'epochs'"),
    ],
)
def test_wrong_use_is_one_line(tmp_path, capsys, line, message):
    assert main(["study", *line, "--out", str(tmp_path / "o")]) == 2
    assert capsys.readouterr().err == f"error: {message}\n"


def test_the_command_writes_tables_figure_and_provenance(tmp_path, monkeypatch, capsys):
    row = {"series": "s", "spacing_mm": "1", "pose": "p", "network_size": "own", "answer": "shares", "same_grid": True}
    made = pd.DataFrame([row | {"vertebrae": 1.0, "canal": 1.0, "discs": 1.0}])
    monkeypatch.setattr(roundtrip, "roundtrip_table", lambda: made)
    assert main(["study", "roundtrip", "--out", str(tmp_path)]) == 0
    assert {path.name for path in tmp_path.rglob("*") if path.is_file()} == {
        "roundtrip.csv", "roundtrip_summary.csv", "provenance.json", "roundtrip.png", "roundtrip.svg",
    }  # fmt: skip
