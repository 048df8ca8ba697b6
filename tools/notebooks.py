"""The committed notebooks: paired with the .py files that people edit, executed, and the same for everybody.

    python -m tools.notebooks              # make every .ipynb anew from its .py, and execute it
    python -m tools.notebooks 03 04        # only those whose names begin so
    python -m tools.notebooks --check      # change nothing; say what does not fit together

The .py (jupytext's percent format) is the source. Colab's badge and set-up cell are written into both from the one
address in pyproject.toml, and are absent while that is the placeholder (`tools.badges` sets it). Outputs are kept
without times, paths and progress bars.
"""

import argparse
import base64
import io
import os
import re
import sys
import tempfile
import tomllib
from functools import partial
from pathlib import Path

import jupytext
import nbformat
import numpy as np
from nbclient import NotebookClient
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell
from PIL import Image

from tools.made_from import MADE_FROM, changed, recorded
from tools.markdown import markdown_table, with_block

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "notebooks"
README = ROOT / "README.md"
FORMAT = "py:percent"
PATTERN = "[0-9][0-9]_*"
PLACEHOLDER = "OWNER/REPOSITORY"  # in the address, until the repository has one
COLAB_TAG, SOLUTION_TAG, FOLDED_TAG = "colab", "solution", "hide-cell"  # the last one folds cells of the site
FOLDED = {"jupyter": {"source_hidden": True}, "cellView": "form"}  # how JupyterLab and Colab fold a cell
HEADER = {
    "jupytext": {
        "formats": "ipynb,py:percent",
        "notebook_metadata_filter": "-jupytext.text_representation.jupytext_version",
        "cell_metadata_filter": "tags,-all",
    },
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
}
BADGE = "[![Run in Colab](https://colab.research.google.com/assets/colab-badge.svg)]"
COLAB_SENTENCE = (
    "On Colab this cell fetches the repository, installs the package beside Colab's own torch and names the GPU; "
    "`drive=True` keeps data and runs in Google Drive, so that a run which Colab cuts off goes on. Anywhere else it "
    "does nothing."
)
COLAB_CODE = """\
import sys

if "google.colab" in sys.modules:
    !test -d /content/spine || git clone --quiet --depth 1 {repository} /content/spine
    %pip install --quiet -e /content/spine
    sys.path.insert(0, "/content/spine")
    from spider_utils.runs import colab

    colab.setup(drive=False)"""
QUESTION = re.compile(r"The question of this notebook: (.+?\?)", re.DOTALL)
ABSOLUTE_PATH = re.compile(r"""(?:^|(?<=[\s"'(=:]))(?:/[\w.-]+/|[A-Za-z]:\\)[\w.-]+""", re.MULTILINE)


def repository_address(pyproject: Path = ROOT / "pyproject.toml") -> str | None:
    """Return the address of the repository on GitHub, which stands in pyproject.toml only; None while it is not set."""
    address = tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"]["urls"]["Repository"].rstrip("/")
    return None if address.endswith(PLACEHOLDER) else address


def badge(name: str, repository: str) -> str:
    """Return the Markdown of the Colab badge of notebook `name` (without its suffix)."""
    on_github = repository.removeprefix("https://github.com/")
    return f"{BADGE}(https://colab.research.google.com/github/{on_github}/blob/main/notebooks/{name}.ipynb)"


def readme_table(folder: Path, repository: str | None) -> str:
    """Return the README's table of the notebooks: name, the question in its first cell, Colab badge if there is one."""
    rows = []
    for path in sorted(folder.glob(f"{PATTERN}.ipynb")):
        first = nbformat.read(path, as_version=4).cells[0].source
        question = " ".join(QUESTION.search(first)[1].split())
        cells = [f"[{path.stem}](notebooks/{path.name})", f"{question[0].upper()}{question[1:]}"]
        rows.append(cells + ([badge(path.stem, repository)] if repository else []))
    return markdown_table(["notebook", "question", *([""] if repository else [])], rows)


