"""The set-up of a notebook on Google Colab, which the first code cell of every notebook calls there."""

import os
from pathlib import Path

from spider_utils.common.errors import SpiderError

DRIVE = Path("/content/drive")


def setup(drive: bool = False, folder: str = "spider_runs") -> None:
    """Name the GPU and, with `drive`, keep runs (and the phantom in them) in `folder` of Google Drive.

    Runs then lie in a place that outlives the session, so that one which Colab cut off goes on when the notebook is
    run again: the environment variable SPIDER_RUNS names that place. Real data is kept there too when it is downloaded
    into that folder. Raises SpiderError for `drive` outside Colab.
    """
    if drive:
        runs = _mounted_drive() / "MyDrive" / folder
        runs.mkdir(parents=True, exist_ok=True)
        os.environ["SPIDER_RUNS"] = str(runs)
        print(f"Runs are kept in Google Drive: {runs}; to keep real data too, download it to {runs}/data.")
    else:
        print("Runs end with this session; setup(drive=True) keeps them in Google Drive.")
    print(_gpu_line())


def _mounted_drive() -> Path:
    try:
        from google.colab import drive
    except ImportError as error:
        raise SpiderError("Google Drive: expected to be on Colab, found no google.colab; use setup() here") from error
    drive.mount(str(DRIVE))
    return DRIVE


def _gpu_line() -> str:
    import torch

    if torch.cuda.is_available():
        return f"GPU: {torch.cuda.get_device_name()}"
    return "No GPU, so training is slow: Runtime > Change runtime type > T4 GPU switches one on."
