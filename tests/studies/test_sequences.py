"""T1 and T2 with masks: a network that is right scores 1 everywhere, one that is wrong what a hand computes."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from spider_utils.__main__ import main
from spider_utils.common.errors import SpiderError
from spider_utils.data.labels import FOREGROUND
from spider_utils.data.png import read_grey
from spider_utils.figures import sequences as figures
from spider_utils.predict.network import WEIGHTS
from spider_utils.predict.slices import predict_folder
from spider_utils.studies import sequences
from spider_utils.studies.sequences import (
    CANAL,
    NO_CANAL,
    NOT_MET,
    Judged,
    find_labelled,
    network_of_file,
    networks_of_study,
    score_pairs,
    segment_pairs,
    sequences_tables,
    summarise_pairs,
)
from spider_utils.train.checkpoints import NETWORK_FILE
from tests.helpers.figure_layout import check_layout, texts
from tests.helpers.toy_networks import bright_network
from tools.claim import RESULTS

pytestmark = pytest.mark.usefixtures("few_draws")

TABLE = """file,patient,sequence,slice_index,row_mm,col_mm,subset
1_t1_slice5.png,1,T1,5,2,1,training
2_t2_slice5.png,2,T2,5,1,1,training
2_t2_slice9.png,2,T2,9,1,1,training
3_t2_slice5.png,3,T2,5,1,1,training
4_t2_slice5.png,4,T2,5,1,1,validation
"""
LATERAL = "2_t2_slice9.png"


def drawn(canal: bool = True) -> np.ndarray:
    """A mask (64, 48) with two vertebrae, a disc between them and, with one, a canal behind them."""
    mask = np.zeros((64, 48), np.uint8)
    mask[8:24, 8:24], mask[36:52, 8:24], mask[26:34, 8:24] = 1, 1, 3
    mask[8:52, 30:36] = 2 if canal else 0
    return mask


@pytest.fixture
def folder(tmp_path):
    """Slices whose grey tells the class; the lateral one shows a canal that its reference does not have."""
    for kind in ("images", "masks"):
        (tmp_path / "pairs" / kind).mkdir(parents=True)
    (tmp_path / "pairs" / "slices.csv").write_text(TABLE)
    for line in TABLE.splitlines()[1:]:
        name = line.split(",")[0]
        Image.fromarray(drawn() * 85).save(tmp_path / "pairs" / "images" / name)
        Image.fromarray(drawn(canal=name != LATERAL)).save(tmp_path / "pairs" / "masks" / name)
    return tmp_path / "pairs"


def judged(**options) -> Judged:
    network = bright_network((64, 48), **options)
    return Judged("toy", ((network, frozenset()),), frozenset(network.description["trained_on"]["patients"]))


def test_a_perfect_network_scores_1_in_every_row(folder):
    Image.fromarray(drawn(canal=False) * 85).save(folder / "images" / LATERAL)  # now it shows none
    tables, cases, series = sequences_tables(folder, [judged()])
    summary = tables["sequences_summary"].set_index("metric")["value"]
    assert len(summary) and set(summary[["dice", "iou", "nsd_1", "nsd_2"]]) == {1.0}
    assert set(summary[["hd95", "asd", "missed", "false_canal"]]) == {0.0}
    assert {one.patient for one in series} == {1, 2, 3}  # the validation subset stays unseen
    assert all((case.prediction == case.reference).all() for case in cases) and len(cases) == 4


def test_a_false_canal_is_told_and_spoils_the_pooled_dice_by_hand(folder):
    tables, _, _ = sequences_tables(folder, [judged()])
    rows = tables["sequences_summary"].set_index(["patients", "sequence", "slices", "class", "aggregation", "metric"])
    pixels = int((drawn() == 2).sum())
    assert rows.loc[(NOT_MET, "T2", NO_CANAL, "canal", "pooled", "false_canal"), ["value", "n"]].tolist() == [1, 1]
    assert rows.loc[(NOT_MET, "T2", "all", "canal", "pooled", "dice"), "value"] == pytest.approx(
        2 * 2 * pixels / (2 * 2 * pixels + pixels)
    )
    assert rows.loc[(NOT_MET, "T2", CANAL, "canal", "pooled", "dice"), "value"] == 1
    lateral = tables["sequences_summary"].query("slices == @NO_CANAL and metric == 'dice'")
    assert set(lateral["class"]) == {"vertebrae", "discs"} and set(lateral["value"]) == {1.0}


def test_distances_are_those_of_the_pixels_in_mm(folder):
    """A vertebra that reaches one row further: 16 of its columns' rims lie 2 mm (a row of T1) away."""
    picture = drawn() * 85
    picture[52, 8:24] = 85
    Image.fromarray(picture).save(folder / "images" / "1_t1_slice5.png")
    scores, _ = score_pairs(find_labelled(folder), judged())
    row = scores.table.query("patient == 1 and `class` == 'vertebrae'").iloc[0]
    assert row["unit"] == "mm" and row["fp"] == 16 and row["fn"] == 0
    reach = scores.distances.merge(scores.table[["patient", "class"]], left_on="row", right_index=True)
    assert reach.query("patient == 1 and `class` == 'vertebrae'")["distance"].max() == 2


