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
    SPIDER_STATIC is 1.
    """
    with TemporaryDirectory() as folder:
        write_kernel_spec(Path(folder) / "kernels" / KERNEL)
        places = os.pathsep.join(filter(None, (folder, os.environ.get("JUPYTER_PATH"))))
        before = {name: os.environ.get(name) for name in ("SPIDER_STATIC", "JUPYTER_PATH")}
        os.environ |= {"SPIDER_STATIC": "1", "JUPYTER_PATH": places}
        try:
            yield
        finally:
            for name, value in before.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value
