"""Together's upload in three calls: reserve a place, put the bytes there, have them checked.

They are our own because the vendor's upload follows redirects of the storage (the data would go to another
host), never looks at a file that was there before, and takes a refused key for missing credit.
"""

from __future__ import annotations

import hashlib
import ipaddress
import os
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import IO, Any

from anytune.errors import (
    AnytuneError,
    ConflictError,
    RejectedError,
    UnavailableError,
    UsageError,
)
from anytune.providers.edge import bounded_client, decoded, error_for_status
from anytune.schema.data import DataFile

ACT = "upload"
CHUNK = 1024 * 1024
MAX_BYTES = 5 * 1024**3  # what one PUT may carry; larger files need the vendor's upload in parts
EXPIRED = {401, 403, 404}  # a place that is not ours any more; the next try is given a new one
HELD = {302, 409}  # the two answers to a reservation that an SDK takes for errors


def open_unchanged(file: DataFile) -> IO[bytes]:
    """Open the file if its bytes are still those that were checked.

    Raises `UsageError` when it cannot be read or is too large, `ConflictError` when it has changed.
    """
    if file.bytes > MAX_BYTES:
        raise UsageError(f"{file.path}: {file.bytes} bytes are more than one upload to Together may carry")
    try:
        handle = file.path.open("rb")
    except OSError as error:
        raise UsageError(f"{file.path}: {error.strerror or error}") from error
    if hashlib.file_digest(handle, "sha256").hexdigest() != file.sha256:
        handle.close()
        raise changed(file.path)
    handle.seek(0)
    return handle


def changed(path: Path) -> ConflictError:
    """Say that a file is not the one that was checked."""
    return ConflictError(f"{path} has changed since it was checked; nothing was started", fix="check and plan again")


def reserve(sdk: Any, file: DataFile) -> Any:
    """Ask where the bytes go and return the answer (httpx.Response): 302 with a place, 409 for known bytes.

    The server goes by the checksum. Raises the SDK's errors for everything else.
    """
    import httpx
    import together

    form = {
        "purpose": "fine-tune",
        "file_name": f"{file.path.stem}.jsonl",
        "file_type": "jsonl",
        "checksum": file.sha256,
    }
    try:
        # A success is as strange here as any other status, and has neither header.
        return sdk.post(
            "/v1/files",
            cast_to=httpx.Response,
            body=form,
            options={"headers": {"Content-Type": "multipart/form-data"}},
        )
    except together.APIStatusError as error:
        if error.status_code not in HELD:
            raise
        return error.response


def known_id(answer: Any) -> object:
    """Return the id of the file that has these bytes already, None when the answer speaks of none."""
    return decoded(answer.text).get("file_id") if answer.status_code == 409 else None


def place(answer: Any) -> tuple[Any, str]:
    """Return where to put the bytes (httpx.URL) and the id that the file will have.

    Raises `MalformedAnswerError` for a success, `RejectedError` for a redirect that is no reservation and for a
    place that is neither reached by https nor on this machine.
    """
    location, file_id = answer.headers.get("location"), answer.headers.get("x-together-file-id")
    if answer.status_code != 302 or not location or not file_id:
        raise error_for_status(
            answer.status_code,
            provider="together",
            act=ACT,
            body=decoded(answer.text),
            headers=answer.headers,
        )
    url = answer.request.url.join(location)
    if url.host and (url.scheme == "https" or (url.scheme == "http" and _is_loopback(url.host))):
        return url, file_id
    # The address itself is a secret: whoever has it may write there.
    raise RejectedError(f"together: {ACT}: the storage at {url.scheme}://{url.host} is not reached by https")


def _is_loopback(host: str) -> bool:
    with suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


def put(url: Any, handle: IO[bytes], file: DataFile, *, seconds: float) -> None:
    """Put the bytes at their place, without our key and without following a redirect.

    Raises our errors for what the storage answers, and httpx's for what happens on the way.
    """
    import httpx

    if os.fstat(handle.fileno()).st_size != file.bytes:
        raise changed(file.path)
    with closing(bounded_client(httpx, seconds=seconds)) as storage:
        answer = storage.put(
            url,
            content=_chunks(handle, file),
            headers={"Content-Length": str(file.bytes)},
        )
    if not answer.is_success:
        raise _storage_error(answer)


def _chunks(handle: IO[bytes], file: DataFile) -> Iterator[bytes]:
    left = file.bytes
    while left:
        chunk = handle.read(min(CHUNK, left))
        if not chunk:
            raise changed(file.path)
        left -= len(chunk)
        yield chunk


def _storage_error(answer: Any) -> AnytuneError:
    status = answer.status_code
    if status in EXPIRED:
        return UnavailableError(f"together: {ACT}: the storage does not take the file (HTTP {status})", status=status)
    return error_for_status(status, provider="together", act=ACT, headers=answer.headers)
