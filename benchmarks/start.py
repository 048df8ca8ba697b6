"""Rows of starting: what a command and an import take before anything is done."""

import sys

from benchmarks.rows import MORE, Bench, Pair, Row


def python(code: str) -> list[str]:
    """Return the command that runs a line of Python."""
    return [sys.executable, "-c", code]


def help_shown(bench: Bench) -> Pair:
    """Show the help; start Python."""
    return Pair([sys.executable, "-m", "spider_utils", "--help"], python("pass"))


def package(bench: Bench) -> Pair:
    """Import the package, whose faces import nothing heavy; import torch."""
    return Pair(python("import spider_utils"), python("import torch"))


def trainer(bench: Bench) -> Pair:
    """Import what trains; import torch."""
    return Pair(python("import spider_utils.train.trainer"), python("import torch"))


ROWS = {
    "start_help": Row("--help", "python's own start", 0.3, help_shown, MORE),
    "start_import": Row("import spider_utils", "import torch", 1 / 1.05, package),
    "start_trainer": Row(
        "import spider_utils.train.trainer", "import torch", 1 / 1.05, trainer,
        limit="pandas, for logs and slice tables, and parts of torch that it leaves out until they are asked for",
    ),
}  # fmt: skip
