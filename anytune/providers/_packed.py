"""Bring a model home that comes as one archive: fetched by ranges, unpacked, looked at, all or nothing."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from anytune.errors import RejectedError
from anytune.providers import _archive, _manifest, _weights, _zip
from anytune.providers import _download as download_of
from anytune.providers._download import Source
from anytune.schema.model import TunedModel


def bring(source: Source, tuned: TunedModel, *, kind: str, out: Path, about: tuple[str, ...] = ()) -> dict[str, Any]:
    """Write the archive's files and a manifest into `out`; an archive that is half there stays aside for the next call.

    `about` says which archive of the model it is, where there are several.
    """
    aside = download_of.aside(out, tuned.name, *about)
    with download_of.on_disk(out):
        aside.mkdir(parents=True, exist_ok=True)
        archive = aside / "archive"
        download_of.fetch(source, archive)
        try:
            manifest = _unpacked(archive, aside / "model", tuned, kind=kind, provider=source.provider)
        except RejectedError:
            shutil.rmtree(aside)  # the same bytes would be refused again
            raise
        download_of.settle(aside / "model", out)
        shutil.rmtree(aside)
    return manifest


def _unpacked(archive: Path, folder: Path, tuned: TunedModel, *, kind: str, provider: str) -> dict[str, Any]:
    """Unpack into `folder`, look at what came, and write its manifest."""
    raw = folder.with_name("unpacked")
    for old in (raw, folder):
        shutil.rmtree(old, ignore_errors=True)
    raw.mkdir()
    unpack = _zip.unpack if _zip.is_zip(archive) else _archive.unpack
    place, model = _archive.lifted(raw, unpack(archive, raw, provider=provider))
    _weights.require_whole(place, model, kind=kind, provider=provider)
    if model.files.pop(_manifest.FILE, None) is not None:
        model.left_out.append(_manifest.FILE)
    manifest = _manifest.write(place, tuned, kind=kind, files=model.files, left_out=model.left_out)
    os.rename(place, folder)
    return manifest
