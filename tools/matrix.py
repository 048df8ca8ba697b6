"""The table of Pythons and versions: python -m tools.matrix PYTHON {oldest,pinned,newest,colab} [--tests PATH ...]

Makes an empty environment with PYTHON (a name or a path), installs this package's wheel into it, and runs in it the
command, the shipped network, the tests and notebooks 1 to 6. Versions are `oldest`: the lower bounds of pyproject.toml;
`pinned`: constraints.txt; `newest`: whatever pip takes; `colab`: torch and NumPy are there before, and the notebooks'
own set-up cell installs a clone beside them. Prints the line of results/matrix.csv and writes it there, and
results/matrix.md from all lines. Several GB are downloaded where torch comes with CUDA.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import tomllib
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path
from shutil import which

import pandas as pd
from packaging.requirements import Requirement

from spider_utils.common.files import REPOSITORY, atomic_path, write_text
from spider_utils.common.provenance import code_version
from tools.markdown import BEGIN, END, markdown_table
from tools.matrix_colab import run_as_on_colab

TABLE = REPOSITORY / "results" / "matrix.csv"
PAGE = TABLE.with_suffix(".md")
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
SETS = ("oldest", "pinned", "newest", "colab")
NOTEBOOKS = "0[1-6]_*.ipynb"
OTHERS = ("scipy", "pandas", "monai", "SimpleITK", "pillow", "matplotlib", "ipywidgets", "ipykernel", "papermill")
VERSIONS = """\
import json, platform
from importlib import metadata
found = {}
for name in %r:
    try:
        found[name] = metadata.version(name)
    except metadata.PackageNotFoundError:
        pass
