"""Files that were checked: what is sent are the very bytes that the check saw, marked where a server wants that."""

from __future__ import annotations

import codecs
import hashlib
import io
from pathlib import Path
from typing import IO, Any

from anytune.errors import ConflictError, UsageError
from anytune.schema.data import DataFile


def open_unchanged(file: DataFile, *, provider: str, most: int | None = None) -> IO[bytes]:
    """Open the file if its bytes are still those that were checked; `most` is what one upload may carry, in bytes.

    Raises `UsageError` when it cannot be read or is too large, `ConflictError` when it has changed.
    """
    if most is not None and file.bytes > most:
        raise UsageError(f"{file.path}: {file.bytes} bytes are more than one upload to {provider} may carry")
    try:
        handle = file.path.open("rb")
    except OSError as error:
        raise UsageError(f"{file.path}: {error.strerror or error}") from error
    if hashlib.file_digest(handle, "sha256").hexdigest() != file.sha256:
        handle.close()
        raise changed(file.path)
    handle.seek(0)
    return handle


def changed(path: Path) -> ConflictError:
    """Say that a file is not the one that was checked."""
    return ConflictError(f"{path} has changed since it was checked; nothing was started", fix="check and plan again")


class Marked(io.RawIOBase):
    """Be a file with a byte order mark before it; one that begins with a mark gets no second."""

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__()
        self._file = file
        self._mark = b"" if file.read(len(codecs.BOM_UTF8)) == codecs.BOM_UTF8 else codecs.BOM_UTF8
        self._at = self.seek(0)

    @property
    def added(self) -> int:
        """Return how many bytes stand before the file's own."""
        return len(self._mark)

    def readable(self) -> bool:
        """Tell that it can be read."""
        return True

    def seekable(self) -> bool:
        """Tell that it can be read again."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer from where reading stands; return how many bytes there were."""
        part = self._mark[self._at :][: len(buffer)] or self._file.read(len(buffer))
        buffer[: len(part)] = part
        self._at += len(part)
        return len(part)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to a byte of the whole and return its number."""
        if whence == io.SEEK_CUR:
            offset += self._at
        elif whence == io.SEEK_END:
            offset += self.added + self._file.seek(0, io.SEEK_END)
        self._file.seek(max(0, offset - self.added))
        self._at = offset
        return offset

    def tell(self) -> int:
        """Return the number of the byte where reading stands."""
        return self._at
