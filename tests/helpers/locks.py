"""Another process that is at work in a folder."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from spider_utils.common.locks import LOCK_FILE

HOLD = (
    "import sys, time; from spider_utils.common.locks import alone\n"
    "with alone(sys.argv[1], 'a test', name=sys.argv[2]): print('held', flush=True); time.sleep(600)"
)


@contextmanager
def held(folder: Path, name: str = LOCK_FILE) -> Iterator[None]:
    """Let another process hold a folder's lock; at the end it is killed, so that it has no time to give it back."""
    line = [sys.executable, "-c", HOLD, str(folder), name]
    with subprocess.Popen(line, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None and other.stdout.readline() == "held\n"
        try:
            yield
        finally:
            other.kill()
