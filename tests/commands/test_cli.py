"""The command line: what reaches the functions behind it, and one line for every wrong input."""

import subprocess
import sys
from types import ModuleType

import pytest

from spider_utils.__main__ import main
from spider_utils.common.errors import SpiderError
from spider_utils.common.parameters import scalar
from spider_utils.data.phantom.acquisition import MOST_PIXELS


@pytest.fixture
def calls(monkeypatch):
    """Stand-ins for the functions behind the commands, which note what they were called with."""
    noted = []

    def stand_in(module, **functions):
        fake = ModuleType(module)
        for name in functions:
            setattr(fake, name, lambda *args, _name=name, **kwargs: noted.append((_name, args, kwargs)))
        monkeypatch.setitem(sys.modules, module, fake)
        monkeypatch.setattr(sys.modules["spider_utils"], module.split(".")[1], fake, raising=False)

    stand_in("spider_utils.data.phantom", make_phantom=1)
    stand_in("spider_utils.data.download", download_released=1, download_spider=1)
    stand_in("spider_utils.commands.notebooks", run_notebooks=1, print_results=1)
    return noted


def test_phantom(calls):
    assert main(["phantom", "--out", "here", "--patients", "3", "--seed", "7"]) == 0
    assert main(["phantom", "--out", "there", "--pixels", "0"]) == 0
    assert calls == [
        ("make_phantom", ("here",), {"patients": 3, "seed": 7, "most_pixels": MOST_PIXELS}),
        ("make_phantom", ("there",), {"patients": 12, "seed": 0, "most_pixels": 0}),
    ]


@pytest.mark.parametrize("source", ["released", "spider"])
def test_download(calls, source):
    assert main(["download", "--source", source, "--out", "here"]) == 0
    assert calls == [(f"download_{source}", ("here",), {})]


def test_run(calls):
    line = ["run", "--source", "released", "--data-dir", "d", "--profile", "cpu", "--out", "o"]
    assert main([*line, "-p", "epochs", "3", "-p", "loss", "combined", "-p", "rate", "1e-3"]) == 0
    assert calls[0] == (
        "run_notebooks",
        ("released", "d", "cpu", "o", {"epochs": 3, "loss": "combined", "rate": 1e-3}),
        {},
    )
    assert calls[1][0] == "print_results"


def test_study(monkeypatch, capsys):
    noted = []
    monkeypatch.setattr("spider_utils.commands.study.run_command", lambda *given, **more: noted.append((*given, more)))
    assert main(["study", "leakage", "--out", "o"]) == 0
    line = ["study", "labels", "--source", "phantom", "--data-dir", "d", "--out", "o", "--workers", "3"]
    assert main([*line, "-p", "epochs", "2", "--scheduler", "tcp://host:8786"]) == 0
    usual = {"source": "released", "data_dir": None, "workers": 0, "overrides": {}, "scheduler": "", "metadata": None}
    other = {"source": "phantom", "data_dir": "d", "workers": 3, "overrides": {"epochs": 2}}
    assert noted == [
        ("leakage", "o", usual),
        ("labels", "o", other | {"scheduler": "tcp://host:8786", "metadata": None}),
    ]
    assert capsys.readouterr().out.count("Tables and figures: o") == 2


def test_an_unknown_study_is_one_line_and_nothing_is_written(tmp_path, capsys):
    assert main(["study", "leak", "--out", str(tmp_path / "o")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: study 'leak': no such study; expected one of") and error.count("\n") == 1
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3),
        ("-1", -1),
        ("0.5", 0.5),
        ("1e-3", 0.001),
        ("2.5E4", 25000.0),
        ("true", True),
        ("null", None),
        ("T2_SPACE", "T2_SPACE"),
        ("'3'", "3"),
        (".5", 0.5),
        ("5.", 5.0),
        ("0", 0),
        ("+10", 10),
        ("1e308", 1e308),
        ("0,1", "0,1"),
    ],
)
def test_values_of_parameters(text, value):
    found = scalar("name", text)
    assert found == value
    assert type(found) is type(value)


