"""The whole pipeline without a hand on it: the notebooks, one after the other, by papermill."""

import hashlib
import json
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import nbformat
import pandas as pd
import papermill
from nbclient.exceptions import DeadKernelError
from papermill.exceptions import PapermillExecutionError
from tqdm import tqdm

import spider_utils
from spider_utils.commands.kernel import KERNEL, own_kernel
from spider_utils.common.errors import SpiderError, remedy
from spider_utils.common.files import write_json
from spider_utils.common.locks import alone
from spider_utils.data.sources import absolute, refuse_homeless
from spider_utils.data.splits import SIDES, Split
from spider_utils.evaluate.tables import sequence_lines, summary_lines
from spider_utils.runs.begin import begin_run
from spider_utils.runs.run import LOG_FILE, SETTINGS_FILE
from spider_utils.runs.settings import load_profile, make_settings

STATE_FILE = "run_state.json"
RUN_LOCK = ".run.lock"  # the notebooks themselves lock what they make
NOTEBOOK_PATTERN = "[0-9][0-9]_*.ipynb"
RUN_PARAMETERS = ("source", "data_dir", "profile", "run_dir", "more")  # not for -p: own options, and what it sets
EPOCH_TITLES = {"val_mean_iou": "validation mean IoU", "train_loss": "training loss"}


def run_notebooks(
    source: str,
    data_dir: Path | str | None,
    profile: str,
    out: Path | str,
    overrides: dict[str, Any],
    notebooks_dir: Path | str | None = None,
) -> Path:
    """Execute the numbered notebooks in order into `out` and return `out` as an absolute path.

    `overrides` are any of a run's settings; the run folder keeps them, for all notebooks. A notebook is also given
    those of source, data_dir, profile, run_dir and `overrides` that its parameters cell has.
    Finished notebooks are remembered in `out`/run_state.json; a second call goes on after the last of them, or from
    the first one whose cells or parameters have changed since. Raises SpiderError before anything runs for a missing
    folder, an unknown profile or override, an `out` that was made with other settings, or one where another `run` is at
    work; and at the first cell that fails, naming notebook, cell, error and partial notebook.
    """
    refuse_homeless(source, data_dir)
    load_profile(profile)
    for name in ("papermill", "asyncio"):  # a failure or an interrupt is told once, by us
        logging.getLogger(name).setLevel(logging.CRITICAL)
    out = Path(out).resolve()
    notebooks = find_notebooks(notebooks_dir)
    settings = {
        "source": source,
        "data_dir": absolute(data_dir),
        "profile": profile,
        "overrides": overrides,
    }
    plan = _parameters(notebooks, settings, out)
    todo = [_entry(notebook, parameters) for notebook, parameters in plan]
    _make_folder(out)
    with alone(out, "run", wait=0, name=RUN_LOCK):
        done = _common_start(_finished(out, settings), todo, out)
        known = (out / SETTINGS_FILE).is_file()
        opened = begin_run(out, source, data_dir, profile, overrides)  # refuses bad values before anything runs
        if known:
            opened.series()  # refuses a folder that was run on other data
        for notebook, _ in plan[done:]:
            (out / notebook.name).unlink(missing_ok=True)  # no old result stands beside a new one
        for number, (notebook, parameters) in enumerate(plan, start=1):
            title = f"[{number}/{len(plan)}] {notebook.stem}"
            if number <= done:
                print(f"{title}: finished before")
                continue
            _execute(notebook, out, parameters, title)
            write_json(out / STATE_FILE, {"settings": settings, "finished": todo[:number]})
    return out


def print_results(out: Path | str) -> None:
    """Print where a finished run's results are and its score tables; a split that leaks is named first."""
    metrics = Path(out) / "metrics.csv"
    if not metrics.is_file():
        raise SpiderError(f"{metrics}: expected the scores of a finished run, found no such file; take another --out")
    table = pd.read_csv(metrics)
    print(f"Results: {out}")
    split = _split(Path(out))
    if split.leaky:
        print(f"Split: {split.label}")
    print(f"Test {'slices' if split.leaky else 'patients'}, all pixels pooled, 95 % interval over patients:")
    tested = table[table["split"] == "test"]
    for line in [*summary_lines(tested), *sequence_lines(tested)]:
        print(line)


def _split(out: Path) -> Split:
    """Read the patients of each side from the description of the network that the run has trained."""
    path = out / "checkpoints" / "best.json"
    try:
        dealt = json.loads(path.read_text(encoding="utf-8"))["split"]
        return Split(dealt["kind"], slices={}, **{side: tuple(dealt[side]) for side in SIDES})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SpiderError(f"{path}: expected the split that the network was trained on; take another --out") from error


def find_notebooks(notebooks_dir: Path | str | None = None) -> list[Path]:
    """Return the numbered notebooks in order: from `notebooks_dir`, beside the package, or below the current folder."""
    if notebooks_dir is not None:
        folders = [Path(notebooks_dir)]
    else:
        folders = [Path(spider_utils.__file__).parents[1] / "notebooks", Path.cwd() / "notebooks"]
    for folder in folders:
        notebooks = sorted(folder.resolve().glob(NOTEBOOK_PATTERN))
        if notebooks:
            return notebooks
    places = " or ".join(str(folder) for folder in folders)
    raise SpiderError(f"{places}: expected notebooks (01_….ipynb, …), found none; run this in a clone of the project")


