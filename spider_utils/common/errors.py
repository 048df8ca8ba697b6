"""Errors in one line that says what was expected, what was found and what to do: the user's, and the machine's."""

import errno
import re

AGAIN = "give the same command again, what is finished is kept"
REMEDIES = {  # by the number of the system's error
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), f"free some space and {AGAIN}"),
    errno.EFBIG: f"allow larger files there and {AGAIN}",
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), "change its rights or name another place"),
    **dict.fromkeys((errno.EMFILE, errno.ENFILE), f"allow more open files (ulimit -n) and {AGAIN}"),
    errno.ENAMETOOLONG: "shorten the name",
    **dict.fromkeys((errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ELOOP), "name another place"),
    errno.ENOENT: "it may have been taken away meanwhile; check the path",
}
NO_MEMORY = f"there is too little memory; close other programs or take a larger machine, and {AGAIN}"
OUT_OF_MEMORY = re.compile(r"can't allocate memory|not enough memory|out of memory", re.IGNORECASE)  # torch says so
NOT_WRITTEN = re.compile(r"PytorchStreamWriter|unexpected pos \d+|File cannot be written")  # torch's and ITK's words
CODE = re.compile(r"(?:\(os error |\[Errno )(\d+)")  # how Rust's libraries and Python tell the system's error


class SpiderError(ValueError):
    """A missing folder, a wrong label, a truncated file, a mask that does not fit its image, a bad parameter."""


def in_one_line(error: BaseException) -> str | None:
    """Say in one line what the machine lacks (room, rights, memory, a living process) and what to do.

    None for another error, which is a fault of this program and keeps its traceback.
    """
    lines = str(error).strip().splitlines() or [""]
    text = next(filter(NOT_WRITTEN.search, lines), lines[0]).split("): ")[-1]  # ITK's words come after an address
    if isinstance(error, OSError):
        named = f"{error.filename}: " if error.filename else ""
        return f"{named}{error.strerror or text}; {REMEDIES.get(error.errno or 0, f'check it and {AGAIN}')}"
    cure = remedy(type(error).__name__, text)
    return cure and (f"{text}; {cure}" if text else cure)


def remedy(kind: str, text: str) -> str | None:
    """Say what to do about an error by its class and message, as another process tells of it; None: not known."""
    told = CODE.search(text)
    if told:
        return REMEDIES.get(int(told[1]), f"check it and {AGAIN}")
    if kind.endswith("MemoryError") or (kind == "RuntimeError" and OUT_OF_MEMORY.search(text)):
        return NO_MEMORY
    if kind == "RuntimeError" and NOT_WRITTEN.search(text):
        return REMEDIES[errno.ENOSPC]
    if kind in ("TerminatedWorkerError", "BrokenProcessPool"):
        return f"as a rule for want of memory; take fewer workers, and {AGAIN}"
    return None


def in_a_batch(name: object, error: Exception) -> str:
    """Say in one line why one file of many is left out, so that the rest go on."""
    if isinstance(error, SpiderError):
        return str(error)
    fault = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}; a fault of this program, report it"
    return f"{name}: {in_one_line(error) or fault}"
