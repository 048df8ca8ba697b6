"""What a training's epochs took: CPU seconds of the process, all its threads, kept beside the training.

CPU time leaves out what other processes took meanwhile, and is added up over sessions: an epoch that was cut off and is
done again counts once. What is not training (scoring, snapshots) is left out.
"""

import time
from pathlib import Path

from spider_utils.common.files import read_json, write_json

CPU_FILE = "cpu.json"  # {epoch: seconds}


class CpuClock:
    """Measures the CPU seconds of each epoch of the training in `folder`, from `restart` to `lap`."""

    def __init__(self, folder: Path):
        self.path = folder / CPU_FILE
        self.seconds = read_json(self.path)
        self.restart()

    def restart(self) -> None:
        """Begin to count."""
        self.start = time.process_time()

    def lap(self, epoch: int) -> None:
        """Note what was counted as this epoch's, and write it."""
        self.seconds[str(epoch)] = round(time.process_time() - self.start, 3)
        write_json(self.path, self.seconds)


def cpu_minutes(folder: Path, epochs: int) -> float | None:
    """Return the CPU minutes of a training's first `epochs` epochs, None where one of them was not measured."""
    seconds = read_json(folder / CPU_FILE)
    measured = [seconds[str(epoch)] for epoch in range(1, epochs + 1) if str(epoch) in seconds]
    return round(sum(measured) / 60, 4) if len(measured) == epochs else None
