"""The figures of a finished study, from what it has found: {file name: figure}. `save` writes them."""

from pathlib import Path
from typing import TYPE_CHECKING

from matplotlib.figure import Figure

from spider_utils.data.store import SliceStore
from spider_utils.evaluate.paper import PAPER_TABLE
from spider_utils.figures import ablation, by_sequence, calibration, errors, lengths, reference, sequences, study
from spider_utils.figures.style import save_figure
from spider_utils.studies.copying import NEIGHBOUR, OTHER_PATIENT
from spider_utils.studies.reference import examples
from spider_utils.studies.study_file import Tables

if TYPE_CHECKING:  # these import SimpleITK
    from spider_utils.studies.errors import ErrorAnalysis
    from spider_utils.studies.volumes import VolumeStudy

Figures = dict[str, Figure]


def save(figures: Figures, folder: Path) -> None:
    """Write figures into a folder, as PNG and SVG."""
    for name, figure in figures.items():
        save_figure(figure, folder, name)


def draw_study(tables: Tables, store: SliceStore | None, source: str) -> Figures:
    """Draw what belongs to the tables of a study; only the audit of the reference needs its slice store."""
    figures: Figures = {}
    if "reference_audit" in tables:
        assert store is not None  # it holds the slices that were audited
        audit = tables["reference_audit"]
        rows = examples(audit, store.table)
        pictures = [(title, store.images[row], store.masks[row]) for title, row in rows.items()]
        figures["reference_audit"] = reference.reference_audit(audit, pictures, source=source)
        figures["reference_examples"] = reference.reference_examples(pictures, source=source)
    if "neighbour_overlap" in tables:
        paper = PAPER_TABLE.query("sequence == 'T2_SPACE'").melt("class", ["dice"], "metric")
        names = {NEIGHBOUR: "nearest slice, split by slice: LEAKY", OTHER_PATIENT: "another patient"}
        beside = None if source == "phantom" else paper
        figures["copying"] = reference.copying_dice(tables["copying"], names, beside, source=source)
        figures["neighbour_overlap"] = reference.dice_by_distance(tables["neighbour_overlap"], source=source)
    if "roundtrip_summary" in tables:
        figures["roundtrip"] = study.roundtrip(tables["roundtrip_summary"], source=source)
    if "sequences_summary" in tables:
        figures["sequences"] = sequences.sequence_scores(tables["sequences_summary"], source=source)
    if "resolution_steps" in tables:
        figures["resolution"] = sequences.resolution(tables["resolution"], tables["resolution_steps"], source=source)
    if "ideal_reader" in tables:
        figures["ceiling"] = reference.convention_ceiling(tables["neutralised"], tables["ideal_reader"], source=source)
    if "by_sequence" in tables:
        figures |= draw_sequences(tables, source)
    elif "neighbours" in tables:
        figures["leakage"] = study.leakage(tables, source=source)
    elif len(tables.get("paired", ())):
        figures |= draw_arms(tables, source)
    elif len(tables.get("differences", ())) and "paired" not in tables:  # none without the reference arm
        figures["arms"] = study.differences(tables["differences"], tables["dice"], source=source)
    return figures


def draw_sequences(tables: Tables, source: str) -> Figures:
    """Draw a study on several sequences: of one arm its scores, of more what each gains."""
    if len(tables["differences_by_sequence"]):
        gains = tables["differences_by_sequence"]
        return {"gains": by_sequence.sequence_gains(tables["by_sequence"], gains, source=source)}
    return {"scores": by_sequence.sequence_scores(tables["by_sequence"], source=source)}


def draw_arms(tables: Tables, source: str) -> Figures:
    """Draw the arms of a comparison: of two arms patient by patient, of more each arm's gain and cost."""
    paired, cost = tables["paired"], tables["cost"]
    if paired["arm"].nunique() == 1:
        return {"pairs": ablation.patient_pairs(tables["patients"], paired, cost, source=source)}
    drawn = {}
    if "remaining" in tables:
        drawn["lengths"] = lengths.training_lengths(tables["dice"], tables["differences"], source=source)
    return drawn | {
        "ablation": ablation.ablation_arms(paired, cost, source=source),
        "ablation_by_class": ablation.ablation_by_class(tables["differences"], paired, source=source),
    }


def draw_errors(found: "ErrorAnalysis", source: str) -> Figures:
    """Draw the error analysis of a study's arm."""
    tables, unseen, wrong = found.tables, found.unseen, found.wrong
    figures = {
        "errors_groups": errors.groups(tables["errors_by_group"], source=source),
        "errors_patients": errors.patients(tables["errors_by_group"], source=source),
        "errors_distance": errors.distances(tables["errors_distance"], source=source),
        "errors_where": errors.shares(tables["errors_where"], "region", source=source),
        "errors_causes": errors.shares(tables["errors_causes"], "cause", source=source),
        "errors_example": errors.example(unseen, wrong, tables["errors_worst"], source=source),
        "errors_worst": errors.worst_slices(unseen, tables["errors_worst"], source=source),
        "reliability": calibration.reliability(tables["reliability"], tables["calibration"], source=source),
    }
    if (tables["uncertainty_summary"]["score"] == "expected_error").any():
        uncertainty = tables["uncertainty"], tables["uncertainty_summary"]
        figures["uncertainty"] = calibration.uncertainty(*uncertainty, source=source)
    if len(tables["errors_reference"]):
        figures["errors_reference"] = errors.faults(unseen, wrong, tables["errors_reference"], source=source)
    if len(tables.get("errors_by_disc", ())):
        figures["errors_levels"] = errors.levels(tables["errors_by_disc"], source=source)
        figures["errors_pathology"] = errors.pathology(tables["errors_pathology"], source=source)
    return figures


def draw_volumes(name: str, found: "VolumeStudy") -> Figures:
    """Draw what a study of `studies.volumes` shows."""
    tables, source = found.tables, found.source
    if name == "bodies":
        return {name: study.bodies(found.cases, tables["bodies"], source=source)}
    if name == "counting":
        return {name: calibration.counting(found.cases, **tables, source=source)}
    if name == "sequences":
        table = tables["sequences"]
        first = table[table["network"] == table["network"].iloc[0]]
        cases = [case for case in found.cases if case.network == first["network"].iloc[0]]
        met = set(first.loc[first["met"], "patient"])
        return draw_study(tables, None, source) | {"worst": sequences.worst_pairs(cases, met, source=source)}
    return draw_study(tables, None, source)
