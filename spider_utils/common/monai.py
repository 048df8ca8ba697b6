"""MONAI's modules, each imported where it is first needed, since that takes seconds."""

import getpass
import os
from importlib import import_module
from types import ModuleType


def monai_module(name: str) -> ModuleType:
    """Import a module of MONAI by its name there.

    MONAI asks for the user's name and dies of a user who has only a number, as in a container; so the number is named.
    """
    try:
        getpass.getuser()
    except (KeyError, OSError):  # KeyError before Python 3.13
        os.environ["LOGNAME"] = str(os.getuid())
    return import_module(f"monai.{name}")
