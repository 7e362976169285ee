"""Tell that a job has ended: to a command of the user's, on its stdin, and to a webhook, signed.

What fails is told to whoever watches, once, and harms nothing. A redirect is not followed: the document would go to
another host than the user named.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any

from anytune import webhook
from anytune.config import Keys, NotifySettings
from anytune.errors import AnytuneError, CredentialError, UsageError

SECONDS = 30.0  # that a command or a webhook has
ID = "anytune-{id}-{state}"  # the same for the same end, so that a receiver can tell a repetition


class Notifier:
    """Tell of ends by the user's settings; the webhook's secret is among the keys."""

    def __init__(self, settings: NotifySettings, keys: Keys, *, now: Callable[[], datetime]) -> None:
        self._settings, self._keys, self._now = settings, keys, now
        self._told: set[str] = set()

    def tell(self, job: Mapping[str, Any]) -> Iterator[str]:
        """Send a job's document; yield what went wrong and was not told before."""
        body = json.dumps(
            {"type": f"job.{job['state']}", "timestamp": self._now().isoformat(), "data": job}, default=str
        )
        for way in (self._run, self._post):
            try:
                way(body, webhook_id=ID.format(**job))
            except AnytuneError as error:
                if error.message not in self._told:
                    self._told.add(error.message)
                    yield error.message

    def _run(self, body: str, *, webhook_id: str) -> None:
        del webhook_id
        command = self._settings.command
        if not command:
            return
        try:
            done = subprocess.run(
                command, input=body, text=True, capture_output=True, timeout=SECONDS, check=False, errors="replace"
            )
        except subprocess.TimeoutExpired as error:
            raise AnytuneError(f"notify.command: {command[0]} did not end within {SECONDS:g} s") from error
        except OSError as error:
            raise AnytuneError(f"notify.command: {command[0]}: {error.strerror}") from error
        if done.returncode != 0:
            said = " ".join(done.stderr.split())[:200]
            raise AnytuneError(f"notify.command: {command[0]} ended with status {done.returncode}: {said}")

    def _post(self, body: str, *, webhook_id: str) -> None:
        if self._settings.webhook is None:
            return
        import httpx

        from anytune.providers.edge import bounded_client

        sent = body.encode()
        headers = webhook.signed(sent, id=webhook_id, at=self._now(), secret=self._secret())
        try:
            with bounded_client(httpx, seconds=SECONDS) as client:
                answer = client.post(
                    self._settings.webhook, content=sent, headers={**headers, "Content-Type": "application/json"}
                )
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise AnytuneError(f"notify.webhook: {type(error).__name__}: it could not be reached") from None
        if answer.is_redirect:
            raise AnytuneError(f"notify.webhook: HTTP {answer.status_code}: redirected, which is not followed")
        if not answer.is_success:
            raise AnytuneError(f"notify.webhook: HTTP {answer.status_code}")

    def _secret(self) -> str:
        name = self._settings.secret_variable
        if name is None:
            raise UsageError("notify.webhook needs notify.secret_variable, which names the variable of its secret")
        found = self._keys.find(name)
        if found is None:
            raise CredentialError(f"notify.webhook needs its secret: {name} is not set", fix=f"anytune keys add {name}")
        return found.value
