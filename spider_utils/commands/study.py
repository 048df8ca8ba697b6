"""What `python -m spider_utils study NAME` does: find or make the slice store, run the study, write its tables.

DIR/data/      downloaded or synthetic data, where no folder of data is given
DIR/store/     the slice store (a folder that already has one needs no data)
DIR/*.csv      the study's tables
DIR/figures/   its figures
"""

import json
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from spider_utils.common.errors import SpiderError
from spider_utils.common.files import write_json
from spider_utils.common.parameters import sort_parameters
from spider_utils.common.progress import progress
from spider_utils.common.provenance import provenance
from spider_utils.data import filters
from spider_utils.data.splits import SplitSettings
from spider_utils.data.store import SliceStore, open_store, refuse_other_store
from spider_utils.evaluate.scores import summarise, write_metrics
from spider_utils.models.saved import select_device
from spider_utils.studies import copying, leakage, reference, stacked
from spider_utils.studies.compare import dice_table, difference_table
from spider_utils.studies.cost import cost_table
from spider_utils.studies.harness import Training, plan, read_final_scores, run_study, training_table, worker_count
from spider_utils.studies.options import option_names, option_tables, try_options
from spider_utils.studies.paired import paired_table, study_patients
from spider_utils.studies.study_file import FOLDER, Study, Tables, load_study
from spider_utils.train.settings import TrainSettings


def run_command(
    name: str,
    out: Path | str,
    source: str = "released",
    data_dir: Path | str | None = None,
    workers: int = 0,
    overrides: dict[str, Any] | None = None,
    scheduler: str = "",
    metadata: Path | str | None = None,
) -> Tables:
    """Run a study by name, or by the path of a study file; write its tables and figures to `out` and return them.

    Studies without training leave the patients of SPIDER's validation subset out, as the splits of the others do.

    `overrides` are parameters of the preprocessing, the split or the training. Without `data_dir` the released slices
    are downloaded and the phantom is made, in `out`. `workers` and `scheduler` are those of `harness.run_study`.
    `metadata`: the folder of SPIDER's tables, for the studies that need them. Raises SpiderError on an unknown study or
    a wrong parameter.
    """
    from spider_utils.figures import draw

    out, overrides = Path(out), dict(overrides or {})
    if name in VOLUMES:
        return run_volume_study(name, out, data_dir, metadata, overrides)
    if name not in (*AUDITS, LABELS) and not (FOLDER / f"{name}.yaml").is_file() and not Path(name).is_file():
        known = ", ".join(sorted([*AUDITS, *VOLUMES, LABELS, *(path.stem for path in FOLDER.glob("*.yaml"))]))
        raise SpiderError(f"study '{name}': no such study; expected one of {known}, or a path of a YAML file")
    given = dict(overrides)
    settings = preprocessing(overrides)
    if overrides and name in (*AUDITS, LABELS):
        raise SpiderError(f"study '{name}': takes no parameter '{next(iter(overrides))}'")
    if name == LABELS and source == "released":
        raise SpiderError("study 'labels': needs SPIDER's label values; take --source phantom or spider")
    study = None if name in (*AUDITS, LABELS) else load_study(name, overrides)
    if name == LABELS:
        tables, made_from = label_tables(study_series(out, source, data_dir), make_preprocessing(settings))
    else:
        store = study_store(out, source, data_dir, settings)
        made_from = store.info["fingerprint"]
        if study:
            tables = trained_study(study, store, out, workers, scheduler)
            if study.name == ERRORS:
                tables |= error_tables(out, study.reference, store, metadata or data_dir, source)
        else:
            store = without_validation(store)
            tables = AUDITS[name](store, source)
        draw.save(draw.draw_study(tables, store, source), out / "figures")
    device = str(select_device(given.get("device", "auto")))
    write_tables(tables, out, given | {"study": name, "source": source}, made_from, device)
    return tables


def write_tables(tables: Tables, out: Path, settings: dict[str, Any], made_from: str, device: str) -> None:
    """Write a study's tables, and provenance.json, which says what they come from, last."""
    for table_name, table in tables.items():
        write_metrics(table, out / f"{table_name}.csv")
    write_json(out / "provenance.json", provenance(settings, made_from, device))


def run_volume_study(
    name: str, out: Path, data_dir: Path | str | None, metadata: Path | str | None, overrides: dict[str, Any]
) -> Tables:
    """Run a study of `studies.volumes`; these have no store, and no parameters but those in its TAKES."""
    from spider_utils.figures import draw
    from spider_utils.studies.volumes import TAKES, VOLUME_STUDIES  # needs SimpleITK, which a full store does not

    given = overrides | ({"metadata": metadata} if metadata else {})
    for other in given.keys() - TAKES.get(name, ()):
        raise SpiderError(f"study '{name}': takes no parameter '{other}'")
    done = VOLUME_STUDIES[name](data_dir, **given)
    draw.save(draw.draw_volumes(name, done), out / "figures")
    write_tables(done.tables, out, {"study": name, "source": done.source}, done.made_from, "cpu")
    return done.tables


def error_tables(out: Path, arm: str, store: SliceStore, metadata: Path | str | None, source: str) -> Tables:
    """Analyse the errors of a study's arm, draw them into `out`/figures, and return the tables."""
    from spider_utils.figures import draw
    from spider_utils.studies.errors import analyse_errors  # needs SimpleITK

    found = analyse_errors(out, arm, store, Path(metadata) if metadata else None)
    draw.save(draw.draw_errors(found, source), out / "figures")
    return found.tables


