"""Figures of the ablation: what they must show."""

import matplotlib

matplotlib.use("Agg")

import numpy as np
import pandas as pd
import pytest

from spider_utils.common.errors import SpiderError
from spider_utils.data.labels import CLASSES
from spider_utils.figures import style
from spider_utils.figures.ablation import (
    BETTER_COLOUR,
    HEAD,
    WORSE_COLOUR,
    ablation_arms,
    ablation_by_class,
    arm_rows,
    patient_pairs,
)
from spider_utils.figures.draw import draw_study
from tests.helpers.figure_layout import check_layout, texts

ARMS = {  # title, kind, gain in Dice, adjusted p
    "tversky": ("Tversky (0.3 / 0.7)", "loss", -0.01, 0.2),
    "attention": ("Attention U-Net", "network", 0.002, 0.9),
    "dice": ("generalised Dice", "loss", 0.004, 0.04),
    "unetpp": ("U-Net++ with deep supervision", "network", 0.012, 0.001),
    "odd": ("something new", "novelty", 0.001, 1.0),
    "bare": ("of no kind", "", -0.02, 0.01),
    "all": ("2.5D U-Net++, strong augmentation", "combined", 0.02, 0.0),
}
ORDER = [("Network", ["unetpp", "attention"]), ("Loss", ["dice", "tversky"]), ("Combined", ["all"])]
ORDER += [("Novelty", ["odd"]), ("Other", ["bare"])]


def paired(gains: dict[str, float] | None = None) -> pd.DataFrame:
    """HD95 moves the other way, 100 times as far, and ASD 10 times: in pixels."""
    rows = []
    for arm, (title, kind, gain, p) in ARMS.items():
        gain = (gains or {}).get(arm, gain)
        for metric, unit, scale in (("dice", "ratio", 1), ("hd95", "px", -100), ("asd", "px", -10)):
            ends = sorted([scale * (gain - 0.005), scale * (gain + 0.007)])
            row = {"arm": arm, "title": title, "kind": kind, "reference": "base", "metric": metric, "unit": unit}
            row |= {"n": 30, "difference": scale * gain, "ci_low": ends[0], "ci_high": ends[1], "p_holm": p}
            rows.append(row)
    return pd.DataFrame(rows)


def cost() -> pd.DataFrame:
    titles = {"base": "paper's text"} | {arm: told[0] for arm, told in ARMS.items()}
    table = pd.DataFrame({"arm": list(titles), "title": list(titles.values())})
    return table.assign(multiply_adds_ratio=1 + np.arange(len(titles)) / 4)


def by_class() -> pd.DataFrame:
    rows = [
        {"arm": arm, "epoch": epoch, "aggregation": way, "class": name, "difference": value}
        | {"ci_low": value - 0.004, "ci_high": value + 0.004}
        for number, arm in enumerate(ARMS)
        for epoch, way, shift in ((10, "pooled", 0), (5, "pooled", 0.5), (10, "slices", 0.5))
        for place, name in enumerate((*CLASSES, "foreground"))
        for value in [shift + (number - 3) / 1000 + place / 10000]
    ]
    return pd.DataFrame(rows)


@pytest.fixture(scope="module")
def figure():
    return ablation_arms(paired(), cost(), source="released")


def markers(axes) -> dict[int, object]:
    """The points by the row that they stand in."""
    return {round(line.get_ydata()[0]): line for line in axes.lines if line.get_marker() == "o"}


def test_arms_stand_below_their_kind_the_highest_gain_first(figure):
    expected = [name for head, arms in ORDER for name in (head, *(ARMS[arm][0] for arm in arms))]
    labels = figure.axes[0].get_yticklabels()
    assert [label.get_text() for label in labels] == expected
    assert [label.get_text() for label in labels if label.get_fontweight() == "bold"] == [head for head, _ in ORDER]


def test_points_and_intervals_stand_where_the_table_says(figure):
    arms = [name for head, arms in ORDER for name in (head, *arms)]
    metrics = {"dice": "Foreground Dice", "hd95": "HD95, px", "asd": "ASD, px"}
    for axes, (metric, title) in zip(figure.axes, metrics.items(), strict=False):
        assert axes.get_title() == title
        table = paired()[paired()["metric"] == metric].set_index("arm")
        found = markers(axes)
        assert set(found) == {y for y, arm in enumerate(arms) if arm in ARMS}
        for y, line in found.items():
            row = table.loc[arms[y]]
            assert line.get_xdata()[0] == pytest.approx(row["difference"])
            assert line.get_color() == (BETTER_COLOUR if ARMS[arms[y]][2] > 0 else WORSE_COLOUR)
            holds_none = row["ci_low"] <= 0 <= row["ci_high"]
            assert (line.get_markerfacecolor() == "white") == (row["p_holm"] >= 0.05 or holds_none)
        spans = {round(bars.get_segments()[0][0, 1]): bars.get_segments()[0][:, 0] for bars in axes.collections}
        for y in found:
            np.testing.assert_allclose(spans[y], table.loc[arms[y], ["ci_low", "ci_high"]].astype(float))
        low, high = axes.get_xlim()
        assert low < table["ci_low"].min() and table["ci_high"].max() < high
    assert "+0.012" in texts(figure) and "-1.2" in texts(figure) and "-0.12" in texts(figure)


