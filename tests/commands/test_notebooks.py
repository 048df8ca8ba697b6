"""Running notebooks in order: parameters, stopping at the first failure, going on where the last run ended."""

import json
import os
import subprocess
from functools import partial

import nbformat
import pandas as pd
import papermill
import pytest
from nbformat.v4 import new_code_cell, new_notebook

import spider_utils
from spider_utils.commands.kernel import KERNEL, own_kernel
from spider_utils.commands.notebooks import (
    RUN_LOCK,
    STATE_FILE,
    _told_epochs,
    find_notebooks,
    print_results,
    run_notebooks,
)
from spider_utils.common import provenance
from spider_utils.common.errors import SpiderError
from spider_utils.data.splits import LEAKY_NOTE
from tests.helpers.locks import held

PARAMETERS = 'source = "phantom"\nrun_dir = "."'
OPENED = "from spider_utils.runs import open_run\nrun = open_run(run_dir, source)"
NOTE = "from pathlib import Path\nwith open(Path(run_dir) / 'log.txt', 'a') as log: print({}, file=log)"


def write_notebook(folder, name, *cells, parameters=PARAMETERS):
    header = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    first = new_code_cell(parameters, metadata={"tags": ["parameters"]})
    nbformat.write(new_notebook(cells=[first, *map(new_code_cell, cells)], metadata=header), folder / f"{name}.ipynb")


@pytest.fixture
def notebooks(tmp_path):
    """Two small notebooks; each adds a line to log.txt of the run folder when it is executed."""
    folder = tmp_path / "notebooks"
    folder.mkdir()
    write_notebook(folder, "01_first", NOTE.format("'first', source"))
    write_notebook(
        folder, "02_second", NOTE.format("'second', epochs"), parameters=PARAMETERS + "\nepochs = 5  # passes"
    )
    return folder


def run(notebooks, out, source="sample", data_dir=None, profile="smoke", **overrides):
    return run_notebooks(source, data_dir, profile, out, overrides, notebooks_dir=notebooks)


def log(out):
    return (out / "log.txt").read_text().splitlines()


def test_parameters_reach_the_notebooks_that_have_them(notebooks, tmp_path):
    out = tmp_path / "out"
    assert run(notebooks, out, epochs=2) == out
    assert log(out) == ["first sample", "second 2"]
    first, second = (nbformat.read(out / f"{name}.ipynb", as_version=4) for name in ("01_first", "02_second"))
    assert [cell.execution_count for cell in second.cells] == [1, 2, 3]  # the given parameters are a cell of their own
    assert "epochs" not in first.cells[1].source


