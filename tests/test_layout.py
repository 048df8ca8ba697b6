"""The house: which way imports may look, who may know matplotlib, how long a module may be, what the faces hand on."""

import ast
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "spider_utils"
# The folders in the order in which data pass through; each may import from those before it.
ORDER = (
    "common", "data", "models", "train", "masks", "predict", "evaluate", "runs",
    "analysis", "studies", "figures", "present", "commands", "__main__",
)  # fmt: skip
APART = {"train", "masks", "evaluate"}  # not from each other
DRAWING = {"matplotlib", "ipywidgets"}  # for figures/ alone
FACES = ("data", "models", "train", "masks", "predict", "evaluate", "runs", "analysis", "studies", "figures", "present")
LONGEST = 300


def imported(path: Path) -> set[str]:
    """Return every module that a file names in an import, wherever in it: "torch", "spider_utils.data.store"."""
    return imported_by(ast.parse(path.read_text(encoding="utf-8")), path)


def imported_by(tree: ast.AST, path: Path) -> set[str]:
    """Return the same of a file's tree."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def wrong_imports(package: Path) -> list[str]:
    """List the imports of a package that look against the order, or draw where nothing is drawn."""
    wrong = []
    for path in sorted(package.rglob("*.py")):
        here = path.relative_to(package).parts[0].removesuffix(".py")
        if here == "__init__":
            continue
        for name in sorted(imported(path)):
            first, _, rest = name.partition(".")
            there = rest.split(".")[0] if first == "spider_utils" else ""
            if first in DRAWING and here != "figures":
                wrong.append(f"{path.relative_to(package)}: {name}")
            elif there in ORDER and (
                ORDER.index(there) > ORDER.index(here) or ({here, there} <= APART and here != there)
            ):
                wrong.append(f"{path.relative_to(package)}: {name}")
    return wrong


def test_every_folder_has_its_place_in_the_order():
    folders = {path.name for path in PACKAGE.iterdir() if path.is_dir() and list(path.rglob("*.py"))}
    assert folders | {"__main__"} == set(ORDER)
    assert {path.name for path in PACKAGE.glob("*.py")} == {"__init__.py", "__main__.py"}


def test_imports_look_towards_the_source_of_the_data():
    assert wrong_imports(PACKAGE) == []


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("data/store.py", "from spider_utils.train.trainer import train"),
        ("common/files.py", "import spider_utils.data.labels"),
        ("models/build.py", "def late():\n    from spider_utils.predict import segment"),
        ("evaluate/scores.py", "from spider_utils.masks.pieces import components"),
        ("masks/pieces.py", "from spider_utils.train import losses"),
        ("studies/errors.py", "from spider_utils import figures"),
        ("studies/paired.py", "import matplotlib.pyplot as plt"),
        ("runs/run.py", "from ipywidgets import Button"),
    ],
)
def test_an_import_turned_round_is_noticed(tmp_path, module, line):
    path = tmp_path / "spider_utils" / module  # of a package of this one module
    path.parent.mkdir(parents=True)
    path.write_text(f"{line}\n{(PACKAGE / module).read_text(encoding='utf-8')}", encoding="utf-8")
    assert [one.split(":")[0] for one in wrong_imports(tmp_path / "spider_utils")] == [module]


@pytest.mark.parametrize("folder", ["spider_utils", "tools", "benchmarks"])
def test_a_module_is_read_in_one_sitting(folder):
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in (ROOT / folder).rglob("*.py")}
    assert {str(path.relative_to(ROOT)): count for path, count in lengths.items() if count > LONGEST} == {}


@pytest.mark.parametrize("name", FACES)
def test_a_face_hands_on_what_it_names_and_hides_no_module(name):
    face = import_module(f"spider_utils.{name}")
    assert face.__all__ and face.__doc__ and dir(face) == sorted(face.__all__)
    modules = {path.stem for path in (PACKAGE / name).iterdir()}
    for handed in face.__all__:
        assert getattr(face, handed) is not None
        assert handed not in modules or getattr(face, handed).__name__ == f"spider_utils.{name}.{handed}"
    with pytest.raises(AttributeError, match=f"spider_utils.{name}.*nothing_of_this"):
        face.nothing_of_this  # noqa: B018


@pytest.mark.parametrize("path", sorted((ROOT / "notebooks").glob("*.py")), ids=lambda path: path.stem)
def test_a_notebook_knows_the_faces_alone(path):
    lines = path.read_text(encoding="utf-8").splitlines()
    known = {f"spider_utils.{name}" for name in (*FACES, "SpiderError")} | {"spider_utils.runs.colab"}
    code = "\n".join(line for line in lines if not line.lstrip().startswith(("#", "%")))
    names = {name for name in imported_by(ast.parse(code), path) if name.startswith("spider_utils")}
    assert names and names <= known


def test_faces_cost_nothing_until_they_are_asked():
    code = (
        f"import sys; from spider_utils import {', '.join(FACES)}; import spider_utils.__main__;"
        "print([name for name in ('torch', 'SimpleITK', 'pandas', 'papermill', 'matplotlib') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"


def test_help_starts_without_the_heavy_packages():
    code = (
        "import sys\nfrom spider_utils.__main__ import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "print([name for name in ('torch', 'SimpleITK', 'pandas', 'numpy', 'matplotlib') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert "predict" in done.stdout and done.stdout.splitlines()[-1] == "[]"
