"""Few draws of patients, for tests in which an interval is no more than a column."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from spider_utils.evaluate.bootstrap import patient_weights
from spider_utils.evaluate.scores import summarise

FEW = 20


@contextmanager
def few_draws() -> Iterator[None]:
    """Draw patients FEW times, rather than a thousand, wherever nobody says how often."""
    with pytest.MonkeyPatch.context() as patched:
        for drawing in (patient_weights, summarise):  # in both the first value that stands by itself
            patched.setattr(drawing, "__defaults__", (FEW, *drawing.__defaults__[1:]))
        yield
