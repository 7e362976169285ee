"""Write new files whole or not at all."""

from __future__ import annotations

import errno
import io
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from anytune import private
from anytune.errors import AnytuneError, UsageError

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@contextmanager
def aside(path: Path) -> Iterator[BinaryIO]:
    """Write to a nameless neighbour, which takes the path's name only if all went well.

    A symbolic link stays one: its target is written. Raises `UsageError` for a path that stands for anything but a
    regular file, and `AnytuneError`, which names the path, where it cannot be written.
    """
    with _told(path):
        target = _target(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}."[:64])
    beside = Path(name)
    try:
        with io.BufferedWriter(_Told(handle, path)) as file:
            yield file
            file.flush()
            with _told(path):
                os.fsync(handle)
        with _told(path):
            beside.chmod(0o666 & ~_umask())
            beside.replace(target)
    except BaseException:
        with suppress(OSError):
            beside.unlink(missing_ok=True)
        raise


def own_folder(path: Path) -> None:
    """Make a folder that only its owner can open; raise `AnytuneError`, which names it, where that cannot be."""
    with _told(path):
        private.folder(path)


class _Told(io.FileIO):
    """Be a file that says which output could not be written, so that it is not taken for the input that is read."""

    def __init__(self, handle: int, path: Path) -> None:
        super().__init__(handle, "wb")
        self._path = path

    def write(self, data: Any, /) -> int:
        with _told(self._path):
            return super().write(data)


@contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        full = error.errno in _FULL
        fix = "make room or raise the limit, or name another output" if full else "name an output that can be written"
        raise AnytuneError(f"{path} cannot be written: {error.strerror or error}", fix=fix) from error


def _target(path: Path) -> Path:
    """Return the file that a path leads to; refuse what a rename would destroy."""
    with suppress(FileNotFoundError):
        if not stat.S_ISREG(path.stat().st_mode):
            raise UsageError(f"{path} is not a regular file", fix="name a file for the output")
    return Path(os.path.realpath(path))


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
