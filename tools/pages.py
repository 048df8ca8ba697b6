"""What the page of each study says: its tables as Markdown, and in words what they mean and do not mean.

Nothing is computed here: every number comes from the study's own files below results/. `tools.studies` publishes it.
"""

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from spider_utils.data.labels import FOREGROUND
from spider_utils.evaluate.bootstrap import drawn_over
from spider_utils.studies.paired import LEVEL, differs
from tools.length_pages import length_page, peers_page, structures_table
from tools.markdown import PAIRED, SHOWN, class_cells, difference_cell, interval, markdown_table, seeds_told
from tools.sequence_pages import arms_page, counting_page, resolution_page, sequences_page
from tools.volume_pages import bodies_page, roundtrip_page

LAST = "epoch == epoch.max() and aggregation == 'pooled' and `class` == 'foreground'"  # of a table of Dice


def describe_study(folder: Path) -> str:
    """Return the Markdown that states what a published study found, and all that is needed to find it again."""
    made = json.loads((folder / "provenance.json").read_text(encoding="utf-8"))
    parts = PAGES[folder.name](folder)
    if (folder / "trainings.csv").is_file():
        parts.append(training_facts(folder))
    fingerprint = made["data_fingerprint"]
    shown = f"fingerprint `{fingerprint[:12]}`" if len(fingerprint) == 64 else fingerprint
    parts.append(
        f"Data: source `{made['settings']['source']}`, {shown}. "
        f"Command: `{(folder / 'command.txt').read_text(encoding='utf-8').strip()}`"
    )
    return "\n\n".join(parts)


def training_facts(folder: Path) -> str:
    """Return how a study's networks were trained."""
    trainings = pd.read_csv(folder / "trainings.csv", dtype={"code": str})  # a commit may be all digits
    first, base = trainings.iloc[0], json.loads((folder / "study.json").read_text(encoding="utf-8"))["study"]["base"]
    code = ", ".join(sorted(trainings["code"].unique())) + (" with changes" if trainings["modified"].any() else "")
    per_epoch = f"{base['epoch_slices']} drawn slices" if base.get("epoch_slices") else ""
    per_epoch = per_epoch or f"{first['train_slices']} slices in every one"
    more = "".join(f", {name.replace('_', ' ')} {base[name]}" for name in ("batch_size", "precision") if name in base)
    made = trainings.drop_duplicates(["device", "machine", "torch"])
    devices = "; ".join(f"{one.device} ({one.machine}), torch {one.torch}" for one in made.itertuples())
    held = "patients differ, not how trainings do: a difference of a hundredth can be one seed's"
    held = (
        "patients and seeds differ: both are drawn, all patients with the same seeds"
        if trainings["seed"].nunique() > 1
        else held
    )
    return (
        f"{len(trainings)} trainings: {trainings['fold'].nunique()} folds, {seeds_told(trainings['seed'])}; where "
        f"nothing else is said, network `{base['model']}`, width {base['width']}, at "
        f"{base['train_width']} × {base['train_height']}, {first['epochs']} epochs of {per_epoch}, Adam, learning rate "
        f"{base['learning_rate']}, schedule {base['schedule']}, augmentation {base.get('augmentation', 'none')}{more}. "
        f"No epoch was chosen on what is scored. The intervals hold how {held}."
        f" Device: {devices}; one thread a training; code {code}."
    )