def with_colab(notebook: NotebookNode, name: str, repository: str | None) -> NotebookNode:
    """Put the badge on top of the first cell and the set-up cell after it, in place of what stood there before.

    Without an address neither stands there.
    """
    first, *rest = [cell for cell in notebook.cells if COLAB_TAG not in cell.metadata.get("tags", [])]
    told = "\n".join(line for line in first.source.splitlines() if not line.startswith(BADGE)).lstrip("\n")
    if repository is None:
        first.source = told
        notebook.cells = [first, *rest]
        return notebook
    first.source = f"{badge(name, repository)}\n\n{told}"
    tags = {"tags": [COLAB_TAG]}
    setup = [
        new_markdown_cell(COLAB_SENTENCE, metadata=tags),
        new_code_cell(COLAB_CODE.format(repository=repository), metadata=tags),
    ]
    notebook.cells = [first, *setup, *rest]
    return notebook


def numbered(notebook: NotebookNode) -> NotebookNode:
    """Give cells their ids and, where cells were executed, counts in order. No output changes.

    A set-up cell that was put in afterwards gets a count, too: outside Colab it does nothing.
    """
    code_cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    executed = any(cell.execution_count for cell in code_cells)
    for number, cell in enumerate(code_cells, start=1):
        cell.execution_count = number if executed else None
        for output in cell.outputs:
            if "execution_count" in output:
                output.execution_count = cell.execution_count
    for number, cell in enumerate(notebook.cells, start=1):
        cell.id = f"cell-{number:02d}"
    return notebook


def set_address(folder: Path, repository: str | None) -> None:
    """Write badge and set-up cell of this address, or none, into every pair in `folder`, without executing anything.

    The cells of a .py and of its .ipynb stay as they are otherwise, with the outputs that they have.
    """
    for path in sorted(folder.glob(f"{PATTERN}.py")):
        path.write_text(paired_text(read_source(path, repository)), encoding="utf-8")
    for path in sorted(folder.glob(f"{PATTERN}.ipynb")):
        notebook = with_colab(nbformat.read(path, as_version=4), path.stem, repository)
        nbformat.write(numbered(notebook), path)


def cleaned(notebook: NotebookNode) -> NotebookNode:
    """Leave only what is the same on every machine: no times, no widget state, nothing written to stderr.

    What the notebook was made from (`tools.made_from`) stays. Solutions are folded, in JupyterLab, Colab and the site.
    """
    made = {MADE_FROM: notebook.metadata[MADE_FROM]} if MADE_FROM in notebook.metadata else {}
    notebook.metadata = nbformat.from_dict({**HEADER, "language_info": {"name": "python"}, **made})
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    for number, cell in enumerate(notebook.cells, start=1):
        cell.id = f"cell-{number:02d}"
        tags = list(cell.metadata.get("tags", []))
        tags += [FOLDED_TAG] if SOLUTION_TAG in tags and FOLDED_TAG not in tags else []
        folded = FOLDED if SOLUTION_TAG in tags else {}
        cell.metadata = nbformat.from_dict(({"tags": tags} if tags else {}) | folded)
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
            for output in cell.outputs:
                data = output.get("data", {})
                data.pop("application/vnd.jupyter.widget-view+json", None)
                if "image/png" in data:
                    data["image/png"] = smaller_png(data["image/png"])
    return notebook


