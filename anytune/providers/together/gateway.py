"""The way to Together: the vendor's client for address, key and errors; every answer an object or one of our errors."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

from anytune import catalog
from anytune.errors import KeyRefusedError, MalformedAnswerError, MissingExtraError
from anytune.providers._storage import safe_place
from anytune.providers.base import Profile
from anytune.providers.edge import bounded_client, mapped, sendable_key

NAME = "together"


class Gateway:
    """Ask Together, with a key that is read at the first call."""

    def __init__(self, profile: Profile) -> None:
        self.profile = profile
        self._client: Any = None

    def get(self, act: str, path: str) -> dict[str, Any]:
        """Send one GET and return the object of its answer."""
        import httpx

        with self.connected(act) as sdk:
            return _json_object(sdk.get(path, cast_to=httpx.Response), act=act)

    def post(self, act: str, path: str, body: Mapping[str, Any] | None = None, *, secret: str = "") -> dict[str, Any]:
        """Send one POST and return the object of its answer; a `secret` in the body shows in no error and no log."""
        import httpx

        with self.connected(act, secret=secret) as sdk, _unlogged(secret):
            return _json_object(sdk.post(path, cast_to=httpx.Response, body=body), act=act)

    def delete(self, act: str, path: str) -> None:
        """Send one DELETE; what the answer says beside its status is not read."""
        import httpx

        with self.connected(act) as sdk:
            sdk.delete(path, cast_to=httpx.Response)

    def place(self, address: Any, *, base: Any, act: str) -> Any:
        """Return where an answer of `base` says that bytes are (httpx.URL); raise `RejectedError` where not to go."""
        return safe_place(base.join(address), api=base, profile=self.profile, act=act)

    @contextmanager
    def connected(self, act: str, *, secret: str = "") -> Iterator[Any]:
        """Lend the vendor's client; whatever it raises inside becomes one of our errors."""
        if self._client is None:
            self._client = _connect(self.profile)
        try:
            with mapped(NAME, act, secret=(self._client.api_key, secret)):
                yield self._client
        except KeyRefusedError:
            self._client = None  # the next call asks for the key again: it may have been renewed
            raise


@contextmanager
def _unlogged(secret: str) -> Iterator[None]:
    """Keep a body with a secret out of the SDK's own log, which writes whole bodies where TOGETHER_LOG is `debug`."""
    log = logging.getLogger("together")
    before = log.level
    if secret and log.getEffectiveLevel() < logging.INFO:
        log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.setLevel(before)


def _connect(profile: Profile) -> Any:
    try:
        import httpx
        import together
    except ImportError as error:
        raise MissingExtraError(needs="together", extra="together") from error
    key = sendable_key(profile.key(), provider=NAME)
    secret = (key, *profile.hidden())
    client = bounded_client(httpx, seconds=profile.timeout, gate=profile.gate, secret=secret)
    client.event_hooks = {"request": [partial(_pin, key=key)]}
    return together.Together(
        api_key=key,
        base_url=_origin(profile.base_url or catalog.load(NAME).base_url or ""),
        max_retries=0,
        http_client=client,
    )


def _pin(request: Any, *, key: str) -> None:
    """Undo what TOGETHER_CUSTOM_HEADERS may say of where a call goes and whose it is."""
    request.headers["Host"] = request.url.netloc.decode("ascii")
    request.headers["Authorization"] = f"Bearer {key}"


def _origin(base_url: str) -> str:
    # The SDK's paths begin with /v1 since its third version; addresses written before it end so.
    return base_url.rstrip("/").removesuffix("/v1")


def _json_object(response: Any, *, act: str) -> dict[str, Any]:
    found = response.json()
    if isinstance(found, dict):
        return found
    raise MalformedAnswerError(f"{NAME}: {act}: the answer is not the JSON it should be")
