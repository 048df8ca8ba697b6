"""Aggregation and bootstrap intervals against plain loops over masks, and the tables that are shown."""

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from spider_utils.common.errors import SpiderError
from spider_utils.data.labels import CLASSES, FOREGROUND
from spider_utils.evaluate.boundaries import boundary_distances
from spider_utils.evaluate.metrics import COUNTS, LENGTH, METRICS, Metric, overlap_counts
from spider_utils.evaluate.paper import PAPER_TABLE
from spider_utils.evaluate.scores import (
    AGGREGATIONS,
    COLUMNS,
    SliceScores,
    lateral_position,
    read_scores,
    score_slices,
    summarise,
    write_metrics,
    write_scores,
)
from spider_utils.evaluate.tables import beside_paper, score_table, sequence_lines, summary_lines

REPLICATES, SEED = 60, 4
OVERLAP = {name: METRICS[name].measure for name in ("dice", "iou", "precision", "recall", "f1")}
MM = (0.6, 0.5)


def make_slices(slices_of: dict[int, int], seed: int = 0) -> tuple[np.ndarray, np.ndarray, pd.DataFrame]:
    """Slices with a rectangle of each class, the prediction moved and cut; even patients have no pixel size."""
    rng = np.random.default_rng(seed)
    reference, prediction, rows = [], [], []
    for patient, slices in slices_of.items():
        for number in range(slices):
            truth, found = np.zeros((48, 40), np.uint8), np.zeros((48, 40), np.uint8)
            for label in (1, 2, 3):
                height, width = rng.integers(6, 12, 2)
                down, right = rng.integers(0, 1 + patient % 4, 2)
                top, left = 14 * (label - 1) + 1, 8
                truth[top : top + height, left : left + width] = label
                found[top + down : top + down + height, left + right : left + width + patient % 3] = label
            reference.append(truth)
            prediction.append(found)
            spacing = MM if patient % 2 else (np.nan, np.nan)
            sequence = "T2_SPACE" if patient % 3 else "T1"
            rows.append((f"{patient}_x", patient, sequence, 20 + number, *spacing))
    names = ["series", "patient", "sequence", "slice_index", "pixel_mm_row", "pixel_mm_col"]
    return np.stack(reference), np.stack(prediction), pd.DataFrame(rows, columns=names)


def pick(summary: pd.DataFrame, **where: str) -> pd.Series:
    """The one row of a summary that fits; of the sequence "all" where none is named."""
    for name, value in ({"sequence": "all"} | where).items():
        summary = summary[summary[name.rstrip("_")] == value]
    assert len(summary) == 1
    return summary.iloc[0]


@pytest.fixture(scope="module")
def slices():
    """Seven patients with one to three slices; in one slice the discs were not found, in another there are none."""
    reference, prediction, table = make_slices({1: 3, 2: 2, 3: 3, 4: 1, 5: 2, 6: 2, 9: 2})
    prediction[1][prediction[1] == 3] = 0
    reference[7][reference[7] == 3] = prediction[7][prediction[7] == 3] = 0
    return reference, prediction, table


@pytest.fixture(scope="module")
def scores(slices):
    return score_slices(*slices)


@pytest.fixture(scope="module")
def summary(scores):
    return summarise(scores, "test", REPLICATES, SEED)


def test_a_row_for_every_slice_and_class(scores, slices):
    reference, prediction, table = slices
    assert len(scores.table) == 4 * len(table)
    assert scores.table["class"].tolist() == list(CLASSES) * len(table)
    row = scores.table.iloc[4 * 5 + 2]
    assert (row["tp"], row["fp"], row["fn"]) == overlap_counts(reference[5] == 2, prediction[5] == 2)
    spacing = MM if row["patient"] % 2 else (1.0, 1.0)
    boundary = boundary_distances(reference[5] == 2, prediction[5] == 2, spacing)
    assert (row["asd"], row["hd95"], row["nsd_1"], row["nsd_2"]) == (boundary.asd, boundary.hd95, *boundary.nsd)
    assert (scores.table["unit"] == np.where(scores.table["patient"] % 2, "mm", "px")).all()


