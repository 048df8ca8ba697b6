"""What whole jobs cost, computed from the rates that the table holds: python -m benchmarks writes it under the rows.

A training's seconds are its slices times epochs times multiply-adds over those of the measured steps a second; what is
read, scored or validated beside the steps is not in them. SPIDER's 447 series are taken to have as many slices as the
360 whose geometry is known have in the mean. Where no rate was measured, nothing stands.

What a Dice costs is computed in the same way: the least work of a training of the published studies, up to an epoch
that was scored, whose networks reach it on the 30 patients that they have not met.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from benchmarks.rows import Bench
from benchmarks.training import BATCH, settings_of, steps_of
from spider_utils.data.geometry import spider_geometries
from spider_utils.models.facts import multiply_adds
from spider_utils.runs.settings import load_profile, make_settings
from spider_utils.train.settings import TrainSettings
from tools.claim import RESULTS
from tools.markdown import interval

SERIES = 447  # of SPIDER
STUDIES = ("shipped", "errors", "length")  # trainings on the released slices, three folds of 30 patients
PAPERS = ("paper_text", "baseline")  # what the paper's network and loss are called in them
PAPER_SLICES, RELEASED_SLICES = 3000, 622  # that the paper trained on; that its authors have released
MACHINES = {"2 cores": "2 cores", "T4-class": "T4", "H100-class": "H100"}  # by a part of what a row calls its machine


@dataclass(frozen=True)
class Job:
    """Something whole to do: `seconds` computes it from the rows of one machine, by their names; None: not measured."""

    title: str
    counted: str
    seconds: Callable[[pd.DataFrame], float | None]


def training(settings: TrainSettings, slices: int) -> Callable[[pd.DataFrame], float | None]:
    """Return what computes a training of so many slices an epoch from the row of training steps."""

    def seconds(rows: pd.DataFrame) -> float | None:
        if "train_plain" not in rows.index:
            return None
        return slices * settings.epochs * work(settings) / rate(rows.loc["train_plain"])

    return seconds


def rate(row: pd.Series) -> float:
    """Return the multiply-adds of slices that the measured training steps do a second."""
    bench = Bench(Path(), row["device"])
    return steps_of(bench) * BATCH * work(settings_of(bench)) / row["ours"]


def work(settings: TrainSettings) -> int:
    """Return the multiply-adds of one slice."""
    return multiply_adds(settings.network(), torch.zeros(1, 1, *settings.size))


def times(name: str, count: float) -> Callable[[pd.DataFrame], float | None]:
    """Return what takes a row's seconds `count` times."""
    return lambda rows: count * rows.loc[name, "ours"] if name in rows.index else None


def jobs() -> list[Job]:
    """List what is computed."""
    depths = [one.shape[0] for group in spider_geometries().values() for one in group]
    slices = SERIES * float(np.mean(depths))
    paper, cpu, smoke = (make_settings(load_profile(name)).training for name in ("paper", "cpu", "smoke"))
    of_series = f"{SERIES} series"
    return [
        Job(f"preprocess SPIDER's {of_series}", of_series, times("data_preprocess", SERIES / 3)),
        Job(f"predict SPIDER's {of_series}", f"{slices:,.0f} slices", times("predict_volume_loop", slices / 40)),
        *(
            Job(title, f"{count:,} slices x {settings.epochs} epochs", training(settings, count))
            for title, settings, count in (
                ("train as the paper, profile paper", paper, PAPER_SLICES),
                ("train on the released slices, profile cpu", cpu, RELEASED_SLICES),
                ("train on the sample, profile smoke", smoke, smoke.epoch_slices),
            )
        ),
    ]


def cost_table(table: pd.DataFrame) -> pd.DataFrame:
    """Return a row a job: what is counted, and hours on each of MACHINES, "" where no rate was measured."""
    rows = []
    for job in jobs():
        row = {"computed": job.title, "of": job.counted}
        for machine, part in MACHINES.items():
            there = table[table["machine"].str.contains(part, regex=False, na=False)].set_index("row")
            seconds = job.seconds(there[there["ours"].notna()])
            row[f"{machine}, hours"] = "" if seconds is None else f"{seconds / 3600:,.3g}"
        rows.append(row)
    return pd.DataFrame(rows)


def reaching(dice: float, results: Path) -> pd.DataFrame:
    """Return the trainings of STUDIES whose pooled foreground Dice on unseen patients is `dice` or more after an epoch.

    Columns: study, arm, title, epoch, value, ci_low, ci_high, work (multiply-adds of the slices of a fold up to there).
    """
    found = []
    for study in STUDIES:
        scores, costs, trainings = (
            pd.read_csv(results / study / f"{name}.csv") for name in ("dice", "cost", "trainings")
        )
        scores = scores[(scores["class"] == "foreground") & (scores["aggregation"] == "pooled")]
        rows = scores[scores["value"] >= dice].merge(costs[["arm", "multiply_adds"]], on="arm")
        rows["work"] = rows["epoch"] * rows["multiply_adds"] * trainings["train_slices"].mean()
        found.append(rows.assign(study=study))
    return pd.concat(found)[["study", "arm", "title", "epoch", "value", "ci_low", "ci_high", "work"]]


def dice_table(dice: float, table: pd.DataFrame, results: Path = RESULTS) -> pd.DataFrame:
    """Return the least work to a Dice on unseen patients: of the paper's network and loss, and of all others."""
    measured = table[(table["row"] == "train_plain") & (table["device"] == "cpu") & table["ours"].notna()]
    found = reaching(dice, results).sort_values("work")
    papers = found["arm"].isin(PAPERS)
    rows = []
    for one in (found[papers].iloc[0], found[~papers].iloc[0]):
        rows.append(
            {
                f"least work to {dice:.2f}": one["title"],
                "Dice": interval(one, "value"),
                "study": f"[{one['study']}]({one['study']}/README.md), epoch {one['epoch']}",
                "multiply-adds": f"{one['work']:.2e}",
                "2 cores, minutes": "" if measured.empty else f"{one['work'] / rate(measured.iloc[0]) / 60:.0f}",
                "of the paper's": f"{one['work'] / found[papers]['work'].iloc[0]:.2f}",
            }
        )
    return pd.DataFrame(rows)