def test_patients_that_a_network_knows_are_no_part_of_the_headline(folder):
    picture = np.roll(drawn() * 85, 6, axis=0)  # patient 3, whom it knows, comes out badly
    Image.fromarray(picture).save(folder / "images" / "3_t2_slice5.png")
    summary = sequences_tables(folder, [judged(met=(3, 50))])[0]["sequences_summary"]
    chosen = summary.query("sequence == 'T2' and slices == 'canal' and metric == 'dice' and aggregation == 'pooled'")
    values = chosen[chosen["class"].isin(FOREGROUND)].groupby("patients")["value"]
    assert set(values.get_group(NOT_MET)) == {1.0} and values.get_group("all").max() < 1
    with pytest.raises(SpiderError, match="expected a patient of .* that it has not learnt from, found none"):
        sequences_tables(folder, [judged(met=(1, 2, 3, 4))])


def test_masks_that_nobody_drew_are_not_scored(folder):
    table = TABLE.replace("subset", "subset,mask_from").replace(",training", ",training,registration")
    (folder / "slices.csv").write_text(table.replace(",validation", ",validation,"))
    with pytest.raises(SpiderError, match="expected slices with reference masks"):
        find_labelled(folder)


def test_a_network_must_tell_whom_it_knows(tmp_path):
    for suffix in (".safetensors", ".json"):
        shutil.copy(WEIGHTS / f"paper_baseline{suffix}", tmp_path / f"mute{suffix}")
    told = json.loads((tmp_path / "mute.json").read_text())
    del told["trained_on"]
    (tmp_path / "mute.json").write_text(json.dumps(told))
    with pytest.raises(SpiderError, match=r"mute.json: expected the patients under 'trained_on', found none"):
        network_of_file(tmp_path / "mute.safetensors", "cpu")


def test_each_patient_is_segmented_by_the_fold_that_holds_it_out(small_study, folder):
    out, store = small_study
    found = networks_of_study(out, "unseen", "cpu")
    everyone = [patient for _, own in found.folds for patient in own]
    assert sorted(everyone) == sorted(store.table["patient"].unique()) and found.met == frozenset()
    for number, (network, own) in enumerate(found.folds):
        assert network.weights.parts[-len(Path(NETWORK_FILE).parts) - 1] == f"fold{number}_seed0"
        assert all(found.of_patient(patient) is network for patient in own)
    series = find_labelled(folder)
    masks = segment_pairs(series, found)
    for one in series:
        alone = Judged("", ((found.of_patient(one.patient), frozenset()),))
        for path, mask in segment_pairs([one], alone).items():
            np.testing.assert_array_equal(mask, masks[path])


