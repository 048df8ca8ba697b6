"""Publish a finished study: its tables to results/<name>/, its figures to figures/, and a page of what was found.

Nothing is computed here: every number comes from the study's own files. `tools.publish` calls this for a folder whose
provenance.json names a study.
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from spider_utils.common.files import atomic_path, write_text
from spider_utils.data.labels import FOREGROUND
from tools.notebooks import README, ROOT, smaller_png_bytes, with_block

FIGURES = ROOT / "figures"
LARGEST_SVG = 1_000_000  # bytes; a larger one is left out
PER_SLICE = ("overlap.csv", "labels.csv")  # too long for a repository; the summaries are what is read
CAPTIONS = {
    "leakage": "What a leaky split is worth: the same network, steps and slices, and masks that are only copied.",
    "arms": "How far each choice lies above or below the paper's text on unseen patients, paired by patient.",
    "ablation": "What each network, input, loss and augmentation adds, paired by patient, and what it costs.",
    "ablation_by_class": "What each of them adds to the pooled Dice of each class.",
    "pairs": "Every patient with the paper's network and with the shipped one.",
    "roundtrip": "What the detour over slices costs a volume when the network is perfect.",
    "sequences": "T1 and T2 slices without masks: overlays, and counted structures against the record.",
    "errors_groups": "Dice of unseen patients by class, place and size.",
    "errors_patients": "Dice of each unseen patient.",
    "errors_distance": "How many of the wrong pixels lie how near to the reference's boundary.",
    "errors_where": "Where the wrong pixels sit, by class.",
    "errors_causes": "Why pixels are wrong, by class.",
    "errors_example": "The very worst slice: hits and errors, wrong pixels by region, and by cause.",
    "errors_worst": "The ten worst slices of unseen patients.",
    "errors_reference": "Faults that are suspected of the references.",
    "errors_levels": "Dice of each vertebra and disc by level.",
    "errors_pathology": "Dice of discs and vertebrae by SPIDER's gradings.",
    "reliability": "Are the network's probabilities right? Reliability curves of unseen patients.",
    "uncertainty": "Does the network's uncertainty find its worst slices?",
    "bodies": "T2 TSE of another site: the share of each vertebral body that is called vertebra.",
    "reference_audit": "The references' own conventions, series by series.",
    "reference_examples": "The series whose references differ most, close up.",
    "copying": "Dice of masks that are only copied, beside the paper's.",
    "neighbour_overlap": "How much two masks of one patient overlap, one to three slices apart.",
}
PAIRED = {"dice": "+.3f", "hd95": "+.1f", "asd": "+.2f"}
SHOWN = (*FOREGROUND, "foreground")


def is_study(folder: Path) -> bool:
    """Return True for the folder of a study, finished or published."""
    note = folder / "provenance.json"
    return note.is_file() and "study" in json.loads(note.read_text(encoding="utf-8")).get("settings", {})


def published_figures(folder: Path) -> dict[str, str]:
    """Return the figures of a published study and their captions."""
    return {name: text for name, text in CAPTIONS.items() if (FIGURES / f"{folder.name}_{name}.png").is_file()}


def publish_figure(picture: Path, name: str) -> None:
    """Copy a PNG, made smaller, and the SVG beside it to figures/`name`; an SVG that is too large is left out."""
    with atomic_path(FIGURES / f"{name}.png") as path:
        path.write_bytes(smaller_png_bytes(picture.read_bytes()))
    vector, target = picture.with_suffix(".svg"), FIGURES / f"{name}.svg"
    target.unlink(missing_ok=True)  # of an earlier run
    if vector.is_file() and vector.stat().st_size <= LARGEST_SVG:
        with atomic_path(target) as path:
            path.write_bytes(vector.read_bytes())


def publish_study(run: Path) -> None:
    """Copy a study's tables and figures, write its page, and put that into the README where it has a place for it."""
    target = ROOT / "results" / run.name
    target.mkdir(parents=True, exist_ok=True)
    for path in [*run.glob("*.csv"), run / "provenance.json", run / "study.json"]:
        if path.is_file() and path.name not in PER_SLICE:
            shutil.copyfile(path, target / path.name)
    for name in CAPTIONS:
        picture = run / "figures" / f"{name}.png"
        if picture.is_file():
            publish_figure(picture, f"{run.name}_{name}")
    write_text(target / "command.txt", study_command(run) + "\n")
    write_text(target / "README.md", f"# {run.name}\n\n{describe_study(target)}\n")
    text = README.read_text(encoding="utf-8")
    if f"<!-- {run.name}: begin -->" in text:
        write_text(README, with_block(text, run.name, describe_study(target)))


