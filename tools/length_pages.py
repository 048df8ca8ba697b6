"""What the pages of the studies "length" and "peers" say: arms trained until their curves are flat, and nnU-Net beside
ours. They follow the page of the ablation, whose tables they have, too.
"""

from pathlib import Path

import pandas as pd

from spider_utils.evaluate.bootstrap import drawn_over
from spider_utils.studies.paired import differs
from tools.markdown import SHOWN, class_cells, interval, markdown_table

MINUTES = "What the steps of both take on a CPU stands in [benchmarks](../benchmarks.md)."


def length_page(folder: Path) -> list[str]:
    """How the order of arms changes with the length of training, and what is still gained."""
    order, remaining = pd.read_csv(folder / "order.csv"), pd.read_csv(folder / "remaining.csv")
    last = order["epoch"].max()
    lines = []
    for row in order.itertuples():
        at = remaining[remaining["epoch"] == row.epoch]
        largest = at.loc[at["remaining"].idxmax()] if len(at) else None
        rising = f"{(at['ci_low'] > 0).sum()} of {len(at)}" if len(at) else ""
        told = interval(largest, "remaining", "+.3f") if largest is not None else ""
        counted = [f"{row.same} of {row.pairs}", str(row.shown), str(row.kept), str(row.reversed)]
        lines.append([str(row.epoch), *counted, told, rising])
    heads = ["epochs", f"pairs in the order of epoch {last}", "pairs that differ", "of these kept", "reversed"]
    heads += [f"most that an arm gains until epoch {last}", "arms that gain"]
    told = (
        f"Every pair of arms by pooled foreground Dice; pairs differ where the 95 % interval over {drawn_over(order)} "
        f"leaves out 0, and are kept or reversed by what epoch {last} shows. {settled(order)} {flat(order, remaining)} "
        f"One training's course is followed, whose learning rate falls to 0 over {last} epochs: a training that is "
        "shorter from the beginning lowers it sooner, and all curves end flat, as the rate ends at 0."
    )
    return [markdown_table(heads, lines), told]


def settled(order: pd.DataFrame) -> str:
    """Say from which scored epoch on the pairs that differ are those of the last one, as far as they go."""
    last = order["epoch"].max()
    wrong = order[(order["shown"] > order["kept"]) & (order["epoch"] < last)]["epoch"].max()
    if pd.isna(wrong):
        return f"No difference is shown at any scored length that epoch {last} does not show."
    first = order[order["epoch"] > wrong]["epoch"].min()
    after = f"from epoch {first} on none" if first < last else "the last scored before it"
    return f"Differences that epoch {last} does not show so are shown up to epoch {wrong}, {after}."


def flat(order: pd.DataFrame, remaining: pd.DataFrame) -> str:
    """Say which arms still gain after the last scored epoch but one, and from which epoch on the others do not."""
    *earlier, before, last = sorted(order["epoch"])
    rising = remaining[remaining["ci_low"] > 0].groupby("arm")["epoch"].max()
    gained = remaining[remaining["epoch"] == before].set_index("arm")["remaining"]
    still = [f"{arm} ({gained[arm]:+.3f})" for arm in rising.index[rising == before]]
    others = rising[rising < before]
    first = min(epoch for epoch in (*earlier, before, last) if others.empty or epoch > others.max())
    told = f"From epoch {before} to {last} these still gain: {', '.join(still)}. " if still else ""
    return f"{told}{'Of the others' if still else 'Of all arms'} no gain is shown from epoch {first} on."


def structures_table(folder: Path) -> str:
    """Return the pooled Dice of each structure after its arm's last epoch, an arm a line, and its worst patient's."""
    pooled = pd.read_csv(folder / "dice.csv").query("aggregation == 'pooled'")
    pooled = pooled[pooled["epoch"] == pooled.groupby("arm")["epoch"].transform("max")]
    worst = pd.read_csv(folder / "patients.csv").groupby("arm")["dice"].min()
    lines = [
        [title, *class_cells(part), f"{worst[arm]:.3f}"]
        for (arm, title), part in pooled.groupby(["arm", "title"], sort=False)
    ]
    return markdown_table(["network", *SHOWN, "worst patient"], lines)


def peers_page(folder: Path) -> list[str]:
    """nnU-Net beside ours at equal slices: Dice, differences, what it takes; where all ran on a CPU, its minutes."""
    dice = pd.read_csv(folder / "dice.csv").query("aggregation == 'pooled' and `class` == 'foreground'")
    paired, lengths = pd.read_csv(folder / "paired.csv"), pd.read_csv(folder / "lengths.csv")
    cost, lines = pd.read_csv(folder / "cost.csv").set_index("arm"), []
    on_cpu = set(pd.read_csv(folder / "trainings.csv")["device"]) == {"cpu"}  # beside a GPU its minutes say little
    for arm, part in dice.groupby("arm", sort=False):
        row = part.loc[part["epoch"].idxmax()]
        own = paired[paired["arm"] == arm].set_index("metric")
        gains = [
            interval(own.loc[name], "difference", form) if len(own) else ("reference" if name == "dice" else "")
            for name, form in {"dice": "+.3f", "hd95": "+.1f", "nsd_1": "+.3f"}.items()
        ]
        seen = lengths[lengths["arm"] == arm].set_index("epoch").loc[row["epoch"]]
        minutes = "" if pd.isna(seen["cpu_minutes"]) else f"{seen['cpu_minutes']:.0f}"
        counts = [f"{seen['slices']:,.0f}", f"{int(cost.loc[arm, 'parameters']):,}"]
        counts += [f"{cost.loc[arm, 'multiply_adds'] / 1e9:.1f} G"] + [minutes] * on_cpu
        lines.append([row["title"], interval(row, "value"), *gains, *counts])
    unit = paired.query("metric == 'hd95'")["unit"].iloc[0]
    heads = ["arm", "foreground Dice", "difference in Dice", f"in HD95, {unit}", "in NSD at 1 px"]
    heads += ["slices seen", "parameters", "multiply-adds", *(["CPU minutes a fold"] if on_cpu else [])]
    sure = paired[differs(paired)]
    shown = "; ".join(f"{row.title}: {row.metric} {row.difference:+.3f}" for row in sure.itertuples()) or "none"
    told = (
        f"Pooled over {dice['slices'].iloc[0]} slices of {dice['patients'].iloc[0]} unseen patients, scored at full "
        f"size; differences to the reference arm paired by patient, 95 % intervals over {drawn_over(paired)}. By "
        f"interval and adjusted p together, differences are shown in: {shown}. "
        + ("CPU minutes: of the training steps alone." if on_cpu else MINUTES)
    )
    kept = (
        "nnU-Net plans, preprocesses, augments, trains and predicts by itself, with its own network, deep supervision, "
        "loss and mirrored prediction; not its default are the batch size, where a line says so, and the length: "
        "by itself it would train for 1,000 epochs of 250 steps. Ours has settings that were chosen on these patients."
    )
    return [markdown_table(heads, lines), told, kept]
