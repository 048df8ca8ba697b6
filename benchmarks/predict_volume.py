"""How long a whole volume takes: python benchmarks/predict_volume.py [--runs N] [--device auto].

A synthetic T2 SPACE volume of SPIDER's size (120 slices of about 640 x 640) is segmented by the command line, as a user
would, in a process of its own. Beside it, in turn, so that a slow or busy machine slows all of them:

- `copy`: SimpleITK alone reads the volume and writes it again, compressed;
- `monai`: MONAI's BasicUNet (its own default size) sees the same slices at the same size, nothing else is done.

Printed and written to benchmarks/predict_volume_DEVICE.csv: wall seconds and peak memory of each, and the ratios of the
times to `copy` and to `monai` within a run; medians over the runs.
"""

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd
import SimpleITK as sitk

from spider_utils.common.files import atomic_path
from spider_utils.common.provenance import code_version, device_name

HERE = Path(__file__).resolve().parent
# In a process of its own: a child's peak memory, as the system counts it, begins with its parent's.
MAKE = """
import sys, SimpleITK as s
from spider_utils.studies.roundtrip import Extent, sampled_phantom
image, _ = sampled_phantom("T2 SPACE", Extent(across_mm=120.0))
s.WriteImage(image, sys.argv[1], True)
"""
COPY = "import sys, SimpleITK as s; s.WriteImage(s.ReadImage(sys.argv[1]), sys.argv[2], True)"
MONAI = """
import sys, torch
from monai.networks.nets import BasicUNet
device = torch.device(sys.argv[2])
network = BasicUNet(spatial_dims=2, in_channels=1, out_channels=4).eval().to(device)
with torch.no_grad():
    for _ in range(int(sys.argv[1])):
        network(torch.rand(1, 1, 320, 256, device=device)).argmax(1).cpu()
"""


def measure(command: list[str]) -> tuple[float, float]:
    """Run a command; return its wall seconds and its peak memory in GB. Raises CalledProcessError when it fails."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    scale = 1 if platform.system() == "Darwin" else 1024
    return seconds, usage.ru_maxrss * scale / 1e9


def read_size(volume: Path) -> tuple[int, ...]:
    """Return a volume's size from its header."""
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(volume))
    reader.ReadImageInformation()
    return reader.GetSize()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3, help="how often each command runs (default 3)")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or mps (default cpu)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        volume = Path(folder) / "3_t2_SPACE.mha"
        subprocess.run([sys.executable, "-c", MAKE, str(volume)], check=True)
        shape = read_size(volume)
        size = " x ".join(map(str, shape))
        predict = [sys.executable, "-m", "spider_utils", "predict", "--input", str(volume), "--device", options.device]
        commands = {
            "copy": [sys.executable, "-c", COPY, str(volume), str(Path(folder) / "copy.mha")],
            "monai": [sys.executable, "-c", MONAI, str(min(shape)), options.device],
            "predict, four classes": [*predict, "--labels", "four"],
            "predict, SPIDER's numbers": [*predict, "--labels", "spider"],
        }
        rows = []
        for run in range(options.runs):
            for name, command in commands.items():
                place = ["--output", str(Path(folder) / f"{run} {name}")] if name.startswith("predict") else []
                seconds, peak = measure(command + place)
                rows.append({"run": run, "command": name, "seconds": seconds, "peak_gb": peak})
                print(f"run {run}, {name}: {seconds:.1f} s, {peak:.2f} GB", flush=True)
    table = pd.DataFrame(rows)
    for name in ("copy", "monai"):
        base = table[table["command"] == name].set_index("run")["seconds"]
        table[f"times_{name}"] = table["seconds"] / table["run"].map(base)
    medians = table.drop(columns="run").groupby("command", sort=False).median().round(2).reset_index()
    code = code_version()
    medians = medians.assign(runs=options.runs, volume=size, device=options.device, machine=device_name(options.device))
    medians = medians.assign(code=str(code["commit"])[:8] + (" with changes" if code["modified"] else ""))
    with atomic_path(HERE / f"predict_volume_{options.device}.csv") as path:
        medians.to_csv(path, index=False)
    print(medians.to_string(index=False))


if __name__ == "__main__":
    main()
