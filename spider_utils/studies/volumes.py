"""Studies without a slice store of their own and without training: "roundtrip" makes its own phantom, "bodies" needs a
folder of volumes, "counting" one of slices, "sequences" one of pairs, "resolution" and "ceiling" a finished study.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from spider_utils.common.errors import SpiderError
from spider_utils.common.files import read_json
from spider_utils.data.sources import fingerprint, fingerprint_files
from spider_utils.data.spider import read_overview
from spider_utils.data.store import open_store
from spider_utils.predict.network import SPECIALIST, ready_network
from spider_utils.studies import bodies, ceiling, counting, resolution, roundtrip, sequences
from spider_utils.studies.folds import read_unseen


@dataclass(frozen=True)
class VolumeStudy:
    """What such a study has found."""

    tables: dict[str, pd.DataFrame]
    cases: list  # what its figure shows beside the tables
    source: str  # a name of style.SOURCE_NOTES
    made_from: str  # the data's fingerprint, or what the phantom was made with
    settings: dict[str, str] = field(default_factory=dict)  # for the record: `trained` (a study's name) and `arm`


def run_roundtrip(data_dir: Path | str | None) -> VolumeStudy:
    """Measure what the detour over 2D slices costs. Raises SpiderError when data are given."""
    if data_dir is not None:
        raise SpiderError("study 'roundtrip': makes its own phantom, found --data-dir; leave it out")
    table = roundtrip.roundtrip_table()
    summary = roundtrip.summarise_roundtrip(table)
    made_from = f"phantom, patient {roundtrip.PATIENT}, seed {roundtrip.SEED}"
    return VolumeStudy({"roundtrip": table, "roundtrip_summary": summary}, [], "phantom", made_from)


def run_bodies(data_dir: Path | str | None) -> VolumeStudy:
    """Measure how much of the vertebral bodies of a folder's volumes is found. Raises SpiderError without a folder."""
    if data_dir is None:
        raise SpiderError("study 'bodies': expected --data-dir with volumes and label maps of bodies, found none")
    pairs = bodies.find_pairs(data_dir)
    tables, cases = bodies.bodies_tables(pairs)
    return VolumeStudy(tables, cases, bodies.SOURCE, fingerprint_files(path for pair in pairs for path in pair[1:]))


def run_counting(
    data_dir: Path | str | None, metadata: Path | str | None = None, errors: Path | str | None = None
) -> VolumeStudy:
    """Count the structures of a folder's T1 and T2 slices against SPIDER's overview.csv, in `metadata` or the folder.

    `errors`: the folder of the finished study "errors", whose slices of T2 SPACE are counted, too. Raises SpiderError
    without a folder, and on what is missing in one.
    """
    if data_dir is None:
        raise SpiderError("study 'counting': expected --data-dir with slices <patient>_<t1|t2>.png, found none")
    files, overview = counting.find_exported(data_dir), read_overview(metadata or data_dir)
    network = ready_network(SPECIALIST)
    cases = list(counting.segment_slices(files, network))
    table = counting.counting_table(cases, overview, network.description["trained_on"]["patients"])
    if errors is not None:
        arm = read_json(Path(errors) / "study.json").get("study", {}).get("options")
        if not arm:
            found = "no study.json whose errors were analysed"
            raise SpiderError(f"{errors}: expected the folder of the study 'errors', found {found}; run it first")
        unseen = read_unseen(errors, arm, open_store(Path(errors) / "store"))
        table = pd.concat([table, counting.space_table(unseen, overview)], ignore_index=True)
    tables = {"counting": table, "counting_summary": counting.summarise_counting(table)}
    return VolumeStudy(tables, cases, counting.SOURCE, fingerprint_files(files.values()))


def run_sequences(
    data_dir: Path | str | None, weights: str | None = None, study: Path | str | None = None, arm: str | None = None
) -> VolumeStudy:
    """Score networks on a folder of pairs: those of `weights` (files joined by ":" as in PATH; without it the shipped
    ones), or those that a finished `study` has trained for an `arm`. Raises SpiderError where both or none is told.
    """
    if data_dir is None:
        raise SpiderError("study 'sequences': expected --data-dir with pairs (images/, masks/, slices.csv), found none")
    if (study is None) != (arm is None) or (study and weights):
        raise SpiderError("study 'sequences': expected -p study DIR with -p arm NAME, or -p weights FILE; give either")
    if study is not None and arm is not None:
        judged, settings = [sequences.networks_of_study(study, arm)], {"trained": Path(study).name, "arm": arm}
    else:
        files = str(weights).split(os.pathsep) if weights else sequences.SHIPPED
        judged, settings = [sequences.network_of_file(file) for file in files], {}
    tables, cases, series = sequences.sequences_tables(data_dir, judged)
    return VolumeStudy(tables, cases, sequences.SOURCE, fingerprint(series), settings)


def run_resolution(
    data_dir: Path | str | None,
    metadata: Path | str | None = None,
    study: Path | str | None = None,
    arm: str | None = None,
) -> VolumeStudy:
    """Score a finished study's networks on T2 SPACE made as coarse as T2. `metadata`: the folder of overview.csv.

    Raises SpiderError where one of the three is not told, and on a folder of data: the slices are the study's own.
    """
    if data_dir is not None or study is None or arm is None or metadata is None:
        raise SpiderError(
            "study 'resolution': expected --metadata DIR, -p study DIR and -p arm NAME, and no --data-dir; give these"
        )
    store, grids = open_store(Path(study) / "store"), resolution.t2_grids(read_overview(metadata))
    tables = resolution.resolution_tables(resolution.score_study(Path(study), arm, store, grids), grids)
    source = read_json(Path(study) / "source.json").get("source", "released")
    return VolumeStudy(tables, [], source, store.info["fingerprint"], {"trained": Path(study).name, "arm": arm})


def run_ceiling(data_dir: Path | str | None, study: Path | str | None = None, arm: str | None = None) -> VolumeStudy:
    """Say how much of the error of a finished study's arm is the references' convention, on its own slices.

    Raises SpiderError where one of the two is not told, and on a folder of data.
    """
    if data_dir is not None or study is None or arm is None:
        raise SpiderError("study 'ceiling': expected -p study DIR and -p arm NAME, and no --data-dir; give these")
    store = open_store(Path(study) / "store")
    tables = ceiling.ceiling_tables(read_unseen(study, arm, store))
    source = read_json(Path(study) / "source.json").get("source", "released")
    return VolumeStudy(tables, [], source, store.info["fingerprint"], {"trained": Path(study).name, "arm": arm})


VOLUME_STUDIES: dict[str, Callable[..., VolumeStudy]] = {
    "roundtrip": run_roundtrip,
    "bodies": run_bodies,
    "counting": run_counting,
    "sequences": run_sequences,
    "resolution": run_resolution,
    "ceiling": run_ceiling,
}
TAKES = {  # beside the folder of data
    "counting": ("metadata", "errors"),
    "sequences": ("weights", "study", "arm"),
    "resolution": ("metadata", "study", "arm"),
    "ceiling": ("study", "arm"),
}
