"""The storage behind hosted APIs: a signed address to which bytes are put, or from which they are read.

The address itself is a secret: whoever has it may write or read there. It is never shown, our key never goes there,
and a redirect of it is not followed.
"""

from __future__ import annotations

import ipaddress
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from typing import IO, Any
from urllib.parse import urlsplit

from anytune.errors import AnytuneError, RejectedError, UnavailableError
from anytune.providers.checked import changed
from anytune.providers.edge import bounded_client, error_for_status
from anytune.schema.data import DataFile

CHUNK = 1024 * 1024
EXPIRED = {401, 403, 404}  # an address that is not ours any more; the next try is given a new one


def safe_place(url: Any, *, api: Any, provider: str, act: str) -> Any:
    """Return the address (httpx.URL); raise `RejectedError` for one that is not reached by https.

    On this machine it may be, by http too, only where the address of the API itself is: a service far away that names
    one would have us call a port of ours.
    """
    place = f"the storage at {url.scheme}://{url.host}"
    here = _is_loopback(url.host)
    if here and not _is_loopback(urlsplit(str(api)).hostname or ""):
        raise RejectedError(f"{provider}: {act}: {place} is on this machine, and the service is not")
    if url.host and (url.scheme == "https" or (url.scheme == "http" and here)):
        return url
    raise RejectedError(f"{provider}: {act}: {place} is not reached by https")


def _is_loopback(host: str) -> bool:
    bare = host.lower().removesuffix(".")
    try:
        ip = ipaddress.ip_address(bare)
    except ValueError:
        with suppress(OSError, ValueError):  # 127.1 and 2130706433 are ways to write one, too
            return bool(ipaddress.ip_address(socket.inet_aton(bare)).is_loopback)
        return bare == "localhost" or bare.endswith(".localhost")
    ip = getattr(ip, "ipv4_mapped", None) or ip
    return ip.is_loopback or ip.is_unspecified  # what is sent to 0.0.0.0 stays here


def put(
    url: Any,
    handle: IO[bytes],
    file: DataFile,
    *,
    provider: str,
    seconds: float,
    headers: Mapping[str, str] | None = None,
    part: tuple[int, int] | None = None,
) -> Any:
    """Put the bytes, or a part (start, length) of them, at their place and return the answer (httpx.Response).

    Our key does not go along, and no redirect is followed. Raises our errors for what the storage answers, and httpx's
    for what happens on the way.
    """
    import httpx

    if os.fstat(handle.fileno()).st_size != file.bytes:
        raise changed(file.path)
    start, length = part or (0, file.bytes)
    handle.seek(start)
    with closing(bounded_client(httpx, seconds=seconds)) as storage:
        answer = storage.put(
            url,
            content=_chunks(handle, file, length),
            headers={**(headers or {}), "Content-Length": str(length)},
        )
    if not answer.is_success:
        raise storage_error(answer, provider=provider, act="upload", does="does not take the file")
    return answer


def _chunks(handle: IO[bytes], file: DataFile, length: int) -> Iterator[bytes]:
    left = length
    while left:
        chunk = handle.read(min(CHUNK, left))
        if not chunk:
            raise changed(file.path)
        left -= len(chunk)
        yield chunk


def storage_error(answer: Any, *, provider: str, act: str, does: str) -> AnytuneError:
    """Return our error for what the storage answered; `does` says what it refused."""
    status = answer.status_code
    if status in EXPIRED:
        return UnavailableError(f"{provider}: {act}: the storage {does} (HTTP {status})", status=status)
    return error_for_status(status, provider=provider, act=act, headers=answer.headers)
