"""What several tests share: where the real data lies."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder with the real slices, from SPIDER_SHARED_DATA or beside the repository; skips where there is none."""
    folder = Path(os.environ.get("SPIDER_SHARED_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder} (set SPIDER_SHARED_DATA)")
    return folder
