"""Which number is which: every Dice that pages, slides and notebooks quote first, with all that it was made with.

    python -m tools.headline

Writes results/headline.csv from the published tables, and its card in results/README.md; README.md, the deck and
notebooks 05 and 09 read the table.
"""

import argparse
import sys
from dataclasses import asdict
from pathlib import Path

import pandas as pd

from spider_utils.common.files import read_json, write_text
from spider_utils.data.labels import FOREGROUND
from spider_utils.evaluate.paper import PAPER_TABLE
from spider_utils.evaluate.scores import write_metrics
from spider_utils.train.settings import TrainSettings
from tools.claim import RESULTS, command_of
from tools.markdown import interval, markdown_table, seeds_told, with_block

INDEX, TABLE = RESULTS / "README.md", RESULTS / "headline.csv"
STUDIES = {  # name: study, its arm
    "our network, the paper's size": ("full_size", "best"),
    "the paper's network and loss, the paper's size": ("full_size", "paper_text"),
    "our network of T2 SPACE": ("errors", "best"),
    "the same, trained half as long": ("shipped", "best"),
    "the paper's network and loss": ("errors", "paper_text"),
    "nnU-Net v2, 2D, the paper's size": ("peers_full_size", "nnunet"),
    "nnU-Net v2, 2D": ("peers", "nnunet"),
    "the authors' network": ("paper_claim", "unseen_patients"),
    "the authors' network, random split": ("paper_claim", "random_slices"),
}
RUN, COPIED, PAPER = (
    "the paper's, six test patients",
    "no network: neighbour's mask copied",
    "the paper (validation data)",
)
SEQUENCES = {"T2_SPACE": "all slices", "T2": "canal visible", "T1": "all slices"}  # of one network, which slices
NETWORKS = {"paper_text": "paper's U-Net", "author_code": "authors' U-Net", "attention": "Attention U-Net"}
LOSSES = {"combined": "0.6 Focal + 0.4 Dice", "cross_entropy_dice": "cross-entropy + Dice"}
LEAKY = "random slices (LEAKY)"
COUNTED = {"patients": "series", "slices": "slices"}  # a patient has one T2 SPACE series
MADE = {"width": "width {}", "epochs": "{} epochs"}  # in the card
HEADS = ["Dice of", "mean of the three", "network", "made with", "split", "slices of patients", "command, device"]


def main() -> int:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    write_headline()
    return 0


def write_headline() -> None:
    """Write results/headline.csv and the card of results/README.md."""
    table = headline()
    write_metrics(table, TABLE)
    write_text(INDEX, with_block(INDEX.read_text(encoding="utf-8"), "headline", card(table)))


def headline() -> pd.DataFrame:
    """Return a row for every headline Dice: honest ones first, leaky ones second, the paper's last.

    Columns: name, vertebrae, canal, discs, mean (of the three), ci_low and ci_high (95 %, over patients and seeds),
    network, width, patients, slices, size (of the network's input), epochs, seed, split, folder (below results/),
    command. A peer's network has no width: it is as the peer plans it.
    """
    rows = [study_row(name, *place) for name, place in STUDIES.items()]
    rows = [*rows[:-1], run_row(), *sequence_rows(), rows[-1], copied_row(), paper_row()]
    return pd.DataFrame(rows).convert_dtypes()


def study_row(name: str, study: str, arm: str) -> dict:
    """Return the row of a study's arm after its last epoch."""
    folder = RESULTS / study
    dice = pd.read_csv(folder / "dice.csv").query("epoch == epoch.max() and aggregation == 'pooled' and arm == @arm")
    settings, split = _arm_settings(folder, arm)
    return {"name": name, **_scores(dice), **_network(settings), **_counts(dice), **split, **_source(folder)}


def run_row() -> dict:
    """Return the row of the published run: one fold of the paper's network."""
    folder = RESULTS / "released_cpu"
    metrics = pd.read_csv(folder / "metrics.csv").query(
        "split == 'test' and sequence == 'all' and aggregation == 'pooled' and metric == 'dice'"
    )
    about, epochs = read_json(folder / "best.json"), len(pd.read_csv(folder / "train_log.csv"))
    counts = {"patients": len(about["split"]["test"]), "slices": int(metrics["n"].max())}
    settings = asdict(TrainSettings()) | about["training"] | {"epochs": epochs}
    split = {"seed": str(settings["seed"]), "split": "by patient, one fold of five"}
    return {"name": RUN, **_scores(metrics), **_network(settings), **counts, **split, **_source(folder)}


