"""The way to Ray's dashboard: its Jobs interface by plain HTTP, one call each; no ray is needed here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from anytune.config import is_here
from anytune.errors import (
    AmbiguousError,
    AnytuneError,
    CredentialError,
    KeyRefusedError,
    MalformedAnswerError,
    NotFoundError,
    RejectedError,
    UsageError,
)
from anytune.local.ray_jobs import request as requests
from anytune.local.ray_jobs.request import NAME
from anytune.providers._plain import PlainGateway
from anytune.providers.edge import bounded_client, decoded, error_for_status, mapped, sendable_key

MOST_PACKAGE = 100 << 20  # bytes that the dashboard takes at once (DASHBOARD_CLIENT_MAX_SIZE in Ray 2.60)
NOT_THERE = "does not exist"


class AlreadyThereError(RejectedError):
    """Report that a job of this submission id is there."""


class Gateway(PlainGateway):
    """Ask the dashboard."""

    name = NAME

    def says_none(self, body: Mapping[str, Any]) -> bool:
        """Tell whether it is Ray itself that says so; it does in plain text, see `refusal`."""
        return NOT_THERE in str(body.get("error", ""))

    @property
    def origin(self) -> str:
        """Return where the dashboard stands."""
        return requests.address(self._profile)

    @property
    def headers(self) -> dict[str, str]:
        """Return what every call carries; on this machine Ray may need no token."""
        return {"Accept": "application/json", **({"Authorization": f"Bearer {self._key}"} if self._key else {})}

    @contextmanager
    def connected(self, act: str) -> Iterator[Any]:
        """Lend the HTTP client; whatever it raises inside becomes one of our errors."""
        import httpx

        if self._client is None:
            if problem := requests.unsafe(self.origin):
                raise UsageError(f"{NAME}: {act}: {problem}")
            self._key = self._token()
            self._client = bounded_client(httpx, seconds=self._profile.timeout, gate=self._profile.gate)
        with mapped(NAME, act, secret=self._key):
            yield self._client

    def _token(self) -> str:
        """Return the token; a cluster elsewhere without one would run anybody's code, and is not used."""
        try:
            return sendable_key(self._profile.key(), provider=NAME)
        except CredentialError as error:
            if is_here(self.origin):
                return ""
            raise CredentialError(
                f"{error.message}; a cluster beyond this machine is used with a token alone", fix=error.fix
            ) from error

    def _answer(self, method: str, path: str, *, act: str, body: Any = None, query: Any = None) -> Any:
        with self.connected(act) as client:
            return client.request(method, f"{self.origin}/api/{path}", json=body, params=query, headers=self.headers)

    def refusal(self, answer: Any, *, act: str, secret: str = "") -> AnytuneError:
        """Return the error that an answer without success is: Ray says why in plain text, a traceback at that."""
        lines = answer.text.strip().splitlines() or [f"HTTP {answer.status_code}"]
        if answer.status_code == 403 and "token" in answer.text:
            return KeyRefusedError(f"{NAME} does not take this token (HTTP 403)", fix="set RAY_AUTH_TOKEN anew")
        if answer.status_code == 500 and "already exists" in answer.text:
            return AlreadyThereError(f"{NAME}: {act}: there is a job of this id", status=500)
        body = decoded(answer.text) or {"error": {"message": lines[-1]}}
        known = error_for_status(
            answer.status_code,
            provider=NAME,
            act=act,
            body=body,
            headers=answer.headers,
            secret=(self._key, secret),
        )
        if isinstance(known, NotFoundError) and NOT_THERE not in answer.text:
            # A page of somebody between us and the cluster proves nothing.
            return AmbiguousError(f"{NAME}: {act}: a 404 that is not Ray's own", status=404)
        return known

    def jobs(self, *, act: str) -> list[dict[str, Any]]:
        """List all jobs that the cluster remembers."""
        answer = self._answer("GET", "jobs/", act=act)
        if not answer.is_success:
            self.read(answer, act=act)
        with self.connected(act):
            found = answer.json()
        if not isinstance(found, list) or not all(isinstance(row, dict) for row in found):
            raise MalformedAnswerError(f"{NAME}: {act}: the answer is no list of jobs")
        return found

    def job(self, submission_id: str, *, act: str) -> dict[str, Any] | None:
        """Look a job up; None only when Ray itself says that there is none."""
        try:
            return self.ask("GET", f"jobs/{submission_id}", act=act)
        except NotFoundError:
            return None

    def keep(self, content: bytes, *, digest: str, act: str) -> str:
        """Have the cluster hold a package, if it does not, and return its address; Ray forgets it in ten minutes."""
        if len(content) > MOST_PACKAGE:
            raise UsageError(f"{NAME}: {act}: {len(content)} bytes are more than the dashboard takes at once")
        name = f"_ray_pkg_{digest}.zip"
        found = self._answer("GET", f"packages/gcs/{name}", act=act)
        if found.status_code == 404 and NOT_THERE in found.text:
            with self.connected(act) as client:
                found = client.put(f"{self.origin}/api/packages/gcs/{name}", content=content, headers=self.headers)
        if not found.is_success:
            self.read(found, act=act)
        return f"gcs://{name}"
