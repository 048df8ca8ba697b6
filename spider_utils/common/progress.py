"""Progress bars for long work; none where SPIDER_STATIC is 1, that is where nobody watches (papermill, nbval)."""

import os
from typing import Any

from tqdm.auto import tqdm


def is_static() -> bool:
    """Return True in a run without a reader: no bars, no widgets."""
    return os.environ.get("SPIDER_STATIC") == "1"


def progress(*arguments: Any, **options: Any) -> tqdm:
    """Return tqdm's bar with these arguments, or one that shows nothing in a run without a reader."""
    return tqdm(*arguments, **options | {"disable": is_static() or options.get("disable", False)})
