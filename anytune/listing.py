"""What providers said themselves of the models that they tune, kept beside the jobs until they are asked again."""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import ValidationError

from anytune import private
from anytune.errors import StoreError, UsageError
from anytune.schema.catalog import Listing

FOLDER = "catalog"
ASK_AGAIN = "anytune providers refresh writes it anew"


def read(home: Path, provider: str) -> Listing | None:
    """Return what a provider said last, None when it was never asked."""
    path = _path(home, provider)
    try:
        return Listing.model_validate_json(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}", fix=ASK_AGAIN) from error
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        place = ".".join(map(str, fault["loc"])) or "the file"
        raise UsageError(f"{path}: {place}: {fault['msg']}", fix=ASK_AGAIN) from error


def write(home: Path, listing: Listing) -> Path:
    """Keep what a provider said, in one step: a reader finds the old list or the new one; return where it lies."""
    path = _path(home, listing.provider)
    draft = path.with_suffix(f".{os.getpid()}.part")
    try:
        private.folder(path.parent)
        draft.write_text(listing.model_dump_json(exclude_none=True, indent=1) + "\n", encoding="utf-8")
        draft.replace(path)
    except OSError as error:
        raise StoreError(f"{path}: cannot be written: {error.strerror}", fix="set ANYTUNE_HOME") from error
    return path


def _path(home: Path, provider: str) -> Path:
    return home / FOLDER / f"{provider}.json"
