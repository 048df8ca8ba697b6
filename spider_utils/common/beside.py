"""Reading and writing beside computing: one thing ahead and one behind, each in a thread of its own."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

Item = TypeVar("Item")
END: Any = object()


def one_ahead(items: Iterable[Item]) -> Iterator[Item]:
    """Yield the items in their order; while the caller works on one, the next is made in a thread, and no more."""
    iterator = iter(items)
    with ThreadPoolExecutor(1) as maker:
        made = maker.submit(next, iterator, END)
        while (item := made.result()) is not END:
            made = maker.submit(next, iterator, END)
            yield item


@contextmanager
def one_behind() -> Iterator[Callable[..., None]]:
    """Give a function that calls another with its arguments in a thread, once the call before has ended.

    An error of a call comes out of the next one, or at the end.
    """
    calls: list[Future] = []

    def call(function: Callable[..., Any], *arguments: Any) -> None:
        while calls:
            calls.pop().result()
        calls.append(caller.submit(function, *arguments))

    with ThreadPoolExecutor(1) as caller:
        yield call
        call(bool)  # waits for the last
