"""The table of `make mutants`: how many small changes to each module a test has noticed.

python -m tools.mutants: print the table of what mutmut has left in mutants/, and name the changes that no test noticed.
"""

import json
from pathlib import Path

from mutmut.stats import status_by_exit_code

ROOT = Path(__file__).resolve().parents[1]
NOTICED = ("killed", "timeout", "segfault", "caught by type check")


def count(folder: Path) -> dict[str, dict[str, str]]:
    """Return by module what came of each change, by its name."""
    found = {}
    for path in sorted(folder.rglob("*.py.meta")):
        codes = json.loads(path.read_text(encoding="utf-8"))["exit_code_by_key"]
        if codes:
            module = path.relative_to(folder).as_posix().removesuffix(".meta")
            found[module] = {name: status_by_exit_code[code] for name, code in codes.items()}
    return found


def table(found: dict[str, dict[str, str]]) -> list[str]:
    """Return the lines of a table in Markdown: a row a module, and one for all."""
    lines = ["| module | changes | noticed | share |", "| --- | --- | --- | --- |"]
    every = {key: one for part in found.values() for key, one in part.items()}
    for module, statuses in (found | {"all": every}).items():
        noticed = sum(status in NOTICED for status in statuses.values())
        lines.append(f"| {module} | {len(statuses)} | {noticed} | {noticed / len(statuses):.0%} |")
    return lines


def main() -> None:
    found = count(ROOT / "mutants")
    for statuses in found.values():
        for name, status in statuses.items():
            if status not in NOTICED:
                print(f"{status}: mutmut show {name}")
    print(*table(found), sep="\n")


if __name__ == "__main__":
    main()