print(json.dumps({"python": platform.python_version()} | found))"""
IMPORTED = "import spider_utils, torch, pathlib; print(pathlib.Path(spider_utils.__file__).parents[1])"
COLUMNS = [
    "python", "set", "torch", "numpy", "others", "wheel", "help", "predict", "tests", "passed", "failed", "skipped",
    "notebooks", "failures", "code",
]  # fmt: skip


@dataclass(frozen=True)
class Place:
    """A fresh environment's interpreter, a clone of what is committed here, and an empty folder to run in."""

    python: Path
    checkout: Path
    empty: Path

    def run(self, *arguments: str | Path, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Run the environment's Python, with nothing that this one has set; in the empty folder if none is named."""
        kept = {name: value for name, value in os.environ.items() if not re.match("PYTHON|SPIDER_(?!SHARED)", name)}
        environment = kept | {"SPIDER_STATIC": "1", "OMP_NUM_THREADS": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
        command = [str(self.python), *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, cwd=folder or self.empty, env=environment)

    def install(self, *arguments: str | Path) -> None:
        """Install with pip. Raises RuntimeError with what pip says."""
        done = self.run("-m", "pip", "install", "--quiet", *arguments)
        if done.returncode:
            raise RuntimeError(cause(done))


def main() -> int:
    """Make the line that is asked for and put it into the table."""
    parser = argparse.ArgumentParser(prog="python -m tools.matrix", description=str(__doc__).splitlines()[0])
    parser.add_argument("python", help="the interpreter, such as python3.12")
    parser.add_argument("set", choices=SETS, help="which versions")
    parser.add_argument(
        "--tests", nargs="*", default=["tests"], help="which tests, those that are not slow (default: all)"
    )
    parser.add_argument(
        "--folder", help="where the environment is made, and removed at the end (default: a temporary one)"
    )
    options = parser.parse_args()
    if not which(options.python) or subprocess.run([options.python, "-c", ""], capture_output=True).returncode:
        parser.error(f"{options.python}: expected a Python that starts, found none; name its path")
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        row = measure(options.python, options.set, options.tests, Path(folder))
    print(json.dumps(row, indent=2))
    old = pd.read_csv(TABLE, dtype=str, keep_default_na=False).to_dict("records") if TABLE.is_file() else []
    rows = [one for one in old if (one["python"], one["set"]) != (row["python"], row["set"])] + [row]
    rows.sort(key=lambda one: ([int(part) for part in one["python"].split(".")], SETS.index(one["set"])))
    table = pd.DataFrame(rows, columns=COLUMNS)
    with atomic_path(TABLE) as path:
        table.to_csv(path, index=False)
    write_text(PAGE, as_page(table))
    return 0


def measure(python: str, versions: str, tests: list[str], folder: Path) -> dict[str, str]:
    """Return a line: what an environment holds, and what came of everything that was run in it."""
    place = Place(folder / "venv" / "bin" / "python", folder / "checkout", folder / "empty")
    place.empty.mkdir()
    subprocess.run(["git", "clone", "--quiet", "--depth", "1", f"file://{REPOSITORY}", place.checkout], check=True)
    subprocess.run([python, "-m", "venv", str(place.python.parents[1])], check=True)
    failures: list[str] = []
    row = {"set": versions, "code": str(code_version()["commit"])[:8]}
    try:
        if versions == "colab":
            row["notebooks"] = run_as_on_colab(place.python, folder, NOTEBOOKS, failures)
        else:
            constraints = constraints_of(versions, folder)
            row |= try_wheel(place, constraints, failures)
            place.install(*constraints, "-e", f"{place.checkout}[lab,dev]")
            row |= run_tests(place, tests, failures) if tests else {}
            row["notebooks"] = run_notebooks(place, failures)
    except (RuntimeError, subprocess.CalledProcessError) as error:
        failures.append(f"pip install: {error}")
    found = installed(place, ["torch", "numpy", *OTHERS])
    row |= {name: found.pop(name, "") for name in ("python", "torch", "numpy")}
    return row | {"others": ", ".join(f"{n} {v}" for n, v in found.items()), "failures": "; ".join(failures)}


def lower_bounds() -> str:
    """Return the lowest version of each requirement that pyproject.toml allows, as constraints."""
    bounds = [(one.name, bound) for one in map(Requirement, PROJECT["dependencies"]) for bound in one.specifier]
    return "".join(f"{name}=={bound.version}\n" for name, bound in bounds if bound.operator == ">=")


def constraints_of(versions: str, folder: Path) -> list[str | Path]:
    """Return pip's options that hold it to these versions."""
    if versions == "oldest":
        (folder / "bounds.txt").write_text(lower_bounds())
        return ["-c", folder / "bounds.txt"]
    return ["-c", REPOSITORY / "constraints.txt"] if versions == "pinned" else []


def try_wheel(place: Place, constraints: list[str | Path], failures: list[str]) -> dict[str, str]:
    """Build the wheel, install it with what it requires and nothing besides, and run the command from it.

    Raises RuntimeError where it cannot be installed or imported.
    """
    folder = place.empty / "wheel"
    built = place.run("-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, place.checkout)
    if built.returncode:
        raise RuntimeError(last_line(built))
    place.install(*constraints, *folder.glob("*.whl"))
    imported = place.run("-c", IMPORTED)
    if imported.returncode or place.python.parents[1] not in Path(imported.stdout.strip()).parents:
        raise RuntimeError(last_line(imported))
    sample = place.checkout / "spider_utils" / "data" / "sample" / "images"
    predict = ["-m", "spider_utils", "predict", "--input", sample, "--output", "masks", "--device", "cpu"]
    return {
        "wheel": "imported",
        "help": told(place.run("-m", "spider_utils", "--help"), "--help", failures),
        "predict": told(place.run(*predict), "predict", failures),
    }


def run_tests(place: Place, tests: list[str], failures: list[str]) -> dict[str, str]:
    """Run the tests of the checkout in one process, and return how many passed, failed and were skipped."""
    report = place.empty / "tests.xml"
    command = ["-m", "pytest", "-q", "-m", "not slow", "-p", "no:cacheprovider", f"--junitxml={report}"]
    done = place.run(*command, *tests, folder=place.checkout)
    what = " ".join([*tests, '-m "not slow"'])
    cases = list(ET.parse(report).iter("testcase")) if report.is_file() else []
    if not cases:
        failures.append(f"tests: {last_line(done)}")
        return {"tests": what, "passed": "0", "failed": "all"}
    broken = [
        (case, found) for case in cases for kind in ("failure", "error") if (found := case.find(kind)) is not None
    ]
    skipped = sum(case.find("skipped") is not None for case in cases)
    for case, found in broken:
        said = (found.get("message") or "").strip().splitlines() or [""]
        failures.append(f"{case.get('classname', '').removeprefix('tests.')}.{case.get('name')}: {said[0][:200]}")
    passed = len(cases) - len(broken) - skipped
    return {"tests": what, "passed": str(passed), "failed": str(len(broken)), "skipped": str(skipped)}


def run_notebooks(place: Place, failures: list[str]) -> str:
    """Run notebooks 1 to 6 on the sample with the profile smoke, from a checkout without the others."""
    for path in (place.checkout / "notebooks").glob("*.ipynb"):
        if not path.match(NOTEBOOKS):
            path.unlink()
    command = ["-m", "spider_utils", "run", "--source", "sample", "--profile", "smoke", "--out", place.empty / "run"]
    done = place.run(*command, folder=place.checkout)
    if done.returncode:
        failures.append(f"notebooks: {last_line(done)}")
    state = place.empty / "run" / "run_state.json"
    finished = len(json.loads(state.read_text(encoding="utf-8"))["finished"]) if state.is_file() else 0
    return f"{finished} of {len(list((place.checkout / 'notebooks').glob(NOTEBOOKS)))}"


def told(done: subprocess.CompletedProcess[str], what: str, failures: list[str]) -> str:
    """Return whether a command ended well, and note what it said where it did not."""
    if done.returncode:
        failures.append(f"{what}: {last_line(done)}")
    return "failed" if done.returncode else "ok"


def cause(done: subprocess.CompletedProcess[str]) -> str:
    """Return why pip could not install: the requirements that exclude each other, or else its last line."""
    clash = re.search(r"The conflict is caused by:\n(.+?)\n\s*\n", done.stdout + done.stderr, re.DOTALL)
    return ", ".join(map(str.strip, clash[1].splitlines())) if clash else last_line(done)


def last_line(done: subprocess.CompletedProcess[str]) -> str:
    """Return the last line that a command has printed, without the folders of this machine."""
    lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    return re.sub(r"(?<![\w.])/[\w./-]*/", "…/", lines[-1])[:300] if lines else f"status {done.returncode}"


def installed(place: Place, names: list[str]) -> dict[str, str]:
    """Return the versions of Python and of these packages in the environment."""
    return json.loads(place.run("-c", VERSIONS % (names,)).stdout)


def as_page(table: pd.DataFrame) -> str:
    """Return the table as a page for reading; what failed stands below it."""
    shown = [name for name in COLUMNS if name != "failures"]
    lines = [[str(row[name]) for name in shown] for row in table.fillna("").to_dict("records")]
    parts = [
        "# Where it runs",
        "Each line is an empty environment; written by `python -m tools.matrix`. *oldest*: the lower bounds of "
        "`pyproject.toml`; *pinned*: `constraints.txt`; *newest*: what pip takes by itself; *colab*: the notebooks' "
        "set-up cell beside a torch that was there before. The command and the shipped network (all slices of the "
        "sample) run from the installed wheel, tests (one process) and notebooks (the sample, profile `smoke`) from a "
        "clone.",
        BEGIN.format(name="matrix"),
        markdown_table(shown, lines),
    ]
    for row in table.fillna("").to_dict("records"):
        told = [f"- {one}" for one in row["failures"].split("; ") if one]
        parts += [f"## What failed: Python {row['python']}, {row['set']}", "\n".join(told)] if told else []
    return "\n\n".join([*parts, END.format(name="matrix")]) + "\n"


if __name__ == "__main__":
    sys.exit(main())
