"""What each arm of a study costs: parameters, multiply-adds of a slice, seconds and CPU minutes of a training."""

import json
from pathlib import Path
from statistics import mean, median

import pandas as pd
import torch

from spider_utils.common.errors import SpiderError
from spider_utils.models.build import count_parameters
from spider_utils.models.facts import multiply_adds
from spider_utils.studies.harness import NOTE
from spider_utils.studies.plan import Training
from spider_utils.train.settings import TrainSettings

COSTS = ("parameters", "multiply_adds", "seconds")


def cost_table(
    trainings: list[Training], out: Path, reference: str, titles: dict[str, str] | None = None
) -> pd.DataFrame:
    """Return a row an arm: arm, title, parameters, multiply_adds, seconds, and <each>_ratio to the reference arm's.

    `parameters` are the trainable ones, `multiply_adds` those of one slice at the network's input size (see
    `models.multiply_adds`). `seconds` is the median of the arm's trainings' last sessions: a coarse measure. It
    includes scoring, other trainings ran beside it on the same machine, and of a training that was cut off and gone on
    with it holds the last part only. Raises SpiderError when the reference arm has no training. A peer has told its
    network's cost itself. For time by what was seen, see `length_table`.
    """
    arms = list(dict.fromkeys(one.arm for one in trainings))
    if reference not in arms:
        raise SpiderError(f"cost: no training of the reference arm '{reference}'; expected it among {', '.join(arms)}")
    rows = []
    for arm in arms:
        own = [one for one in trainings if one.arm == arm]
        notes = [json.loads((out / "trainings" / one.place / NOTE).read_text(encoding="utf-8")) for one in own]
        row = {"arm": arm, "title": (titles or {}).get(arm, arm)} | (
            notes[0].get("network") or network_cost(own[0].settings)
        )
        rows.append(row | {"seconds": median(note["seconds_of_last_session"] for note in notes)})
    table = pd.DataFrame(rows)
    base = table.set_index("arm").loc[reference]
    return table.assign(**{f"{name}_ratio": table[name] / base[name] for name in COSTS})


def length_table(trainings: list[Training], out: Path, titles: dict[str, str] | None = None) -> pd.DataFrame:
    """Return a row for every arm and scored epoch: what a training had seen and taken by then, the mean of the arm's.

    Columns: arm, title, epoch, slices (seen, each as often as it was), cpu_minutes (of the steps, see `clock`; NaN
    where they were not measured), batch_size, threads, device, trainings.
    """
    rows = []
    for arm in dict.fromkeys(one.arm for one in trainings):
        own = [one for one in trainings if one.arm == arm]
        notes = [json.loads((out / "trainings" / one.place / NOTE).read_text(encoding="utf-8")) for one in own]
        for epoch in own[0].score_epochs:
            row = {"arm": arm, "title": (titles or {}).get(arm, arm), "epoch": epoch}
            row["slices"] = mean(note["epoch_slices"] * epoch for note in notes)
            row["cpu_minutes"] = pd.Series([note["cpu_minutes"][str(epoch)] for note in notes], dtype=float).mean(
                skipna=False
            )
            row |= {name: notes[0][name] for name in ("batch_size", "threads")}
            rows.append(row | {"device": notes[0]["provenance"]["device"]["name"], "trainings": len(own)})
    return pd.DataFrame(rows)


def network_cost(settings: TrainSettings) -> dict[str, int]:
    """Return parameters and multiply_adds of a training's network. Only shapes are worked out, nothing is computed."""
    with torch.device("meta"):
        model, slices = settings.network(), torch.zeros(1, 1 + 2 * settings.neighbours, *settings.size)
    return {"parameters": count_parameters(model), "multiply_adds": multiply_adds(model, slices)}
