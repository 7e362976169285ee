"""Send a file that is too large for one call: in parts, several at once, put together under its checksum."""

from __future__ import annotations

import hashlib
import io
import os
from concurrent.futures import ThreadPoolExecutor
from typing import IO, Any

from anytune.providers.openai import answer as answers
from anytune.providers.openai.client import Client

MIME = "text/jsonl"
PART = 64_000_000  # bytes that one part may have
AT_ONCE = 4
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


def in_parts(client: Client, file: IO[bytes], *, name: str, size: int, purpose: str) -> str:
    """Send a file in parts and return its id; when one part fails, no further one is begun and nothing is put together.

    What was sent is forgotten by the server within the hour.
    """
    act = client.act(ACT)
    with client.mapped(ACT):
        uploads = client.uploads.uploads.with_raw_response
        begun = uploads.create(filename=name, purpose=purpose, bytes=size, mime_type=MIME)
        upload_id = answers.id_of(answers.decoded(begun, act=act), act=act)

        def send(start: int) -> str:
            part = Slice(file, start, min(start + PART, size))
            sent = client.uploads.uploads.parts.with_raw_response.create(upload_id, data=(name, part))
            return answers.id_of(answers.decoded(sent, act=act), act=act)

        with ThreadPoolExecutor(AT_ONCE) as pool:
            try:
                parts = list(pool.map(send, range(0, size, PART)))
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
        done = answers.decoded(uploads.complete(upload_id, part_ids=parts, md5=_md5(file)), act=act)
        whole = done.get("file")
        return answers.id_of(whole if isinstance(whole, dict) else {}, act=act)


def _md5(file: IO[bytes]) -> str:
    digest, whole = hashlib.md5(usedforsecurity=False), Slice(file, 0, os.fstat(file.fileno()).st_size)
    while piece := whole.read(1 << 20):
        digest.update(piece)
    return digest.hexdigest()