def _parameters(notebooks: list[Path], settings: dict[str, Any], out: Path) -> list[tuple[Path, dict[str, Any]]]:
    """Pair each notebook with those of the run's parameters that it has."""
    for notebook in notebooks:
        _read(notebook)  # refused here, since papermill's complaint names no file
    known = {notebook: set(papermill.inspect_notebook(str(notebook))) for notebook in notebooks}
    overrides = settings["overrides"]
    selectable = set(make_settings({}).flat()).union(*known.values()) - set(RUN_PARAMETERS)
    for name in overrides:
        if name not in selectable:
            raise SpiderError(f"parameter {name}: not known; expected one of {', '.join(sorted(selectable))}")
    given = {name: settings[name] for name in ("source", "data_dir", "profile") if settings[name] is not None}
    given |= {"run_dir": str(out), **overrides}
    return [
        (notebook, {name: value for name, value in given.items() if name in known[notebook]}) for notebook in notebooks
    ]


def _finished(out: Path, settings: dict[str, Any]) -> list[dict[str, Any]]:
    """Return what run_state.json lists as finished; raise SpiderError if it belongs to other settings."""
    path = out / STATE_FILE
    if not path.exists():
        return []
    try:
        state = json.loads(path.read_text(encoding="utf-8"))
        before, finished = dict(state["settings"]), list(state["finished"])
    except (ValueError, KeyError, TypeError) as error:
        raise SpiderError(f"{path}: expected the state of a run, found something else; take another --out") from error
    changed = [name for name in settings if before.get(name) != settings[name]]
    if changed:
        differences = "; ".join(f"{name} was {before.get(name)!r}, now {settings[name]!r}" for name in changed)
        raise SpiderError(f"{out}: this run was made with other settings ({differences}); take another --out")
    return finished


def _entry(notebook: Path, parameters: dict[str, Any]) -> dict[str, Any]:
    return {"notebook": notebook.name, "sha256": _cells_sha256(notebook), "parameters": parameters}


def _read(notebook: Path) -> nbformat.NotebookNode:
    try:
        return nbformat.read(notebook, as_version=4)
    except (ValueError, nbformat.ValidationError) as error:
        raise SpiderError(f"{notebook}: expected a notebook, found a file that is none; fetch it again") from error


def _cells_sha256(notebook: Path) -> str:
    """Hash what a notebook says, not what it once printed."""
    cells = _read(notebook).cells
    return hashlib.sha256(json.dumps([(cell.cell_type, cell.source) for cell in cells]).encode()).hexdigest()


def _common_start(finished: list[dict[str, Any]], todo: list[dict[str, Any]], out: Path) -> int:
    """Count the leading notebooks that are finished, unchanged and still there."""
    done = 0
    for before, now in zip(finished, todo, strict=False):
        if before != now or not (out / now["notebook"]).is_file():
            break
        done += 1
    return done


@contextmanager
def _told_epochs(out: Path, seconds: float = 5.0) -> Iterator[None]:
    """Print a line for every epoch that a training adds to its log, while a notebook runs."""
    stop, before = threading.Event(), len(_epochs(out))

    def follow() -> None:
        told, ended = before, False
        while not ended:
            ended = stop.wait(seconds)
            log = _epochs(out)
            name = "val_mean_iou" if "val_mean_iou" in log else "train_loss"  # without a validation side
            for row in log.iloc[told:].to_dict("records"):
                with suppress(BrokenPipeError):  # nobody reads any more
                    tqdm.write(f"      epoch {row['epoch']}: {EPOCH_TITLES[name]} {row[name]:.4f}")
            told = len(log)

    follower = threading.Thread(target=follow, daemon=True)
    follower.start()
    try:
        yield
    finally:
        stop.set()
        follower.join()


def _epochs(out: Path) -> pd.DataFrame:
    return pd.read_csv(out / LOG_FILE) if (out / LOG_FILE).is_file() else pd.DataFrame()


def _make_folder(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise SpiderError(f"{out}: expected a folder for the run, found a file; take another --out") from error


def _execute(notebook: Path, out: Path, parameters: dict[str, Any], title: str) -> None:
    """Execute one notebook into `out`, with `out` as its working directory; papermill saves it cell by cell."""
    target = out / notebook.name
    try:
        with _told_epochs(out), own_kernel():
            papermill.execute_notebook(
                str(notebook),
                str(target),
                parameters=parameters,
                kernel_name=KERNEL,
                progress_bar={"desc": title},
                extra_arguments=["--log-level=CRITICAL"],  # or the kernel's own notes stand among ours
                cwd=str(out),
            )
    except PapermillExecutionError as error:
        lines = [line.strip() for line in str(error.evalue).splitlines() if line.strip()]
        message = lines[0] if lines else ""
        if error.ename != SpiderError.__name__:
            message = f"{error.ename}: {message}" + (f"; {cure}" if (cure := remedy(error.ename, message)) else "")
        raise SpiderError(
            f"{notebook.name}, cell In [{error.exec_count}]: {message} (partial notebook: {target})"
        ) from error
    except RuntimeError as error:
        found = "it dead" if isinstance(error, DeadKernelError) else str(error).partition("\n")[0]
        raise SpiderError(
            f"{notebook.name}: expected the kernel to live, found {found} (is there memory enough?) "
            f"(partial notebook: {target})"
        ) from error
