"""Figures of the reference audit and of the copying baseline: what they must show."""

import matplotlib

matplotlib.use("Agg")

import numpy as np
import pandas as pd
import pytest

from spider_utils.common.errors import SpiderError
from spider_utils.data.labels import CLASSES, FOREGROUND
from spider_utils.figures import reference, style
from tests.helpers.figure_layout import check_layout, texts

KINDS = {"leaky": "nearest slice: LEAKY", "honest": "other patient"}


def audit_table(series: int = 30) -> pd.DataFrame:
    table = pd.DataFrame({"series": [f"{number}_t2_SPACE" for number in range(series)], "patient": range(series)})
    gap = np.linspace(5, 0, series)
    table = table.assign(gap_median=gap, gap_q1=(gap - 1).clip(0), gap_q3=gap + 1, touching=0.5 - gap / 10, islands=2.0)
    return table.assign(convention=np.where(gap < 1, "touching", "gap"), edges="clean")


def example(title: str = "5: widest gap") -> tuple[str, np.ndarray, np.ndarray]:
    mask = np.zeros((320, 256), np.uint8)
    mask[150:160, 100:130], mask[110:145, 100:130], mask[:, 150:160] = 3, 1, 2
    return title, np.random.default_rng(0).integers(0, 256, mask.shape, np.uint8), mask


def copying_scores() -> pd.DataFrame:
    rows = [
        (kind, sequence, name, way, "dice", value + 0.01 * place, value - 0.03, value + 0.045)
        for kind, value in (("leaky", 0.95), ("honest", 0.2))
        for sequence in ("T2_SPACE", "all")
        for way in ("pooled", "slices")
        for place, name in enumerate((*CLASSES, "foreground"))
    ]
    return pd.DataFrame(rows, columns="split sequence class aggregation metric value ci_low ci_high".split())


def overlap_table() -> pd.DataFrame:
    rows = [
        (apart, name, "pooled", 1 - 0.03 * apart, 0.9 - 0.03 * apart, 1.0, 100 - apart)
        for apart in (1, 2, 3)
        for name in (*CLASSES, "foreground")
    ]
    return pd.DataFrame(rows, columns="apart class aggregation value ci_low ci_high pairs".split())


def paper_table() -> pd.DataFrame:
    return pd.DataFrame({"class": FOREGROUND, "metric": "dice", "value": [0.97, 0.96, 0.95]})


def test_audit_has_a_row_a_series_narrowest_gap_first():
    examples = [example("a"), example("b"), example("c")]
    figure = reference.reference_audit(audit_table(), examples, source="released")
    gap = next(axes for axes in figure.axes if axes.get_xlabel().startswith("Gap"))
    names = [label.get_text() for label in gap.get_yticklabels()]
    assert names == [str(number) for number in reversed(range(30))]
    marks = [line for line in gap.lines if line.get_marker() in "os"]
    np.testing.assert_allclose([line.get_xdata()[0] for line in marks], np.linspace(0, 5, 30))
    touching = next(axes for axes in figure.axes if axes.get_xlabel().startswith("Touching"))
    np.testing.assert_allclose([bar.get_width() for bar in touching.patches], 100 * (0.5 - np.linspace(0, 0.5, 30)))
    found = texts(figure)
    assert {"gap: 24 series", "touching: 6 series", "a", "b"} <= set(found) and "c" not in found


def test_series_of_one_patient_are_named_apart_and_unmeasured_ones_are_left_out():
    table = audit_table(4).assign(patient=[1, 1, 2, 2])
    table.loc[0, "gap_median"] = np.nan
    gap = reference.reference_audit(table, [example()], source="phantom").axes[1]
    assert [label.get_text() for label in gap.get_yticklabels()] == ["3_t2_SPACE", "2_t2_SPACE", "1_t2_SPACE"]


def test_copied_masks_stand_beside_the_paper():
    figure = reference.copying_dice(copying_scores(), KINDS, paper_table(), source="released")
    assert [axes.get_title() for axes in figure.axes] == list(KINDS.values())
    for axes, value in zip(figure.axes, (0.95, 0.2), strict=True):
        (diamonds,) = [line for line in axes.lines if line.get_marker() == "D"]
        np.testing.assert_allclose(diamonds.get_ydata(), [0.97, 0.96, 0.95])
        shown = {text.get_text() for text in axes.texts}
        assert shown == {f"{value + 0.01 * place:.3f}" for place in range(1, 5)}
        spans = [bars.get_segments()[0][:, 1] for bars in axes.collections]
        np.testing.assert_allclose(spans, [[value - 0.03, value + 0.045]] * 4)
    assert figure.axes[1].get_ylim()[0] == 0 and figure.axes[0].get_ylim()[0] > 0.5