def test_real_slices_are_segmented_as_the_command_predict_does(shared_data, tmp_path):
    """Slices 9 and 10 of patient 8 lie side by side, so that each is the other's neighbour."""
    pairs = shared_data / "t1_t2_pairs"
    table = pd.read_csv(pairs / "slices.csv", dtype=str).query("patient == '8'")
    for kind in ("images", "masks"):
        (tmp_path / kind).mkdir()
        for name in table["file"]:
            shutil.copy(pairs / kind / name, tmp_path / kind / name)
    table.to_csv(tmp_path / "slices.csv", index=False)
    predict_folder(tmp_path / "images", tmp_path / "found", device="cpu")
    network = network_of_file(WEIGHTS / "spine_t2space.safetensors", "cpu")
    assert 8 not in network.met and {5, 7, 52, 146, 200, 241} <= network.met
    recorded = sequences.recorded_scores(network).set_index(["class", "aggregation", "metric"])
    told = pd.read_csv(RESULTS / "errors" / "dice.csv").query("arm == 'best' and aggregation == 'pooled'")
    value = told.set_index("class").loc["foreground", "value"]
    assert recorded.loc[("foreground", "pooled", "dice"), ["value", "n"]].tolist() == pytest.approx([value, 622])
    assert recorded.loc[("foreground", "patients", "dice"), "n"] == 30
    scores, cases = score_pairs(find_labelled(tmp_path), network)
    assert len(cases) == len(table)
    for case in cases:
        name = f"8_t2_slice{case.slice_index}.png"
        np.testing.assert_array_equal(case.prediction, read_grey(tmp_path / "found" / name))
        np.testing.assert_array_equal(case.reference, read_grey(tmp_path / "masks" / name))
    pooled = summarise_pairs(scores).query("metric == 'dice' and aggregation == 'pooled' and slices == 'canal'")
    assert pooled["value"].between(0.5, 1).all()


def test_the_figures_show_who_is_not_met_and_the_worst(folder):
    Image.fromarray(np.roll(drawn() * 85, 6, axis=0)).save(folder / "images" / "3_t2_slice5.png")
    tables, cases, _ = sequences_tables(folder, [judged()])
    figure = figures.sequence_scores(tables["sequences_summary"], source="pairs")
    check_layout("sequences", figure)
    assert {"T1 with canal\n(1 slices)", "T2 without canal\n(1 slices)"} <= set(texts(figure))
    worst = figures.worst_pairs(cases, {1}, source="pairs")
    check_layout("worst", worst)
    titles = [axes.get_title() for axes in worst.axes if axes.get_title()]
    assert [title.split("\n")[:2] for title in titles] == [
        ["T2, patient 3", "slice 5"], ["T2, patient 2", "slice 5"], ["T2, patient 2", "slice 9"],
    ]  # fmt: skip
    assert any("SPIDER (van der Graaf et al. 2024), CC BY 4.0" in text for text in texts(worst))
    scores = {(case.patient, case.slice_index): figures.slice_dice(case) for case in cases}
    assert scores[2, 5] == 1 and scores[2, 9] == pytest.approx(2 / 3)  # a canal that is not there, of three classes


@pytest.mark.slow
def test_the_command_takes_weights_or_a_study(folder, small_study, tmp_path, capsys, monkeypatch):
    study, _ = small_study
    line = ["study", "sequences", "--data-dir", str(folder), "--out", str(tmp_path / "out")]
    assert main([*line, "-p", "study", str(study)]) == 2
    assert "expected -p study DIR with -p arm NAME, or -p weights FILE" in capsys.readouterr().err
    assert main([*line, "-p", "study", str(study), "-p", "arm", "unseen"]) == 0
    made = json.loads((tmp_path / "out" / "provenance.json").read_text())["settings"]
    assert made == {"study": "sequences", "source": "pairs", "trained": study.name, "arm": "unseen"}
    assert {path.stem for path in (tmp_path / "out" / "figures").iterdir()} == {"sequences", "worst"}
    asked = []
    monkeypatch.setattr(
        sequences, "network_of_file", lambda file: asked.append(str(file)) or replace(judged(), name=Path(file).stem)
    )
    assert main([*line, "-p", "weights", "a.safetensors:b.safetensors"]) == 0
    assert asked == ["a.safetensors", "b.safetensors"]
    assert set(pd.read_csv(tmp_path / "out" / "sequences.csv")["network"]) == {"a", "b"}
    assert main([*line, "-p", "weights", "x/a.safetensors:y/a.safetensors"]) == 2
    assert "weights: expected files of different names, found a, a; rename one" in capsys.readouterr().err