def test_cost_is_a_bar_an_arm(figure):
    arms = [name for head, arms in ORDER for name in (head, *arms)]
    ratio = cost().set_index("arm")["multiply_adds_ratio"]
    bars = {round(bar.get_y() + bar.get_height() / 2): bar.get_width() for bar in figure.axes[3].patches}
    assert bars == {y: pytest.approx(ratio[arm]) for y, arm in enumerate(arms) if arm in ARMS}
    assert "2.75" in texts(figure)  # of the last arm


def test_an_arm_far_off_is_told_at_the_edge_and_leaves_the_others_their_place():
    figure = ablation_arms(paired({"tversky": -0.6}), cost(), source="phantom")
    found = texts(figure)
    assert "◄ [-0.605, -0.593]" in found and "[+59.3, +60.5] ►" in found and "-0.600" in found
    for axes in figure.axes[:3]:
        assert len(markers(axes)) == len(ARMS) - 1
    assert figure.axes[0].get_xlim()[0] > -0.1 and figure.axes[1].get_xlim()[1] < 10
    check_layout("far", figure)


def test_without_kinds_there_are_no_headings():
    rows = arm_rows(paired().assign(kind=np.nan))
    assert [arm for arm, _ in rows] == ["all", "unetpp", "dice", "attention", "odd", "tversky", "bare"]
    assert HEAD not in dict(rows)


def test_one_patient_and_an_arm_without_a_distance():
    table = paired().assign(ci_low=np.nan, ci_high=np.nan)
    table.loc[(table["arm"] == "odd") & (table["metric"] == "hd95"), "difference"] = np.nan
    figure = ablation_arms(table, cost(), source="phantom")
    assert [len(markers(axes)) for axes in figure.axes[:3]] == [len(ARMS), len(ARMS) - 1, len(ARMS)]


def test_gains_by_class_are_those_of_the_last_epoch_pooled():
    figure = ablation_by_class(by_class(), paired(), source="released")
    axes = figure.axes[0]
    order = [arm for _, arms in ORDER for arm in arms]
    table = by_class().query("epoch == 10 and aggregation == 'pooled'").set_index(["arm", "class"])
    cells = {(round(text.get_position()[1]), round(text.get_position()[0])): text for text in axes.texts}
    assert len(cells) == len(ARMS) * 3
    for (y, x), text in cells.items():
        row = table.loc[(order[y], CLASSES[1 + x])]
        assert text.get_text() == f"{row['difference']:+.3f}"
        assert (text.get_fontweight() == "bold") == (row["ci_low"] > 0 or row["ci_high"] < 0)
    assert {text.get_fontweight() for text in cells.values()} == {"normal"}
    sure = by_class().assign(ci_low=0.001)
    weights = {text.get_fontweight() for text in ablation_by_class(sure, paired(), source="phantom").axes[0].texts}
    assert weights == {"bold"}
    assert [label.get_text() for label in axes.get_yticklabels()] == [ARMS[arm][0] for arm in order]
    check_layout("by class", figure)


def test_nothing_is_cut_or_covered_and_all_carry_their_source(figure):
    assert style.SOURCE_NOTES["released"] in texts(figure)
    assert any("paper's text" in text and "30 patients" in text for text in texts(figure))
    check_layout("ablation", figure)


def test_unknown_source_is_refused():
    with pytest.raises(SpiderError, match="phantom, released, pairs, spider"):
        ablation_by_class(by_class(), paired(), source="elsewhere")


def test_patient_pairs_names_every_patient_and_colours_who_gains():
    rng = np.random.default_rng(0)
    before = rng.uniform(0.8, 0.9, 30)
    gain = np.where(np.arange(30) < 21, 0.02, -0.01)
    long = [
        {"arm": arm, "patient": 100 + patient, "dice": dice, "hd95": 40 * (1 - dice)}
        for patient in range(30)
        for arm, dice in (("base", before[patient]), ("all", before[patient] + gain[patient]))
    ]
    table = paired()
    drawn = patient_pairs(pd.DataFrame(long), table[table["arm"] == "all"], cost(), source="released")
    check_layout("patient_pairs", drawn)
    dice, hd95 = drawn.axes[:2]
    for panel in (dice, hd95):
        lines = panel.collections[0]
        colours = [matplotlib.colors.to_hex(colour) for colour in lines.get_colors()]
        assert colours.count(BETTER_COLOUR.lower()) == 21 and colours.count(WORSE_COLOUR.lower()) == 9
    named = [label.get_text() for label in dice.get_yticklabels()]
    assert sorted(named) == sorted(str(100 + patient) for patient in range(30))
    assert named[-1] == str(100 + int(before.argmin()))  # the reference's worst patient is on top


def test_a_study_without_its_reference_arm_has_nothing_to_compare_and_no_figure():
    tables = {"dice": pd.DataFrame({"arm": ["alone"]}), "differences": pd.DataFrame()}
    assert draw_study(tables, None, "phantom") == {}
