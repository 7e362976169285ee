"""Send a file that is too large for one call: in parts, several at once, put together under its checksum.

Each step is noted, so that another process goes on where this one ended. What is in doubt costs time and never a wrong
file: the server holds the whole against the bytes and the checksum that we name.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from threading import Event
from typing import IO, Any

from anytune.errors import AmbiguousError, AnytuneError, MalformedAnswerError, RejectedError, UnavailableError
from anytune.providers.checked import changed
from anytune.providers.openai import answer as answers
from anytune.providers.openai.client import Client
from anytune.schema.data import DataFile
from anytune.schema.job import Sending

Note = Callable[[Sending | None], None]

MIME = "text/jsonl"
PART = 64_000_000  # bytes that one part may have
AT_ONCE = 4
TRIES = 3  # of one part at once; whoever calls again goes on with those that are missing
ACT = "upload"


class Slice(io.RawIOBase):
    """Be a part of a file, read without moving the file: several are read at once, until `stop` is set."""

    def __init__(self, file: IO[bytes], start: int, end: int, *, stop: Event | None = None) -> None:
        super().__init__()
        self._file, self._start, self._end, self._at = file, start, end, start
        self._stop = stop

    def readable(self) -> bool:
        """Tell that it can be read."""
        return True

    def seekable(self) -> bool:
        """Tell that it can be read again."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer from where reading stands; return how many bytes there were."""
        if self._stop is not None and self._stop.is_set():
            raise InterruptedError("nobody waits for it any more")
        part = os.pread(self._file.fileno(), min(len(buffer), self._end - self._at), self._at)
        buffer[: len(part)] = part
        self._at += len(part)
        return len(part)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move within the part and return where reading stands in it."""
        origin = {io.SEEK_SET: self._start, io.SEEK_CUR: self._at, io.SEEK_END: self._end}[whence]
        self._at = min(max(self._start, origin + offset), self._end)
        return self._at - self._start

    def tell(self) -> int:
        """Return where reading stands in the part."""
        return self._at - self._start


@dataclass
class Progress:
    """Be how far an upload is: what was noted last, and who is told.

    `doubtful` means that a part may be there twice: its answer was lost, or another process was sending it.
    """

    begun: Sending
    note: Note
    doubtful: bool

    def step(self, **changes: Any) -> None:
        """Take a change in and have it written down."""
        self.begun = self.begun.model_copy(update=changes)
        self.note(self.begun)

    def is_there(self, start: int, part_id: str) -> None:
        """Take in that a part has arrived."""
        self.step(parts={**self.begun.parts, start: part_id})


class Uploads:
    """Send files in parts, going on with what has begun."""

    def __init__(self, client: Client, *, purpose: str) -> None:
        self._client, self._purpose = client, purpose

    def in_parts(self, file: DataFile, handle: IO[bytes], *, name: str, begun: Sending | None, note: Note) -> str:
        """Send a file and return its id; when a part fails, no further one is begun and nothing is put together.

        What was refused for good is cancelled. What was gone on with, or may have a part twice, is then to be begun
        anew: raises `UnavailableError`, for the server forgets uploads within the hour. Raises `ConflictError` for a
        file that is no longer the one that was checked.
        """
        md5 = _md5(file, handle)
        known = begun if begun is not None and begun.size == PART else None
        progress = Progress(known or self._begin(file, name), note, doubtful=known is not None)
        try:
            progress.step(ending=False)
            self._send(progress, file, handle, name=name)
            progress.step(ending=True)
            file_id = self._complete(progress.begun, md5)
        except RejectedError as error:
            self._leave(progress)
            _md5(file, handle)  # a file that was written to while it was sent is why, and is told so
            if not progress.doubtful:
                raise
            raise UnavailableError(error.message, status=error.status) from error
        return file_id

    def _begin(self, file: DataFile, name: str) -> Sending:
        with self._client.mapped(ACT):
            calls = self._client.uploads.uploads.with_raw_response
            raw = calls.create(filename=name, purpose=self._purpose, bytes=file.bytes, mime_type=MIME)
            told = answers.decoded(raw, act=self._client.act(ACT))
            return Sending(id=self._id_of(told), size=PART, lasts=_lasts(told))

    def _send(self, progress: Progress, file: DataFile, handle: IO[bytes], *, name: str) -> None:
        """Send the parts that are missing; a further one is begun only once one that is there was noted."""
        missing = (start for start in range(0, file.bytes, PART) if start not in progress.begun.parts)
        stop = Event()

        def send(start: int) -> str:
            part = Slice(handle, start, min(start + PART, file.bytes), stop=stop)
            return self._part(progress, part, name=name, stop=stop)

        with ThreadPoolExecutor(AT_ONCE) as pool:
            under_way = {pool.submit(send, start): start for start in islice(missing, AT_ONCE)}
            try:
                while under_way:
                    for part in wait(under_way, return_when=FIRST_COMPLETED).done:
                        progress.is_there(under_way.pop(part), part.result())
                        under_way |= {pool.submit(send, start): start for start in islice(missing, 1)}
            except BaseException as error:
                if not isinstance(error, Exception):
                    stop.set()  # Ctrl-C does not wait for the parts that are on their way
                pool.shutdown()
                for part, start in under_way.items():  # what came to its end is remembered
                    if part.exception() is None:
                        progress.is_there(start, part.result())
                raise

    def _part(self, progress: Progress, part: Slice, *, name: str, stop: Event) -> str:
        for left in reversed(range(TRIES)):
            part.seek(0)
            try:
                with self._client.mapped(ACT):
                    calls = self._client.uploads.uploads.parts.with_raw_response
                    sent = calls.create(progress.begun.id, data=(name, part))
                    return self._id_of(answers.decoded(sent, act=self._client.act(ACT)))
            except (AmbiguousError, UnavailableError) as error:
                progress.doubtful |= isinstance(error, AmbiguousError)
                if not left or stop.is_set() or isinstance(error, MalformedAnswerError):
                    raise
        raise AssertionError("unreachable: the last try returns or raises")

    def _complete(self, begun: Sending, md5: str) -> str:
        parts = [id for _, id in sorted(begun.parts.items())]
        with self._client.mapped(ACT):
            calls = self._client.uploads.uploads.with_raw_response
            done = answers.decoded(calls.complete(begun.id, part_ids=parts, md5=md5), act=self._client.act(ACT))
            whole = done.get("file")
            return self._id_of(whole if isinstance(whole, dict) else {})

    def _leave(self, progress: Progress) -> None:
        """Have the parts thrown away; the server does so by itself within the hour."""
        progress.note(None)
        with suppress(AnytuneError), self._client.mapped(ACT):
            self._client.uploads.uploads.with_raw_response.cancel(progress.begun.id)

    def _id_of(self, told: Mapping[str, Any]) -> str:
        return answers.id_of(told, act=self._client.act(ACT))


def _lasts(told: Mapping[str, Any]) -> float | None:
    """Return for how many seconds the server keeps an upload, both times being its own."""
    since, until = answers.moment(told.get("created_at")), answers.moment(told.get("expires_at"))
    return (until - since).total_seconds() if since is not None and until is not None and until > since else None


def _md5(file: DataFile, handle: IO[bytes]) -> str:
    """Return the MD5 of the file that was checked; raise `ConflictError` when its bytes are others by now."""
    md5, sha256 = hashlib.md5(usedforsecurity=False), hashlib.sha256()
    whole = Slice(handle, 0, os.fstat(handle.fileno()).st_size)
    while piece := whole.read(1 << 20):
        md5.update(piece)
        sha256.update(piece)
    if sha256.hexdigest() != file.sha256:
        raise changed(file.path)
    return md5.hexdigest()
