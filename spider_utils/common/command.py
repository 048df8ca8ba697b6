"""What every command shares: an exit status, and one line for what the user or the machine can mend."""

import io
import os
import sys
from collections.abc import Callable

from spider_utils.common.errors import SpiderError, in_one_line
from spider_utils.common.files import refuse_unwritable


def exit_status(command: Callable[[], int | None], place: str | None = None, is_file: bool = False) -> int:
    """Run a command, which writes to the folder or the one file `place`, and return its exit status.

    Its own, 0 for None; 2 after an error in one line; 130 when interrupted; 141 where what reads the output has ended
    (`| head`). A fault of this program keeps its traceback.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # its encoding may lack a letter, and a file's name be no UTF-8
            stream.reconfigure(errors="backslashreplace")
    try:
        if place:
            refuse_unwritable(place, is_file)
        status = command() or 0
        sys.stdout.flush()
        return status
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except Exception as error:
        _drop_output()
        if isinstance(error, BrokenPipeError):
            return 141
        told = str(error) if isinstance(error, SpiderError) else in_one_line(error)
        if told is None:
            raise
        print(f"error: {told}", file=sys.stderr)
        return 2


def _drop_output() -> None:
    """Throw away what cannot be printed, or Python's own end complains of it."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
