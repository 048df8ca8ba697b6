"""Where the trainings of a study run: in parallel processes of this machine, or on the workers of a Dask cluster.

Several machines: `dask scheduler` on one, `dask worker ADDRESS --nworkers N --nthreads 1` on each, with this package
installed and the study's folder under the same path everywhere (a shared file system), then `study NAME --scheduler
ADDRESS`.
"""

import multiprocessing
import os
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from joblib import Parallel, delayed, parallel_config

from spider_utils.common.errors import SpiderError
from spider_utils.models.threads import threads

WAIT = 30  # seconds for a scheduler that does not answer


def run_parallel(function: Callable, calls: list[tuple], workers: int, scheduler: str = "") -> Iterator:
    """Call `function` with each tuple of arguments, `workers` at a time, and yield the results as they come.

    With the address of a Dask scheduler its workers do the calls. Raises SpiderError when Dask's `distributed` is not
    installed, or no scheduler answers. Workers of this machine end with this process, also when it is killed.
    """
    if not scheduler:
        warnings.filterwarnings("ignore", "A worker stopped while some jobs")  # joblib replaces one that keeps memory
        jobs = [delayed(_while_alive)(os.getpid(), function, *arguments) for arguments in calls]
        yield from Parallel(n_jobs=workers, return_as="generator_unordered")(jobs)
        return
    jobs = [delayed(function)(*arguments) for arguments in calls]
    try:
        from distributed import Client
    except ImportError as error:
        raise SpiderError(
            f"scheduler {scheduler}: needs Dask's distributed; pip install 'spider_utils[cluster]'"
        ) from error
    try:
        client = Client(scheduler, timeout=WAIT, set_as_default=True)
    except (OSError, ValueError) as error:
        raise SpiderError(
            f"scheduler {scheduler}: expected the address of a Dask scheduler, like tcp://host:8786, "
            f"found none that answers ({error})"
        ) from error
    with client, parallel_config(backend="dask"):
        yield from Parallel(return_as="generator_unordered")(jobs)


def _while_alive(parent: int, function: Callable, *arguments: Any) -> Any:
    """Call a function in a worker of the process `parent`, or in that process itself."""
    if os.getpid() != parent:
        _end_with(parent)
        multiprocessing.set_start_method("spawn", force=True)  # joblib's own is unknown to what nnU-Net starts
    return function(*arguments)


@cache
def _end_with(parent: int) -> None:
    """End this process, in the midst of its work, as soon as `parent` is no longer the one that it belongs to."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch use one thread and show no progress bars: what a call needs that runs beside others."""
    static = os.environ.get("SPIDER_STATIC", "0")
    os.environ["SPIDER_STATIC"] = "1"
    try:
        with threads.one():
            yield
    finally:
        os.environ["SPIDER_STATIC"] = static
