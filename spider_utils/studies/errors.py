"""What the study "errors" does after its trainings: what the networks get wrong on patients that they have not met.

Scanner and pathology need SPIDER's overview.csv and radiological_gradings.csv, from the folder that `--metadata` names
or the data's own. Without them these tables are left out, or lack their columns, and it is said.
"""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from tqdm.auto import tqdm

from spider_utils.analysis.calibration import bin_pixels, calibration_table, reliability_table
from spider_utils.analysis.causes import add_causes, cause_table, suspected_faults
from spider_utils.analysis.groups import group_table
from spider_utils.analysis.pathology import pathology_table
from spider_utils.analysis.structures import structure_table
from spider_utils.analysis.uncertainty import summarise_uncertainty, uncertainty_table, view_spread
from spider_utils.analysis.unseen import Unseen
from spider_utils.analysis.where import add_regions, distance_table, region_table
from spider_utils.analysis.worst import worst_table
from spider_utils.analysis.wrong import wrong_pixels
from spider_utils.data.spider import GRADINGS, OVERVIEW, read_gradings, read_overview
from spider_utils.data.store import SliceStore
from spider_utils.studies.folds import read_unseen, study_folds


@dataclass(frozen=True)
class ErrorAnalysis:
    """What the study has found, and the slices that its figures show."""

    tables: dict[str, pd.DataFrame]
    unseen: Unseen
    wrong: pd.DataFrame  # the wrong pixels with region, fault and cause


def analyse_errors(out: Path, arm: str, store: SliceStore, metadata: Path | None) -> ErrorAnalysis:
    """Analyse the errors of a finished study's arm.

    Masks are kept under `out`/unseen. `metadata`: the folder of SPIDER's tables; None: that of data made in `out`.
    """
    metadata = metadata or out / "data"
    unseen = read_unseen(out, arm, store)
    overview, gradings = (
        read(metadata) if (metadata / name).is_file() else None
        for name, read in ((OVERVIEW, read_overview), (GRADINGS, read_gradings))
    )
    wrong = add_causes(unseen, add_regions(unseen, wrong_pixels(unseen)))
    sums, folds = bin_pixels(unseen), study_folds(out, arm, store)
    uncertainty = uncertainty_table(unseen, view_spread(folds, store, unseen, out / "unseen" / arm))
    tables = {
        "errors_by_group": group_table(unseen, overview),
        "errors_where": region_table(unseen, wrong),
        "errors_distance": distance_table(unseen, wrong),
        "errors_causes": cause_table(unseen, wrong),
        "errors_reference": suspected_faults(unseen, wrong),
        "errors_worst": worst_table(unseen, wrong, gradings),
        "calibration": calibration_table(sums),
        "reliability": reliability_table(sums),
        "uncertainty": uncertainty,
        "uncertainty_summary": summarise_uncertainty(uncertainty),
    }
    if overview is None or gradings is None:
        tqdm.write(f"no {OVERVIEW} and {GRADINGS} in {metadata}: errors_by_disc and errors_pathology are left out")
    else:
        structures = structure_table(unseen, overview, gradings)
        tables |= {"errors_by_disc": structures, "errors_pathology": pathology_table(structures)}
    return ErrorAnalysis(tables, unseen, wrong)