def test_empty_masks_in_the_table(scores):
    discs = scores.table[scores.table["class"] == "discs"].reset_index(drop=True)
    assert discs.loc[1, ["dice", "iou", "recall", "nsd_1", "missed"]].tolist() == [0, 0, 0, 0, 1]
    assert discs.loc[1, ["precision", "asd", "hd95"]].isna().all()
    assert discs.loc[7, [*OVERLAP, "asd", "hd95", "nsd_1", "nsd_2", "missed"]].isna().all()
    assert (discs.drop(index=[1, 7])["missed"] == 0).all()


def test_missed_classes_are_reported_beside_the_distances(summary, slices):
    slices_with_discs = len(slices[2]) - 1
    missed = pick(summary, class_="discs", aggregation="slices", metric="missed")
    assert (missed["value"], missed["n"]) == (pytest.approx(1 / slices_with_discs), slices_with_discs)
    counted = summary[
        (summary["class"] == "discs") & (summary["aggregation"] == "slices") & (summary["metric"] == "asd")
    ]
    assert counted[counted["sequence"] == "all"]["n"].sum() == slices_with_discs - 1


def test_pooled_sets_keep_dice_f1_and_iou_together(summary):
    pooled = summary.query("aggregation == 'pooled' and unit == 'ratio' and `class` != 'foreground'")
    values = pooled.pivot(index=["sequence", "class"], columns="metric", values="value")
    np.testing.assert_allclose(values["dice"], 2 * values["iou"] / (1 + values["iou"]))
    np.testing.assert_array_equal(values["dice"], values["f1"])


@pytest.fixture(scope="module")
def measured(slices):
    """Pixel counts and boundary of every slice (row) and class, straight from the masks."""
    reference, prediction, table = slices
    found = {}
    for row, patient in enumerate(table["patient"]):
        for label, name in enumerate(CLASSES):
            masks = reference[row] == label, prediction[row] == label
            found[row, name] = overlap_counts(*masks), boundary_distances(*masks, MM if patient % 2 else (1.0, 1.0))
    return found


def slow_value(measured: dict, slices: list[tuple[int, int]], name: str, aggregation: str, metric: str) -> float:
    """A metric of the listed (place in the draw, row) slices, put together one by one, repeated ones included."""
    chosen = [measured[row, name] for _, row in slices]
    if aggregation == "pooled":
        first = np.concatenate([boundary.from_prediction for _, boundary in chosen])
        second = np.concatenate([boundary.from_reference for _, boundary in chosen])
        if metric == "asd":
            return np.concatenate([first, second]).mean()
        if metric == "hd95":
            return max(np.quantile(first, 0.95), np.quantile(second, 0.95))
        if metric == "nsd_1":
            return sum(boundary.within[0] for _, boundary in chosen) / sum(boundary.length for _, boundary in chosen)
        return float(OVERLAP[metric](*np.sum([counts for counts, _ in chosen], axis=0)))
    each = [float(OVERLAP[metric](*counts)) for counts, _ in chosen] if metric in OVERLAP else []
    each = each or [{"asd": item.asd, "hd95": item.hd95, "nsd_1": item.nsd[0]}[metric] for _, item in chosen]
    if aggregation == "slices":
        return np.nanmean(each)
    return pd.Series(each).groupby([place for place, _ in slices]).mean().mean()


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
@pytest.mark.parametrize("metric", ["dice", "precision", "asd", "hd95", "nsd_1"])
def test_values_and_intervals_equal_a_slow_loop_with_the_same_draws(slices, measured, summary, aggregation, metric):
    unit = "ratio" if metric in OVERLAP else "mm"
    patient_of = slices[2]["patient"]
    patients = sorted(set(patient_of) if unit == "ratio" else {patient for patient in patient_of if patient % 2})
    drawn = np.random.default_rng(SEED).integers(0, len(patients), (REPLICATES, len(patients)))
    loops = {name: [] for name in FOREGROUND}
    for choice in (range(len(patients)), *drawn):
        rows_of = [np.flatnonzero(patient_of == patients[number]) for number in choice]
        rows = [(place, row) for place, several in enumerate(rows_of) for row in several]
        for name in FOREGROUND:
            loops[name].append(slow_value(measured, rows, name, aggregation, metric))
    loops["foreground"] = np.mean(list(loops.values()), axis=0)
    for name, loop in loops.items():
        row = pick(summary, class_=name, aggregation=aggregation, metric=metric, unit=unit)
        expected = (loop[0], *np.percentile(loop[1:], [2.5, 97.5]))
        assert (row["value"], row["ci_low"], row["ci_high"]) == pytest.approx(expected, rel=1e-6)


