"""Give the repository its address: Colab's badges, the notebooks' set-up cell and the lines that install the package.

    python -m tools.badges owner/name         # or: make badges REPOSITORY=owner/name

The address stands in pyproject.toml; from there it is written into the notebooks (both of each pair; nothing is
executed, outputs stay), README.md and docs/usage.md. While it is the placeholder none of them names it.
`python -m tools.badges OWNER/REPOSITORY` brings that state back.
"""

import argparse
import re
import sys
from pathlib import Path

from tools.markdown import with_block
from tools.notebooks import ROOT, readme_table, repository_address, set_address

LINE = re.compile(r'^Repository = ".*"$', re.MULTILINE)
UNSET = (
    "The repository's address is not set yet, so no notebook carries a Colab badge or set-up cell. "
    "`make badges REPOSITORY=owner/name` writes them, and lines that install the package, everywhere."
)
COLAB = """\
Each notebook has a badge that opens it on Colab ([the list](../README.md#the-notebooks)). Its first code cell installs
the package beside Colab's own torch; `drive=True` in it keeps data and runs in Google Drive, so that a run which Colab
cuts off goes on. Without a checkout, anywhere:

```bash
pip install "spider_utils @ git+{repository}"
```"""
INSTALL = 'Without a checkout: `pip install "spider_utils @ git+{repository}"`.'


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("repository", help="owner/name on GitHub")
    name = parser.parse_args().repository
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", name):
        parser.error(f"repository: expected owner/name, found {name!r}")
    write_badges(name)
    return 0


def write_badges(name: str, root: Path = ROOT) -> None:
    """Set the address to GitHub's `name` (owner/name) in pyproject.toml of `root`, and in everything that names it."""
    pyproject = root / "pyproject.toml"
    text = pyproject.read_text(encoding="utf-8")
    pyproject.write_text(LINE.sub(f'Repository = "https://github.com/{name}"', text), encoding="utf-8")
    repository = repository_address(pyproject)
    set_address(root / "notebooks", repository)
    for (file, block), told in page_blocks(root, repository).items():
        page = root / file
        page.write_text(with_block(page.read_text(encoding="utf-8"), block, told), encoding="utf-8")


def page_blocks(root: Path, repository: str | None) -> dict[tuple[str, str], str]:
    """Return what the pages say of the address, by page and block; None: it is not set."""
    return {
        ("README.md", "notebooks"): readme_table(root / "notebooks", repository),
        ("README.md", "install"): INSTALL.format(repository=repository) if repository else "",
        ("docs/usage.md", "colab"): COLAB.format(repository=repository) if repository else UNSET,
    }


if __name__ == "__main__":
    sys.exit(main())
