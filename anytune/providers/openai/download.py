"""Bring the files of a checkpoint home, where a server hands them out: each whole, the folder all or nothing."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from anytune.errors import MalformedAnswerError, RejectedError, UnavailableError, UsageError
from anytune.providers import _download as download_of
from anytune.providers import _manifest, _weights
from anytune.providers._archive import KEPT, Unpacked
from anytune.providers.openai import answer as answers
from anytune.providers.openai.client import Client
from anytune.schema.model import TunedModel

SAFE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")
ADAPTER = "adapter_config.json"  # what makes a folder an adapter, as PEFT writes it
WHAT = {"adapter": "an adapter", "merged": "all weights"}
ACT = download_of.ACT


def download(file_ids: Sequence[str], tuned: TunedModel, client: Client, *, to: str, out: Path) -> dict[str, Any]:
    """Write the files and a manifest into `out`; what is whole there from an earlier call is not fetched again.

    A pickle, code, or a file of no known kind is left out. Raises `RejectedError` where no whole model is left.
    """
    aside = download_of.aside(out, tuned.name)
    sizes = {id: _named(id, client) for id in file_ids}
    names = sorted({name for name, _ in sizes.values()})
    if len(names) != len(sizes):
        raise MalformedAnswerError(f"{client.act(ACT)}: the checkpoint's files have no names of their own")
    kept = {id: told for id, told in sizes.items() if Path(told[0]).suffix.lower() in KEPT}
    kind = "adapter" if ADAPTER in names else "merged"
    if to != kind:
        raise UsageError(f"{tuned.provider} trained {WHAT[kind]}, which is what it hands out", fix=f"--to {kind}")
    with download_of.on_disk(out):
        aside.mkdir(parents=True, exist_ok=True)
        for id, (name, size) in kept.items():
            _fetch(id, aside / name, client, size=size)
        left_out = sorted(set(names) - {name for name, _ in kept.values()})
        hashes = _looked_at(aside, [name for name, _ in kept.values()], left_out, kind=kind, provider=tuned.provider)
        manifest = _manifest.write(aside, tuned, kind=kind, files=hashes, left_out=left_out)
        download_of.settle(aside, out)
    return manifest


def _looked_at(folder: Path, names: Sequence[str], left_out: list[str], *, kind: str, provider: str) -> dict[str, str]:
    """Return each file's hash; a folder that is no whole model of this kind is thrown away."""
    model = Unpacked({name: _manifest.hash_of(folder / name) for name in names}, left_out)
    try:
        _weights.require_whole(folder, model, kind=kind, provider=provider)
    except RejectedError:
        shutil.rmtree(folder)  # the same bytes would be refused again
        raise
    return model.files


def _named(id: str, client: Client) -> tuple[str, int | None]:
    """Return a file's name, without the folders before it, and its size; refuse one that would be hidden or lie."""
    with client.mapped(ACT):
        told = answers.decoded(client.calls.files.with_raw_response.retrieve(id), act=client.act(ACT))
    name, size = str(told.get("filename")).rpartition("/")[2], told.get("bytes")
    if SAFE_NAME.fullmatch(name) is None or name == _manifest.FILE:
        raise RejectedError(f"{client.act(ACT)}: the checkpoint has a file named {name!r}, which is not written")
    return name, size if type(size) is int and size > 0 else None


def _fetch(id: str, path: Path, client: Client, *, size: int | None) -> None:
    if path.is_file():
        return
    part = path.with_name(f".{path.name}.part")
    with client.mapped(ACT), client.uploads.files.with_streaming_response.content(id) as answer, part.open("wb") as to:
        for chunk in answer.iter_bytes():
            to.write(chunk)
    have = part.stat().st_size
    if size is not None and have != size:
        raise UnavailableError(f"{client.act(ACT)}: {path.name} ended after {have} of {size} bytes", fix="run it again")
    os.rename(part, path)
