"""The presentation's own figures, figures/deck_<name>: large letters, few rows; drawn by `python -m tools.figures`.

Of tables, of the network, of the phantom and of drawn shapes always; of MRI where a folder with it is given.
"""

from pathlib import Path

import numpy as np
import pandas as pd
import SimpleITK as sitk
import torch
from matplotlib.figure import Figure

from spider_utils.analysis.worst import slice_table
from spider_utils.common.files import read_json
from spider_utils.data.labels import FOREGROUND
from spider_utils.data.phantom import phantom_series
from spider_utils.data.png import read_grey
from spider_utils.data.pose import to_pose
from spider_utils.data.sources import find_series, read_stack
from spider_utils.data.store import open_store
from spider_utils.data.volumes import read_volume
from spider_utils.evaluate.paper import PAPER_TABLE
from spider_utils.figures import deck
from spider_utils.figures.network import network_diagram
from spider_utils.figures.painting import foreground_box, paint_classes
from spider_utils.figures.study import HONEST_COLOUR, LEAKY_COLOUR, PAPER_TABLE_DICE, PLAIN_COLOUR
from spider_utils.figures.style import class_patches
from spider_utils.models.build import build_model, trace_stages
from spider_utils.predict.network import ready_network
from spider_utils.predict.volumes import predict_classes
from spider_utils.studies.bodies import SOURCE
from spider_utils.studies.folds import read_unseen
from spider_utils.studies.paired import differs

CAPTIONS = {
    "spine": "A T2 SPACE slice and its four classes (reference).",
    "close_up": "Disc, vertebrae and canal from near, without and with their classes (reference).",
    "sequences": "The same patient's spine in T1, T2 and T2 SPACE.",
    "labels": "Label numbers of each structure become four classes (phantom).",
    "network": "The modified U-Net; numbers are channels.",
    "loss": "Focal loss and cross-entropy of one pixel.",
    "metrics": "What Dice and HD95 say of three errors (drawn shapes).",
    "paper": "Pooled Dice on unseen patients, beside the paper's.",
    "leakage": "The same network on unseen patients and on random slices, and a copied mask, beside the paper's Dice.",
    "ablation": "What each change adds to the Dice of the paper's network on unseen patients, trained until flat.",
    "worn": "Dice of discs by Pfirrmann grade, mean over unseen patients.",
    "one_network": "Pooled Dice of one network on T1, T2 and T2 SPACE of unseen patients.",
    "causes": "What the wrong pixels of unseen patients are, by cause.",
    "pairs": "Every unseen patient with the paper's network and with the shipped combination.",
    "growth": "Dice over the length of training, on unseen patients and on random slices, at 128 × 160.",
    "copied": "A T2 SPACE slice's own mask, its neighbour's copied, and both compared.",
    "volume": "A T2 volume of another site, segmented by the shipped network: one slice, two views of the surfaces.",
    "worst": "The slice with the lowest Dice of all patients, none known to the network that segmented it.",
}
PATIENT = 7  # who is there in all three sequences
SIXTEEN = (10, 0)  # patient and seed of a phantom with 16 labels
MARGIN = 140  # pixels around a spine
SPINE_COLUMNS = (0.3, 0.95)  # of a slice's width
POOLED = "aggregation == 'pooled' and `class` == 'foreground'"


def table_figures(results: Path) -> dict[str, Figure]:
    """Draw the figures that need no data, by name."""
    stages, _ = trace_stages(build_model("paper_text").eval(), torch.zeros(1, 1, 640, 512))
    return {
        "labels": phantom_labels(),
        "network": network_diagram(stages, brief=True),
        "loss": deck.focal_weight(),
        "metrics": deck.what_scores_see(),
        "paper": beside_the_paper(results),
        "leakage": leakage_rows(results),
        "ablation": ablation_rows(results),
        "worn": worn_rows(results),
        "one_network": one_network_rows(results),
        "causes": cause_rows(results),
        "pairs": patient_pairs(results),
        "growth": leak_growth(results),
    }


def phantom_labels() -> Figure:
    """Draw the middle slice of a phantom with its label numbers, and with its classes."""
    image, mask = (to_pose(volume) for volume in phantom_series(SIXTEEN[0], "T2_SPACE", SIXTEEN[1]))
    images, labels = (sitk.GetArrayFromImage(volume) for volume in (image, mask))
    middle, (column_mm, row_mm, _) = len(images) // 2, image.GetSpacing()
    return deck.numbers_to_classes(images[middle], labels[middle], source="phantom", aspect=row_mm / column_mm)


