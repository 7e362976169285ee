"""The storage behind hosted APIs: a signed address to which bytes are put, or from which they are read.

The address itself is a secret: whoever has it may write or read there. It is never shown, our key never goes there,
and a redirect of it is not followed. It comes in an answer, so that whoever can forge one could have the data sent
anywhere: only hosts that the catalogue or the user names are gone to, and the API's own.
"""

from __future__ import annotations

import ipaddress
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from typing import IO, Any
from urllib.parse import urlsplit

from anytune import catalog
from anytune.errors import AnytuneError, RejectedError, UnavailableError
from anytune.providers.base import Profile
from anytune.providers.checked import changed
from anytune.providers.edge import bounded_client, error_for_status
from anytune.schema.data import DataFile

CHUNK = 1024 * 1024
EXPIRED = {401, 403, 404}  # an address that is not ours any more; the next try is given a new one


def safe_place(url: Any, *, api: Any, profile: Profile, act: str) -> Any:
    """Return the address (httpx.URL); raise `RejectedError` for one that is not on a listed host, or not by https.

    On this machine it may be, by http too, only where the address of the API itself is: a service far away that names
    one would have us call a port of ours.
    """
    place, own = f"{profile.name}: {act}: the storage at {url.scheme}://{url.host}", _host(urlsplit(str(api)).hostname)
    here = _is_loopback(url.host)
    if here and not _is_loopback(own):
        raise RejectedError(f"{place} is on this machine, and the service is not")
    if not url.host or not (url.scheme == "https" or (url.scheme == "http" and here)):
        raise RejectedError(f"{place} is not reached by https")
    if not here and _host(url.host) != own and not is_listed(url.host, profile):
        raise _unlisted(_host(url.host), profile, act=act)
    return url


def is_listed(host: str, profile: Profile) -> bool:
    """Tell whether a provider keeps files on this host, by its catalogue or by the user's own word."""
    return is_known(host, profile.name) or any(_fits(_host(host), each) for each in profile.storage)


def is_known(host: str, provider: str) -> bool:
    """Tell whether the catalogue says that a provider keeps files on this host."""
    storage = catalog.load(provider).storage
    return storage is not None and any(_fits(_host(host), each) for each in storage.hosts)


def _fits(host: str, listed: str) -> bool:
    return host.endswith(listed[1:]) if listed.startswith("*.") else host == listed


def _unlisted(host: str, profile: Profile, *, act: str) -> RejectedError:
    storage = catalog.load(profile.name).storage
    known = f"is not one that it is known to use (list of {storage.as_of})" if storage else "is not known"
    return RejectedError(
        f"{profile.name}: {act}: the service names {host} as the place of the bytes, which {known}: nothing went there",
        fix=f"if you trust it, set profiles.{profile.name}.storage: [{host}] in your own config.yaml",
    )


def _host(name: str | None) -> str:
    return (name or "").lower().removesuffix(".")


def _is_loopback(host: str) -> bool:
    bare = _host(host)
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
