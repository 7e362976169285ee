"""The way to Replicate's API: one call each, no redirects, every answer an object or one of our errors."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import IO, Any

from anytune.errors import (
    AnytuneError,
    MalformedAnswerError,
    RateLimitedError,
    UsageError,
)
from anytune.providers._plain import PlainGateway
from anytune.providers.edge import bounded_client, decoded, error_for_status
from anytune.providers.replicate.request import PART

NAME = "replicate"
TO_CHOOSE = "set profiles.replicate.account in your own config.yaml"
# "Request was throttled. Expected available in 1 second." (replicate.com/docs/topics/predictions/rate-limits)
WHEN = re.compile(r"available in (\d+) second")


class Gateway(PlainGateway):
    """Ask the API."""

    name = NAME

    def says_none(self, body: Mapping[str, Any]) -> bool:
        """Tell whether it is the API itself that says so."""
        return "detail" in body

    def read(self, answer: Any, *, act: str, secret: str = "") -> dict[str, Any]:
        """Return the object that an answer holds, `{}` where it has none, or raise what it is instead."""
        return {} if answer.is_success and not answer.content else super().read(answer, act=act, secret=secret)

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

        with self.connected(act), closing(bounded_client(httpx, seconds=seconds, gate=self._profile.gate)) as client:
            answer = client.post(
                f"{self.origin}/v1/files",
                files={"content": (name, handle, "application/jsonl")},
                headers=self.headers,
            )
        return self.read(answer, act=act)

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

    def refusal(self, answer: Any, *, act: str, secret: str = "") -> AnytuneError:
        """Return the error that an answer without success is, with the time to wait where its text says one."""
        said, param = spoken(decoded(answer.text))
        error = error_for_status(
            answer.status_code,
            provider=NAME,
            act=act,
            body={"error": {"message": said, "param": param}},
            headers=answer.headers,
            secret=(self._key, secret),
        )
        if isinstance(error, RateLimitedError) and error.retry_after is None and (when := WHEN.search(said)):
            error.retry_after = float(when[1])
        return error


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
