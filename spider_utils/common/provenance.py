"""Where a result comes from: the code, the parameters, the data and the machine that made it."""

import datetime
import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

import spider_utils

PACKAGES = ("torch", "numpy", "scipy", "pandas", "SimpleITK", "pillow", "matplotlib", "safetensors", "papermill")


def provenance(settings: dict[str, Any], fingerprint: str, device: str) -> dict[str, Any]:
    """Describe one run so that it can be repeated: everything is plain JSON.

    `fingerprint` is the data's (see `spider_utils.data.sources`), `device` one of torch's names ("cpu", "cuda", "mps").
    """
    return {
        "code": code_version(),
        "settings": settings,
        "seed": settings.get("seed"),
        "data_fingerprint": fingerprint,
        "device": {"type": device, "name": device_name(device)},
        "processes": int(os.environ.get("WORLD_SIZE", 1)),  # that work together, a device each
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: _installed_version(name) for name in PACKAGES},
        "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def code_version() -> dict[str, Any]:
    """Return the package's version, and git's commit and whether files differ from it: None outside a checkout."""
    package = Path(spider_utils.__file__).parent
    # A package installed into a .venv inside someone's checkout must not report that checkout's commit.
    ours = _git(package, "ls-files", "--error-unmatch", "__init__.py") is not None
    commit = _git(package, "rev-parse", "HEAD") if ours else None
    changes = _git(package, "status", "--porcelain", "--untracked-files=no") if commit else None
    return {
        "version": spider_utils.__version__,
        "commit": commit,
        "modified": None if changes is None else changes != "",
    }


def device_name(device: str) -> str:
    """Name the hardware behind one of torch's devices, e.g. "Tesla T4" for "cuda"."""
    if device.startswith("cuda"):
        import torch

        return torch.cuda.get_device_name(device)
    return f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores"


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def _installed_version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