def trained_study(study: Study, store: SliceStore, out: Path, workers: int, scheduler: str) -> Tables:
    """Run a study of the harness and return its tables.

    All have dice, differences, boundaries and trainings; "leakage" has its own besides, the others patients, paired and
    cost, and those with `options` what these are worth.
    """
    ways = option_names(study.ways)
    counts, trainings = run_study(study, store, out, workers, scheduler), plan(study, store.table)
    tables = {"dice": dice_table(counts), "differences": difference_table(counts, study.reference)}
    titles, kinds = ({arm.name: getattr(arm, name) for arm in study.arms} for name in ("title", "kind"))
    tables["dice"].insert(1, "title", tables["dice"]["arm"].map(titles))
    tables["boundaries"] = boundary_table(trainings, out)
    tables["trainings"] = training_table(trainings, out)
    if study.name == "leakage":
        return tables | leakage.tables(study, store, counts)
    tables["patients"] = study_patients(trainings, out)
    if study.reference in titles:
        tables["paired"] = paired_table(tables["patients"], study.reference, titles, kinds)
        tables["cost"] = cost_table(trainings, out, study.reference, titles)
    if study.options:
        tried = [one for one in trainings if one.arm == study.options]
        try_options(tried, ways, store.path.resolve(), out.resolve(), worker_count(study, workers), scheduler)
        tables |= option_tables(tried, ways, out)
    return tables


def boundary_table(trainings: list[Training], out: Path) -> pd.DataFrame:
    """Return distances, NSD and overlap of every arm's last epoch: arm, seed and the columns of `scores.summarise`."""
    parts = []
    pairs = list(dict.fromkeys((one.arm, one.seed) for one in trainings))
    for arm, seed in progress(pairs, desc="aggregating", unit="arm"):
        summary = summarise(read_final_scores(trainings, out, arm, seed), "test")
        parts.append(summary.drop(columns="split").assign(arm=arm, seed=seed))
    table = pd.concat(parts, ignore_index=True)
    return table[["arm", "seed", *(name for name in table if name not in ("arm", "seed"))]]


def preprocessing(overrides: dict[str, Any]) -> dict[str, Any]:
    """Take out of `overrides` what is no parameter of a study, a split or a training, and return it.

    Raises SpiderError where it is none of the preprocessing either.
    """
    known = {one.name for kind in (SplitSettings, TrainSettings) for one in fields(kind)}
    own = {name: overrides.pop(name) for name in set(overrides) - known - {"seeds", "score_epochs", "arms"}}
    if own:
        make_preprocessing(own)
    return own


def make_preprocessing(values: dict[str, Any]) -> Any:
    """Return PreprocessSettings of these values."""
    from spider_utils.data.preprocess import PreprocessSettings

    return sort_parameters(values, {"preprocess": PreprocessSettings})["preprocess"]


def study_store(out: Path, source: str, data_dir: Path | str | None, preprocess: dict[str, Any]) -> SliceStore:
    """Open or make the slice store of `out`. Raises SpiderError when it is one of another source or other settings."""
    note, folder = out / "source.json", out / "store"
    known = json.loads(note.read_text(encoding="utf-8"))["source"] if note.is_file() else source
    if known != source:
        raise SpiderError(f"{out}: made with source {known}, now asked for {source}; take another --out folder")
    if data_dir is None and (folder / "store.json").is_file():
        store = open_store(folder)
        refuse_other_store(store.info, {"fingerprint": store.info["fingerprint"], "preprocess": preprocess}, folder)
        return store
    from spider_utils.data.preprocess import make_store

    store = make_store(study_series(out, source, data_dir), make_preprocessing(preprocess), folder)
    write_json(note, {"source": source})
    return store


def study_series(out: Path, source: str, data_dir: Path | str | None) -> Any:
    """Find the data's series, after fetching or making them where no folder is given."""
    from spider_utils.data.sources import find_series

    if data_dir is None:
        data_dir = out / "data"
        if source == "phantom":
            from spider_utils.data.phantom import make_phantom

            make_phantom(data_dir)
        else:
            from spider_utils.data import download

            {"released": download.download_released, "spider": download.download_spider}[source](data_dir)
    return find_series(source, data_dir)


def without_validation(store: SliceStore) -> SliceStore:
    """Leave the patients of SPIDER's validation subset out, as the splits of all studies do; nobody looks at them."""
    kept = np.flatnonzero(store.table["subset"] != "validation")
    if len(kept) == len(store):
        return store
    table = store.table.iloc[kept].reset_index(drop=True)
    audit = store.audit[store.audit["subset"] != "validation"].reset_index(drop=True)
    return replace(store, images=store.images[kept], masks=store.masks[kept], table=table, audit=audit)


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
    from spider_utils.data.sources import fingerprint
    from spider_utils.data.survey import compare_labels, summarise_labels

    compared = compare_labels(series, settings)
    return {"labels": compared, "labels_summary": summarise_labels(compared)}, fingerprint(series)


LABELS, ERRORS = "labels", "errors"
VOLUMES = ("roundtrip", "bodies", "sequences")  # see `studies.volumes`
AUDITS: dict[str, Callable[[SliceStore, str], Tables]] = {
    "reference": reference_tables,
    "copying": copying_tables,
    "filters": filter_tables,
}