def test_without_the_paper_and_without_intervals():
    scores = copying_scores().assign(ci_low=np.nan, ci_high=np.nan)
    figure = reference.copying_dice(scores, KINDS, sequence="T2_SPACE", source="phantom")
    assert not any(line.get_marker() == "D" for axes in figure.axes for line in axes.lines)
    assert not any("paper" in text for text in texts(figure))


def test_dice_by_distance_draws_each_class_and_counts_pairs():
    (axes,) = reference.dice_by_distance(overlap_table(), source="released").axes
    assert [label.get_text() for label in axes.get_xticklabels()] == ["1\n(99 pairs)", "2\n(98 pairs)", "3\n(97 pairs)"]
    lines = [line for line in axes.lines if len(line.get_xdata()) == 3 and line.get_linestyle() == "-"]
    assert len(lines) == 4
    for line in lines:
        np.testing.assert_allclose(line.get_ydata(orig=False), [0.97, 0.94, 0.91])


def neighbours() -> tuple[np.ndarray, np.ndarray]:
    """Two slices whose masks differ a little: (2, H, W) each."""
    _, image, mask = example()
    moved = np.roll(mask, 2, axis=0)
    return np.stack([image, image]), np.stack([mask, moved])


def test_a_copied_mask_carries_the_dice_of_both_masks():
    images, masks = neighbours()
    figure = reference.copied_mask((58, 59), images, masks, source="sample")
    found = texts(figure)
    by_class = {}
    for name in FOREGROUND:  # from sets of pixels, not from the package's counts
        copied, own = ({tuple(at) for at in np.argwhere(mask == CLASSES.index(name))} for mask in masks)
        by_class[name] = 2 * len(copied & own) / (len(copied) + len(own))
        assert f"{name} {by_class[name]:.2f}" in found
    mean = sum(by_class.values()) / len(by_class)
    assert 0.85 < mean < 0.95 and any(text.endswith(f"Dice of {mean:.2f}") for text in found)
    titles = [axes.get_title() for axes in figure.axes]
    assert titles[0] == "slice 58\nand its mask" and titles[3] == f"both compared\nDice {mean:.2f}"
    assert titles[1].startswith("slice 59") and titles[2].startswith("slice 59")


def test_a_copied_mask_is_painted_on_the_next_slice():
    images, masks = neighbours()
    images = np.stack([images[0], images[0][::-1]])
    copied, under, own, _ = (
        axes.images[0].get_array() for axes in reference.copied_mask((1, 2), images, masks, source="sample").axes
    )
    assert copied.shape == under.shape == own.shape and copied.shape[1] < masks.shape[2]
    assert not np.array_equal(copied, under) and not np.array_equal(under, own)
    outside = np.any(np.asarray(under) != np.asarray(own), axis=2)  # same MRI: only the masks differ
    assert 0 < outside.mean() < 0.05


def every_figure() -> dict:
    images, masks = neighbours()
    long = [example("162_t2_SPACE: narrowest gap"), example("110_t2_SPACE: widest gap"), example("241: most islands")]
    return {
        "audit": reference.reference_audit(audit_table(), long, source="released"),
        "copied mask": reference.copied_mask((58, 59), images, masks, source="sample"),
        "audit of many": reference.reference_audit(audit_table(90), long, source="spider"),
        "one example": reference.reference_audit(audit_table(3), long[:1], source="phantom"),
        "examples": reference.reference_examples(long, source="released"),
        "copying": reference.copying_dice(copying_scores(), KINDS, paper_table(), source="released"),
        "distance": reference.dice_by_distance(overlap_table(), source="released"),
    }


def test_nothing_is_cut_or_covered_and_all_carry_their_source():
    for name, figure in every_figure().items():
        assert any(note in texts(figure) for note in style.SOURCE_NOTES.values()), name
        check_layout(name, figure)


def test_unknown_source_is_refused():
    with pytest.raises(SpiderError, match="phantom, released, pairs, spider"):
        reference.dice_by_distance(overlap_table(), source="elsewhere")
