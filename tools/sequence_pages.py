"""What the pages of the studies of T1, T2 and T2 SPACE say; see `tools.pages`."""

from pathlib import Path

import pandas as pd

from spider_utils.data.labels import FOREGROUND
from spider_utils.evaluate.bootstrap import drawn_over, patient_weights
from spider_utils.studies.paired import paired_difference
from tools.markdown import PAIRED, SHOWN, interval, markdown_table

SLICES = {"all": "all", "canal": "with canal", "no canal": "without canal"}
METRICS = {"dice": ".3f", "iou": ".3f", "hd95": ".1f", "asd": ".2f", "nsd_1": ".3f", "missed": ".2f"}
NAMES = {"dice": "Dice", "iou": "IoU", "hd95": "HD95", "asd": "ASD", "nsd_1": "NSD at 1 mm", "missed": "missed"}


def counting_page(folder: Path) -> list[str]:
    """Counted structures against the record: how often they agree, by sequence and by where the masks come from."""
    table = pd.read_csv(folder / "counting_summary.csv").fillna({"field": "", "intensities": ""})
    table = table[table["patients"] == "all"]
    lines = []
    for row in table.to_dict("records"):
        shares = [
            f"{row[name]:.2f} [{row[f'{name}_low']:.2f}, {row[f'{name}_high']:.2f}]" for name in ("exact", "within_one")
        ]
        made = ", ".join(part for part in (row["masks"], row["field"], row["intensities"]) if part)
        mean = f"{row['difference']:+.2f} [{row['difference_low']:+.2f}, {row['difference_high']:+.2f}]"
        lines.append([row["sequence"].replace("_", " "), made, row["structure"], str(row["slices"]), *shares, mean])
    counted = pd.read_csv(folder / "counting.csv").query("sequence != 'T2_SPACE'").drop_duplicates("patient")
    told = (
        "The number of vertebrae and discs on one mid-sagittal slice against SPIDER's overview.csv; in brackets 95 % "
        "bootstrap intervals over patients. The lines of T2 SPACE say what the counting itself makes of reference "
        "masks and of unseen patients' predictions. There are no masks of these T1 and T2 slices, so Dice, boundaries "
        "and the canal are not measured, and a right count can come from a wrong mask. "
        f"The network has learnt from the T2 SPACE slices of {counted['met'].sum()} of the {len(counted)} patients."
    )
    heads = ["sequence", "masks", "structure", "slices", "as recorded", "within one", "mean difference"]
    return [markdown_table(heads, lines), told]


def sequences_page(folder: Path) -> list[str]:
    """Scores on slices with masks: Dice by class, the other scores of the three classes' mean, and who was met."""
    table = pd.read_csv(folder / "sequences_summary.csv")
    order = {"T2_SPACE": 0, "T1": 1, "T2": 2}
    table = table.sort_values("sequence", key=lambda column: column.map(order), kind="stable")
    dice, others, known = [], [], []
    for (network, patients, sequence, slices), part in table.groupby(
        ["network", "patients", "sequence", "slices"], sort=False
    ):
        pooled = part[part["aggregation"] == "pooled"].set_index(["class", "metric"])
        counted = part.query("aggregation == 'patients' and metric == 'dice' and `class` == 'vertebrae'")["n"]
        if sequence == "T1" and slices == "all":
            continue  # all of them show the canal
        cells = [_cell(pooled, name, "dice") for name in SHOWN]
        by_patient = part[part["aggregation"] == "patients"].set_index(["class", "metric"])
        head = [network, sequence.replace("_", " "), SLICES[slices]]
        head.append(f"{pooled.loc[('vertebrae', 'dice'), 'n']:.0f} of {counted.iloc[0]:.0f}" if len(counted) else "")
        line = [*head, *cells, _cell(by_patient, "foreground", "dice")]
        if patients == "all":
            known.append(line)
            continue
        dice.append(line)
        if sequence != "T2_SPACE":
            for name in ("foreground",) if slices != "no canal" else ("vertebrae", "discs"):
                others.append([*head[:3], name, *(_cell(pooled, name, metric) for metric in METRICS)])
    false = table[(table["metric"] == "false_canal") & (table["patients"] == "not met")]
    found = "; ".join(
        f"{row['network']} in {interval(row, 'value', '.2f')} of {row['n']:.0f} {row['sequence']} slices"
        for _, row in false.iterrows()
    )
    heads = ["network", "sequence", "slices", "slices of patients", *SHOWN, "foreground, mean over patients"]
    told = (
        "Dice, pixels pooled but in the last column; in brackets 95 % bootstrap intervals over patients, at each "
        "slice's own resolution. Only patients that the network has not met. T2 SPACE: the record beside the weights, "
        "30 unseen patients, each held out once by a network that was trained in the same way, at 640 × 512. “With "
        "canal”: the reference has a pixel of it. Slices are shown as `predict` shows PNG files. The mean of three "
        f"classes is not told where one of them is not there; a canal that is not there is found by {found}."
    )
    more = (
        "The other scores on the same slices, pooled, distances in mm. “Missed”: the share of slices with the class in "
        "one of the two masks alone, which HD95 and ASD leave out."
    )
    slices = pd.read_csv(folder / "sequences.csv")
    patients = ", ".join(str(one) for one in sorted(slices.loc[slices["met"], "patient"].unique()))
    met = f"The same with the patients whose T2 SPACE the networks have learnt from: {patients or 'none'}."
    return [
        markdown_table(heads, dice),
        told,
        markdown_table(["network", "sequence", "slices", "class", *NAMES.values()], others),
        more,
        markdown_table(heads, known),
        met,
    ]