def made_up(values: np.ndarray) -> SliceScores:
    """One slice a patient with the given NSD in mm, the same for every class, and no distances."""
    table = pd.DataFrame({"patient": np.arange(len(values)), "sequence": "T2", "unit": "mm", "nsd_1": values})
    names = ("asd", "hd95", "nsd_2", "distance_sum", "boundary_pixels", "boundary_length", "within_1", "within_2")
    table = table.assign(**dict.fromkeys((*names, *OVERLAP, "missed", "tp", "fp", "fn"), 0.0))
    table = pd.concat([table.assign(**{"class": name}) for name in CLASSES], ignore_index=True)
    return SliceScores(table, pd.DataFrame({"row": [], "direction": [], "distance": [], "count": []}))


def test_interval_of_a_mean_of_many_patients_is_the_normal_one():
    values = np.random.default_rng(1).normal(0.8, 0.05, 100)
    row = pick(summarise(made_up(values), "test", 2000), class_="canal", aggregation="slices", metric="nsd_1")
    half = 1.96 * values.std() / np.sqrt(len(values))
    assert row["value"] == pytest.approx(values.mean())
    assert (row["ci_low"], row["ci_high"]) == pytest.approx(
        (values.mean() - half, values.mean() + half), abs=0.1 * half
    )
    assert row["n"] == 100


def test_interval_of_two_patients_reaches_from_one_to_the_other():
    summary = summarise(made_up(np.array([0.2, 0.6])), "test")  # a quarter of the replicates holds either one twice
    row = pick(summary, class_="canal", aggregation="patients", metric="nsd_1")
    assert (row["value"], row["ci_low"], row["ci_high"]) == pytest.approx((0.4, 0.2, 0.6))


def test_one_patient_has_a_value_but_no_interval():
    summary = summarise(score_slices(*make_slices({3: 3})), "test", 20)
    assert summary["value"].notna().all()
    assert summary[["ci_low", "ci_high"]].isna().all(axis=None)
    assert (summary[summary["aggregation"] == "patients"]["n"] == 1).all()
    assert "[" not in "".join(summary_lines(summary)[1:])


@pytest.mark.parametrize("metric", ["dice", "recall", "hd95"])
def test_a_class_of_one_patient_has_a_value_but_no_interval(metric):
    reference, prediction, table = make_slices({1: 2, 3: 2, 5: 3})
    for masks in (reference, prediction):
        masks[:4][masks[:4] == 2] = 0  # only patient 5 shows the canal
    summary = summarise(score_slices(reference, prediction, table), "test", 40)
    for aggregation in AGGREGATIONS:
        for name, bounded in (("canal", False), ("foreground", False), ("discs", True)):
            row = pick(summary, class_=name, aggregation=aggregation, metric=metric)
            assert np.isfinite(row["value"]) and np.isfinite([row["ci_low"], row["ci_high"]]).all() == bounded


def test_long_table_holds_every_combination_once(summary):
    assert summary.columns.tolist() == COLUMNS
    assert not summary.duplicated(COLUMNS[:6]).any()
    assert set(summary["sequence"]) == {"T1", "T2_SPACE", "all"}
    assert set(summary["class"]) == {*CLASSES, "foreground"}
    bounded = summary.dropna()
    assert (bounded["ci_low"] <= bounded["ci_high"]).all()


def test_a_sequence_is_summarised_from_its_own_slices(scores, summary):
    for sequence in ("T1", "T2_SPACE"):
        dice = scores.table[(scores.table["sequence"] == sequence) & (scores.table["class"] == "vertebrae")]["dice"]
        row = pick(summary, sequence=sequence, class_="vertebrae", aggregation="slices", metric="dice")
        assert row["value"] == pytest.approx(dice.mean()) and row["n"] == len(dice) < len(scores.table) / 4


def test_foreground_is_the_plain_mean_of_its_classes(summary):
    wide = summary.pivot(index=["sequence", "aggregation", "metric", "unit"], columns="class", values="value")
    np.testing.assert_allclose(wide["foreground"], wide[list(FOREGROUND)].to_numpy().mean(axis=1))


