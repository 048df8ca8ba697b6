"""Studies of whole volumes: "roundtrip" makes its own phantom, "bodies" needs a folder of volumes. No training."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from spider_utils import figures_study
from spider_utils.errors import SpiderError
from spider_utils.sources import fingerprint_files
from spider_utils.studies import bodies, roundtrip


@dataclass(frozen=True)
class VolumeStudy:
    """What a study of volumes has found."""

    tables: dict[str, pd.DataFrame]
    figure: Figure
    source: str  # a name of style.SOURCE_NOTES
    made_from: str  # the data's fingerprint, or what the phantom was made with


def run_roundtrip(data_dir: Path | str | None) -> VolumeStudy:
    """Measure what the detour over 2D slices costs. Raises SpiderError when data are given."""
    if data_dir is not None:
        raise SpiderError("study 'roundtrip': makes its own phantom, found --data-dir; leave it out")
    table = roundtrip.roundtrip_table()
    summary = roundtrip.summarise_roundtrip(table)
    figure = figures_study.roundtrip(summary, source="phantom")
    made_from = f"phantom, patient {roundtrip.PATIENT}, seed {roundtrip.SEED}"
    return VolumeStudy({"roundtrip": table, "roundtrip_summary": summary}, figure, "phantom", made_from)


def run_bodies(data_dir: Path | str | None) -> VolumeStudy:
    """Measure how much of the vertebral bodies of a folder's volumes is found. Raises SpiderError without a folder."""
    if data_dir is None:
        raise SpiderError("study 'bodies': expected --data-dir with volumes and label maps of bodies, found none")
    pairs = bodies.find_pairs(data_dir)
    tables, cases = bodies.bodies_tables(pairs)
    figure = figures_study.bodies(cases, tables["bodies"], source=bodies.SOURCE)
    return VolumeStudy(tables, figure, bodies.SOURCE, fingerprint_files(path for pair in pairs for path in pair[1:]))


VOLUME_STUDIES: dict[str, Callable[[Path | str | None], VolumeStudy]] = {
    "roundtrip": run_roundtrip,
    "bodies": run_bodies,
}