def test_a_relative_run_folder_is_passed_absolute(notebooks, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(notebooks, "out") == tmp_path / "out"
    assert log(tmp_path / "out") == ["first sample", "second 5"]


def test_a_finished_run_runs_nothing_again(notebooks, tmp_path, capsys):
    out = tmp_path / "out"
    run(notebooks, out)
    run(notebooks, out)
    assert log(out) == ["first sample", "second 5"]
    assert "[2/2] 02_second: finished before" in capsys.readouterr().out


def test_it_stops_at_a_failure_and_goes_on_after_the_last_finished(notebooks, tmp_path):
    out = tmp_path / "out"
    write_notebook(notebooks, "02_second", NOTE.format("'begun'"), "1 / 0", parameters=PARAMETERS)
    write_notebook(notebooks, "03_third", NOTE.format("'third'"))
    partial = out / "02_second.ipynb"
    with pytest.raises(SpiderError) as stopped:
        run(notebooks, out)
    message = str(stopped.value)
    assert message == f"02_second.ipynb, cell In [4]: ZeroDivisionError: division by zero (partial notebook: {partial})"
    assert log(out) == ["first sample", "begun"]
    assert "ZeroDivisionError" in partial.read_text()
    assert not (out / "03_third.ipynb").exists()

    write_notebook(notebooks, "02_second", NOTE.format("'mended'"))
    run(notebooks, out)
    assert log(out) == ["first sample", "begun", "mended", "third"]


def test_an_error_of_the_user_inside_a_cell_keeps_its_one_line(notebooks, tmp_path):
    raising = "from spider_utils.common.errors import SpiderError\nraise SpiderError('12.mha: cut off; fetch it again')"
    write_notebook(notebooks, "01_first", raising)
    with pytest.raises(SpiderError) as stopped:
        run(notebooks, tmp_path / "out")
    assert str(stopped.value).startswith("01_first.ipynb, cell In [3]: 12.mha: cut off; fetch it again (partial")
    assert "\n" not in str(stopped.value)


def test_a_kernel_that_dies_is_said_so(notebooks, tmp_path):
    write_notebook(notebooks, "01_first", "import os\nos._exit(1)")
    with pytest.raises(SpiderError, match="01_first.ipynb: expected the kernel to live, found it dead"):
        run(notebooks, tmp_path / "out")


def test_another_kernel_of_the_same_name_is_not_used(notebooks, tmp_path, monkeypatch):
    spec = tmp_path / "jupyter" / "kernels" / "python3" / "kernel.json"
    spec.parent.mkdir(parents=True)
    spec.write_text(
        json.dumps({"argv": ["/bin/false", "{connection_file}"], "display_name": "P", "language": "python"})
    )
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    monkeypatch.delenv("SPIDER_STATIC", raising=False)
    run(notebooks, tmp_path / "out")
    assert log(tmp_path / "out") == ["first sample", "second 5"]
    assert os.environ["JUPYTER_PATH"] == str(tmp_path / "jupyter") and "SPIDER_STATIC" not in os.environ


@pytest.mark.parametrize("home", [None, "/nowhere"])
def test_a_user_without_a_home_can_run_them(notebooks, tmp_path, monkeypatch, home):
    write_notebook(notebooks, "03_home", "import os", NOTE.format("os.access(os.environ['HOME'], os.W_OK)"))
    monkeypatch.setattr("pwd.getpwuid", {}.__getitem__)  # as in a container, whose users have a number alone
    monkeypatch.delenv("HOME") if home is None else monkeypatch.setenv("HOME", home)
    run(notebooks, tmp_path / "out", epochs=2)
    assert log(tmp_path / "out")[-1] == "True"
    assert os.environ.get("HOME") == home


@pytest.mark.parametrize(("name", "given"), [("sourse", "phantom"), ("source", "phantom")])
def test_a_parameter_of_a_user_of_papermill_is_met_or_refused(tmp_path, monkeypatch, name, given):
    """Called by hand, in a folder with blanks and umlauts, from another one; papermill itself only warns."""
    folder = tmp_path / "Läufe und Fälle"
    folder.mkdir()
    write_notebook(folder, "01_open", OPENED, parameters='source = None\nrun_dir = "Lauf ä"')
    monkeypatch.chdir(tmp_path)
    done = folder / "fertig ü.ipynb"
    call = partial(papermill.execute_notebook, folder / "01_open.ipynb", done, kernel_name=KERNEL, cwd=str(folder))
    with own_kernel():
        if name == "source":
            call({name: given})
            saved = json.loads((folder / "Lauf ä" / "settings.json").read_text(encoding="utf-8"))
            assert saved["source"] == given
        else:
            with pytest.raises(
                papermill.PapermillExecutionError, match="parameter sourse: not known.* source, run_dir"
            ):
                call({name: given})
            assert not (folder / "Lauf ä").exists()


def test_a_full_disk_in_a_notebook_is_said_with_the_remedy(notebooks, tmp_path):
    write_notebook(notebooks, "01_first", "raise OSError(28, 'No space left on device', 'a.npy')")
    with pytest.raises(SpiderError, match=r"OSError: \[Errno 28\] .* 'a.npy'; free some space and give the same"):
        run(notebooks, tmp_path / "out")


def test_a_notebook_that_is_none_is_named_before_anything_runs(notebooks, tmp_path):
    (notebooks / "02_second.ipynb").write_text("<<<<<<< HEAD")
    with pytest.raises(SpiderError, match="02_second.ipynb: expected a notebook, found a file that is none"):
        run(notebooks, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_changed_notebook_and_all_after_it_run_again(notebooks, tmp_path):
    out = tmp_path / "out"
    write_notebook(notebooks, "03_third", NOTE.format("'third'"))
    run(notebooks, out)
    write_notebook(notebooks, "02_second", NOTE.format("'changed'"))
    run(notebooks, out)
    assert log(out) == ["first sample", "second 5", "third", "changed", "third"]


def test_new_outputs_alone_are_no_change(notebooks, tmp_path):
    out = tmp_path / "out"
    run(notebooks, out)
    notebook = nbformat.read(notebooks / "01_first.ipynb", as_version=4)
    notebook.cells[0].execution_count = 7
    nbformat.write(notebook, notebooks / "01_first.ipynb")
    run(notebooks, out)
    assert log(out) == ["first sample", "second 5"]


def test_a_lost_result_is_made_again(notebooks, tmp_path):
    out = tmp_path / "out"
    run(notebooks, out)
    (out / "02_second.ipynb").unlink()
    run(notebooks, out)
    assert log(out) == ["first sample", "second 5", "second 5"]


@pytest.mark.parametrize("name", ["epoch", "source", "run_dir"])
def test_a_parameter_that_no_notebook_has_is_refused_before_anything_runs(notebooks, tmp_path, name):
    with pytest.raises(SpiderError, match=f"parameter {name}: not known; expected one of activation"):
        run_notebooks("phantom", None, "smoke", tmp_path / "out", {name: 3}, notebooks_dir=notebooks)
    assert not (tmp_path / "out").exists()


def test_a_run_folder_of_other_settings_is_refused(notebooks, tmp_path):
    out, data = tmp_path / "out", tmp_path / "data"
    data.mkdir()
    run(notebooks, out, epochs=2)
    with pytest.raises(SpiderError, match=r"overrides was \{'epochs': 2\}, now \{'epochs': 3\}.*take another --out"):
        run(notebooks, out, epochs=3)
    with pytest.raises(SpiderError, match="source was 'sample', now 'released'; data_dir was None, now '.*data'"):
        run(notebooks, out, source="released", data_dir=data, epochs=2)
    with pytest.raises(SpiderError, match="profile was 'smoke', now 'cpu'"):
        run(notebooks, out, profile="cpu", epochs=2)
    assert log(out) == ["first sample", "second 2"]


def test_two_runs_in_one_folder_do_not_kill_each_other(notebooks, tmp_path):
    out = tmp_path / "out"
    with held(out, RUN_LOCK):
        with pytest.raises(SpiderError, match="out: another process is at work there .run.; wait until it has ended"):
            run(notebooks, out)
    assert not (out / "log.txt").exists()


@pytest.mark.parametrize("text", ["{", "[]", '{"settings": 3, "finished": []}', "{}"])
def test_a_damaged_state_is_refused(notebooks, tmp_path, text):
    out = tmp_path / "out"
    out.mkdir()
    (out / STATE_FILE).write_text(text)
    with pytest.raises(SpiderError, match=STATE_FILE):
        run(notebooks, out)


def test_a_file_in_place_of_the_run_folder_is_refused(notebooks, tmp_path):
    (tmp_path / "out").write_text("")
    with pytest.raises(SpiderError, match="expected a folder for the run, found a file"):
        run(notebooks, tmp_path / "out")


def test_notebooks_are_found_below_the_current_folder(notebooks, monkeypatch, tmp_path):
    monkeypatch.setattr("spider_utils.__file__", str(tmp_path / "site" / "spider_utils" / "__init__.py"))
    monkeypatch.chdir(tmp_path)
    assert [path.name for path in find_notebooks()] == ["01_first.ipynb", "02_second.ipynb"]
    monkeypatch.chdir(notebooks)
    with pytest.raises(SpiderError, match="expected notebooks"):
        find_notebooks()


def write_results(out, kind, test_patients):
    """A finished run's scores, 0.9 on the test side, and the split in the description of its network."""
    table = pd.DataFrame({"split": ["validation", "test"], "sequence": "T2", "metric": "dice", "value": [0.95, 0.9]})
    table.to_csv(out / "metrics.csv", index=False)
    split = {"kind": kind, "train": [1, 2], "validation": [3], "test": test_patients}
    (out / "checkpoints").mkdir(exist_ok=True)
    (out / "checkpoints" / "best.json").write_text(json.dumps({"split": split}))


@pytest.fixture
def short_scores(monkeypatch):
    monkeypatch.setattr(
        "spider_utils.commands.notebooks.summary_lines", lambda scores: scores["value"].astype(str).tolist()
    )


def test_results_are_named_with_their_scores(tmp_path, short_scores, capsys):
    write_results(tmp_path, "patient_kfold", [4])
    print_results(tmp_path)
    lines = capsys.readouterr().out.splitlines()
    assert (lines[0], lines[2:]) == (f"Results: {tmp_path}", ["0.9"])  # of the test patients only
    assert lines[1].startswith("Test patients,")
    with pytest.raises(SpiderError, match="metrics.csv: expected the scores"):
        print_results(tmp_path / "elsewhere")


def test_a_leaky_split_is_named_before_its_scores(tmp_path, short_scores, capsys):
    write_results(tmp_path, "random_slice", [2, 4])
    print_results(tmp_path)
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == f"Split: random_slice ({LEAKY_NOTE})"
    assert lines[2].startswith("Test slices,") and lines[3:] == ["0.9"]


@pytest.mark.parametrize("text", ["{", "{}", '{"split": {"kind": "official"}}'])
def test_no_scores_are_shown_without_their_split(tmp_path, short_scores, capsys, text):
    write_results(tmp_path, "official", [4])
    (tmp_path / "checkpoints" / "best.json").write_text(text)
    with pytest.raises(SpiderError, match="best.json: expected the split that the network was trained on"):
        print_results(tmp_path)
    assert "0.9" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("column", "told"), [("val_mean_iou", "validation mean IoU 0.2500"), ("val_loss", "training loss 0.5000")]
)
def test_every_epoch_is_told_with_or_without_a_validation_side(tmp_path, capsys, column, told):
    with _told_epochs(tmp_path, seconds=60):
        log = pd.DataFrame({"epoch": [1, 2], "train_loss": [0.75, 0.5], column: [0.125, 0.25]})
        log.to_csv(tmp_path / "train_log.csv", index=False)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0].strip() for line in lines] == ["epoch 1", "epoch 2"]
    assert lines[1].endswith(told)


