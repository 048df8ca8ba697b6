"""Several sequences in one study: each scored by itself, lateral slices apart, differences paired by patient."""

import pandas as pd
import pytest

from spider_utils.data.labels import CLASSES
from spider_utils.evaluate.overlap import pooled_dice
from spider_utils.studies.by_sequence import CANAL, EVERY, LATERAL, sequence_tables, slice_groups


def counts(arm: str, missed: int) -> pd.DataFrame:
    """Two T2 patients, the second slice of each without canal but two pixels called so, and one T2 SPACE patient."""
    rows = []
    for patient, sequence, number, canal in (
        (1, "T2", 0, 8), (1, "T2", 1, 0), (2, "T2", 0, 8), (2, "T2", 1, 0), (3, "T2_SPACE", 0, 8)
    ):  # fmt: skip
        for name in CLASSES:
            tp = canal if name == "canal" else 10
            extra = 2 if name == "canal" and not canal else 0
            rows.append(
                (arm, 0, patient, sequence, number, name, tp, extra, missed if tp else 0, f"{patient}_{sequence}")
            )
    columns = ["arm", "seed", "patient", "sequence", "slice_index", "class", "tp", "fp", "fn", "series"]
    return pd.DataFrame(rows, columns=columns).assign(epoch=8, fold=0)


def test_slices_are_grouped_by_what_their_reference_shows():
    found = {(sequence, position): part for sequence, position, part in slice_groups(counts("a", 1))}
    assert list(found) == [("T2", EVERY), ("T2", CANAL), ("T2", LATERAL), ("T2_SPACE", EVERY)]
    assert set(found["T2", CANAL]["slice_index"]) == {0} and set(found["T2", LATERAL]["slice_index"]) == {1}


def test_values_are_those_of_the_group_alone_and_lateral_slices_have_no_canal():
    tables = sequence_tables(pd.concat([counts("a", 0), counts("b", 2)]), "a")
    dice = tables["by_sequence"].query("aggregation == 'pooled'").set_index(["sequence", "position", "arm", "class"])
    assert dice.loc[("T2", CANAL, "b", "canal"), "value"] == pytest.approx(2 * 16 / (2 * 16 + 4))
    assert dice.loc[("T2", EVERY, "a", "canal"), "value"] == pytest.approx(2 * 16 / (2 * 16 + 4))  # 4 pixels too many
    assert dice.loc[("T2", EVERY, "b", "foreground"), "value"] == pytest.approx(
        pooled_dice(counts("b", 2).query("sequence == 'T2'"), ["arm"]).mean(axis=1).iloc[0]
    )
    lateral = dice.loc[("T2", LATERAL, "b")]
    assert set(lateral.index) == {"background", "vertebrae", "discs"}
    patients = tables["patients_by_sequence"].set_index(["sequence", "arm", "patient"])["dice"]
    whole, holed = 2 * 20 / (2 * 20 + 4), 2 * 8 / (2 * 8 + 2 + 2)  # of arm b: bones and discs, the canal
    assert patients["T2", "b", 1] == pytest.approx((2 * whole + holed) / 3) and len(patients) == 6
    gains = tables["differences_by_sequence"].query("aggregation == 'pooled' and `class` == 'vertebrae'")
    assert set(gains["arm"]) == {"b"} and set(gains["sequence"]) == {"T2", "T2_SPACE"}
    assert gains["difference"].to_numpy() == pytest.approx(20 / 22 - 1)
