"""What an executed notebook was made from: the package's modules, tables and pictures that its kernel has opened.

`tools.notebooks` executes notebooks with `recorded`, and keeps a digest of each file in the notebook's metadata;
`changed` says which of them are others now, so that no stale output stays unseen, in cells that nbval does not
compare too. Of a module its code counts, not its comments, docstrings and layout.
"""

import ast
import hashlib
import json
from collections.abc import Callable
from functools import cache
from pathlib import Path

from nbformat import NotebookNode
from nbformat.v4 import new_code_cell

ROOT = Path(__file__).resolve().parents[1]
MADE_FROM = "made_from"  # the key of a notebook's metadata
WATCHED = ("spider_utils", "results", "figures")  # folders of the repository
WHOLE = "spider_utils/data/sample"  # a folder that counts as one
WEIGHTS = "spider_utils/weights"  # read by a library that Python does not see; their JSON is
BEGIN = """\
import sys as _sys

_opened = set()
_sys.addaudithook(lambda event, given: _opened.add(given[0]) if event == "open" and type(given[0]) is str else None)"""
END = """\
import json as _json, os as _os

_opened |= {str(getattr(module, "__file__", "")) for module in list(_sys.modules.values())}
print(_json.dumps(sorted(_os.path.realpath(path) for path in _opened if path)))"""


def recorded(notebook: NotebookNode, execute: Callable[[NotebookNode], NotebookNode]) -> NotebookNode:
    """Execute a notebook and write into its metadata which files it was made from, with a digest of each."""
    cells = notebook.cells
    notebook.cells = [new_code_cell(BEGIN), *cells, new_code_cell(END)]
    notebook = execute(notebook)
    _, *cells, last = notebook.cells
    opened = json.loads("".join(output.get("text", "") for output in last.outputs if output.get("name") == "stdout"))
    notebook.cells = cells
    notebook.metadata[MADE_FROM] = {name: digest(name) for name in sources(opened)}
    return notebook


def sources(opened: list[str], root: Path = ROOT) -> list[str]:
    """Return those of some opened files that a notebook shows something of, below the repository, in order."""
    found = set()
    for path in map(Path, opened):
        if not path.is_relative_to(root) or not path.is_file() or "__pycache__" in path.parts:
            continue
        name = path.relative_to(root).as_posix()
        if name.startswith(f"{WHOLE}/"):
            found.add(WHOLE)
        elif name.split("/")[0] in WATCHED:
            found.add(name)
            weights = path.with_suffix(".safetensors")
            if name.startswith(f"{WEIGHTS}/") and weights.is_file():
                found.add(weights.relative_to(root).as_posix())
    return sorted(found)


@cache
def digest(name: str, root: Path = ROOT) -> str:
    """Return the digest of a file, or of all files of a folder, by its place below the repository; "" without it."""
    path = root / name
    if path.is_dir():
        files = sorted(one.relative_to(root).as_posix() for one in path.rglob("*") if one.is_file())
        content = "\n".join(f"{file} {digest(file, root)}" for file in files if "__pycache__" not in file).encode()
    elif not path.is_file():
        return ""
    elif path.suffix == ".py":
        content = code_alone(path.read_text(encoding="utf-8")).encode()
    else:
        content = path.read_bytes()
    return hashlib.sha256(content).hexdigest()[:12]


def code_alone(source: str) -> str:
    """Return a module's syntax tree as text, without its docstrings."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            if ast.get_docstring(node, clean=False) is not None:
                node.body = node.body[1:]
    return ast.dump(tree)


def changed(notebook: NotebookNode) -> list[str]:
    """Say in one line what a notebook's outputs are not of any more; nothing where they are of what is there now."""
    if MADE_FROM not in notebook.metadata:
        return ["does not say what it was made from; run `make notebooks`"]
    others = [name for name, known in notebook.metadata[MADE_FROM].items() if digest(name) != known]
    more = f" and {len(others) - 1} more" if len(others) > 1 else ""
    return [f"was made from another {others[0]}{more}; run `make notebooks`"] if others else []
