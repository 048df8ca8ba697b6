"""What `python -m spider_utils study NAME` does: find or make the slice store, run the study, write its tables.

DIR/data/      downloaded or synthetic data, where no folder of data is given
DIR/store/     the slice store (a folder that already has one needs no data)
DIR/*.csv      the study's tables
DIR/figures/   its figures
"""

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

from spider_utils.common.errors import SpiderError
from spider_utils.common.files import write_json
from spider_utils.common.parameters import sort_parameters
from spider_utils.common.provenance import provenance
from spider_utils.data.settings import PreprocessSettings
from spider_utils.data.sources import find_series, get_source, provide
from spider_utils.data.splits import SplitSettings
from spider_utils.data.store import SliceStore, open_store, refuse_other_store
from spider_utils.evaluate.scores import write_metrics
from spider_utils.models.saved import select_device
from spider_utils.studies.study_file import CHANGED, FOLDER, Tables, as_list, load_study
from spider_utils.studies.tables import AUDITS, label_tables, trained_study
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

    `overrides` are parameters of the preprocessing, the split or the training, or FINISHED: folders of other studies,
    whose trainings are taken where they are the same. Without `data_dir` the released slices are downloaded and the
    phantom is made, in `out`. `workers` and `scheduler` are those of `harness.run_study`. `metadata`: the folder of
    SPIDER's tables, for the studies that need them. Raises SpiderError on an unknown study or a wrong parameter.
    """
    from spider_utils.figures import draw

    out, overrides = Path(out), dict(overrides or {})
    if name in VOLUMES:
        return run_volume_study(name, out, data_dir, metadata, overrides)
    if name not in (*AUDITS, LABELS) and not (FOLDER / f"{name}.yaml").is_file() and not Path(name).is_file():
        known = ", ".join(sorted([*AUDITS, *VOLUMES, LABELS, *(path.stem for path in FOLDER.glob("*.yaml"))]))
        raise SpiderError(f"study '{name}': no such study; expected one of {known}, or a path of a YAML file")
    given = {key: value for key, value in overrides.items() if key != FINISHED}
    finished = as_list(overrides.pop(FINISHED, ()))
    settings = preprocessing(overrides)
    if name in (*AUDITS, LABELS) and (overrides or finished):
        raise SpiderError(f"study '{name}': takes no parameter '{next(iter(overrides), FINISHED)}'")
    if name == LABELS and source == "released":
        raise SpiderError("study 'labels': needs SPIDER's label values; take --source phantom or spider")
    study = None if name in (*AUDITS, LABELS) else load_study(name, overrides)
    if name == LABELS:
        tables, made_from = label_tables(study_series(out, source, data_dir), make_preprocessing(settings))
    else:
        store = study_store(out, source, data_dir, (study.preprocess if study else {}) | settings)
        made_from = store.info["fingerprint"]
        if study:
            tables = trained_study(study, store, out, workers, scheduler, finished)
            if study.name == ERRORS:
                tables |= error_tables(out, study.options or study.arms[0].name, store, metadata or data_dir, source)
        else:
            store = store.subset(store.table["subset"] != "validation")  # nobody looks at these patients
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
    write_tables(done.tables, out, {"study": name, "source": done.source} | done.settings, done.made_from, "cpu")
    return done.tables


def error_tables(out: Path, arm: str, store: SliceStore, metadata: Path | str | None, source: str) -> Tables:
    """Analyse the errors of a study's arm, draw them into `out`/figures, and return the tables."""
    from spider_utils.figures import draw
    from spider_utils.studies.errors import analyse_errors  # needs SimpleITK

    found = analyse_errors(out, arm, store, Path(metadata) if metadata else None)
    draw.save(draw.draw_errors(found, source), out / "figures")
    return found.tables


def preprocessing(overrides: dict[str, Any]) -> dict[str, Any]:
    """Take out of `overrides` what is no parameter of a study, a split or a training, and return it.

    Raises SpiderError where it is none of the preprocessing either.
    """
    known = {one.name for kind in (SplitSettings, TrainSettings) for one in fields(kind)}
    own = {name: overrides.pop(name) for name in set(overrides) - known - {*CHANGED, "arms"}}
    if own:
        make_preprocessing(own)
    return own


def make_preprocessing(values: dict[str, Any]) -> PreprocessSettings:
    """Return PreprocessSettings of these values."""
    return sort_parameters(values, {"preprocess": PreprocessSettings})["preprocess"]


def study_store(out: Path, source: str, data_dir: Path | str | None, preprocess: dict[str, Any]) -> SliceStore:
    """Open or make the slice store of `out`. Raises SpiderError when it is one of another source or other settings."""
    note, folder = out / "source.json", out / "store"
    known = json.loads(note.read_text(encoding="utf-8"))["source"] if note.is_file() else source
    if known != source:
        raise SpiderError(f"{out}: made with source {known}, now asked for {source}; take another --out folder")
    if data_dir is None and (folder / "store.json").is_file():
        store = open_store(folder)
        refuse_other_store(store.info, preprocess, folder)
        return store
    from spider_utils.data.preprocess import make_store

    store = make_store(study_series(out, source, data_dir), make_preprocessing(preprocess), folder)
    write_json(note, {"source": source})
    return store


def study_series(out: Path, source: str, data_dir: Path | str | None) -> Any:
    """Find the data's series, after fetching or making them where no folder is given."""
    data_dir = data_dir or get_source(source).home
    if data_dir is None:
        data_dir = out / "data"
        provide(source, data_dir)
    return find_series(source, data_dir)


LABELS, ERRORS, FINISHED = "labels", "errors", "finished"
VOLUMES = ("roundtrip", "bodies", "counting", "sequences", "resolution", "ceiling")  # see `studies.volumes`
