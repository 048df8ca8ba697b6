"""What several tests share: where the real data lies, a finished study, few draws of patients."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder with the real slices, from SPIDER_SHARED_DATA or beside the repository; skips where there is none."""
    folder = Path(os.environ.get("SPIDER_SHARED_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder} (set SPIDER_SHARED_DATA)")
    return folder


# Helpers are imported where a fixture needs them: with them comes PyTorch, which many tests do without.
@pytest.fixture(scope="session")
def small_study(tmp_path_factory) -> tuple[Path, Any]:
    """The folder of a finished study and the store in it, see `helpers.small_study`; tests only read them."""
    from tests.helpers.small_study import finish_small_study

    out = tmp_path_factory.mktemp("small_study")
    return out, finish_small_study(out)


@pytest.fixture(name="few_draws")
def with_few_draws() -> Iterator[None]:
    """See `helpers.draws.few_draws`."""
    from tests.helpers.draws import few_draws

    with few_draws():
        yield