def resolution_page(folder: Path) -> list[str]:
    """T2 SPACE as coarse as T2: Dice by condition, paired differences, and what each step changes."""
    table, paired, steps = (
        pd.read_csv(folder / f"{name}.csv") for name in ("resolution", "resolution_paired", "resolution_steps")
    )
    shown = [*FOREGROUND, "foreground", "vertebrae and discs"]
    lines = []
    for group, part in table.groupby("group", sort=False):
        first, own = part.iloc[0], part.set_index("class")
        grid = [f"{first[name]:.2f}" if first[name] else "" for name in ("pixel_mm", "thick_mm")]
        cells = [interval(own.loc[name], "value") if name in own.index else "" for name in shown]
        lines.append([group, *grid, f"{first['slices']} of {first['patients']}", *cells])
    gains = []
    for arm, part in paired.groupby("arm", sort=False):
        own = part.set_index("metric")
        gains.append([arm, *(interval(own.loc[name], "difference", form) for name, form in PAIRED.items())])
    changes = []
    for step, part in steps.groupby("step", sort=False):
        first, own = part.iloc[0], part.set_index("class")
        cells = [interval(own.loc[name], "difference", "+.3f") if name in own.index else "" for name in shown]
        changes.append([step, f"{first['from']} → {first['to']}", *cells])
    unit = paired["unit"].iloc[-1]
    told = (
        "Pooled Dice, in brackets 95 % bootstrap intervals over patients; every patient segmented by a network that "
        "has not met it, every slice shown alone. Pixel and thickness in mm: what T2 SPACE was degraded to, T2's "
        "medians in SPIDER's overview.csv and, last, its largest. T2 SPACE's own are 0.47 mm, by "
        "SPIDER's table of its series. The networks see a slice at half of that: what finer pixels are worth to larger "
        "networks is not answered."
    )
    heads = ["slices", "pixel", "thickness", "slices of patients", *shown]
    return [
        markdown_table(heads, lines),
        told,
        markdown_table(["T2 SPACE", "difference in Dice", f"in HD95, {unit}", f"in ASD, {unit}"], gains),
        "Each patient's own score minus its score as it is, the mean over patients.",
        markdown_table(["step", "from, to", *shown], changes),
        "What each step changes in the pooled Dice. One draw of patients serves both sides.",
    ]


def beside_specialist(folder: Path) -> str:
    """Return in words how far one network for all sequences lies from that of T2 SPACE alone, on T2 SPACE.

    Each patient was segmented by networks of either study that had not met it.
    """
    own = pd.read_csv(folder / "patients_by_sequence.csv").query("sequence == 'T2_SPACE'").set_index("patient")["dice"]
    specialist = (
        pd.read_csv(folder.parent / "errors" / "patients.csv").query("arm == 'best'").set_index("patient")["dice"]
    )
    gain = (own - specialist.reindex(own.index)).to_numpy()
    row = paired_difference(gain, patient_weights(len(gain)))
    return (
        f"On T2 SPACE the network of T2 SPACE alone ([errors](../errors/README.md), longer training) is the measure: "
        f"paired by patient the difference is {interval(row, 'difference', '+.3f')}, mean over {row['n']} patients; "
        f"{int((gain > 0).sum())} are better, {int((gain < 0).sum())} worse."
    )


def _cell(rows: pd.DataFrame, name: str, metric: str) -> str:
    """Return a value with its interval, of rows by class and metric; "" where there is none."""
    if (name, metric) not in rows.index or pd.isna(rows.loc[(name, metric), "value"]):
        return ""
    return interval(rows.loc[(name, metric)], "value", METRICS[metric])


def arms_page(folder: Path) -> list[str]:
    """Arms of a study on several sequences: pooled Dice of each group of slices, and what an arm adds, paired."""
    dice, gains = (pd.read_csv(folder / f"{name}.csv") for name in ("by_sequence", "differences_by_sequence"))
    dice = dice.query("aggregation == 'pooled'")
    if len(gains):
        gains = gains.query("aggregation == 'pooled' and `class` == 'foreground'")
        gains = gains.set_index(["sequence", "position", "arm"])
    lines = []
    for (sequence, position, arm), part in dice.groupby(["sequence", "position", "arm"], sort=False):
        by_class = part.set_index("class")
        cells = [interval(by_class.loc[name], "value") if name in by_class.index else "" for name in SHOWN]
        key = (sequence, position, arm)
        gain = [interval(gains.loc[key], "difference", "+.3f") if key in gains.index else ""] if len(gains) else []
        first = part.iloc[0]
        many = f"{first['slices']} of {first['patients']}"
        lines.append([f"{sequence.replace('_', ' ')}, {position}", many, first["title"], *cells, *gain])
    told = (
        "Pooled Dice on patients that the network has not met, each held out once; in brackets 95 % bootstrap "
        f"intervals over {drawn_over(dice)}. Slices without canal have no score of the canal, so no mean of three; on "
        "all slices of a sequence a canal found where there is none counts as wrong."
    )
    heads = ["slices", "slices of patients", "arm", *SHOWN]
    if not len(gains):
        return [markdown_table(heads, lines), told, beside_specialist(folder)]
    told += (
        " The last column: the foreground Dice minus the reference arm's, paired by patient; an interval that holds 0 "
        "shows no difference."
    )
    return [markdown_table([*heads, "difference"], lines), told]