def leakage_page(folder: Path) -> list[str]:
    """The leakage experiment: honest lines first, leaky ones second, then copied masks."""
    dice, copied = pd.read_csv(folder / "dice.csv"), pd.read_csv(folder / "copying.csv")
    dice = dice[(dice["epoch"] == dice["epoch"].max()) & (dice["aggregation"] == "pooled")]
    copied = copied.query("aggregation == 'pooled' and sequence == 'all'")
    nsds, copied = copied[copied["class"] == "foreground"], copied[copied["metric"] == "dice"]
    boundaries = pd.read_csv(folder / "boundaries.csv").query("aggregation == 'pooled' and sequence == 'all'")
    lines = []
    for arm, part in sorted(dice.groupby("arm", sort=False), key=lambda pair: "LEAKY" in pair[1]["title"].iloc[0]):
        nsd = boundaries[(boundaries["arm"] == arm) & (boundaries["class"] == "foreground")].set_index("metric")[
            "value"
        ]
        lines.append([part["title"].iloc[0], *class_cells(part), f"{nsd['nsd_1']:.3f}", f"{nsd['nsd_2']:.3f}"])
    for (kind, folds), part in copied.groupby(["split", "folds"], sort=False):
        own = nsds[(nsds["split"] == kind) & (nsds["folds"] == folds)].set_index("metric")["value"]
        nsd = [f"{own[name]:.3f}" if name in own else "" for name in ("nsd_1", "nsd_2")]
        lines.append([f"no network, {kind}, {100 - 100 / folds:.0f} / {100 / folds:.0f}", *class_cells(part), *nsd])
    ceiling = pd.read_csv(folder / "ceiling.csv").query("aggregation == 'pooled'")
    lines.append([f"the reference itself, reduced to {ceiling['size'].iloc[0]}", *class_cells(ceiling), "", ""])
    gains = pd.read_csv(folder / "gains.csv").query("aggregation == 'pooled' and `class` == 'foreground'")
    titles = dice.drop_duplicates("arm").set_index("arm")["title"]
    added = "; ".join(
        f"{titles[arm]}: "
        + ", ".join(f"{interval(row, 'difference', '+.3f')} after {row['epoch']} epochs" for _, row in part.iterrows())
        for arm, part in gains.groupby("arm", sort=False)
    )
    heads = ["what is scored", *SHOWN, "NSD at 1 px", "NSD at 2 px"]
    patients, slices = dice["patients"].iloc[0], dice["slices"].iloc[0]
    told = (
        f"Pooled Dice on {slices} slices of {patients} patients, every slice held out once in each line, scored at the "
        f"stored size; in brackets 95 % bootstrap intervals over {drawn_over(dice)}. What the leak adds to the "
        f"foreground Dice, paired by patient: {added}."
    )
    return [markdown_table(heads, lines), told]


def choices_page(folder: Path) -> list[str]:
    """One choice changed at a time: foreground Dice and the difference to the paper's text."""
    dice, gains = (pd.read_csv(folder / f"{name}.csv").query(LAST) for name in ("dice", "differences"))
    boundaries = pd.read_csv(folder / "boundaries.csv").query(
        "aggregation == 'pooled' and sequence == 'all' and `class` == 'foreground'"
    )
    lines = []
    for row in dice.itertuples():
        own = gains[gains["arm"] == row.arm]
        gain = interval(own.iloc[0], "difference", "+.3f") if len(own) else "reference"
        nsd = boundaries[boundaries["arm"] == row.arm].set_index("metric")["value"]
        cells = [interval(row._asdict(), "value"), gain, f"{nsd['nsd_1']:.3f}", f"{nsd['nsd_2']:.3f}"]
        lines.append([row.title, *cells])
    told = (
        f"Pooled foreground Dice on {dice['slices'].iloc[0]} slices of {dice['patients'].iloc[0]} unseen patients, "
        "each held out once; the difference is paired by patient, and an interval that holds 0 shows no difference."
    )
    heads = ["arm", "foreground Dice", "difference", "NSD at 1 px", "NSD at 2 px"]
    return [markdown_table(heads, lines), told]


def gains_of(paired: pd.DataFrame, arm: str) -> list[str]:
    """Return an arm's cells of paired differences, one for each of PAIRED; of the reference arm its name alone."""
    own = paired[paired["arm"] == arm].set_index("metric")
    if own.empty:
        return ["reference", *[""] * (len(PAIRED) - 1)]
    return [difference_cell(own.loc[name], form) for name, form in PAIRED.items()]


def ablation_page(folder: Path) -> list[str]:
    """Networks, losses, input and augmentation beside the paper's network: scores, paired differences, cost."""
    dice, paired = pd.read_csv(folder / "dice.csv").query(LAST), pd.read_csv(folder / "paired.csv")
    cost = pd.read_csv(folder / "cost.csv").set_index("arm")
    lines = []
    for row in dice.itertuples():
        price = cost.loc[row.arm]
        counted = f"{price['multiply_adds'] / 1e9:.2f} G ({price['multiply_adds_ratio']:.2f} ×)"
        cells = [*gains_of(paired, row.arm), f"{int(price['parameters']):,}", counted]
        lines.append([row.title, interval(row._asdict(), "value"), *cells])
    unit = paired.query("metric == 'asd'")["unit"].iloc[0]
    heads = ["arm", "foreground Dice", "difference in Dice", f"in HD95, {unit}", f"in ASD, {unit}"]
    return [markdown_table([*heads, "parameters", "multiply-adds"], lines), ablation_meaning(folder, dice, paired)]