OTHER_NUMBERS = ["017", "08", "-017", "00.5", "0x1F", "0b1", "12:30", "1_000", "1e400", "-1e400", "9" * 5000, "٣"]
OTHER_NUMBERS += ["nan", "NaN", ".nan", "inf", ".inf", "-Infinity"]
NOT_SINGLE = ["[1, 2]", "{a: 1}", "2024-01-01", "2024-13-45", "[", "[" * 5000, "a: b: c", "", "# 3"]


@pytest.mark.parametrize("text", NOT_SINGLE + OTHER_NUMBERS, ids=lambda text: text[:12])
def test_values_that_are_not_single_are_refused(text):
    with pytest.raises(SpiderError, match="parameter name: expected one value"):
        scalar("name", text)


def test_a_parameter_that_is_given_twice_is_refused(calls, capsys):
    line = ["run", "--source", "sample", "--profile", "smoke", "--out", "o", "-p", "epochs", "3", "-p", "epochs", "4"]
    assert main(line) == 2 and not calls
    assert capsys.readouterr().err == "error: parameter epochs: expected one value, found two; leave one out\n"


def test_an_error_of_the_user_is_one_line(monkeypatch, capsys, calls):
    def refuse(*args, **kwargs):
        raise SpiderError("here: expected a folder, found a file; take another")

    monkeypatch.setattr(sys.modules["spider_utils.data.phantom"], "make_phantom", refuse)
    assert main(["phantom", "--out", "here"]) == 2
    assert capsys.readouterr().err == "error: here: expected a folder, found a file; take another\n"


def test_a_bug_keeps_its_traceback(monkeypatch, calls):
    def fail(*args, **kwargs):
        raise KeyError("a bug")

    monkeypatch.setattr(sys.modules["spider_utils.data.phantom"], "make_phantom", fail)
    with pytest.raises(KeyError):
        main(["phantom", "--out", "here"])


def test_an_interrupt_is_one_line(monkeypatch, capsys, calls):
    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(sys.modules["spider_utils.data.phantom"], "make_phantom", interrupt)
    assert main(["phantom", "--out", "here"]) == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_help_waits_for_no_heavy_library():
    code = (
        "import sys; import spider_utils.__main__ as program; program.make_parser().format_help(); print(*sys.modules)"
    )
    loaded = set(
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    )
    assert "spider_utils.data.sources" in loaded
    assert not loaded & {"torch", "pandas", "SimpleITK", "numpy", "matplotlib", "papermill"}


@pytest.mark.parametrize(
    ("line", "word"),
    [
        (["run", "--source", "phantoms", "--profile", "smoke", "--out", "o"], "phantoms"),
        (["run", "--source", "phantom", "--out", "o"], "--profile"),
        (["phantom", "--out", "o", "--patients", "many"], "many"),
        (["fly"], "fly"),
        ([], "COMMAND"),
    ],
)
def test_a_wrong_command_line_is_one_line(capsys, line, word):
    with pytest.raises(SystemExit) as stopped:
        main(line)
    error = capsys.readouterr().err
    assert stopped.value.code == 2
    assert error.startswith("error: ") and word in error and error.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--source", "released"], "expected the folder of its data, found none"),
        (["--source", "spider", "--data-dir", "nowhere"], "nowhere: expected a folder with the data, found nothing"),
        (["--source", "released", "--data-dir", "file"], "file: expected a folder with the data, found a file"),
        (["--source", "phantom", "--profile", "fast"], "expected one of cpu, paper, smoke"),
        (["--source", "phantom", "-p", "epochs", "[1]"], "parameter epochs: expected one value"),
    ],
)
def test_a_run_that_cannot_start(monkeypatch, tmp_path, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    assert main(["run", "--profile", "smoke", "--out", "o", *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and message in error and error.count("\n") == 1
    assert not (tmp_path / "o").exists()
