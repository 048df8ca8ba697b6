"""The wheel: installed into an environment of its own, in another folder, it segments without a checkout."""

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk
from PIL import Image

from spider_utils.data.phantom import make_phantom

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The package's wheel, built from a copy, so that no build folder is left in the checkout or taken from it."""
    folder, source = tmp_path_factory.mktemp("wheel"), tmp_path_factory.mktemp("source")
    shutil.copytree(ROOT / "spider_utils", source / "spider_utils", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "LICENSE"):
        shutil.copy(ROOT / name, source)
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir"]
    subprocess.run([*build, str(folder), str(source)], check=True, capture_output=True, cwd=folder)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def python(wheel, tmp_path_factory) -> Path:
    """The interpreter of an environment that has the wheel; what it requires is lent by this one, but not the checkout.

    A folder that a .pth file adds to the path has its own .pth files ignored, the editable install's among them.
    """
    place = tmp_path_factory.mktemp("elsewhere") / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(place)], check=True)
    python = place / ("Scripts" if os.name == "nt" else "bin") / "python"
    asked = "import sysconfig; print(sysconfig.get_path('purelib'))"
    site = Path(subprocess.run([str(python), "-c", asked], check=True, capture_output=True, text=True).stdout.strip())
    with zipfile.ZipFile(wheel) as packed:
        packed.extractall(site)  # a wheel of pure Python is installed by unpacking it
    lent = dict.fromkeys([sysconfig.get_path("purelib"), sysconfig.get_path("platlib")])
    (site / "lent.pth").write_text("\n".join(lent) + "\n")
    return python


def run(python: Path, folder: Path, *arguments: str) -> str:
    """Run the new environment's Python in a folder, without what this one has set; return what it prints."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "SPIDER"))}
    done = subprocess.run(
        [str(python), *arguments], capture_output=True, text=True, cwd=folder, env=environment | {"SPIDER_STATIC": "1"}
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_wheel_holds_the_package_and_what_it_reads(wheel):
    with zipfile.ZipFile(wheel) as packed:
        names = set(packed.namelist())
    files = {path for path in (ROOT / "spider_utils").rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    assert {path.relative_to(ROOT).as_posix() for path in files} <= names
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == {"spider_utils"}


def test_it_is_the_wheel_that_is_imported(python, tmp_path):
    where = Path(run(python, tmp_path, "-c", "import spider_utils; print(spider_utils.__file__)").strip())
    assert python.parents[1] in where.parents and ROOT not in where.parents


def test_its_first_run_is_on_the_sample_that_it_brought_along(python, tmp_path):
    code = "from spider_utils.runs.begin import open_run; run = open_run('out'); print(run.source, len(run.series()))"
    source, series = run(python, tmp_path, "-c", code).split()
    table = pd.read_csv(ROOT / "spider_utils" / "data" / "sample" / "slices.csv")
    assert (source, int(series)) == ("sample", len(table[["patient", "sequence"]].drop_duplicates()))


def test_it_segments_a_slice_and_a_volume_with_the_shipped_network(python, tmp_path):
    make_phantom(tmp_path / "phantom", patients=1, seed=0)
    volume = sorted((tmp_path / "phantom" / "images").glob("*_t2.mha"))[0]
    image = sitk.GetArrayFromImage(sitk.ReadImage(str(volume)))
    sides = np.argsort(image.shape)  # the fewest are the slices from left to right
    middle = np.take(image, image.shape[sides[0]] // 2, axis=sides[0]).astype(float)
    (tmp_path / "slices").mkdir()
    Image.fromarray((255 * middle / middle.max()).astype(np.uint8)).save(tmp_path / "slices" / "1_t2_slice1.png")
    predict = ("-m", "spider_utils", "predict", "--device", "cpu", "--input")
    said = run(python, tmp_path, *predict, "slices", "--output", "masks")
    assert said.startswith("1 of 1 slices segmented with spine_t2space.safetensors")
    mask = np.asarray(Image.open(tmp_path / "masks" / "1_t2_slice1.png"))
    assert mask.shape == middle.shape and set(np.unique(mask)) <= {0, 1, 2, 3} and mask.any()
    said = run(python, tmp_path, *predict, str(volume), "--output", "volumes", "--labels", "spider")
    assert said.startswith("1 of 1 volumes segmented with spine_t2space.safetensors")
    labels = sitk.ReadImage(str(tmp_path / "volumes" / volume.name))
    assert labels.GetSize() == sitk.ReadImage(str(volume)).GetSize()
    assert (sitk.GetArrayFromImage(labels) > 200).any()  # numbered discs
