"""The site of `make site`: which pages it shows, and what it is built with. It is not built here."""

import re
from fnmatch import fnmatch

import pytest
import yaml

from tools.links import pages
from tools.notebooks import ROOT

FOLDER = ROOT / "site"
CONFIG = yaml.safe_load((FOLDER / "_config.yml").read_text(encoding="utf-8"))
TOC = yaml.safe_load((FOLDER / "_toc.yml").read_text(encoding="utf-8"))


def entries(node) -> list[dict]:
    """Return every entry of the table of contents, {"file": …} or {"glob": …}."""
    if isinstance(node, list):
        return [entry for item in node for entry in entries(item)]
    own = [node] if {"file", "glob"} & set(node) else []
    return own + [entry for value in node.values() if isinstance(value, list) for entry in entries(value)]


def files(entry: dict) -> list[str]:
    """Return the pages and notebooks that an entry stands for, relative to the repository's root."""
    found = [path for end in (".md", ".ipynb") for path in ROOT.glob(entry.get("file", entry.get("glob")) + end)]
    return sorted(path.relative_to(ROOT).as_posix() for path in found)


ENTRIES = [{"file": TOC["root"]}, *entries(TOC["parts"])]
BOOK = [file for entry in ENTRIES for file in files(entry)]


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: next(iter(entry.values())))
def test_every_entry_stands_for_pages_that_are_there(entry):
    assert len(files(entry)) == 1 if "file" in entry else files(entry)


def test_every_notebook_and_every_page_is_in_the_book():
    everything = {path.relative_to(ROOT).as_posix() for path in (*pages(), *ROOT.glob("notebooks/*.ipynb"))}
    assert everything <= set(BOOK)
    assert {"README.md", "docs/glossary.md", "results/README.md", "results/claims.md"} <= everything


def test_no_page_of_the_book_is_left_out():
    assert not [file for file in BOOK for pattern in CONFIG["exclude_patterns"] if fnmatch(file.split("/")[0], pattern)]


def test_notebooks_are_shown_as_they_were_executed():
    assert CONFIG["execute"] == {"execute_notebooks": "off"}


def test_it_is_built_of_exact_versions_in_an_environment_of_its_own():
    lines = (FOLDER / "requirements.txt").read_text(encoding="utf-8").splitlines()
    pins = dict(line.split("==") for line in lines if not line.startswith("#"))
    assert pins["jupyter-book"].startswith("1.")
    assert set(CONFIG["sphinx"]["extra_extensions"]) <= set(pins)
    assert all(re.fullmatch(r"\d+(\.\d+)*(\.post\d+)?", version) for version in pins.values())
    assert "/.venv-site/" in (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
