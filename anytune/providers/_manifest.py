"""Write down what a folder of weights that was brought home holds; one form for all who hand weights out."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from anytune.schema.model import TunedModel

FILE = "manifest.json"  # the name is ours: a file of theirs that has it is not written


def write(
    folder: Path, tuned: TunedModel, *, kind: str, files: Mapping[str, str], left_out: Sequence[str] = ()
) -> dict[str, Any]:
    """Write the manifest into the folder and return it; `files` are its files with their SHA-256."""
    manifest = {
        "kind": kind,
        "base": tuned.base,
        "model": tuned.name,
        "job_id": tuned.job_id,
        "files": dict(sorted(files.items())),
        **({"left_out": sorted(left_out)} if left_out else {}),
    }
    (folder / FILE).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
    return manifest


def hash_of(path: Path, kind: str = "sha256") -> str:
    """Return the hash of a file's bytes."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, kind).hexdigest()