def beside_the_paper(results: Path) -> Figure:
    """Draw the Dice of the authors' network on unseen patients by class beside the paper's."""
    dice = pd.read_csv(results / "paper_claim" / "dice.csv")
    chosen = "epoch == epoch.max() and aggregation == 'pooled' and arm == 'unseen_patients'"
    rows = dice.query(chosen).drop(columns="title").set_index("class").loc[list(FOREGROUND)].reset_index(names="title")
    paper = PAPER_TABLE.query("sequence == 'T2_SPACE'").set_index("class")["dice"]
    rows = rows.assign(colour=HONEST_COLOUR, paper=rows["title"].map(paper))
    xlabel = "Dice, all pixels pooled (95 % interval)"
    return deck.score_rows(rows, xlabel, source="released", legend={"unseen patients": HONEST_COLOUR})


def leakage_rows(results: Path) -> Figure:
    """Draw the paper's claim in four rows: unseen patients, random slices, a copied mask, the paper."""
    dice = (
        pd.read_csv(results / "paper_claim" / "dice.csv").query(f"epoch == epoch.max() and {POOLED}").set_index("arm")
    )
    copied = pd.read_csv(results / "paper_claim" / "copying.csv").query(
        f"{POOLED} and metric == 'dice' and sequence == 'all' and folds == folds.max() and split.str.contains('LEAKY')"
    )
    rows = pd.concat([dice.loc[["unseen_patients", "random_slices"]], copied], ignore_index=True).reindex(range(4))
    rows = rows[["value", "ci_low", "ci_high"]].assign(
        title=["network,\nunseen patients", "network,\nrandom slices", "no network,\nneighbour copied", "paper"],
        colour=[HONEST_COLOUR, LEAKY_COLOUR, PLAIN_COLOUR, PLAIN_COLOUR],
        paper=[np.nan, np.nan, np.nan, PAPER_TABLE_DICE],
    )  # fmt: skip
    return deck.score_rows(rows, "mean Dice of the three (95 % interval)", source="released")


def ablation_rows(results: Path) -> Figure:
    """Draw what each arm adds in Dice once training gains nothing more, the best first; grey where none is shown."""
    rows = pd.read_csv(results / "length" / "paired.csv").query("metric == 'dice'")
    rows = rows.sort_values("difference", ascending=False).rename(columns={"difference": "value"})
    colours = np.where(rows["value"] > 0, HONEST_COLOUR, LEAKY_COLOUR)
    colours = np.where(differs(rows), colours, deck.UNCLEAR_COLOUR)
    titles = rows["title"].str.replace(": one slice either side", "").mask(rows["kind"] == "combined", "four combined")
    rows = rows.assign(title=titles, colour=colours, paper=np.nan)
    legend = {"better": HONEST_COLOUR, "worse": LEAKY_COLOUR, "unclear": deck.UNCLEAR_COLOUR}
    return deck.score_rows(rows, "difference in Dice (95 % interval)", source="released", mark=0.0, legend=legend)


def worn_rows(results: Path) -> Figure:
    """Draw the Dice of discs by how worn they are (Pfirrmann's grade), with their number."""
    rows = pd.read_csv(results / "errors" / "errors_pathology.csv", dtype={"grade": str})
    rows = rows.query("structure == 'disc' and finding == 'Pfirrmann grade' and grade.str.len() == 1")
    titles = [f"grade {row.grade}\n{row.structures} discs" for row in rows.itertuples()]
    rows = rows.rename(columns={"dice": "value"}).assign(title=titles, colour=HONEST_COLOUR, paper=np.nan)
    return deck.score_rows(rows, "Dice of discs, mean over unseen patients (95 %)", source="released")


def one_network_rows(results: Path) -> Figure:
    """Draw the pooled Dice of one network on each sequence, T2 also without its slices far from the midline."""
    table = pd.read_csv(results / "all_sequences" / "by_sequence.csv").query(POOLED)
    names = table["sequence"].str.replace("_", " ")
    titles = [
        f"{name}, {one.position}\n{one.slices} of {one.patients} patients"
        for name, one in zip(names, table.itertuples(), strict=True)
    ]
    rows = table.assign(title=titles, colour=HONEST_COLOUR, paper=np.nan)
    return deck.score_rows(rows, "mean Dice of the three structures (95 %)", source="spider")