def shipped_page(folder: Path) -> list[str]:
    """Two networks on unseen patients, and what one of them gains by how it is used."""
    dice, paired = pd.read_csv(folder / "options_dice.csv").query(LAST), pd.read_csv(folder / "options_paired.csv")
    study = json.loads((folder / "study.json").read_text(encoding="utf-8"))["study"]
    title = next(arm["title"] for arm in study["arms"] if arm["name"] == study["options"])
    told = (
        f"How “{title}” is used, on the same unseen patients; differences to one look at each slice are paired by "
        "patient, p by Wilcoxon's signed-rank test, adjusted over the ways (Holm)."
    )
    return [*ablation_page(folder), told, options_table(dice, paired)]


def options_table(dice: pd.DataFrame, paired: pd.DataFrame) -> str:
    """Return the ways of using a network as a table: foreground Dice, and paired differences to one look."""
    lines = []
    for row in dice.itertuples():
        lines.append([row.title, interval(row._asdict(), "value"), *gains_of(paired, row.arm)])
    unit = paired.query("metric == 'asd'")["unit"].iloc[0]
    heads = ["use", "foreground Dice", "difference in Dice", f"in HD95, {unit}", f"in ASD, {unit}"]
    return markdown_table(heads, lines)


def errors_page(folder: Path) -> list[str]:
    """Dice of each structure on unseen patients, how far the second network lies above the first, its ways of use."""
    told = (
        "“Standardised”: the percentiles of each series laid over those of the training slices (Nyúl et al. 2000), as "
        "`predict` does with volumes. What follows are the errors of the second network."
    )
    return [structures_table(folder), *shipped_page(folder), told]


def ablation_meaning(folder: Path, dice: pd.DataFrame, paired: pd.DataFrame) -> str:
    """Return what the ablation's numbers say and what they do not."""
    titles, gains = dice.set_index("arm")["title"], paired[paired["metric"] == "dice"]
    sure = gains[differs(gains)]
    above, below = (
        ", ".join(part["title"]) or "none" for part in (sure[sure["difference"] > 0], sure[sure["difference"] < 0])
    )
    adjusted = f", adjusted over the {len(gains)} arms of a column (Holm)" if len(gains) > 1 else ""
    unsure = len(gains) - len(sure)
    rest = f"; of the other {unsure} no difference is shown" if unsure else ""
    seeds = pd.read_csv(folder / "trainings.csv")["seed"].nunique()
    shared = f"{seeds} networks, one a seed" if seeds > 1 else "one network and an arm has 1 seed"
    slices, missed = dice["slices"].iloc[0], paired.drop_duplicates("arm")
    return (
        f"Foreground Dice: pixels pooled over {slices} slices of {dice['patients'].iloc[0]} unseen patients, each held "
        f"out once. Differences: each patient's own score minus that with “{titles[paired['reference'].iloc[0]]}”, "
        f"the mean over {drawn_over(paired)} with its 95 % bootstrap interval; p by Wilcoxon's signed-rank "
        f"test{adjusted}. By Dice with an interval without 0 and p < {LEVEL}, better: {above}; worse: {below}{rest}. "
        f"The patients of a fold share {shared}: p says that these networks differ on such patients, not that training "
        "again would order the arms in the same way. Distances leave out what has none, a class in only one of the two "
        f"masks: {missed['reference_missed'].iloc[0]:g} of {len(FOREGROUND) * slices} in the reference arm, "
        f"{missed['missed'].min():g} to {missed['missed'].max():g} in the others."
    )


def table_page(file: str) -> Callable[[Path], list[str]]:
    """Return a page that is one of the study's tables."""

    def page(folder: Path) -> list[str]:
        table = pd.read_csv(folder / file)
        rows = [["" if pd.isna(cell) else f"{cell:.4g}" if isinstance(cell, float) else str(cell) for cell in row]
                for row in table.itertuples(index=False)]  # fmt: skip
        return [markdown_table(list(table), rows)]

    return page


