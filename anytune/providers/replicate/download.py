"""Bring what a trainer made home: one archive by ranges, unpacked into a folder, all or nothing.

The trainer of the language models that are listed packs its results in a zip (replicate/cog-llama-template), others in
a tar. "Any files will be represented as HTTPS URLs. You'll need to pass the Authorization header": the key goes to the
API and to the vendor's own storage, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from anytune.providers import _download as download_of
from anytune.providers import _packed
from anytune.providers import _storage as storage
from anytune.providers.edge import bounded_client
from anytune.providers.replicate.gateway import NAME, Gateway
from anytune.schema.model import TunedModel

ACT = download_of.ACT


def download(gateway: Gateway, address: str, tuned: TunedModel, *, out: Path, seconds: float) -> dict[str, Any]:
    """Write the files and a manifest into `out`; an archive that is half there stays aside for the next call."""
    source = download_of.Source(NAME, lambda headers: _opened(gateway, address, headers, seconds=seconds))
    return _packed.bring(source, tuned, kind="adapter", out=out)


@contextmanager
def _opened(gateway: Gateway, address: str, headers: Mapping[str, str], *, seconds: float) -> Iterator[Any]:
    import httpx

    with ExitStack() as stack:
        stack.enter_context(gateway.connected(ACT))
        client = stack.enter_context(bounded_client(httpx, seconds=seconds))
        url = gateway.place(address, act=ACT)
        key = gateway.headers if is_theirs(url, gateway) else {}
        yield stack.enter_context(client.stream("GET", url, headers={**key, "Accept": "*/*", **headers}))


def is_theirs(url: Any, gateway: Gateway) -> bool:
    """Tell whether an address is the API's, or of the vendor's storage and reached by https."""
    import httpx

    own = httpx.URL(gateway.origin)
    if (url.scheme, url.host, url.port) == (own.scheme, own.host, own.port):
        return True
    return bool(url.scheme == "https" and storage.is_known(url.host, NAME))
