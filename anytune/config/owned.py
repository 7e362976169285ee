"""Files with secrets in them: read only where nobody but their owner could, and written so."""

from __future__ import annotations

import os
import shlex
import stat
from pathlib import Path
from typing import Literal

from anytune.errors import CredentialError

LARGEST = 1 << 20  # bytes: no file of keys is longer
OTHERS = stat.S_IRWXG | stat.S_IRWXO


def read(path: Path) -> str | None:
    """Return the text of a file, None if there is none; raise `CredentialError` where others may look into it.

    What is looked at is the file that was opened, so none can be put in its place between the look and the reading.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a pipe in its place would be waited for
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise CredentialError(f"{path} cannot be read: {error.strerror}", fix=f"chmod 600 {_quoted(path)}") from error
    try:
        _require(path, os.fstat(handle), what="file")
        return os.read(handle, LARGEST).decode()
    except (OSError, UnicodeDecodeError) as error:
        raise CredentialError(f"{path} cannot be read as text", fix=f"rm {_quoted(path)}") from error
    finally:
        os.close(handle)


def require_folder(folder: Path) -> None:
    """Raise `CredentialError` unless a folder is ours and closed to all others."""
    _require(folder, folder.stat(), what="folder")


def write(path: Path, text: str) -> None:
    """Put a text in the place of a file, whole or not at all, for its owner alone."""
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, path)
    except OSError as error:
        raise CredentialError(f"{path} cannot be written: {error.strerror}") from error
    finally:
        aside.unlink(missing_ok=True)


def _require(path: Path, found: os.stat_result, *, what: Literal["file", "folder"]) -> None:
    is_kind, mode = (stat.S_ISREG, "600") if what == "file" else (stat.S_ISDIR, "700")
    if not is_kind(found.st_mode):
        raise CredentialError(f"{path} should hold secrets and is no {what}", fix=f"move it away: mv {_quoted(path)} …")
    if found.st_uid != os.geteuid():
        raise CredentialError(
            f"{path} holds secrets and belongs to another user", fix=f"sudo chown $USER {_quoted(path)}"
        )
    if found.st_mode & OTHERS:
        has = f"{stat.S_IMODE(found.st_mode):04o}"
        raise CredentialError(
            f"{path} holds secrets and others may open it (mode {has})", fix=f"chmod {mode} {_quoted(path)}"
        )


def _quoted(path: Path) -> str:
    return shlex.quote(str(path))
