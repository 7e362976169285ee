"""Send a file that is too large for one call: in parts, several at once, put together under its checksum."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import IO, Any

from anytune.errors import AmbiguousError, AnytuneError, MalformedAnswerError, RejectedError, UnavailableError
from anytune.providers.openai import answer as answers
from anytune.providers.openai.client import Client

MIME = "text/jsonl"
PART = 64_000_000  # bytes that one part may have
AT_ONCE = 4
TRIES = 3  # of one part at once; whoever calls again goes on with those that are missing
ACT = "upload"


class Slice(io.RawIOBase):
    """Be a part of a file, read without moving the file: several are read at once."""

    def __init__(self, file: IO[bytes], start: int, end: int) -> None:
        super().__init__()
        self._file, self._start, self._end, self._at = file, start, end, start

    def readable(self) -> bool:
        """Tell that it can be read."""
        return True

    def seekable(self) -> bool:
        """Tell that it can be read again."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer from where reading stands; return how many bytes there were."""
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
class Begun:
    """Be an upload that has begun: the id of each part that is there, by where it starts.

    `doubtful` means that the answer to a part was lost, so that it may be there twice.
    """

    id: str
    parts: dict[int, str] = field(default_factory=dict)
    doubtful: bool = False


class Uploads:
    """Send files in parts; what has begun is gone on with by the next call, as long as this lives."""

    def __init__(self, client: Client, *, purpose: str) -> None:
        self._client, self._purpose = client, purpose
        self._begun: dict[str, Begun] = {}

    def in_parts(self, file: IO[bytes], *, name: str, size: int) -> str:
        """Send a file and return its id; when a part fails, no further one is begun and nothing is put together.

        What was refused for good is cancelled. What was gone on with, or may have a part twice, is then to be begun
        anew: raises `UnavailableError`, for the server forgets uploads within the hour.
        """
        known = self._begun.get(name)
        begun = self._begun[name] = known or self._begin(name, size)
        try:
            self._send(begun, file, name=name, size=size)
            file_id = self._complete(begun, file)
        except RejectedError as error:
            self._leave(begun, name)
            if known is None and not begun.doubtful:
                raise
            raise UnavailableError(error.message, status=error.status) from error
        self._begun.pop(name, None)
        return file_id

    def _begin(self, name: str, size: int) -> Begun:
        with self._client.mapped(ACT):
            calls = self._client.uploads.uploads.with_raw_response
            begun = calls.create(filename=name, purpose=self._purpose, bytes=size, mime_type=MIME)
            return Begun(self._id_of(answers.decoded(begun, act=self._client.act(ACT))))

    def _send(self, begun: Begun, file: IO[bytes], *, name: str, size: int) -> None:
        def send(start: int) -> None:
            self._part(begun, file, start, end=min(start + PART, size), name=name)

        with ThreadPoolExecutor(AT_ONCE) as pool:
            try:
                list(pool.map(send, [start for start in range(0, size, PART) if start not in begun.parts]))
            except BaseException:
                pool.shutdown(cancel_futures=True)  # what is on its way comes to its end, and is remembered
                raise

    def _part(self, begun: Begun, file: IO[bytes], start: int, *, end: int, name: str) -> None:
        for left in reversed(range(TRIES)):
            try:
                with self._client.mapped(ACT):
                    calls = self._client.uploads.uploads.parts.with_raw_response
                    sent = calls.create(begun.id, data=(name, Slice(file, start, end)))
                    begun.parts[start] = self._id_of(answers.decoded(sent, act=self._client.act(ACT)))
                return
            except (AmbiguousError, UnavailableError) as error:
                begun.doubtful |= isinstance(error, AmbiguousError)
                if not left or isinstance(error, MalformedAnswerError):
                    raise

    def _complete(self, begun: Begun, file: IO[bytes]) -> str:
        parts = [id for _, id in sorted(begun.parts.items())]
        with self._client.mapped(ACT):
            calls = self._client.uploads.uploads.with_raw_response
            done = answers.decoded(calls.complete(begun.id, part_ids=parts, md5=_md5(file)), act=self._client.act(ACT))
            whole = done.get("file")
            return self._id_of(whole if isinstance(whole, dict) else {})

    def _leave(self, begun: Begun, name: str) -> None:
        """Have the parts thrown away; the server does so by itself within the hour."""
        self._begun.pop(name, None)
        with suppress(AnytuneError), self._client.mapped(ACT):
            self._client.uploads.uploads.with_raw_response.cancel(begun.id)

    def _id_of(self, told: Mapping[str, Any]) -> str:
        return answers.id_of(told, act=self._client.act(ACT))


def _md5(file: IO[bytes]) -> str:
    digest, whole = hashlib.md5(usedforsecurity=False), Slice(file, 0, os.fstat(file.fileno()).st_size)
    while piece := whole.read(1 << 20):
        digest.update(piece)
    return digest.hexdigest()
