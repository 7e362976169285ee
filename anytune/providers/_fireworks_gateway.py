"""The way to Fireworks' gateway: one call each, no redirects, every answer an object or one of our errors."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from anytune import catalog
from anytune.errors import AmbiguousError, KeyRefusedError, MalformedAnswerError, UsageError
from anytune.providers import _fireworks_answer as answers
from anytune.providers.base import Profile
from anytune.providers.edge import bounded_client, decoded, error_for_status, mapped, sendable_key

NAME = answers.NAME
TO_CHOOSE = "set FIREWORKS_ACCOUNT_ID, or profiles.fireworks.account in your own config.yaml"


class Gateway:
    """Ask the gateway, with a key that is read at the first call."""

    def __init__(self, profile: Profile) -> None:
        self._profile = profile
        self._client: Any = None
        self._key = ""
        self._account = profile.account

    def ask(
        self,
        method: str,
        path: str,
        *,
        act: str,
        body: Mapping[str, Any] | None = None,
        query: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        """Send one call and return the object of its answer."""
        return self._object(self._answer(method, path, act=act, body=body, query=query), act=act)

    def seek(self, name: str, *, act: str) -> dict[str, Any] | None:
        """Look for a resource; None only when the gateway itself says that there is none."""
        answer = self._answer("GET", name, act=act)
        if answer.status_code != 404:
            return self._object(answer, act=act)
        if answers.is_code(decoded(answer.text), answers.NOT_FOUND):
            return None
        # A page of somebody between us and the gateway proves nothing.
        raise AmbiguousError(f"{NAME}: {act}: a 404 that is not the gateway's own", status=404)

    def account(self) -> str:
        """Return whose jobs they are: as the profile says, else the one account that the key serves."""
        if self._account is None:
            self._account = self._only_account()
        bare = self._account.removeprefix("accounts/")
        if re.fullmatch(answers.PART, bare) is None:
            raise UsageError(f"{bare!r} is no id of an account at Fireworks", fix=TO_CHOOSE)
        return bare

    def _only_account(self) -> str:
        act = "list accounts"
        rows = self.ask("GET", "accounts", act=act).get("accounts")
        if not isinstance(rows, list):
            raise MalformedAnswerError(f"{NAME}: {act}: the answer is no list")
        names = [str(row["name"]) for row in rows if isinstance(row, Mapping) and row.get("name")]
        if len(names) != 1:
            said = ", ".join(name.removeprefix("accounts/") for name in names) or "none is listed"
            raise UsageError(f"whose jobs they are to be, the key for fireworks leaves open: {said}", fix=TO_CHOOSE)
        return names[0]

    def _answer(self, method: str, path: str, *, act: str, body: Any = None, query: Any = None) -> Any:
        with self.connected(act) as client:
            return client.request(
                method,
                f"{self.origin}/v1/{path}",
                json=body,
                params=query,
                headers={"Authorization": f"Bearer {self._key}", "Accept": "application/json"},
            )

    def _object(self, answer: Any, *, act: str) -> dict[str, Any]:
        if not answer.is_success:
            body, headers = decoded(answer.text), answer.headers
            error = error_for_status(
                answer.status_code, provider=NAME, act=act, body=body, headers=headers, secret=self._key
            )
            if isinstance(error, KeyRefusedError):
                self._client = None  # the next call asks for the key again: it may have been renewed
            raise error
        with self.connected(act):
            found = answer.json()
        if not isinstance(found, dict):
            raise MalformedAnswerError(f"{NAME}: {act}: the answer is not the JSON it should be")
        return found

    @property
    def origin(self) -> str:
        """Return the gateway's address, without the /v1 that each path begins with."""
        base = self._profile.base_url or catalog.load(NAME).base_url or ""
        return base.rstrip("/").removesuffix("/v1")

    @contextmanager
    def connected(self, act: str) -> Iterator[Any]:
        """Lend the HTTP client; whatever it raises inside becomes one of our errors."""
        import httpx

        if self._client is None:
            self._key = sendable_key(self._profile.key(), provider=NAME)
            self._client = bounded_client(httpx, seconds=self._profile.timeout)
        with mapped(NAME, act, secret=self._key):
            yield self._client