def ceiling_page(folder: Path) -> list[str]:
    """How much of the error is convention: Dice with each neutralised, the ideal reader's, and patient by patient."""
    dice, gains, ideal = (
        pd.read_csv(folder / f"{name}.csv").query("aggregation == 'pooled'")
        for name in ("neutralised", "neutralised_gains", "ideal_reader")
    )
    gains = gains[gains["class"] == "foreground"].set_index("arm")
    lines = []
    for arm, part in dice.groupby("arm", sort=False):
        gain = interval(gains.loc[arm], "difference", "+.3f") if arm in gains.index else "reference"
        lines.append([arm, *class_cells(part), gain])
    readers = [[arm, *class_cells(part)] for arm, part in ideal.groupby("arm", sort=False)]
    patients = pd.read_csv(folder / "ceiling_patients.csv").sort_values("ideal").head(5)
    lowest = [
        [str(row.patient), "yes" if row.touching else "", f"{row.lacks_top}", f"{row.specks:.1f}"]
        + [f"{getattr(row, name):.3f}" for name in ("dice", "neutralised", "ideal")]
        for row in patients.itertuples()
    ]
    best, own = (
        float(table.query("`class` == 'foreground' and arm == @arm")["value"].iloc[0])
        for table, arm in ((ideal, "all together"), (dice, "as it is"))
    )
    told = (
        f"Pooled Dice on {dice['slices'].iloc[0]} slices of {dice['patients'].iloc[0]} unseen patients; in brackets 95 "
        "% bootstrap intervals over patients, differences paired. Pixels about which references may disagree are left "
        "out of both masks: one on either side of every contour; vertebra above the topmost disc; the reference's "
        "islands; what lies within 4 pixels of a disc and of a vertebra. Errors of the network's own in these places "
        "are forgiven, too, so this is the most that conventions can explain."
    )
    reader = (
        "The ideal reader: each reference rewritten as most others were drawn (touching discs given 3 pixels of gap, "
        "islands left out, a missing top vertebra added as the network draws it) and scored against itself as it is. "
        f"With contours that agree to the pixel it reaches {best:.3f}: the named conventions account for "
        f"{1 - best:.3f} of the network's {1 - own:.3f} that are missing to 1. How far two readings of a contour lie "
        "apart cannot be told from one reading; what one pixel is worth, the first table tells. The patients for whom "
        "it reaches least (“lacks top”: slices without the vertebra at the upper edge; specks: islands a slice):"
    )
    return [
        markdown_table(["left out", *SHOWN, "difference"], lines),
        told,
        markdown_table(["rewritten", *SHOWN], readers),
        reader,
        markdown_table(["patient", "touching", "lacks top", "specks", "network", "neutralised", "ideal"], lowest),
    ]


def copying_page(folder: Path) -> list[str]:
    """Copied masks: pooled Dice and NSD of both kinds."""
    table = pd.read_csv(folder / "copying.csv").query("aggregation == 'pooled' and sequence == 'all'")
    lines = []
    for (kind, metric), part in table[table["metric"].isin(["dice", "nsd_1", "nsd_2"])].groupby(["split", "metric"]):
        lines.append([kind, metric, *class_cells(part)])
    return [markdown_table(["mask", "metric", *SHOWN], lines)]


PAGES: dict[str, Callable[[Path], list[str]]] = {
    **dict.fromkeys(("paper_claim", "leakage", "leakage_strong"), leakage_page),
    "full_size": lambda folder: [structures_table(folder), *shipped_page(folder)],
    **dict.fromkeys(
        ("peers", "peers_longer", "peers_full_size"),
        lambda folder: [structures_table(folder), *peers_page(folder)],
    ),
    "size": lambda folder: [structures_table(folder), *ablation_page(folder)],
    "distillation": ablation_page,
    "choices": choices_page,
    "ablation": ablation_page,
    "length": lambda folder: [*ablation_page(folder), *length_page(folder)],
    "shipped": shipped_page,
    "copying": copying_page,
    "roundtrip": roundtrip_page,
    "bodies": bodies_page,
    "errors": errors_page,
    "counting": counting_page,
    "sequences": sequences_page,
    "resolution": resolution_page,
    "one_network": arms_page,
    "self_training": arms_page,
    "all_sequences": arms_page,
    "reference": table_page("reference_summary.csv"),
    "ceiling": ceiling_page,
    "filters": table_page("filters.csv"),
    "labels": table_page("labels_summary.csv"),
}
