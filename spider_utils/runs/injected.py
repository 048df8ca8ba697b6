"""The parameters that papermill puts into a notebook, seen from within it."""

import ast
import sys

from spider_utils.common.errors import SpiderError

INJECTED = "# Parameters\n"  # how the cell begins that papermill puts after the notebook's own cell of parameters


def refuse_misspelt() -> None:
    """Raise SpiderError where papermill was given a parameter that the notebook does not have.

    Papermill itself only warns, and the notebook would go on with the value that it has. Does nothing elsewhere.
    """
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    cells = shell.user_ns.get("In", []) if shell else []
    for own, given in zip(cells, cells[1:], strict=False):
        if given.startswith(INJECTED) and (known := _assigned(own)):
            if unknown := [name for name in _assigned(given) if name not in known]:
                raise SpiderError(f"parameter {unknown[0]}: not known; expected one of {', '.join(known)}")


def _assigned(cell: str) -> list[str]:
    """Return the names that a cell gives values to, if it does nothing else."""
    try:
        lines = ast.parse(cell).body
    except SyntaxError:  # IPython's own commands
        return []
    assignments = [line for line in lines if isinstance(line, ast.Assign)]
    if len(assignments) < len(lines):
        return []
    return [name.id for line in assignments for name in line.targets if isinstance(name, ast.Name)]
