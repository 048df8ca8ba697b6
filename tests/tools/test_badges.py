"""The repository's address: nothing names it while it is not set, and one command sets it everywhere."""

import re
import shutil
import sys
from pathlib import Path

import nbformat
import pytest

from tools.badges import main, page_blocks, write_badges
from tools.markdown import with_block
from tools.notebooks import BADGE, FOLDER, PLACEHOLDER, README, ROOT, output_errors, repository_address, set_address

NAME = "somebody/spines"
PAGES = ("README.md", "docs/usage.md")
NAMES = sorted(path.stem for path in FOLDER.glob("*.ipynb"))


@pytest.fixture
def copy(tmp_path):
    """A copy of what the command writes to, without an address."""
    for file in ("pyproject.toml", *PAGES):
        (tmp_path / file).parent.mkdir(exist_ok=True)
        shutil.copyfile(ROOT / file, tmp_path / file)
    shutil.copytree(FOLDER, tmp_path / "notebooks", ignore=shutil.ignore_patterns(".*"))
    write_badges(PLACEHOLDER, tmp_path)
    return tmp_path


def contents(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def code_cells(root: Path, name: str) -> list:
    notebook = nbformat.read(root / "notebooks" / f"{name}.ipynb", as_version=4)
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def shown(cell) -> list[dict]:
    return [{key: value for key, value in output.items() if key != "execution_count"} for output in cell.outputs]


def test_what_is_committed_is_what_the_address_says():
    for (file, block), told in page_blocks(ROOT, repository_address()).items():
        text = (ROOT / file).read_text(encoding="utf-8")
        assert text == with_block(text, block, told), f"{file}: run make badges"


def test_without_an_address_no_page_and_no_notebook_names_one(copy):
    places = [*copy.glob("*.md"), *copy.glob("docs/*.md"), *copy.glob("notebooks/*")]
    places += [*(ROOT / "results").rglob("*.md"), *(ROOT / "results").rglob("*.ipynb"), *ROOT.glob("figures/*.md")]
    assert len(places) > 30
    for path in places:
        text = path.read_text(encoding="utf-8")
        assert BADGE not in text and PLACEHOLDER not in text and "git+http" not in text, path


def test_one_command_sets_it_everywhere(copy):
    write_badges(NAME, copy)
    assert repository_address(copy / "pyproject.toml") == f"https://github.com/{NAME}"
    readme, usage = ((copy / page).read_text(encoding="utf-8") for page in PAGES)
    for name in NAMES:
        link = f"{BADGE}(https://colab.research.google.com/github/{NAME}/blob/main/notebooks/{name}.ipynb)"
        assert readme.count(link) == 1
        for suffix in ("py", "ipynb"):
            text = (copy / "notebooks" / f"{name}.{suffix}").read_text(encoding="utf-8")
            assert text.count(link) == 1 and text.count(f"--depth 1 https://github.com/{NAME} ") == 1
    assert f"git+https://github.com/{NAME}" in readme and f"git+https://github.com/{NAME}" in usage
    assert len(readme.split()) <= 1200


def test_outputs_stay_and_nothing_is_executed(copy):
    before = {name: code_cells(copy, name) for name in NAMES}
    write_badges(NAME, copy)
    for name in NAMES:
        setup, *rest = code_cells(copy, name)
        assert setup.outputs == [] and "google.colab" in setup.source
        assert [shown(cell) for cell in rest] == [shown(cell) for cell in before[name]]
        assert [cell.source for cell in rest] == [cell.source for cell in before[name]]
        assert output_errors(nbformat.read(copy / "notebooks" / f"{name}.ipynb", as_version=4)) == []


def test_another_address_replaces_it_and_the_placeholder_takes_it_back(copy):
    bare = contents(copy)
    write_badges(NAME, copy)
    once = contents(copy)
    write_badges(NAME, copy)
    assert contents(copy) == once
    write_badges("else/where", copy)
    assert not any(NAME.encode() in text for text in contents(copy).values())
    write_badges(PLACEHOLDER, copy)
    assert contents(copy) == bare


@pytest.mark.parametrize("wrong", ["spines", "https://github.com/somebody/spines", "a/b/c", "a b/c"])
def test_what_is_no_name_is_refused(wrong, monkeypatch, capsys):
    before = README.read_bytes()
    monkeypatch.setattr(sys, "argv", ["badges", wrong])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2 and "expected owner/name" in capsys.readouterr().err
    assert README.read_bytes() == before


def test_a_published_notebook_carries_no_badge(tmp_path):
    """What `tools.publish` strips: a run of a notebook that had them."""
    source = FOLDER / "04_train.py"
    (tmp_path / source.name).write_text(source.read_text(encoding="utf-8"), encoding="utf-8")
    set_address(tmp_path, f"https://github.com/{NAME}")
    assert NAME in (tmp_path / source.name).read_text(encoding="utf-8")
    set_address(tmp_path, None)
    assert not re.search("colab", (tmp_path / source.name).read_text(encoding="utf-8"), re.IGNORECASE)
