"""A user's file copied under its hash: whole and as it was checked, or not at all."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from anytune.errors import RejectedError, UnavailableError
from anytune.local.runs import sync_folder
from anytune.schema.data import DataFile


def copy_checked(file: DataFile, target: Path) -> None:
    """Copy aside while hashing, sync, rename."""
    aside = target.with_name(f".{target.name}.{os.getpid()}")
    digest = hashlib.sha256()
    try:
        with file.path.open("rb") as source, aside.open("wb") as copy:
            while block := source.read(1 << 20):
                digest.update(block)
                copy.write(block)
            copy.flush()
            os.fsync(copy.fileno())
        if digest.hexdigest() != file.sha256:
            raise RejectedError(f"{file.path} changed after it was checked", fix="run the command again")
        os.replace(aside, target)
        sync_folder(target.parent)
    except FileNotFoundError as error:
        raise RejectedError(f"{file.path} is gone", fix="run the command again") from error
    except OSError as error:
        raise UnavailableError(f"{file.path} could not be copied: {error.strerror}") from error
    finally:
        aside.unlink(missing_ok=True)