def cause_rows(results: Path) -> Figure:
    """Draw what share of all wrong pixels has which cause, the largest first."""
    table = pd.read_csv(results / "errors" / "errors_causes.csv").query("`class` == 'all'")
    rows = table.sort_values("share", ascending=False).rename(columns={"share": "value"})
    rows = rows.assign(title=rows["cause"], colour=HONEST_COLOUR, paper=np.nan)
    return deck.score_rows(rows, "share of the wrong pixels (95 % interval)", source="released", form=".0%")


def patient_pairs(results: Path) -> Figure:
    """Draw each patient's Dice with the paper's network and with the combination that is shipped."""
    dice = pd.read_csv(results / "errors" / "patients.csv").pivot_table(index="patient", columns="arm", values="dice")
    names = ("paper's network", "combination")
    return deck.patient_points(dice["paper_text"].to_numpy(), dice["best"].to_numpy(), names, source="released")


def leak_growth(results: Path) -> Figure:
    """Draw the Dice of unseen patients and of random slices over the length of training, on smaller slices."""
    dice = pd.read_csv(results / "leakage" / "dice.csv").query(POOLED)
    arms = {"random slices (LEAKY)": "random_slices", "unseen patients": "unseen_patients"}
    return deck.over_epochs({name: dice[dice["arm"] == arm] for name, arm in arms.items()}, source="released")


def copied(numbers: tuple[int, int], image: np.ndarray, masks: np.ndarray) -> Figure:
    """Draw the second of two neighbouring slices, (H, W), with its own mask and the first one's, masks (2, H, W)."""
    titles = (f"slice {numbers[1]},\nits own mask", f"mask of\nslice {numbers[0]}, copied", "compared\n ")
    return deck.errors(image, masks[1], masks[0], source="sample", titles=titles)


def slice_figures(slices: Path, others: Path | None = None) -> dict[str, Figure]:
    """Draw the figures of the released slices and, with a folder of <patient>_t1.png and _t2.png, all sequences."""
    one = next(series for series in find_series("released", slices) if series.patient == PATIENT)
    stack = read_stack(one)
    middle = len(stack.image) // 2
    image, classes = stack.image[middle], stack.classes()[middle]
    drawn = {}
    for name, box in (("spine", foreground_box(classes, margin=MARGIN)), ("close_up", close_up(classes))):
        panels = [("MRI", image[box]), ("with its classes", paint_classes(image, classes)[box])]
        drawn[name] = deck.pictures(panels, source="released", patches=class_patches())
    if others:
        read = {name: read_grey(others / f"{PATIENT}_{name}.png") for name in ("t1", "t2")}
        panels = [("T1", read["t1"][::-1]), ("T2", read["t2"][::-1]), ("T2 SPACE", image)]  # the sacrum is at their top
        drawn["sequences"] = deck.pictures([(title, narrowed(picture)) for title, picture in panels], source="spider")
    return drawn


def narrowed(image: np.ndarray) -> np.ndarray:
    """Return the columns of a sagittal slice (H, W) that hold the spine."""
    first, last = (int(share * image.shape[1]) for share in SPINE_COLUMNS)
    return image[:, first:last]


def close_up(classes: np.ndarray) -> tuple[slice, slice]:
    """Return the rows and columns around the middle one of the discs, with the vertebrae beside it and the canal."""
    rows, columns = np.nonzero(classes == FOREGROUND.index("discs") + 1)
    row, column = int(np.median(rows)), int(np.median(columns[np.abs(rows - np.median(rows)) < 20]))
    return slice(row - 75, row + 75), slice(column - 60, column + 110)


def segmented_volume(path: Path) -> Figure:
    """Segment a volume of Chu et al. with the shipped network, and draw it."""
    volume = read_volume(path)
    classes, spacing = predict_classes(volume, ready_network())
    return deck.volume_views(sitk.GetArrayFromImage(to_pose(volume)), classes, spacing, source=SOURCE)


def worst_slice(study: Path) -> Figure:
    """Draw the slice with the lowest Dice of a finished study "errors"."""
    arm = read_json(study / "study.json")["study"]["reference"]
    unseen = read_unseen(study, arm, open_store(study / "store"))
    one = int(slice_table(unseen)["dice"].idxmin())
    return deck.errors(unseen.images[one], unseen.reference[one], unseen.prediction[one], source="released")