def test_provenance_is_plain_json_and_names_what_a_repetition_needs():
    found = provenance.provenance({"seed": 3, "epochs": 2}, "abc", "cpu")
    assert json.loads(json.dumps(found)) == found
    assert (found["seed"], found["data_fingerprint"], found["settings"]["epochs"]) == (3, "abc", 2)
    assert found["packages"]["torch"].startswith("2.")
    assert found["device"]["name"]


def test_code_version_reads_the_commit_of_its_own_checkout_only(tmp_path, monkeypatch):
    def git(*arguments):
        identity = ["-c", "user.name=n", "-c", "user.email=e", "-c", "commit.gpgsign=false"]
        command = ["git", "-C", str(tmp_path), *identity, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    package = tmp_path / "spider_utils" / "__init__.py"
    package.parent.mkdir()
    package.write_text("")
    monkeypatch.setattr("spider_utils.__file__", str(package))
    assert provenance.code_version()["commit"] is None  # no repository
    try:
        git("init")
    except FileNotFoundError:
        pytest.skip("no git here")
    (tmp_path / "other").write_text("")
    git("add", "other")
    git("commit", "-m", "other")
    assert provenance.code_version()["commit"] is None  # somebody else's repository
    git("add", "spider_utils")
    git("commit", "-m", "ours")
    assert provenance.code_version() == {
        "version": spider_utils.__version__,
        "commit": git("rev-parse", "HEAD"),
        "modified": False,
    }
    package.write_text("changed = True")
    assert provenance.code_version()["modified"] is True
