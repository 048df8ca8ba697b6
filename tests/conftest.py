"""What several tests share: where the real data lies, and few draws of patients."""

import os
from collections.abc import Iterator
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


@pytest.fixture(name="few_draws")
def with_few_draws() -> Iterator[None]:
    """See `helpers.draws.few_draws`."""
    from tests.helpers.draws import few_draws  # imports what is measured, which most tests do without

    with few_draws():
        yield
