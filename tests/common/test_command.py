"""What every command ends with: one line and a status, whatever the machine does to it."""

import errno
import os
import subprocess
import sys

import pytest

from spider_utils.common.command import exit_status
from spider_utils.common.errors import SpiderError, in_a_batch, in_one_line


def end(code: str, **options) -> subprocess.CompletedProcess:
    """Run `code`, which defines a function `command`, as a command of its own process."""
    line = f"import sys\nfrom spider_utils.common.command import exit_status\n{code}\nsys.exit(exit_status(command))"
    return subprocess.run([sys.executable, "-c", line], stderr=subprocess.PIPE, **options)


PRINTS = "def command():\n    for _ in range(100_000): print('a line')\n"


def test_who_stops_reading_ends_the_command_without_a_word():
    reading, writing = os.pipe()
    os.close(reading)
    done = end(PRINTS, stdout=writing)
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, b"")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no device that is full")
def test_an_output_without_room_is_one_line():
    with open("/dev/full", "wb") as full:
        done = end(PRINTS, stdout=full)
    assert done.returncode == 2
    assert done.stderr.decode() == (
        "error: No space left on device; free some space and give the same command again, what is finished is kept\n"
    )


@pytest.mark.parametrize("encoding", ["ascii", "utf-8", "latin-1"])
def test_letters_that_the_output_lacks_are_written_out(encoding):
    code = "def command():\n    print('0.5 \\u2192 \\udcff')\n    print('\\u2192', file=sys.stderr)\n"
    done = end(code, stdout=subprocess.PIPE, env=os.environ | {"PYTHONIOENCODING": encoding})
    assert done.returncode == 0
    arrow = "→" if encoding == "utf-8" else r"\u2192"
    assert done.stdout.decode(encoding) == f"0.5 {arrow} \\udcff\n" and done.stderr.decode(encoding) == f"{arrow}\n"


class OutOfMemoryError(RuntimeError):
    """As torch's of a graphics card."""


class SafetensorError(Exception):
    """As that library's, which is written in Rust."""


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "a.npy"), "a.npy: No space left on device; free some space"),
        (PermissionError(errno.EACCES, "Permission denied", "out"), "out: Permission denied; change its rights"),
        (OSError(errno.EROFS, "Read-only file system", "out"), "out: Read-only file system; change its rights"),
        (OSError(errno.EMFILE, "Too many open files"), "Too many open files; allow more"),
        (ConnectionError("the network is down"), "the network is down; check it and give the same command again"),
        (SafetensorError("I/O error: No space left on device (os error 28)"), "(os error 28); free some space"),
        (MemoryError(), "there is too little memory"),
        (RuntimeError("[...] DefaultCPUAllocator: can't allocate memory: you tried"), "there is too little memory"),
        (OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), "there is too little memory"),
        (
            RuntimeError("Exception thrown\nITK ERROR: MetaImageIO(0x5): File cannot be written: a.mha\nReason: full"),
            "File cannot be written: a.mha; free some space",
        ),
        (RuntimeError("[enforce fail at inline_container.cc:664] . unexpected pos 640 vs 534"), "free some space"),
    ],
)
def test_what_the_machine_lacks_is_said_with_the_remedy(error, words, capsys):
    def command():
        raise error

    assert words in in_one_line(error) and words in in_a_batch("a.mha", error)
    assert exit_status(command) == 2
    told = capsys.readouterr().err
    assert told == f"error: {in_one_line(error)}\n"


def test_a_fault_of_ours_keeps_its_traceback_but_costs_no_other_file():
    def command():
        raise KeyError("a bug")

    assert in_one_line(KeyError("a bug")) is None
    with pytest.raises(KeyError):
        exit_status(command)
    assert in_a_batch("a.mha", KeyError("a bug")) == "a.mha: KeyError: 'a bug'; a fault of this program, report it"
    assert in_a_batch("a.mha", SpiderError("a.mha: cut off; fetch it again")) == "a.mha: cut off; fetch it again"
