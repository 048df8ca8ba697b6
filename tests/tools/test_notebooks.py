"""The committed notebooks: all nine there, paired with their .py, executed; and that these checks can fail."""

import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from tools.notebooks import (
    FOLDER,
    PLACEHOLDER,
    badge,
    make_notebooks,
    output_errors,
    pairing_errors,
    read_source,
    repository_address,
    set_address,
)

ADDRESS = "https://github.com/somebody/spines"
SOURCE = """\
# %% [markdown]
# # One sum
#
# A question.

# %% tags=["parameters"]
number = 2

# %%
import sys

print(number + 2)
print("a warning", file=sys.stderr)
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with one small notebook, made from its .py as the committed ones are."""
    folder = tmp_path_factory.mktemp("notebooks")
    (folder / "01_sum.py").write_text(SOURCE)
    make_notebooks(folder, ADDRESS, [])
    return folder


@pytest.fixture
def folder(made, tmp_path):
    """A copy of it that a test may damage."""
    return Path(shutil.copytree(made, tmp_path / "notebooks"))


def replace(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_the_nine_notebooks_are_there():
    names = sorted(path.stem for path in FOLDER.glob("*.ipynb"))
    assert [name[:3] for name in names] == [f"{number:02d}_" for number in range(1, 10)]
    assert (names[0], names[-1]) == ("01_explore_data", "09_present")


def test_the_committed_notebooks_are_paired_and_have_their_badges():
    assert pairing_errors(FOLDER, repository_address()) == []


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.ipynb")), ids=lambda path: path.stem)
def test_the_committed_notebooks_are_executed(path):
    assert output_errors(nbformat.read(path, as_version=4)) == []


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.ipynb")), ids=lambda path: path.stem)
def test_each_notebook_can_be_given_parameters(path):
    notebook = nbformat.read(path, as_version=4)
    tagged = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    assert len(tagged) == 1


def test_a_made_notebook_passes_all_checks(folder):
    notebook = nbformat.read(folder / "01_sum.ipynb", as_version=4)
    assert pairing_errors(folder, ADDRESS) == []
    assert output_errors(notebook) == []
    assert [cell.get("outputs") for cell in notebook.cells if cell.cell_type == "code"][-1] == [
        {"output_type": "stream", "name": "stdout", "text": "4\n"}
    ]


def test_making_it_twice_changes_nothing(folder):
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    make_notebooks(folder, ADDRESS, [])
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_badge_and_set_up_name_the_address_once_each(folder):
    first, _, setup, *_ = nbformat.read(folder / "01_sum.ipynb", as_version=4).cells
    assert first.source.startswith(badge("01_sum", ADDRESS) + "\n\n# One sum\n\nA question.")
    assert "colab.research.google.com/github/somebody/spines/blob/main/notebooks/01_sum.ipynb" in first.source
    assert f"git clone --quiet --depth 1 {ADDRESS} " in setup.source
    moved = read_source(folder / "01_sum.py", "https://github.com/else/where")
    assert "somebody" not in "".join(cell.source for cell in moved.cells)
    assert len(moved.cells) == len(nbformat.read(folder / "01_sum.ipynb", as_version=4).cells)


def test_without_an_address_there_is_neither_badge_nor_set_up(folder):
    bare = read_source(folder / "01_sum.py", None)
    assert bare.cells[0].source == "# One sum\n\nA question."
    assert [cell.cell_type for cell in bare.cells] == ["markdown", "code", "code"]
    assert "colab" not in "".join(cell.source for cell in bare.cells).lower()
    assert len(pairing_errors(folder, None)) == 1, "a badge that leads nowhere is noticed"


def test_the_placeholder_is_no_address(tmp_path):
    pyproject = tmp_path / "pyproject.toml"
    for name, expected in ((PLACEHOLDER, None), ("somebody/spines", ADDRESS)):
        pyproject.write_text(f'[project.urls]\nRepository = "https://github.com/{name}"\n')
        assert repository_address(pyproject) == expected


def test_an_address_is_set_and_taken_back_without_executing_anything(folder):
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    set_address(folder, None)
    bare = nbformat.read(folder / "01_sum.ipynb", as_version=4)
    assert [cell.execution_count for cell in bare.cells if cell.cell_type == "code"] == [1, 2]
    assert bare.cells[-1].outputs[0].text == "4\n"
    assert pairing_errors(folder, None) == output_errors(bare) == []
    set_address(folder, ADDRESS)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_an_address_keeps_edits_and_outputs_that_are_out_of_step(folder):
    replace(folder / "01_sum.py", "number + 2", "number + 3")
    set_address(folder, None)
    assert "number + 3" in (folder / "01_sum.py").read_text()
    assert "number + 2" in (folder / "01_sum.ipynb").read_text()
    assert "differ" in pairing_errors(folder, None)[0]


def test_another_address_is_noticed(folder):
    assert len(pairing_errors(folder, "https://github.com/else/where")) == 1


@pytest.mark.parametrize("suffix", ["py", "ipynb"])
def test_an_edit_on_one_side_is_noticed(folder, suffix):
    replace(folder / f"01_sum.{suffix}", "number + 2", "number + 3")
    assert [error.split(":")[0] for error in pairing_errors(folder, ADDRESS)] == ["01_sum"]


@pytest.mark.parametrize("suffix", ["py", "ipynb"])
def test_a_missing_side_is_noticed(folder, suffix):
    (folder / f"01_sum.{suffix}").unlink()
    assert pairing_errors(folder, ADDRESS) == [f"01_sum: 01_sum.{suffix} is missing"]


def test_outputs_that_should_not_be_committed_are_noticed(folder):
    notebook = nbformat.read(folder / "01_sum.ipynb", as_version=4)
    cell = notebook.cells[-1]
    cell.outputs[0].text = "written to /home/anna/runs/smoke\n"
    assert output_errors(notebook) == ["code cell 3: shows the path /home/anna…"]
    cell.outputs = [nbformat.v4.new_output("error", ename="ValueError", evalue="", traceback=[])]
    assert output_errors(notebook) == ["code cell 3: shows ValueError"]
    cell.outputs, cell.execution_count = [], None
    assert "was not executed" in output_errors(notebook)[0]


@pytest.mark.parametrize("text", ["T1/T2/SPACE", "</td>\n</tr>", "https://a.org/b/c", "1 / 2 / 3", "runs/smoke/store"])
def test_what_only_looks_like_a_path_is_no_path(folder, text):
    notebook = nbformat.read(folder / "01_sum.ipynb", as_version=4)
    notebook.cells[-1].outputs[0].text = text
    assert output_errors(notebook) == []


def nbval(folder):
    """Compare a notebook's outputs as `make test` does; -p no:cacheprovider leaves no folder behind."""
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--rootdir", str(folder), str(folder)]
    return subprocess.run(
        [*command, "--nbval", "--nbval-current-env", "--color=no"], capture_output=True, text=True, cwd=folder
    )


@pytest.mark.slow
def test_nbval_passes_a_true_output_and_fails_a_wrong_number(folder):
    replace(folder / "01_sum.py", 'print("a warning", file=sys.stderr)\n', "")
    make_notebooks(folder, ADDRESS, [])
    done = nbval(folder)
    assert done.returncode == 0, done.stdout
    replace(folder / "01_sum.ipynb", "4\\n", "5\\n")
    done = nbval(folder)
    assert done.returncode == 1
    assert "Cell outputs differ" in done.stdout
