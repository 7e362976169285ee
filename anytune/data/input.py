"""Open a data file that a user named; what cannot be used is refused, in the words of the check, whatever the verb."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path

from anytune.errors import RefusedError

ONE_A_LINE = "write one JSON object a line"


@contextmanager
def opened(path: Path) -> Iterator[BufferedReader]:
    """Open a file for reading; raise RefusedError where there is none, it is empty, or it cannot be read to the end."""
    refuse_unreadable(path)
    with told(path), path.open("rb") as stream:
        if not stream.peek(1):
            raise RefusedError(f"{path}: the file is empty", fix=ONE_A_LINE)
        yield stream


def refuse_unreadable(path: Path) -> None:
    """Raise RefusedError for what is not there or no regular file: a pipe would be waited for."""
    if "\0" in str(path):
        raise _missing(path)
    with told(path):
        mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
        raise RefusedError(f"{path}: this is not a regular file but a directory", fix="name the files in it")
    if not stat.S_ISREG(mode):
        raise RefusedError(f"{path}: this is not a regular file", fix="save what it holds as a file, and name that")


def blank(path: Path) -> RefusedError:
    """Say that a file has nothing but blank lines."""
    return RefusedError(f"{path}: the file has only blank lines", fix=ONE_A_LINE)


@contextmanager
def told(path: Path) -> Iterator[None]:
    """Turn what the operating system says while a file is read into a refusal of the file."""
    try:
        yield
    except (FileNotFoundError, NotADirectoryError) as error:
        raise _missing(error.filename or path) from error
    except OSError as error:
        what = f"{error.filename or path}: the file cannot be read: {error.strerror or error}"
        raise RefusedError(what, fix="check the path and the permissions") from error


def _missing(path: Path | str) -> RefusedError:
    return RefusedError(f"{path}: there is no such file", fix="mend the path")
