"""The way to Replicate's API: one call each, no redirects, every answer an object or one of our errors."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from typing import IO, Any

from anytune import catalog
from anytune.errors import (
    AmbiguousError,
    AnytuneError,
    KeyRefusedError,
    MalformedAnswerError,
    RateLimitedError,
    UsageError,
)
from anytune.providers._replicate_request import PART
from anytune.providers.base import Profile
from anytune.providers.edge import bounded_client, decoded, error_for_status, mapped, sendable_key

NAME = "replicate"
TO_CHOOSE = "set profiles.replicate.account in your own config.yaml"
# "Request was throttled. Expected available in 1 second." (replicate.com/docs/topics/predictions/rate-limits)
WHEN = re.compile(r"available in (\d+) second")


class Gateway:
    """Ask the API, with a key that is read at the first call."""

    def __init__(self, profile: Profile) -> None:
        self._profile = profile
        self._client: Any = None
        self._key = ""
        self._account = profile.account

    def ask(
        self, method: str, path: str, *, act: str, body: Mapping[str, Any] | None = None, query: Any = None
    ) -> dict[str, Any]:
        """Send one call and return the object of its answer, `{}` where it has none."""
        return self._object(self._answer(method, path, act=act, body=body, query=query), act=act)

    def seek(self, path: str, *, act: str) -> dict[str, Any] | None:
        """Look for a thing; None only when the API itself says that there is none."""
        answer = self._answer("GET", path, act=act)
        if answer.status_code != 404:
            return self._object(answer, act=act)
        if "detail" in decoded(answer.text):
            return None
        # A page of somebody between us and the API proves nothing.
        raise AmbiguousError(f"{NAME}: {act}: a 404 that is not the API's own", status=404)

    def rows(self, path: str, *, act: str) -> Iterator[dict[str, Any]]:
        """Yield all rows of a list, page by page; the newest come first there.

        The next page is asked for at our own address: of the address in the answer only the cursor is used.
        """
        import httpx

        cursor, seen = None, set[str]()
        while True:
            page = self.ask("GET", path, act=act, query={"cursor": cursor} if cursor else None)
            rows, more = page.get("results"), page.get("next")
            if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
                raise MalformedAnswerError(f"{NAME}: {act}: the answer is no list")
            yield from rows
            if more is None:
                return
            with self.connected(act):
                cursor = httpx.URL(str(more)).params.get("cursor")
            if not cursor or cursor in seen:
                raise MalformedAnswerError(f"{NAME}: {act}: the list has no end")
            seen.add(cursor)

    def send(self, handle: IO[bytes], *, name: str, seconds: float, act: str) -> dict[str, Any]:
        """Send one file as a form of one part (`content`), read from the disk as it goes."""
        import httpx

        with self.connected(act), closing(bounded_client(httpx, seconds=seconds)) as client:
            answer = client.post(
                f"{self.origin}/v1/files",
                files={"content": (name, handle, "application/jsonl")},
                headers=self.headers,
            )
        return self._object(answer, act=act)

    def account(self) -> str:
        """Return whose jobs they are: as the profile says, else whom the key belongs to."""
        if self._account is None:
            told = self.ask("GET", "account", act="look at the account").get("username")
            if not isinstance(told, str):
                raise MalformedAnswerError(f"{NAME}: look at the account: the answer names no one")
            self._account = told
        if re.fullmatch(PART, self._account) is None:
            raise UsageError(f"{self._account!r} is no name of an account at Replicate", fix=TO_CHOOSE)
        return self._account

    def _answer(self, method: str, path: str, *, act: str, body: Any = None, query: Any = None) -> Any:
        with self.connected(act) as client:
            return client.request(method, f"{self.origin}/v1/{path}", json=body, params=query, headers=self.headers)

    def _object(self, answer: Any, *, act: str) -> dict[str, Any]:
        if not answer.is_success:
            error = self._error(answer, act=act)
            if isinstance(error, KeyRefusedError):
                self._client = None  # the next call asks for the key again: it may have been renewed
            raise error
        if not answer.content:
            return {}
        with self.connected(act):
            found = answer.json()
        if not isinstance(found, dict):
            raise MalformedAnswerError(f"{NAME}: {act}: the answer is not the JSON it should be")
        return found

    def _error(self, answer: Any, *, act: str) -> AnytuneError:
        said, param = spoken(decoded(answer.text))
        error = error_for_status(
            answer.status_code,
            provider=NAME,
            act=act,
            body={"error": {"message": said, "param": param}},
            headers=answer.headers,
            secret=self._key,
        )
        if isinstance(error, RateLimitedError) and error.retry_after is None and (when := WHEN.search(said)):
            error.retry_after = float(when[1])
        return error

    @property
    def origin(self) -> str:
        """Return where the API stands, without the version in its paths."""
        base = self._profile.base_url or catalog.load(NAME).base_url or ""
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
            self._key = sendable_key(self._profile.key(), provider=NAME)
            self._client = bounded_client(httpx, seconds=self._profile.timeout)
        with mapped(NAME, act, secret=self._key):
            yield self._client


def spoken(body: Mapping[str, Any]) -> tuple[str, str | None]:
    """Return what a refusal says and which input it names.

    The API says `{"title", "detail", "status"}`, `detail` alone, or a list of faults in `detail` or `invalid_fields`.
    """
    detail = body.get("detail")
    listed = detail if isinstance(detail, list) else body.get("invalid_fields")
    faults = [fault for fault in listed if isinstance(fault, Mapping)] if isinstance(listed, list) else []
    told = [str(body.get("title") or ""), detail if isinstance(detail, str) else ""]
    told += [str(fault.get("msg") or fault.get("description") or "") for fault in faults]
    return ": ".join(dict.fromkeys(part for part in told if part)), _named(faults[0]) if faults else None


def _named(fault: Mapping[str, Any]) -> str | None:
    place = fault.get("loc")
    named = place[-1] if isinstance(place, list) and place else fault.get("field")
    return str(named) if named else None
