"""Conventions neutralised and rewritten, on masks drawn by hand."""

import numpy as np
import pytest

from spider_utils.commands.study import run_command
from spider_utils.common.errors import SpiderError
from spider_utils.data.labels import FOREGROUND
from spider_utils.masks.conventions import DISCS, VERTEBRAE, disc_gaps
from spider_utils.studies.ceiling import (
    EDGES,
    GAP,
    NONE,
    SPECKS,
    TOGETHER,
    TOP,
    ceiling_tables,
    disputed,
    ideal_reader,
    neutralised,
    with_gap,
)
from tests.helpers.small_unseen import make_unseen, spine


def wrong(pair) -> int:
    return int((pair[0] != pair[1]).sum())


def touching() -> np.ndarray:
    """The straight spine with its discs 8 rows higher and lower, so that they touch the bodies on both sides."""
    mask = spine()
    for first, last in ((150, 170), (220, 240), (290, 310)):
        mask[first:last, 60:110] = DISCS
    return mask


def test_an_error_of_one_pixel_is_forgiven_at_the_edges_and_one_of_two_is_not():
    """3 bodies and 3 discs of 50 columns, moved down: a row lost above, a row won below each for every pixel."""
    mask = spine()
    for shift, left in ((1, 0), (2, 6 * (48 + 50))):  # in the second row within, both ends lie at the edge, too
        moved = mask.copy()
        moved[:, 60:110] = np.roll(mask[:, 60:110], shift, axis=0)
        pairs = neutralised(mask, moved)
        assert (wrong(pairs[NONE]), wrong(pairs[EDGES])) == (12 * 50 * shift, left)


def test_each_convention_forgives_its_own_errors_alone():
    """A vertebra above the top disc that is not found, a speck of canal, and vertebra in the gap."""
    reference, prediction = spine(), spine()
    prediction[100:150, 60:110] = 0
    reference[400:403, 20:23] = 2
    prediction[166:170, 60:110] = VERTEBRAE
    found = {name: wrong(pair) for name, pair in neutralised(reference, prediction).items()}
    top, speck, gap = 50 * 50, 9, 4 * 50
    everything = top + speck + gap
    assert found[NONE] == everything and found[SPECKS] == everything - speck
    assert found[TOP] == everything - top
    beside_the_top_disc = 50  # the lowest row of the body above lies within 4 of both
    assert found[GAP] in (everything - gap - beside_the_top_disc, everything - gap)
    assert found[TOGETHER] == 0


def test_what_is_left_out_of_one_mask_is_left_out_of_the_other():
    reference, prediction = spine(), np.roll(spine(), 3, axis=0)
    for name, (one, other) in neutralised(reference, prediction).items():
        if name not in (NONE, TOGETHER):
            out = disputed(reference, prediction)[name]
            assert out.any() or name == SPECKS
            assert not one[out].any() and not other[out].any()
            np.testing.assert_array_equal(one[~out], reference[~out])


def test_touching_discs_are_given_the_usual_gap():
    opened = with_gap(touching())
    gaps = disc_gaps(opened)
    facing = gaps[gaps["faces"]]
    assert disc_gaps(touching()).query("faces")["gap"].median() == 0
    assert facing["gap"].min() == facing["gap"].median() == 3
    column = opened[150:175, 80].tolist()  # of the disc one row is lost at either end, of the body below two
    assert column == [0] + [DISCS] * 18 + [0] * 3 + [VERTEBRAE] * 3
    np.testing.assert_array_equal(with_gap(spine()), spine())  # 4 rows apart


def test_an_ideal_reader_rewrites_what_the_majority_draws_otherwise_and_nothing_else():
    reference = touching()
    reference[100:150, 60:110] = 0  # no vertebra above the top disc, though the slice goes on there
    reference[400:403, 20:23] = 2
    cut = reference[80:]  # 70 rows above the disc: the image's edge cuts the vertebra
    prediction = np.zeros_like(cut)
    prediction[20:66, 60:110] = VERTEBRAE
    prediction[300:320, 60:110] = VERTEBRAE  # below: not of the reader's business
    found = ideal_reader(cut, prediction, True)
    added = found[TOP] != cut
    assert added.sum() == 46 * 50 and (found[TOP][added] == VERTEBRAE).all() and np.nonzero(added)[0].max() == 65
    assert (found[SPECKS] != cut).sum() == 9
    assert found[GAP].shape == cut.shape and (found[GAP] == 2).sum() == (cut == 2).sum()
    changed = np.any([found[name] != cut for name in (TOP, SPECKS, GAP)], axis=0)
    np.testing.assert_array_equal(found[TOGETHER] != cut, changed)
    same = ideal_reader(spine(), prediction_of(spine()), False)
    assert all((mask == spine()).all() for mask in same.values())


def prediction_of(mask: np.ndarray) -> np.ndarray:
    return np.roll(mask, 2, axis=0)


def test_tables_of_two_patients():
    """Patient 1 follows the majority and has no error; patient 2's discs touch and the network's do not."""
    unseen = make_unseen([spine(), touching()], [spine(), with_gap(touching())], [1, 2])
    tables = ceiling_tables(unseen)
    patients = tables["ceiling_patients"].set_index("patient")
    assert patients["touching"].tolist() == [False, True]
    assert patients.loc[1, ["dice", "neutralised", "ideal"]].tolist() == [1, 1, 1]
    assert patients.loc[2, "dice"] == patients.loc[2, "ideal"] < 1 and patients.loc[2, "neutralised"] == 1
    dice = tables["neutralised"].query("aggregation == 'pooled'").set_index(["arm", "class"])["value"]
    ideal = tables["ideal_reader"].query("aggregation == 'pooled'").set_index(["arm", "class"])["value"]
    for name in FOREGROUND:
        assert dice[NONE, name] == ideal[TOGETHER, name]
    assert ideal[TOP, "foreground"] == ideal[SPECKS, "foreground"] == 1
    discs = 2 * (36 + 55) / (2 * (36 + 55) + 5)  # rows of 36 and 60; below the lowest disc there is no vertebra
    assert ideal[GAP, "discs"] == pytest.approx(discs)
    gains = tables["neutralised_gains"].query("aggregation == 'pooled' and `class` == 'discs'").set_index("arm")
    assert gains.loc[GAP, "difference"] == pytest.approx(1 - discs) and gains.loc[SPECKS, "difference"] == 0


def test_other_sequences_are_refused():
    unseen = make_unseen([spine()], [spine()])
    unseen.table["sequence"] = "T1"
    with pytest.raises(SpiderError, match="expected a study with slices of T2 SPACE, found none"):
        ceiling_tables(unseen)


@pytest.mark.usefixtures("few_draws")
def test_the_command_reads_a_finished_study_and_nothing_else(small_study, tmp_path):
    study, store = small_study
    given = {"study": str(study), "arm": "unseen"}
    tables = run_command("ceiling", tmp_path / "out", overrides=given)
    assert len(tables["ceiling_patients"]) == store.table["patient"].nunique()
    assert (tmp_path / "out" / "figures" / "ceiling.png").is_file()
    assert (tmp_path / "out" / "ideal_reader.csv").is_file()
    with pytest.raises(SpiderError, match="study 'ceiling': expected -p study DIR and -p arm NAME, and no --data-dir"):
        run_command("ceiling", tmp_path / "other", data_dir=tmp_path, overrides=given)
