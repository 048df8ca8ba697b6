"""What the study "errors" does after its trainings: what the networks get wrong on patients that they have not met.

Scanner and pathology need SPIDER's overview.csv and radiological_gradings.csv, from the folder that `--metadata` names
or the data's own. Without them these tables are left out, or lack their columns, and it is said. The figures are drawn
here, since some show predicted slices.
"""

from pathlib import Path

import pandas as pd
from tqdm.auto import tqdm

from spider_utils.analysis.calibration import bin_pixels, calibration_table, reliability_table
from spider_utils.analysis.causes import add_causes, cause_table, suspected_faults
from spider_utils.analysis.groups import group_table
from spider_utils.analysis.pathology import pathology_table
from spider_utils.analysis.structures import structure_table
from spider_utils.analysis.uncertainty import summarise_uncertainty, uncertainty_table, view_spread
from spider_utils.analysis.unseen import Unseen, read_unseen, study_folds
from spider_utils.analysis.where import add_regions, distance_table, region_table
from spider_utils.analysis.worst import worst_table
from spider_utils.analysis.wrong import wrong_pixels
from spider_utils.data.spider import GRADINGS, OVERVIEW, read_gradings, read_overview
from spider_utils.data.store import SliceStore
from spider_utils.figures import calibration as figures_calibration
from spider_utils.figures import errors as figures_errors
from spider_utils.figures.style import save_figure


def error_tables(
    out: Path, arm: str, store: SliceStore, metadata: Path | None, source: str = "released"
) -> dict[str, pd.DataFrame]:
    """Return the tables of the error analysis of a finished study's arm; draw its figures into `out`/figures.

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
    draw_errors(tables, unseen, wrong, out / "figures", source)
    return tables


def draw_errors(
    tables: dict[str, pd.DataFrame], unseen: Unseen, wrong: pd.DataFrame, folder: Path, source: str
) -> None:
    """Draw the figures of `error_tables`; `wrong`: the wrong pixels with region, fault and cause."""
    figures = {
        "errors_groups": figures_errors.groups(tables["errors_by_group"], source=source),
        "errors_patients": figures_errors.patients(tables["errors_by_group"], source=source),
        "errors_distance": figures_errors.distances(tables["errors_distance"], source=source),
        "errors_where": figures_errors.shares(tables["errors_where"], "region", source=source),
        "errors_causes": figures_errors.shares(tables["errors_causes"], "cause", source=source),
        "errors_example": figures_errors.example(unseen, wrong, tables["errors_worst"], source=source),
        "errors_worst": figures_errors.worst_slices(unseen, tables["errors_worst"], source=source),
    }
    figures |= {
        "reliability": figures_calibration.reliability(tables["reliability"], tables["calibration"], source=source),
        "uncertainty": figures_calibration.uncertainty(
            tables["uncertainty"], tables["uncertainty_summary"], source=source
        ),
    }
    if len(tables["errors_reference"]):
        figures["errors_reference"] = figures_errors.faults(unseen, wrong, tables["errors_reference"], source=source)
    if len(tables.get("errors_by_disc", ())):
        figures["errors_levels"] = figures_errors.levels(tables["errors_by_disc"], source=source)
        figures["errors_pathology"] = figures_errors.pathology(tables["errors_pathology"], source=source)
    for name, figure in figures.items():
        save_figure(figure, folder, name)