def study_command(run: Path) -> str:
    """Return the command line that makes a study again."""
    settings = json.loads((run / "provenance.json").read_text(encoding="utf-8"))["settings"]
    name, source = settings.pop("study"), settings.pop("source")
    place = "--source phantom" if source == "phantom" else f"--source {source} --data-dir data/{source}"
    own = {"roundtrip": "", "bodies": f"--data-dir data/{source}", "errors": f"{place} --metadata data/spider"}
    own["sequences"] = f"--data-dir data/{source} --metadata data/spider"
    place = own.get(name, place)
    words = ["python -m spider_utils study", name, place, f"--out runs/{run.name}"]
    return " ".join(word for word in words + [f"-p {key} {value}" for key, value in settings.items()] if word)


def describe_study(folder: Path) -> str:
    """Return the Markdown that states what a published study found, and all that is needed to find it again."""
    made = json.loads((folder / "provenance.json").read_text(encoding="utf-8"))
    parts = PAGES[made["settings"]["study"]](folder)
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
    trainings = pd.read_csv(folder / "trainings.csv")
    first, base = trainings.iloc[0], json.loads((folder / "study.json").read_text(encoding="utf-8"))["study"]["base"]
    code = ", ".join(sorted(trainings["code"].unique())) + (" with changes" if trainings["modified"].any() else "")
    seeds = ", ".join(str(seed) for seed in sorted(trainings["seed"].unique()))
    more = "".join(f", {name.replace('_', ' ')} {base[name]}" for name in ("batch_size", "precision") if name in base)
    return (
        f"{len(trainings)} trainings: {trainings['fold'].nunique()} folds, seed {seeds}; where nothing else is said, "
        f"network `{base['model']}`, width {base['width']}, at {base['train_width']} × {base['train_height']}, "
        f"{first['epochs']} epochs of {first['train_slices']} slices in every one, Adam, learning rate "
        f"{base['learning_rate']}, schedule {base['schedule']}, augmentation {base.get('augmentation', 'none')}{more}. "
        f"No epoch was chosen on what is scored. The intervals hold how patients differ, not how trainings do: a "
        f"difference of a hundredth can be one seed's."
        f" Device: {first['device']} ({first['machine']}), one thread a training; torch {first['torch']}; "
        f"code {code}."
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
        lines.append([part["title"].iloc[0], *_cells(part), f"{nsd['nsd_1']:.3f}", f"{nsd['nsd_2']:.3f}"])
    for (kind, folds), part in copied.groupby(["split", "folds"], sort=False):
        own = nsds[(nsds["split"] == kind) & (nsds["folds"] == folds)].set_index("metric")["value"]
        nsd = [f"{own[name]:.3f}" if name in own else "" for name in ("nsd_1", "nsd_2")]
        lines.append([f"no network, {kind}, {100 - 100 / folds:.0f} / {100 / folds:.0f}", *_cells(part), *nsd])
    ceiling = pd.read_csv(folder / "ceiling.csv").query("aggregation == 'pooled'")
    lines.append([f"the reference itself, reduced to {ceiling['size'].iloc[0]}", *_cells(ceiling), "", ""])
    gains = pd.read_csv(folder / "gains.csv").query("aggregation == 'pooled' and `class` == 'foreground'")
    titles = dice.drop_duplicates("arm").set_index("arm")["title"]
    added = "; ".join(
        f"{titles[arm]}: "
        + ", ".join(f"{_value(row, 'difference', '+.3f')} after {row['epoch']} epochs" for _, row in part.iterrows())
        for arm, part in gains.groupby("arm", sort=False)
    )
    heads = ["what is scored", *SHOWN, "NSD at 1 px", "NSD at 2 px"]
    patients, slices = dice["patients"].iloc[0], dice["slices"].iloc[0]
    told = (
        f"Pooled Dice on {slices} slices of {patients} patients, every slice held out once in each line, scored at the "
        "stored size; in brackets 95 % bootstrap intervals over patients. What the leak adds to the foreground Dice, "
        f"paired by patient: {added}."
    )
    return [markdown_table(heads, lines), told]


def choices_page(folder: Path) -> list[str]:
    """One choice changed at a time: foreground Dice and the difference to the paper's text."""
    last = "epoch == epoch.max() and aggregation == 'pooled' and `class` == 'foreground'"
    dice, gains = (pd.read_csv(folder / f"{name}.csv").query(last) for name in ("dice", "differences"))
    boundaries = pd.read_csv(folder / "boundaries.csv").query(
        "aggregation == 'pooled' and sequence == 'all' and `class` == 'foreground'"
    )
    lines = []
    for row in dice.itertuples():
        own = gains[gains["arm"] == row.arm]
        gain = _value(own.iloc[0], "difference", "+.3f") if len(own) else "reference"
        nsd = boundaries[boundaries["arm"] == row.arm].set_index("metric")["value"]
        cells = [_value(row._asdict(), "value"), gain, f"{nsd['nsd_1']:.3f}", f"{nsd['nsd_2']:.3f}"]
        lines.append([row.title, *cells])
    told = (
        f"Pooled foreground Dice on {dice['slices'].iloc[0]} slices of {dice['patients'].iloc[0]} unseen patients, "
        "each held out once; the difference is paired by patient, and an interval that holds 0 shows no difference."
    )
    heads = ["arm", "foreground Dice", "difference", "NSD at 1 px", "NSD at 2 px"]
    return [markdown_table(heads, lines), told]


def ablation_page(folder: Path) -> list[str]:
    """Networks, losses, input and augmentation beside the paper's network: scores, paired differences, cost."""
    last = "epoch == epoch.max() and aggregation == 'pooled' and `class` == 'foreground'"
    dice, paired = pd.read_csv(folder / "dice.csv").query(last), pd.read_csv(folder / "paired.csv")
    cost = pd.read_csv(folder / "cost.csv").set_index("arm")
    lines = []
    for row in dice.itertuples():
        own = paired[paired["arm"] == row.arm].set_index("metric")
        gains = [_tested(own.loc[name], form) for name, form in PAIRED.items()] if len(own) else ["reference", "", ""]
        price = cost.loc[row.arm]
        counted = f"{price['multiply_adds'] / 1e9:.2f} G ({price['multiply_adds_ratio']:.2f} ×)"
        lines.append([row.title, _value(row._asdict(), "value"), *gains, f"{int(price['parameters']):,}", counted])
    unit = paired.query("metric == 'asd'")["unit"].iloc[0]
    heads = ["arm", "foreground Dice", "difference in Dice", f"in HD95, {unit}", f"in ASD, {unit}"]
    return [markdown_table([*heads, "parameters", "multiply-adds"], lines), ablation_meaning(folder, dice, paired)]


def shipped_page(folder: Path) -> list[str]:
    """The shipped networks on unseen patients, and what the best one gains by how it is used."""
    last = "epoch == epoch.max() and aggregation == 'pooled' and `class` == 'foreground'"
    dice, paired = pd.read_csv(folder / "options_dice.csv").query(last), pd.read_csv(folder / "options_paired.csv")
    told = "How the second network is used, on the same unseen patients; differences to one look at each slice."
    return [*ablation_page(folder), told, options_table(dice, paired)]


def options_table(dice: pd.DataFrame, paired: pd.DataFrame) -> str:
    """Return the ways of using a network as a table: foreground Dice, and paired differences to one look."""
    lines = []
    for row in dice.itertuples():
        own = paired[paired["arm"] == row.arm].set_index("metric")
        gains = [_tested(own.loc[name], form) for name, form in PAIRED.items()] if len(own) else ["reference", "", ""]
        lines.append([row.title, _value(row._asdict(), "value"), *gains])
    unit = paired.query("metric == 'asd'")["unit"].iloc[0]
    heads = ["use", "foreground Dice", "difference in Dice", f"in HD95, {unit}", f"in ASD, {unit}"]
    return markdown_table(heads, lines)


def errors_page(folder: Path) -> list[str]:
    """The networks whose errors are analysed: Dice of each structure on unseen patients, and by the ways of use."""
    pooled = pd.read_csv(folder / "dice.csv").query("epoch == epoch.max() and aggregation == 'pooled'")
    last = "epoch == epoch.max() and aggregation == 'pooled' and `class` == 'foreground'"
    dice, paired = pd.read_csv(folder / "options_dice.csv").query(last), pd.read_csv(folder / "options_paired.csv")
    told = (
        f"Pooled Dice on {pooled['slices'].iloc[0]} slices of {pooled['patients'].iloc[0]} unseen patients, each held "
        "out once; in brackets 95 % bootstrap intervals over patients. Below, the same networks used in other ways: "
        "differences are paired by patient, p by Wilcoxon's signed-rank test, adjusted over the ways (Holm). "
        "“Standardised”: the percentiles of each series laid over those of the training slices (Nyúl et al. 2000), as "
        "`predict` does with volumes."
    )
    scores = markdown_table(["network", *SHOWN], [[pooled["title"].iloc[0], *_cells(pooled)]])
    return [scores, told, options_table(dice, paired)]


def ablation_meaning(folder: Path, dice: pd.DataFrame, paired: pd.DataFrame) -> str:
    """Return what the ablation's numbers say and what they do not."""
    titles, gains = dice.set_index("arm")["title"], paired[paired["metric"] == "dice"]
    sure = gains[gains["p_holm"] < 0.05]
    above, below = (
        ", ".join(part["title"]) or "none" for part in (sure[sure["difference"] > 0], sure[sure["difference"] < 0])
    )
    adjusted = f", adjusted over the {len(gains)} arms of a column (Holm)" if len(gains) > 1 else ""
    unsure = len(gains) - len(sure)
    rest = f"; the other {unsure} cannot be told from it" if unsure else ""
    seeds = pd.read_csv(folder / "trainings.csv")["seed"].nunique()
    slices, missed = dice["slices"].iloc[0], paired.drop_duplicates("arm")
    return (
        f"Foreground Dice: pixels pooled over {slices} slices of {dice['patients'].iloc[0]} unseen patients, each held "
        f"out once. Differences: each patient's own score less its score with “{titles[paired['reference'].iloc[0]]}”, "
        f"the mean over patients with its 95 % bootstrap interval; p by Wilcoxon's signed-rank test{adjusted}. By Dice "
        f"with p < 0.05, better: {above}; worse: {below}{rest}. The patients of a fold share one network and an arm "
        f"has {seeds} seed{'s' * (seeds > 1)}: p says that these networks differ on such patients, not that training "
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


def copying_page(folder: Path) -> list[str]:
    """Copied masks: pooled Dice and NSD of both kinds."""
    table = pd.read_csv(folder / "copying.csv").query("aggregation == 'pooled' and sequence == 'all'")
    lines = []
    for (kind, metric), part in table[table["metric"].isin(["dice", "nsd_1", "nsd_2"])].groupby(["split", "metric"]):
        lines.append([kind, metric, *_cells(part)])
    return [markdown_table(["mask", "metric", *SHOWN], lines)]


def roundtrip_page(folder: Path) -> list[str]:
    """What a perfect network loses on the way, lowest Dice over the poses."""
    table = pd.read_csv(folder / "roundtrip_summary.csv")
    answers = {"shares": "each class' share of a pixel", "nearest": "one class a pixel"}
    lines = [
        [row.series, f"{row.spacing_mm} mm", row.network_size, "" if row.network_size == "own" else answers[row.answer],
         *(f"{getattr(row, name):.4f}" for name in FOREGROUND), str(row.poses), "yes" if row.same_grid else "NO"]
        for row in table.itertuples()
    ]  # fmt: skip
    heads = [
        "series",
        "pixel x slice distance",
        "network's slices",
        "perfect answer",
        *FOREGROUND,
        "poses",
        "same grid",
    ]
    told = (
        "Dice in 3D with the reference, the lowest over the poses: as the phantom was made, or in all 48 orders and "
        "flips of the axes and turned by 20 degrees about each of the patient's axes. “Same grid”: size, spacing, "
        "origin and direction equal the input's bit for bit. With the slices at their own size nothing is lost; the "
        "rest is what the network's slice size alone costs, before any error of a network."
    )
    return [markdown_table(heads, lines), told]


def bodies_page(folder: Path) -> list[str]:
    """How much of the vertebral bodies of another site's volumes is found."""
    table = pd.read_csv(folder / "bodies_summary.csv")
    lines = [
        [row.volume, row.intensities, str(row.bodies), f"{row.mean:.3f}", f"{row.lowest:.3f}"]
        for row in table.itertuples()
    ]
    told = (
        "The share of each labelled vertebral body that the shipped network (spine_t2space) calls vertebra, "
        "mean and lowest over a volume's bodies. The network has learnt from T2 SPACE of one data set alone; these are "
        "T2 TSE of another site (Chu et al., PLoS ONE 10(11): e0143327, 2015). Their masks hold the bodies and nothing "
        "else, so what is called vertebra outside them cannot be judged here. “Standardised”: the volume's percentiles "
        "are laid over those of the training slices, as `predict` does with volumes. That this is done was decided "
        "after these two volumes had been seen to fail without it, so they are no untouched test; its values come "
        "from the training slices alone, and on SPIDER's own held-out patients it changes nothing (results/errors)."
    )
    return [markdown_table(["volume", "intensities", "bodies", "mean share", "lowest share"], lines), told]


def sequences_page(folder: Path) -> list[str]:
    """Counted structures against the record: how often they agree, by sequence and by where the masks come from."""
    table = pd.read_csv(folder / "sequences_summary.csv").fillna({"field": "", "intensities": ""})
    table = table[table["patients"] == "all"]
    lines = []
    for row in table.to_dict("records"):
        shares = [
            f"{row[name]:.2f} [{row[f'{name}_low']:.2f}, {row[f'{name}_high']:.2f}]" for name in ("exact", "within_one")
        ]
        made = ", ".join(part for part in (row["masks"], row["field"], row["intensities"]) if part)
        mean = f"{row['difference']:+.2f} [{row['difference_low']:+.2f}, {row['difference_high']:+.2f}]"
        lines.append([row["sequence"].replace("_", " "), made, row["structure"], str(row["slices"]), *shares, mean])
    told = (
        "The number of vertebrae and discs on one mid-sagittal slice against SPIDER's overview.csv; in brackets 95 % "
        "bootstrap intervals over patients. The lines of T2 SPACE say what the counting itself makes of reference "
        "masks and of unseen patients' predictions. There are no masks of these T1 and T2 slices, so Dice, boundaries "
        "and the canal are not measured, and a right count can come from a wrong mask."
    )
    heads = ["sequence", "masks", "structure", "slices", "as recorded", "within one", "mean difference"]
    return [markdown_table(heads, lines), told]


PAGES: dict[str, Callable[[Path], list[str]]] = {
    "leakage": leakage_page,
    "choices": choices_page,
    "ablation": ablation_page,
    "shipped": shipped_page,
    "copying": copying_page,
    "roundtrip": roundtrip_page,
    "bodies": bodies_page,
    "errors": errors_page,
    "sequences": sequences_page,
    "reference": table_page("reference_summary.csv"),
    "filters": table_page("filters.csv"),
    "labels": table_page("labels_summary.csv"),
}


def _cells(part: pd.DataFrame) -> list[str]:
    rows = part.set_index("class")
    return [_value(rows.loc[name], "value") for name in SHOWN]


def _value(row: pd.Series | dict, name: str, form: str = ".3f") -> str:
    return f"{row[name]:{form}} [{row['ci_low']:{form}}, {row['ci_high']:{form}}]"


def _tested(row: pd.Series, form: str) -> str:
    p = row["p_holm"]
    told = "p < 0.001" if p < 0.001 else f"p {p:.3f}"
    return f"{_value(row, 'difference', form)}, {told}"


def markdown_table(heads: list[str], rows: list[list[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
