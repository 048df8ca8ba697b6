"""What a notebook is executed with: a kernel of this interpreter, and an environment without widgets and bars."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from ipykernel.kernelspec import write_kernel_spec

KERNEL = "python3"


@contextmanager
def own_kernel() -> Iterator[None]:
    """Set the environment of the kernels that start meanwhile.

    KERNEL is this interpreter, whatever other kernel of that name stands first in Jupyter's search path, and
    SPIDER_STATIC is 1. HOME is a temporary folder where the user has none to write to: Jupyter does not start without.
    """
    with TemporaryDirectory() as folder:
        write_kernel_spec(Path(folder) / "kernels" / KERNEL)
        places = os.pathsep.join(filter(None, (folder, os.environ.get("JUPYTER_PATH"))))
        changed = {"SPIDER_STATIC": "1", "JUPYTER_PATH": places} | ({} if _has_home() else {"HOME": folder})
        before = {name: os.environ.get(name) for name in changed}
        os.environ |= changed
        try:
            yield
        finally:
            for name, value in before.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value


def _has_home() -> bool:
    try:
        return os.access(Path.home(), os.W_OK)
    except RuntimeError:  # no HOME, and the system does not know the user
        return False
