"""What each study answers with: its tables, by name."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from spider_utils.common.progress import progress
from spider_utils.data import filters
from spider_utils.data.sources import fingerprint
from spider_utils.data.store import SliceStore
from spider_utils.evaluate.scores import summarise
from spider_utils.studies import copying, leakage, reference, stacked
from spider_utils.studies.by_sequence import sequence_tables
from spider_utils.studies.compare import dice_table, difference_table, order_table, remaining_table, scored_alike_often
from spider_utils.studies.cost import cost_table, length_table
from spider_utils.studies.harness import read_final_scores, run_study, training_table, worker_count
from spider_utils.studies.options import option_names, option_tables, try_options
from spider_utils.studies.paired import paired_table, study_patients
from spider_utils.studies.plan import Training, plan
from spider_utils.studies.study_file import Study, Tables


def trained_study(
    study: Study, store: SliceStore, out: Path, workers: int, scheduler: str, finished: Sequence[Path | str] = ()
) -> Tables:
    """Run a study of the harness and return its tables.

    All have dice, differences, boundaries and trainings; those of `leakage` have its own besides. The others have
    patients, paired and cost; those scored after several epochs order and remaining; those with `options` what these
    are worth; those with a peer lengths. On several sequences, by_sequence and differences_by_sequence stand for what
    would mix them.
    """
    ways = option_names(study.ways, len(study.seeds))
    counts, trainings = run_study(study, store, out, workers, scheduler, finished), plan(study, store.table)
    tables = {"dice": dice_table(counts), "differences": difference_table(counts, study.reference)}
    titles, kinds = ({arm.name: getattr(arm, name) for arm in study.arms} for name in ("title", "kind"))
    tables["dice"].insert(1, "title", tables["dice"]["arm"].map(titles))
    tables["boundaries"] = boundary_table(trainings, out)
    tables["trainings"] = training_table(trainings, out)
    if counts["sequence"].nunique() > 1:  # their distances have different units, and their Dice are no one number
        tables |= sequence_tables(counts, study.reference)
        tables["by_sequence"].insert(3, "title", tables["by_sequence"]["arm"].map(titles))
        return tables
    if study.name in leakage.STUDIES:
        return tables | leakage.tables(study, store, counts)
    tables["patients"] = study_patients(trainings, out)
    if study.reference in titles:
        tables["paired"] = paired_table(tables["patients"], study.reference, titles, kinds)
        tables["cost"] = cost_table(trainings, out, study.reference, titles)
    if scored_alike_often(counts):
        tables |= {"order": order_table(counts), "remaining": remaining_table(counts)}
    if any(one.peer.peer for one in trainings):
        tables["lengths"] = length_table(trainings, out, titles)
    if study.options and len(ways) > 1:
        tried = [one for one in trainings if one.arm == study.options]
        try_options(tried, ways, store.path.resolve(), out.resolve(), worker_count(study, workers), scheduler)
        tables |= option_tables(tried, ways, out)
    return tables


def boundary_table(trainings: list[Training], out: Path) -> pd.DataFrame:
    """Return distances, NSD and overlap of every arm's last epoch: arm, seed and the columns of `scores.summarise`.

    Several seeds are taken together: "0, 1, 2".
    """
    parts = []
    seeds = ", ".join(str(seed) for seed in sorted({one.seed for one in trainings}))
    for arm in progress(list(dict.fromkeys(one.arm for one in trainings)), desc="aggregating", unit="arm"):
        summary = summarise(read_final_scores(trainings, out, arm), "test")
        parts.append(summary.drop(columns="split").assign(arm=arm, seed=seeds))
    table = pd.concat(parts, ignore_index=True)
    return table[["arm", "seed", *(name for name in table if name not in ("arm", "seed"))]]


def reference_tables(store: SliceStore, source: str) -> Tables:
    """Measure by what conventions the reference masks were drawn."""
    audit = reference.audit_reference(store)
    return {"reference_audit": audit, "reference_summary": reference.audit_summary(audit)}


def copying_tables(store: SliceStore, source: str) -> Tables:
    """Score the mask of the nearest training slice, of another patient, and of slices 1 to 3 apart. No training.

    The nearest slice's mask is scored once more as the authors' public script does, see studies/stacked.py.
    """
    return {
        "copying": copying.copying_table(store, boundaries=True),
        "neighbour_overlap": copying.neighbour_overlap(store.masks, store.table),
        "stacked": stacked.stacked_copies(store),
    }


def filter_tables(store: SliceStore, source: str) -> Tables:
    """Test every named slice filter against slices that the authors have kept; of other data, say what each keeps."""
    return {"filters": filters.verdicts(store.audit) if source == "released" else filters.filter_table(store.audit)}


def label_tables(series: Any, settings: Any) -> tuple[Tables, str]:
    """Label every slice directly and by APTA; returns the tables and the data's fingerprint."""
    from spider_utils.data.survey import compare_labels, summarise_labels

    compared = compare_labels(series, settings)
    return {"labels": compared, "labels_summary": summarise_labels(compared)}, fingerprint(series)


AUDITS: dict[str, Callable[[SliceStore, str], Tables]] = {
    "reference": reference_tables,
    "copying": copying_tables,
    "filters": filter_tables,
}