def test_mm_and_pixels_never_meet(slices, scores, summary):
    reference, prediction, table = slices
    for unit, chosen in (("mm", table["patient"] % 2 == 1), ("px", table["patient"] % 2 == 0)):
        alone = score_slices(reference[chosen], prediction[chosen], table[chosen])
        expected = summarise(alone, "test", REPLICATES, SEED)
        assert set(expected["unit"]) == {"ratio", unit}
        for metric in ("asd", "hd95", "nsd_1", "nsd_2"):
            where = {"class_": "vertebrae", "aggregation": "pooled", "metric": metric, "unit": unit}
            assert pick(summary, **where)["value"] == pytest.approx(pick(expected, **where)["value"])


@pytest.mark.parametrize(("row", "col", "unit"), [(0.5, 2.0, "mm"), (0.5, np.nan, "px"), (np.nan, 2.0, "px")])
def test_a_slice_is_measured_in_mm_where_both_sides_of_its_pixels_are_known(row, col, unit):
    reference, prediction = np.zeros((1, 20, 20), np.uint8), np.zeros((1, 20, 20), np.uint8)
    reference[0, 4:12, 4:12] = prediction[0, 4:12, 5:13] = 2  # one column aside: 2 mm, so not within 1 mm
    table = pd.DataFrame(
        {"series": "1_t1", "patient": 1, "sequence": "T1", "slice_index": 9, "pixel_mm_row": row, "pixel_mm_col": col},
        index=[0],
    )
    canal = score_slices(reference, prediction, table).table.set_index("class").loc["canal"]
    assert canal["unit"] == unit and canal["slice_index"] == 9
    assert canal["hd95"] == pytest.approx(2.0 if unit == "mm" else 1.0)
    assert (canal["nsd_1"] < 1) == (unit == "mm") and canal["nsd_2"] == 1
    assert (canal["within_1"] < canal["within_2"]) == (unit == "mm")
    below = score_slices(reference, np.roll(reference, 1, axis=1), table).table.set_index("class").loc["canal"]
    assert below["hd95"] == pytest.approx(0.5 if unit == "mm" else 1.0)


def test_order_of_slices_does_not_matter(slices, summary):
    order = np.random.default_rng(0).permutation(len(slices[2]))
    reference, prediction, table = slices
    again = summarise(score_slices(reference[order], prediction[order], table.iloc[order]), "test", REPLICATES, SEED)
    assert_frame_equal(again, summary)


def test_perfect_prediction(slices):
    reference, _, table = slices
    summary = summarise(score_slices(reference[:4], reference[:4], table[:4]), "test", 20)
    expected = summary["metric"].isin(["asd", "hd95", "missed"]).map({True: 0.0, False: 1.0})
    np.testing.assert_allclose(summary["value"], expected)


def test_prediction_of_background_only(slices):
    reference, prediction, table = slices
    summary = summarise(score_slices(reference[:4], 0 * prediction[:4], table[:4]), "test", 20)
    value = summary[summary["class"] == "foreground"].groupby("metric")["value"]
    assert value.mean()[["dice", "recall", "nsd_1", "missed"]].tolist() == [0, 0, 0, 1]
    assert value.mean()[["precision", "asd", "hd95"]].isna().all()
    assert set(score_table(summary).loc["discs", ["ASD (mm)", "HD95 (px)"]]) == {"-"}


def test_scores_survive_writing_and_reading(tmp_path, scores, summary):
    write_scores(scores, tmp_path)
    assert_frame_equal(summarise(read_scores(tmp_path), "test", REPLICATES, SEED), summary, check_exact=True)
    write_metrics(summary, tmp_path / "metrics.csv")
    assert_frame_equal(pd.read_csv(tmp_path / "metrics.csv"), summary)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "metrics.csv",
        "slice_distances.csv",
        "slice_scores.csv",
    ]
    with pytest.raises(SpiderError, match="slice_scores.csv"):
        read_scores(tmp_path / "nowhere")


