"""Replicate's upload: one form with the file in it, which the service deletes by itself after some time.

By its file a training is known again, so each has a file of its own: bytes that lie there already are taken only when
no training was given them, as after an upload whose answer was lost.
"""

from __future__ import annotations

from datetime import UTC, datetime

from anytune import catalog
from anytune.errors import MalformedAnswerError
from anytune.providers.base import Reused
from anytune.providers.checked import open_unchanged
from anytune.providers.replicate import answer as answers
from anytune.providers.replicate.gateway import NAME, Gateway
from anytune.schema.data import DataFile

ACT = "upload"


def upload(gateway: Gateway, file: DataFile, *, seconds: float) -> str:
    """Send one file and return its address; bytes that lie there unused are not sent again.

    Raises `ConflictError` when the file has changed since it was checked.
    """
    with open_unchanged(file, provider="Replicate", most=catalog.load(NAME).max_file_bytes) as handle:
        unused = _unused(gateway, file)
        if unused is not None:
            return Reused(unused)
        sent = gateway.send(handle, name=f"{file.sha256[:48]}.jsonl", seconds=seconds, act=ACT)
    if answers.sha256_of(sent) not in (None, file.sha256) or sent.get("size") not in (None, file.bytes):
        raise MalformedAnswerError(f"{NAME}: {ACT}: the service has other bytes than were sent")
    return answers.address_of(sent, act=ACT)


def _unused(gateway: Gateway, file: DataFile) -> str | None:
    """Return the address of such a file that no training was given: not one that was made since it is there."""
    now = datetime.now(UTC)
    same = {
        answers.address_of(row, act=ACT): row
        for row in gateway.rows("files", act=ACT)
        if answers.sha256_of(row) == file.sha256 and row.get("size") == file.bytes and answers.lives_on(row, now=now)
    }
    for training in gateway.rows("trainings", act=ACT) if same else ():
        if all(answers.is_older(training, than=row) for row in same.values()):
            break  # the newest come first
        same = {address: row for address, row in same.items() if not answers.shows(training, address)}
        if not same:
            break
    return next(iter(same), None)
