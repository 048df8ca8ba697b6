"""Notebooks 1 to 6 as on Colab: in an environment that has torch, NumPy and a kernel of Colab's age before, each begun
with the set-up cell that `make badges` writes, which installs a clone beside them.
"""

import json
import os
import subprocess
from pathlib import Path

import nbformat
import papermill
from nbformat.v4 import new_code_cell
from papermill.exceptions import PapermillExecutionError

from spider_utils.common.files import REPOSITORY
from tools.notebooks import COLAB_CODE

# What google-colab, the package, asks for by exact version, and the NumPy that its machines had then.
BEFORE = (
    "numpy==2.0.2",
    "pandas==2.2.2",
    "ipykernel==6.17.1",
    "ipython==7.34.0",
    "ipywidgets==7.7.1",
    "requests==2.32.4",
)
KERNEL = "as_on_colab"


def write_kernel(python: Path, folder: Path) -> None:
    """Write the kernel of an environment, which imports `google.colab`, a stand-in, at its start."""
    started = folder / "ipython" / "profile_default" / "startup"
    stand_in = folder / "modules" / "google" / "colab"
    spec = folder / "jupyter" / "kernels" / KERNEL
    for place in (started, stand_in, spec):
        place.mkdir(parents=True)
    (stand_in / "__init__.py").touch()
    (started / "00_colab.py").write_text(
        f"import sys\nsys.path.append({str(stand_in.parents[1])!r})\nimport google.colab\n"
    )
    kernel = {
        "argv": [str(python), "-m", "ipykernel_launcher", "-f", "{connection_file}"],
        "env": {"IPYTHONDIR": str(folder / "ipython"), "OMP_NUM_THREADS": "1"},
        "display_name": KERNEL,
        "language": "python",
    }
    (spec / "kernel.json").write_text(json.dumps(kernel))


def run_as_on_colab(python: Path, folder: Path, pattern: str, failures: list[str]) -> str:
    """Execute the notebooks of a clone with that kernel, and return how many were finished.

    A failure is noted with its notebook; the rest are not begun.
    """
    pip = [str(python), "-m", "pip", "install", "--quiet"]
    subprocess.run([*pip, "-c", str(REPOSITORY / "constraints.txt"), "torch"], check=True)
    subprocess.run([*pip, *BEFORE], check=True)
    before = frozen(python)
    write_kernel(python, folder)
    content = folder / "content"
    content.mkdir()
    setup = COLAB_CODE.format(repository=f"file://{REPOSITORY}").replace("/content/", f"{content}/")
    os.environ["JUPYTER_PATH"] = str(folder / "jupyter")
    notebooks = sorted((REPOSITORY / "notebooks").glob(pattern))
    for number, path in enumerate(notebooks):
        notebook = nbformat.read(path, as_version=4)
        notebook.cells.insert(1, new_code_cell(setup))
        nbformat.write(notebook, content / path.name)
        try:
            papermill.execute_notebook(
                content / path.name, content / f"done_{path.name}", kernel_name=KERNEL, cwd=content, progress_bar=False
            )
        except PapermillExecutionError as error:
            failures.append(f"{path.name}: {error.ename}: {error.evalue}"[:300])
            return f"{number} of {len(notebooks)}"
    changed = [name for name, version in before.items() if frozen(python).get(name) != version]
    if changed:
        failures.append(f"the set-up cell replaced {', '.join(changed)}")
    return f"{len(notebooks)} of {len(notebooks)}"


def frozen(python: Path) -> dict[str, str]:
    """Return what is installed, by name."""
    listed = subprocess.run([str(python), "-m", "pip", "list", "--format=json"], check=True, capture_output=True)
    return {one["name"]: one["version"] for one in json.loads(listed.stdout)}
