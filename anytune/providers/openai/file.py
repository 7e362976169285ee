"""Training files at a server that speaks OpenAI's API: sent once, under a name made of their content's hash."""

from __future__ import annotations

from contextlib import suppress
from typing import IO, Any

from anytune.errors import AmbiguousError, NotFoundError, RateLimitedError, RejectedError, UnavailableError
from anytune.providers.base import Reused
from anytune.providers.checked import Marked, open_unchanged
from anytune.providers.edge import among
from anytune.providers.openai import answer as answers
from anytune.providers.openai import upload as uploads
from anytune.providers.openai.client import Client
from anytune.providers.openai.speech import Speech
from anytune.schema.data import DataFile
from anytune.schema.job import Sending

PURPOSE = "fine-tune"
PAGE = 100  # the most that one list call is asked for
UNUSABLE = {"error", "deleted"}
CHECK_AGAIN = 5.0  # seconds after which an unchecked file is looked at again


class Files:
    """Send files, look at them, and have them removed."""

    def __init__(self, client: Client, speech: Speech) -> None:
        self._client, self._speech = client, speech
        self._large = uploads.Uploads(client, purpose=PURPOSE)

    def send(self, file: DataFile, *, begun: Sending | None, note: uploads.Note) -> str:
        """Send one file, unless it stands among the newest already; one too large for a call goes on at `begun`."""
        act = self._client.act("upload")
        with open_unchanged(file, provider=self._speech.name) as handle:
            sent = Marked(handle) if self._speech.dialect.byte_order_mark else handle
            name = f"{file.sha256[:16]}-{file.role}.jsonl"
            known = self._uploaded(name, size=file.bytes + getattr(sent, "added", 0))
            if known is not None:  # it is ours if we were putting its parts together
                return known if begun is not None and begun.ending else Reused(known)
            most = self._speech.dialect.parts_above
            if most is not None and file.bytes > most:
                return self._large.in_parts(file, handle, name=name, begun=begun, note=note)
            with self._client.mapped("upload"):
                return answers.id_of(answers.decoded(self._whole(name, sent), act=act), act=act)

    def _whole(self, name: str, handle: IO[bytes] | Marked) -> Any:
        return self._client.uploads.files.with_raw_response.create(file=(name, handle), purpose=PURPOSE)

    def _uploaded(self, name: str, *, size: int) -> str | None:
        act = self._client.act("files")
        with self._client.mapped("files"):
            page = self._client.calls.files.with_raw_response.list(purpose=PURPOSE, order="desc", limit=PAGE)
            same = [f for f in answers.items(page, act=act) if f.get("filename") == name]
            usable = (f for f in same if f.get("bytes") == size and not among(f.get("status"), UNUSABLE))
            return next((answers.id_of(file, act=act) for file in usable), None)

    def require_checked(self, request: dict[str, Any]) -> None:
        """Raise `RateLimitedError` while a job's files are not processed, `RejectedError` when one is faulty."""
        for file_id in (request["training_file"], request.get("validation_file")):
            if file_id is None:
                continue
            try:
                with self._client.mapped("look at the file"):
                    found = self._client.calls.files.with_raw_response.retrieve(file_id)
                    status = answers.decoded(found, act=self._client.act("look at the file")).get("status")
            except AmbiguousError as error:
                # what is unclear is the look; the job was surely not created
                raise UnavailableError(error.message, status=error.status) from error
            if among(status, UNUSABLE):
                raise RejectedError(f"{self._client.act('look at the file')}: {file_id} cannot be used: {status}")
            if status != "processed":
                said = f"{self._client.act('create')}: {file_id} is {status}, not processed yet"
                raise RateLimitedError(said, retry_after=CHECK_AGAIN, status=None)

    def remove(self, file_id: str) -> None:
        """Remove a file; harmless when it is gone already."""
        with suppress(NotFoundError), self._client.mapped("remove the file"):
            self._client.calls.files.with_raw_response.delete(file_id)
