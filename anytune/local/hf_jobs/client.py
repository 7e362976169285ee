"""The one HTTP client that huggingface_hub has in a process, lent: ours for our calls, the program's own for others.

The library's own client follows redirects with the data and has no deadline, and the library sends again by itself what
met a server's error. Behind this client it cannot: each answer but a success, and each failure on the way, leaves it at
once as one of our errors, which the library knows nothing of and so does not repeat.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from anytune.errors import MalformedAnswerError, RejectedError
from anytune.local.hf_jobs.fault import mapped, of_answer
from anytune.local.hf_jobs.request import NAME
from anytune.providers._storage import safe_place
from anytune.providers.base import Profile
from anytune.providers.edge import bounded_client

if TYPE_CHECKING:
    pass

MOST_HOPS = 5
_lent: ContextVar[Guarded | None] = ContextVar("anytune_hub_client", default=None)


@contextmanager
def lent(client: Guarded) -> Iterator[None]:
    """Have huggingface_hub use this client for what is called inside."""
    _install()
    token = _lent.set(client)
    try:
        yield
    finally:
        _lent.reset(token)


class Guarded:
    """Send what huggingface_hub wants sent: to the Hub with the key, to its storage without, nowhere by redirect."""

    def __init__(self, endpoint: str, profile: Profile, *, key: str, act: str) -> None:
        self._endpoint, self._profile, self._key, self._act = endpoint, profile, key, act
        self._seconds, self._upload_seconds = profile.timeout, profile.upload_timeout
        self._gate = profile.gate

    def request(self, method: str, url: Any, **options: Any) -> Any:
        """Send one request and return its answer, which is a success."""
        import httpx2

        seconds = self._upload_seconds if method == "PUT" else self._seconds
        options.pop("follow_redirects", None)
        options.pop("timeout", None)
        if not isinstance(options.get("data", {}), Mapping):
            options["content"] = options.pop("data")
        gate = self._gate if self._is_hub(httpx2.URL(str(url))) else None
        made = bounded_client(httpx2, seconds=seconds, gate=gate, secret=self._key)
        with mapped(self._act, secret=self._key), closing(made) as client:
            headers = self._allowed(httpx2.URL(str(url)), options.pop("headers", None) or {})
            answer = client.request(method, url, headers=headers, **options)
            if not answer.is_success:
                raise of_answer(answer, act=self._act, secret=self._key)
        return answer

    def get(self, url: Any, **options: Any) -> Any:
        """Send a GET."""
        return self.request("GET", url, **options)

    def post(self, url: Any, **options: Any) -> Any:
        """Send a POST."""
        return self.request("POST", url, **options)

    @contextmanager
    def opened(self, url: str, *, start: int = 0) -> Iterator[Any]:
        """Lend the answer that has the file's bytes from `start`, found by way of the Hub's redirects."""
        import httpx2

        place = httpx2.URL(url)
        with (
            mapped(self._act, secret=self._key),
            closing(bounded_client(httpx2, seconds=self._upload_seconds)) as client,
        ):
            for _ in range(MOST_HOPS):
                headers = self._allowed(place, self.bearer if self._is_hub(place) else {})
                headers |= {"Accept-Encoding": "identity", **({"Range": f"bytes={start}-"} if start else {})}
                with client.stream("GET", place, headers=headers) as answer:
                    if answer.has_redirect_location:
                        place = place.join(answer.headers["location"])
                        continue
                    if not answer.is_success and answer.status_code != 416:
                        answer.read()
                        raise of_answer(answer, act=self._act, secret=self._key)
                    yield answer
                    return
        raise MalformedAnswerError(f"{NAME}: {self._act}: the file is nowhere: one redirect follows another")

    @property
    def bearer(self) -> dict[str, str]:
        """Return the header that carries the key."""
        return {"authorization": f"Bearer {self._key}"}

    def _allowed(self, url: Any, headers: Mapping[str, str]) -> dict[str, str]:
        if self._is_hub(url):
            return dict(headers)
        safe_place(url, api=self._endpoint, profile=self._profile, act=self._act)
        if any(name.lower() == "authorization" for name in headers):
            raise RejectedError(f"{NAME}: {self._act}: the key was wanted at {url.host}; it is not sent there")
        return dict(headers)

    def _is_hub(self, url: Any) -> bool:
        own = urlsplit(self._endpoint)
        ports = {"https": 443, "http": 80}
        wanted = (own.scheme, own.hostname, own.port or ports.get(own.scheme))
        return (url.scheme, url.host, url.port or ports.get(url.scheme)) == wanted


class _Switch:
    """Be the library's client: the lent one where one is lent, else the program's own, made when first needed."""

    def __init__(self, make: Any) -> None:
        self._make, self._own = make, None

    def __getattr__(self, name: str) -> Any:
        client = _lent.get()
        if client is None:
            client = self._own = self._own or self._make()
        return getattr(client, name)

    def close(self) -> None:
        """Close the program's own client."""
        if self._own is not None:
            self._own.close()


class _Factory:
    """Make the library's client."""

    def __init__(self, own: Any) -> None:
        self._own = own

    def __call__(self) -> Any:
        return _Switch(self._own)


def _install() -> None:
    """Stand between huggingface_hub and the client that it, or the program, would make; again if it was replaced."""
    from huggingface_hub import constants, set_client_factory
    from huggingface_hub.utils import _http

    made_by = getattr(_http, "_GLOBAL_CLIENT_FACTORY", None)
    if not isinstance(made_by, _Factory):
        set_client_factory(_Factory(made_by or _http.default_client_factory))
        # Unless told not to, it names the libraries at hand in each call, and asks the Hub for agents to look for.
        constants.HF_HUB_DISABLE_TELEMETRY = True
        logging.getLogger("huggingface_hub._commit_api").addFilter(lambda _: _lent.get() is None)