def test_arrays_that_do_not_fit_the_table_are_refused(slices):
    reference, prediction, table = slices
    with pytest.raises(SpiderError, match="full resolution"):
        score_slices(reference, prediction[:, :, :-1], table)
    with pytest.raises(SpiderError, match="3 slices"):
        score_slices(reference, prediction, table[:3])


def test_tables_for_reading_show_the_long_table(summary):
    table = score_table(summary, metrics=("dice", "hd95", "nsd_1"))
    assert table.columns.tolist() == ["Dice", "HD95 (mm)", "HD95 (px)", "NSD at 1 mm", "NSD at 1 px"]
    row = pick(summary, class_="canal", aggregation="pooled", metric="dice")
    assert table.loc["canal", "Dice"] == f"{row['value']:.3f} [{row['ci_low']:.3f}, {row['ci_high']:.3f}]"
    lines = summary_lines(summary)
    assert len(lines) == 5
    assert [line.split(" ")[0] for line in lines] == ["class", *FOREGROUND, "foreground"]
    assert "HD95 (mm)" in lines[0] and table.loc["canal", "Dice"] in lines[2]
    by_sequence = sequence_lines(summary)
    assert [line.split(" ")[0] for line in by_sequence] == ["Dice", "T1", "T2_SPACE"]
    assert score_table(summary, sequence="T1").loc["canal", "Dice"] in by_sequence[1]
    assert sequence_lines(summary[summary["sequence"] != "T1"]) == []


def test_paper_table_is_the_published_one(summary):
    assert len(PAPER_TABLE) == 12
    space = PAPER_TABLE[PAPER_TABLE["sequence"] == "T2_SPACE"].set_index("class").loc[list(FOREGROUND)]
    # The published F1 of T2 SPACE is 2 IoU / (1 + IoU) to four digits and the published Dice is not.
    np.testing.assert_allclose(space["f1"], 2 * space["iou"] / (1 + space["iou"]), atol=6e-5)
    assert (abs(space["dice"] - space["f1"]) > 1e-3).all()
    both = beside_paper(summary)
    assert set(both["sequence"]) == {"T1", "T2_SPACE"}
    row = pick(both, sequence="T1", class_="discs", metric="dice")
    ours = pick(summary, sequence="T1", class_="discs", metric="dice", aggregation="pooled")["value"]
    assert (row["paper"], row["difference"]) == (0.9592, pytest.approx(ours - 0.9592))


def test_lateral_position_runs_from_right_to_left_within_a_series():
    table = pd.DataFrame({"series": list("aaabcc"), "slice_index": [12, 10, 14, 3, 7, 8]})
    assert lateral_position(table).tolist() == [0.0, -1.0, 1.0, 0.0, -1.0, 1.0]
    assert lateral_position(table).name == "lateral_position"


def test_a_metric_is_added_in_one_place(slices, monkeypatch):
    """Two made-up ones, of counts and of boundaries, show in the slices' scores, the summary and the wide table."""
    overlap = Metric("overlap", "Overlap", lambda tp, fp, fn: tp / (1 + tp + np.minimum(fp, fn)), COUNTS)
    half = Metric("half", "Half ASD", lambda boundary: boundary.asd / 2, kind=LENGTH)
    for metric in (overlap, half):
        monkeypatch.setitem(METRICS, metric.name, metric)
    scores = score_slices(*slices)
    summary = summarise(scores, "test", 20)
    where = {"class_": "vertebrae", "unit": "mm"}
    pooled = pick(summary, **where, metric="half", aggregation="pooled")["value"]
    assert pooled == pytest.approx(pick(summary, **where, metric="asd", aggregation="slices")["value"] / 2)
    tp, fp, fn = scores.table[scores.table["class"] == "canal"][list(COUNTS)].sum()
    row = pick(summary, class_="canal", unit="ratio", metric="overlap", aggregation="pooled")
    assert row["value"] == pytest.approx(tp / (1 + tp + min(fp, fn)))
    table = score_table(summary, metrics=("overlap", "half"))
    assert table.columns.tolist() == ["Overlap", "Half ASD (mm)", "Half ASD (px)"]
    assert table.loc["canal", "Overlap"] == f"{row['value']:.3f} [{row['ci_low']:.3f}, {row['ci_high']:.3f}]"
    assert table.loc["vertebrae", "Half ASD (mm)"].startswith(f"{pooled:.2f}")
