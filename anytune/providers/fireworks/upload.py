"""Fireworks' upload in four calls: name the dataset, ask for a place, put the bytes there, have them checked.

The vendor's one-call upload ends at 150 MB; this way is the same for every size. Its order matters: a check that is
asked for before the bytes are there leaves the dataset in UPLOADING, and no place is given for it again (405).
"""

from __future__ import annotations

from typing import IO, Any

from anytune.errors import RejectedError
from anytune.providers import _storage as storage
from anytune.providers.base import Reused
from anytune.providers.checked import open_unchanged
from anytune.providers.fireworks import answer as answers
from anytune.providers.fireworks.gateway import Gateway
from anytune.providers.fireworks.request import dataset_id
from anytune.schema.data import DataFile

ACT = "upload"
FILE = "data.jsonl"  # one name for all: a dataset's files are told apart by it
WEDGED = 405


def upload(gateway: Gateway, file: DataFile, *, seconds: float) -> str:
    """Send one file and return the dataset's name; bytes that are there already are not sent again.

    Raises `ConflictError` when the file has changed since it was checked.
    """
    with open_unchanged(file, provider="Fireworks") as handle:
        name = f"accounts/{gateway.account()}/datasets/{dataset_id(file.sha256)}"
        standing = gateway.seek(name, act=ACT) or _make(gateway, name, file)
        if standing.get("state") == "READY":
            return Reused(name)
        answers.require_plain(standing, act=ACT)
        url = gateway.place(_address(gateway, name, file), act=ACT)
        with gateway.connected(ACT):
            _put(url, handle, file, seconds=seconds)
    check(gateway, name, act=ACT)
    return name


def _make(gateway: Gateway, name: str, file: DataFile) -> dict[str, Any]:
    account, _, id = name.rpartition("/datasets/")
    body = {
        "datasetId": id,
        "dataset": {
            "displayName": file.path.name[:63],
            "exampleCount": str(file.examples),
            "format": "CHAT",  # of pairs of answers, too (fw-ai/cookbook, case study on preferences)
            "userUploaded": {},
        },
    }
    try:
        return gateway.ask("POST", f"{account}/datasets", act=ACT, body=body)
    except RejectedError as error:
        # Somebody was quicker with the same bytes.
        standing = gateway.seek(name, act=ACT) if error.status == 409 else None
        if standing is None:
            raise
        return standing


def _address(gateway: Gateway, name: str, file: DataFile) -> str:
    try:
        answer = gateway.ask(
            "POST", f"{name}:getUploadEndpoint", act=ACT, body={"filenameToSize": {FILE: str(file.bytes)}}
        )
    except RejectedError as error:
        if error.status != WEDGED:
            raise
        raise RejectedError(
            f"{answers.NAME}: {ACT}: the service gives no place for {name} any more",
            fix="delete this dataset at Fireworks and run it again",
            status=WEDGED,
        ) from error
    urls = answers.signed_urls(answer, act=ACT)
    return urls.get(FILE) or next(iter(urls.values()))


def _put(url: Any, handle: IO[bytes], file: DataFile, *, seconds: float) -> None:
    # Both headers are part of what was signed.
    signed = {
        "Content-Type": "application/octet-stream",
        "X-Goog-Content-Length-Range": f"{file.bytes},{file.bytes}",
    }
    storage.put(url, handle, file, provider=answers.NAME, seconds=seconds, headers=signed)


def check(gateway: Gateway, name: str, *, act: str) -> None:
    """Have the service look through a dataset whose bytes are there; harmless on one that was."""
    try:
        gateway.ask("POST", f"{name}:validateUpload", act=act, body={})
    except RejectedError as error:
        if error.status != 400:
            raise
        # "Still landing", or faulty: which of them, the dataset's own state tells.
