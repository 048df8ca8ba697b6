"""What is installed, and from where: one list of requirements, one version, one address, one set of exact pins."""

import ast
import re
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

import spider_utils

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
REQUIREMENTS = [
    Requirement(line) for line in (*PROJECT["dependencies"], *EXTRAS["lab"], *EXTRAS["dev"], *EXTRAS["peers"])
]
# Imported where an option or a study asks for it, and told to be missing if it is.
OPTIONAL = {"engine.py": {"distributed"}, "nnunet.py": {"nnunetv2"}}
PINS = dict(
    line.split("==")
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    if not line.startswith("#")
)


def test_environment_yml_lists_nothing_of_its_own():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    *conda, pip = environment["dependencies"]
    python = conda[0].removeprefix("python=")
    assert conda == [f"python={python}", "pip"]
    assert pip == {"pip": ["-c constraints.txt", "-e .[lab,dev]"]}
    assert SpecifierSet(PROJECT["requires-python"]) == SpecifierSet(f">={python}")


def test_the_makefile_installs_the_same():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert "-c constraints.txt -e '.[lab,dev]'" in makefile
    assert set(EXTRAS) == {"lab", "dev", "cluster", "peers"}
    assert set(EXTRAS["cluster"]) <= set(EXTRAS["dev"])  # so that its tests run


@pytest.mark.parametrize(("name", "works"), [("python3.12", True), ("python3.13", True), ("python3.10", False)])
def test_make_takes_any_python_that_the_pins_are_for_and_names_what_it_tried(tmp_path, name, works):
    """With stand-ins for Python: they are new enough by their names, and make no environment."""
    (tmp_path / name).write_text('#!/bin/sh\necho "$@" >>"$0.log"\n[ "$1" = -c ] || exit 3\n')
    (tmp_path / name).chmod(0o755)
    command = [shutil.which("make"), "--no-print-directory", "setup", f"VENV={tmp_path}/venv"]
    done = subprocess.run(command, cwd=ROOT, env={"PATH": str(tmp_path)}, capture_output=True, text=True)
    tried = (tmp_path / f"{name}.log").is_file()
    assert tried == works and done.returncode
    assert ("(tried: python3.11 python3.12 python3.13 python3)" in done.stderr) == (not works)


@pytest.mark.parametrize("requirement", REQUIREMENTS, ids=str)
def test_every_requirement_is_pinned_within_its_bounds(requirement):
    assert requirement.specifier.contains(PINS[canonicalize_name(requirement.name)])


def test_constraints_are_exact_versions_and_name_no_place():
    assert all(re.fullmatch(r"[a-z0-9-]+", name) for name in PINS)
    assert all(re.fullmatch(r"\d+(\.\d+)*(\.post\d+)?", version) for version in PINS.values())


def test_the_package_imports_only_what_it_requires():
    """Anything imported from the outside must stand in `dependencies`, not come along by luck or with an extra."""
    required = {canonicalize_name(Requirement(line).name) for line in PROJECT["dependencies"]}
    # These come with a requirement that cannot do without them.
    required |= {"nbclient", "nbformat"} if "papermill" in required else set()
    required |= {"ipython"} if "ipykernel" in required else set()
    distributions = packages_distributions()
    undeclared = set()
    for path in (ROOT / "spider_utils").rglob("*.py"):
        for name in _imported(ast.parse(path.read_text(encoding="utf-8"))) - {"spider_utils", "google"}:
            if name not in sys.stdlib_module_names:
                names = {canonicalize_name(one) for one in distributions.get(name, [name])}
                if not names & (required | OPTIONAL.get(path.name, set())):
                    undeclared.add(f"{path.name}: {name}")
    assert not undeclared


def _imported(tree: ast.AST) -> set[str]:
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names.add(node.module.split(".")[0])
    return names


def test_citation_names_this_version_and_licence():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == spider_utils.__version__
    assert " AND ".join(citation["license"]) == PROJECT["license"] == "MIT AND CC-BY-4.0"  # the code, the sample


def test_the_repository_address_stands_in_pyproject_alone():
    """Elsewhere only notebooks and the pages' blocks may have it, which `make badges` writes from there."""
    address = PROJECT["urls"]["Repository"].removeprefix("https://")
    texts = [
        *ROOT.glob("*.*"),
        *(ROOT / "docs").glob("*.md"),
        *(ROOT / "spider_utils").rglob("*.py"),
        *(ROOT / "tools").rglob("*.py"),
        *(ROOT / "tests").rglob("*.py"),
    ]
    found = set()
    for path in texts:
        if path.is_file():
            text = path.read_text(encoding="utf-8")
            text = re.sub(r"<!-- (\w+): begin -->.*?<!-- \1: end -->", "", text, flags=re.DOTALL)
            found |= {path.name} if address in text else set()
    assert found == {"pyproject.toml"}


def test_light_modules_do_not_import_heavy_packages():
    code = (
        "import sys, spider_utils.__main__, spider_utils.common.provenance, spider_utils.runs.colab;"
        "print([name for name in ('torch', 'SimpleITK', 'papermill', 'matplotlib') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_training_needs_neither_simpleitk_nor_jupyter_nor_matplotlib():
    """Nor do studies, but those of volumes and of errors and nnU-Net, which need SimpleITK."""
    package = ROOT / "spider_utils"
    modules = ["data.store", "data.splits"]
    modules += [f"{name}.{path.stem}" for name in ("models", "train") for path in (package / name).glob("[a-z]*.py")]
    studies = {path.stem for path in (package / "studies").glob("[a-z]*.py")}
    modules += [
        f"studies.{name}"
        for name in sorted(studies - {"volumes", "roundtrip", "bodies", "errors", "counting", "nnunet"})
    ]
    code = "import sys; " + "; ".join(f"import spider_utils.{name}" for name in modules)
    code += "; print([name for name in ('SimpleITK', 'IPython', 'papermill', 'matplotlib') if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert found.stdout.strip() == "[]"
