"""Ask a service over plain HTTP: one call each, no redirects, every answer an object or one of our errors."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from anytune import catalog
from anytune.errors import AmbiguousError, AnytuneError, KeyRefusedError, MalformedAnswerError
from anytune.providers._storage import safe_place
from anytune.providers.base import Profile
from anytune.providers.edge import bounded_client, decoded, error_for_status, mapped, sendable_key


class PlainGateway(ABC):
    """Ask a service, with a key that is read at the first call; below stands what each of them says in its own way."""

    name: str

    def __init__(self, profile: Profile) -> None:
        self._profile = profile
        self._client: Any = None
        self._key = ""
        self._account = profile.account

    @abstractmethod
    def says_none(self, body: Mapping[str, Any]) -> bool:
        """Tell whether it is the service itself that says, with a 404, that there is no such thing."""

    def refusal(self, answer: Any, *, act: str, secret: str = "") -> AnytuneError:
        """Return the error that an answer without success is."""
        return error_for_status(
            answer.status_code,
            provider=self.name,
            act=act,
            body=decoded(answer.text),
            headers=answer.headers,
            secret=(self._key, secret),
        )

    def ask(
        self,
        method: str,
        path: str,
        *,
        act: str,
        body: Mapping[str, Any] | None = None,
        query: Mapping[str, str] | None = None,
        secret: str = "",
    ) -> dict[str, Any]:
        """Send one call and return the object of its answer; a `secret` in the body shows in no error."""
        return self.read(self._answer(method, path, act=act, body=body, query=query), act=act, secret=secret)

    def seek(self, path: str, *, act: str) -> dict[str, Any] | None:
        """Look for a thing; None only when the service itself says that there is none."""
        answer = self._answer("GET", path, act=act)
        if answer.status_code != 404:
            return self.read(answer, act=act)
        if self.says_none(decoded(answer.text)):
            return None
        # A page of somebody between us and the service proves nothing.
        raise AmbiguousError(f"{self.name}: {act}: a 404 that is not the service's own", status=404)

    def _answer(self, method: str, path: str, *, act: str, body: Any = None, query: Any = None) -> Any:
        with self.connected(act) as client:
            return client.request(method, f"{self.origin}/v1/{path}", json=body, params=query, headers=self.headers)

    def read(self, answer: Any, *, act: str, secret: str = "") -> dict[str, Any]:
        """Return the object that an answer holds, or raise what it is instead."""
        if not answer.is_success:
            error = self.refusal(answer, act=act, secret=secret)
            if isinstance(error, KeyRefusedError):
                self._client = None  # the next call asks for the key again: it may have been renewed
            raise error
        with self.connected(act):
            found = answer.json()
        if not isinstance(found, dict):
            raise MalformedAnswerError(f"{self.name}: {act}: the answer is not the JSON it should be")
        return found

    def place(self, address: str, *, act: str) -> Any:
        """Return where an answer says that bytes are (httpx.URL); raise `RejectedError` where they must not go."""
        import httpx

        with self.connected(act):
            url = httpx.URL(self.origin).join(address)
        return safe_place(url, api=self.origin, profile=self._profile, act=act)

    @property
    def origin(self) -> str:
        """Return where the service stands, without the version in its paths."""
        base = self._profile.base_url or catalog.load(self.name).base_url or ""
        return base.rstrip("/").removesuffix("/v1")

    @property
    def headers(self) -> dict[str, str]:
        """Return what every call carries, the key among it."""
        return {"Authorization": f"Bearer {self._key}", "Accept": "application/json"}

    @contextmanager
    def connected(self, act: str) -> Iterator[Any]:
        """Lend the HTTP client; whatever it raises inside becomes one of our errors."""
        import httpx

        if self._client is None:
            self._key = sendable_key(self._profile.key(), provider=self.name)
            profile, secret = self._profile, (self._key, *self._profile.hidden())
            self._client = bounded_client(httpx, seconds=profile.timeout, gate=profile.gate, secret=secret)
        with mapped(self.name, act, secret=self._key):
            yield self._client
