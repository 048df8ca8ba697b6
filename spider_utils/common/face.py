"""The face of a folder: the few names that it hands on, each imported when it is first asked for.

So `from spider_utils import data` costs nothing, and pulls neither SimpleITK nor torch in.
"""

from collections.abc import Callable
from importlib import import_module
from typing import Any


def make_face(package: str, names: dict[str, str]) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """Return `__getattr__`, `__dir__` and `__all__` of a package that hands on `names`, {name: module of the package}.

    A name that is its module's own stands for that module.
    """

    def get(name: str) -> Any:
        if name not in names:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module = import_module(f"{package}.{names[name]}")
        return module if name == names[name] else getattr(module, name)

    return get, lambda: sorted(names), list(names)