def smaller_png_bytes(png: bytes) -> bytes:
    """Round colours to 32 levels a channel (by 4 of 255 at most, white stays white): under half the size for MRI."""
    with Image.open(io.BytesIO(png)) as picture:
        pixels = np.asarray(picture.convert("RGB"))
    rounded = np.where(pixels == 255, 255, (np.minimum(pixels, 251).astype(int) + 4) // 8 * 8).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(rounded).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def smaller_png(encoded: str) -> str:
    """Do the same to the base64 text of a notebook's picture."""
    return base64.b64encode(smaller_png_bytes(base64.b64decode(encoded))).decode("ascii")


def paired_text(notebook: NotebookNode) -> str:
    """Write a notebook as jupytext's percent format."""
    return jupytext.writes(notebook, fmt=FORMAT)


def read_source(path: Path, repository: str | None) -> NotebookNode:
    """Read an edited .py as a notebook without outputs, with badge, set-up cell (if any) and this project's header."""
    return cleaned(with_colab(jupytext.read(path, fmt=FORMAT), path.stem, repository))


def execute(notebook: NotebookNode, folder: Path, runs: Path) -> NotebookNode:
    """Run every cell in `folder`, with run folders below `runs`; raises nbclient's CellExecutionError."""
    client = NotebookClient(
        notebook,
        kernel_name="python3",
        timeout=None,
        record_timing=False,
        extra_arguments=["--log-level=CRITICAL"],  # or the kernel's own notes stand among ours
        resources={"metadata": {"path": str(folder)}},
    )
    return client.execute(env={**os.environ, "SPIDER_RUNS": str(runs), "SPIDER_STATIC": "1"})


def pairing_errors(folder: Path, repository: str | None) -> list[str]:
    """Say in one line each which notebooks differ from their .py, or lack the badge and set-up cell of this address.

    Without an address, those that have them.
    """
    errors = []
    for name in sorted({path.stem for suffix in ("py", "ipynb") for path in folder.glob(f"{PATTERN}.{suffix}")}):
        source, notebook = folder / f"{name}.py", folder / f"{name}.ipynb"
        missing = [path.name for path in (source, notebook) if not path.is_file()]
        if missing:
            errors.append(f"{name}: {missing[0]} is missing")
            continue
        text = source.read_text(encoding="utf-8")
        if text != paired_text(nbformat.read(notebook, as_version=4)):
            errors.append(f"{name}: {notebook.name} and {source.name} differ; edit the .py and run `make notebooks`")
        elif text != paired_text(read_source(source, repository)):
            errors.append(f"{name}: header, Colab badge or set-up cell are not as they should be; run `make notebooks`")
    return errors


def output_errors(notebook: NotebookNode) -> list[str]:
    """Say in one line each which code cells were not executed, failed, or show a path of the machine that ran them."""
    errors = []
    code_cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    for number, cell in enumerate(code_cells, start=1):
        if cell.execution_count != number:
            errors.append(f"code cell {number}: was not executed in order (its count is {cell.execution_count})")
        for output in cell.outputs:
            if output.output_type == "error":
                errors.append(f"code cell {number}: shows {output.ename}")
            for text in _texts(output):
                if found := ABSOLUTE_PATH.search(text):
                    errors.append(f"code cell {number}: shows the path {found.group()}…")
    return errors


def _texts(output: NotebookNode) -> list[str]:
    data = {kind: value for kind, value in output.get("data", {}).items() if kind.startswith("text/")}
    return [output.get("text", ""), *data.values()]


def all_errors(folder: Path, repository: str | None) -> list[str]:
    """Return what --check prints: pairing, then each notebook's outputs and what they are of, the README's table."""
    errors = pairing_errors(folder, repository)
    for path in sorted(folder.glob(f"{PATTERN}.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        errors += [f"{path.stem}: {error}" for error in (*output_errors(notebook), *changed(notebook))]
    if readme_table(folder, repository) not in README.read_text(encoding="utf-8"):
        errors.append("README.md: its table of notebooks is not theirs; run `make notebooks`")
    return errors


def make_notebooks(folder: Path, repository: str | None, prefixes: list[str]) -> None:
    """Execute every .py in `folder`, or those whose names begin with a prefix, in order, and write the pairs."""
    sources = [path for path in sorted(folder.glob(f"{PATTERN}.py")) if path.name.startswith(tuple(prefixes or [""]))]
    with tempfile.TemporaryDirectory() as runs:
        for number, path in enumerate(sources, start=1):
            print(f"[{number}/{len(sources)}] {path.stem}", flush=True)
            notebook = read_source(path, repository)
            # written before the long part, to lose no edit made meanwhile
            path.write_text(paired_text(notebook), encoding="utf-8")
            executed = recorded(notebook, partial(execute, folder=folder, runs=Path(runs)))
            nbformat.write(numbered(cleaned(executed)), path.with_suffix(".ipynb"))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("prefixes", nargs="*", help="only the notebooks whose names begin so")
    parser.add_argument("--check", action="store_true", help="change nothing; say what does not fit together")
    options = parser.parse_args()
    repository = repository_address()
    if not options.check:
        make_notebooks(FOLDER, repository, options.prefixes)
        table = readme_table(FOLDER, repository)
        README.write_text(with_block(README.read_text(encoding="utf-8"), "notebooks", table), encoding="utf-8")
    errors = all_errors(FOLDER, repository)
    print("\n".join(errors) if errors else "notebooks: paired and executed")
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