def sequence_rows() -> list[dict]:
    """Return the rows of one network for all sequences, a sequence each."""
    folder = RESULTS / "all_sequences"
    dice = pd.read_csv(folder / "by_sequence.csv").query("aggregation == 'pooled'")
    settings, split = _arm_settings(folder, "all")
    rows = []
    for sequence, position in SEQUENCES.items():
        part = dice[(dice["sequence"] == sequence) & (dice["position"] == position)]
        name = f"one network for all: {sequence.replace('_', ' ')}, {position}"
        rows.append({"name": name, **_scores(part), **_network(settings), **_counts(part), **split, **_source(folder)})
    return rows


def copied_row() -> dict:
    """Return the row of masks that are copied from the nearest training slice, under the most generous split."""
    folder = RESULTS / "paper_claim"
    table = pd.read_csv(folder / "copying.csv").query(
        "aggregation == 'pooled' and metric == 'dice' and sequence == 'all' and folds == folds.max()"
    )
    table = table[table["split"].str.contains("LEAKY")]
    counts = {name: read_json(folder / "study.json")["data"][key] for name, key in COUNTED.items()}
    share = 100 / table["folds"].iloc[0]
    split = {"split": f"random slices {100 - share:.0f} / {share:.0f} (LEAKY)"}
    return {"name": COPIED, **_scores(table), "network": "none", **counts, **split, **_source(folder)}


def paper_row() -> dict:
    """Return the row of what the paper reports."""
    dice = PAPER_TABLE.query("sequence == 'T2_SPACE'").set_index("class")["dice"].loc[list(FOREGROUND)]
    told = {"network": "paper's U-Net, 0.6 Focal + 0.4 Dice", "width": 16, "size": "512 × 640", "split": "not stated"}
    return {"name": PAPER, **dice.to_dict(), "mean": round(float(dice.mean()), 4), **told}


def _arm_settings(folder: Path, arm: str) -> tuple[dict, dict]:
    """Return an arm's settings of training, and seed and split."""
    study = read_json(folder / "study.json")["study"]
    values = next(one["values"] for one in study["arms"] if one["name"] == arm)
    settings = asdict(TrainSettings()) | study["base"] | values
    kind = LEAKY if settings["split"] == "random_slice" else "by patient"
    return settings, {"seed": ", ".join(map(str, study["seeds"])), "split": f"{kind}, {study['folds']} folds"}


def _scores(table: pd.DataFrame) -> dict:
    """Return the Dice of each structure, and the mean with its interval, of a table with a row a class."""
    rows = table.set_index("class")
    whole = rows.loc["foreground"]
    structures = {name: rows.loc[name, "value"] for name in FOREGROUND}
    return structures | {"mean": whole["value"], "ci_low": whole["ci_low"], "ci_high": whole["ci_high"]}


def _network(settings: dict) -> dict:
    size = f"{settings['train_width']} × {settings['train_height']}"
    if settings.get("peer"):
        return {"network": "as it plans itself, its own loss", "size": size, "epochs": settings["epochs"]}
    parts = [NETWORKS[settings["model"]], "2.5D" if settings["neighbours"] else "", LOSSES[settings["loss"]]]
    parts += [f"{settings['augmentation']} augmentation" if settings["augmentation"] != "none" else ""]
    told = {"network": ", ".join(part for part in parts if part), "width": settings["width"], "size": size}
    return told | {"epochs": settings["epochs"]}


def _counts(table: pd.DataFrame) -> dict:
    return {name: int(table[name].iloc[0]) for name in ("patients", "slices")}


def _source(folder: Path) -> dict:
    return {"folder": folder.name, "command": command_of(folder)}


def card(table: pd.DataFrame) -> str:
    """Return the table as Markdown, without its commands, which stand in the folders' pages."""
    lines = []
    for row in table.convert_dtypes().to_dict("records"):
        mean = interval(row, "mean") if pd.notna(row["ci_low"]) else f"{row['mean']:.4f}"
        made = [row["size"], *(text.format(row[name]) for name, text in MADE.items() if pd.notna(row[name]))]
        made += [seeds_told(str(row["seed"]).split(", "))] if pd.notna(row["seed"]) else []
        tested = f"{row['slices']} of {row['patients']}" if pd.notna(row["slices"]) else ""
        place = f"[{row['folder']}]({row['folder']}/README.md)" if pd.notna(row["folder"]) else ""
        made_with = ", ".join(part for part in made if pd.notna(part))
        lines.append([row["name"], mean, row["network"], made_with, row["split"], tested, place])
    return markdown_table(HEADS, lines)


if __name__ == "__main__":
    sys.exit(main())
