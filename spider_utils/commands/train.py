"""What `python -m spider_utils train` does: the training of a run folder alone, by one process or by several of
`accelerate launch` (see `train.processes`). `run` goes on from there.
"""

from pathlib import Path
from typing import Any

from spider_utils.runs.begin import begin_run
from spider_utils.runs.stages import LOG_FILE
from spider_utils.train.processes import Processes


def train_network(
    source: str, data_dir: Path | str | None, profile: str, out: Path | str, overrides: dict[str, Any]
) -> str:
    """Make the slice store of a run folder and train its network; return what came of it, in a line.

    All processes but the first return "".
    Raises SpiderError as `begin_run` and `train` do.
    """
    run = begin_run(Path(out).resolve(), source, data_dir, profile, overrides)
    processes = Processes(run.settings.training.device)
    with processes.first_one_first():
        run.store()
    log = run.train()
    if not processes.writes:
        return ""
    best = log.loc[log["val_mean_iou"].idxmax()] if "val_mean_iou" in log else log.iloc[-1]
    shown = f", best mean IoU of the validation side {best['val_mean_iou']:.3f}" if "val_mean_iou" in log else ""
    return f"{len(log)} epochs{shown}; log: {Path(out) / LOG_FILE}"
