"""Studies without a slice store and without training: "roundtrip" makes its own phantom, "bodies" needs a folder of
volumes, "counting" one of slices.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from spider_utils.common.errors import SpiderError
from spider_utils.common.files import read_json
from spider_utils.data.sources import fingerprint_files
from spider_utils.data.spider import read_overview
from spider_utils.data.store import open_store
from spider_utils.predict.network import ready_network
from spider_utils.studies import bodies, counting, roundtrip
from spider_utils.studies.folds import read_unseen


@dataclass(frozen=True)
class VolumeStudy:
    """What such a study has found."""

    tables: dict[str, pd.DataFrame]
    cases: list  # what its figure shows beside the tables
    source: str  # a name of style.SOURCE_NOTES
    made_from: str  # the data's fingerprint, or what the phantom was made with


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
    network = ready_network()
    cases = list(counting.segment_slices(files, network))
    table = counting.counting_table(cases, overview, network.description["trained_on"]["patients"])
    if errors is not None:
        arm = read_json(Path(errors) / "study.json").get("study", {}).get("reference")
        if arm is None:
            raise SpiderError(f"{errors}: expected the folder of the study 'errors', found no study.json; run it first")
        unseen = read_unseen(errors, arm, open_store(Path(errors) / "store"))
        table = pd.concat([table, counting.space_table(unseen, overview)], ignore_index=True)
    tables = {"counting": table, "counting_summary": counting.summarise_counting(table)}
    return VolumeStudy(tables, cases, counting.SOURCE, fingerprint_files(files.values()))


VOLUME_STUDIES: dict[str, Callable[..., VolumeStudy]] = {
    "roundtrip": run_roundtrip,
    "bodies": run_bodies,
    "counting": run_counting,
}
TAKES = {"counting": ("metadata", "errors")}  # beside the folder of data
