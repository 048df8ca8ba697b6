"""Arms of a study on several sequences: each sequence by itself, and its slices with and without canal apart.

Where a slice lies tells more than its sequence: far from the midline there is no canal, less of each vertebra, and no
reference for a third of what is scored. So a slice's lateral position goes by its reference: does it show the canal?
"""

from collections.abc import Iterator

import pandas as pd

from spider_utils.data.series import SEQUENCES
from spider_utils.evaluate.overlap import pooled_dice
from spider_utils.studies.compare import dice_table, difference_table

EVERY, CANAL, LATERAL = "all slices", "canal visible", "no canal"
HAVE_NO_CANAL = ("canal", "foreground")  # classes that slices without canal have no score of


def slice_groups(counts: pd.DataFrame) -> Iterator[tuple[str, str, pd.DataFrame]]:
    """Yield sequence, position (EVERY, CANAL or LATERAL) and the counts of overlap of these slices.

    A sequence whose slices all show the canal has no groups but EVERY.
    """
    canal = counts[counts["class"] == "canal"].assign(visible=lambda rows: rows["tp"] + rows["fn"] > 0)
    visible = canal.groupby(["series", "slice_index"])["visible"].first()
    shows = visible.reindex(pd.MultiIndex.from_frame(counts[["series", "slice_index"]])).to_numpy()
    for sequence in SEQUENCES:
        of_sequence = (counts["sequence"] == sequence).to_numpy()
        if not of_sequence.any():
            continue
        yield sequence, EVERY, counts[of_sequence]
        if not shows[of_sequence].all():
            for position, chosen in ((CANAL, shows), (LATERAL, ~shows)):
                if (of_sequence & chosen).any():
                    yield sequence, position, counts[of_sequence & chosen]


def sequence_tables(counts: pd.DataFrame, reference: str) -> dict[str, pd.DataFrame]:
    """Return `compare`'s tables for every group of slices, of the last epoch: by_sequence, differences_by_sequence.

    Their first columns are sequence and position; the rest are those of `dice_table` and `difference_table`. And
    patients_by_sequence: sequence, arm, patient and its dice, pixels of all its slices pooled, mean of three classes.
    """
    last = counts[counts["epoch"] == counts["epoch"].max()]
    dice: list[pd.DataFrame] = []
    gains: list[pd.DataFrame] = []
    patients: list[pd.DataFrame] = []
    for sequence, position, part in slice_groups(last):
        if position == EVERY:
            own = pooled_dice(part, ["arm", "patient"]).mean(axis=1, skipna=False).rename("dice").reset_index()
            patients.append(own.assign(sequence=sequence)[["sequence", "arm", "patient", "dice"]])
        for table, made in ((dice_table(part), dice), (difference_table(part, reference), gains)):
            if position == LATERAL and len(table):
                table = table[~table["class"].isin(HAVE_NO_CANAL)]
            place = pd.DataFrame({"sequence": sequence, "position": position}, index=table.index)
            made.append(pd.concat([place, table], axis=1))
    return {
        "by_sequence": pd.concat(dice, ignore_index=True),
        "differences_by_sequence": pd.concat(gains, ignore_index=True),
        "patients_by_sequence": pd.concat(patients, ignore_index=True),
    }
