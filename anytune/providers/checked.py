"""Files that were checked: what is sent are the very bytes that the check saw."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import IO

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
