"""Tell that a job has ended, or costs more than expected: to a command, on its stdin, to a webhook, to the desktop.

A webhook that cannot be reached, or is out of order, is tried again for some seconds, each time signed anew under the
same id. What fails is told to whoever watches, once, and harms nothing. A redirect is not followed: the document would
go to another host than the user named.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from anytune import private, retry, webhook
from anytune.config import Keys, NotifySettings
from anytune.errors import AnytuneError, CredentialError, RateLimitedError, StoreError, UnavailableError, UsageError

SECONDS = 30.0  # that a command or a webhook has
TRIES = 5  # of a webhook, over some fifteen seconds
LONGEST = 120.0  # seconds for which it is tried, with all waits
TOO_MANY, FAULTY = 429, 500
ID = "anytune-{id}-{what}"  # the same for the same news, so that a receiver can tell a repetition
PAST = "past_estimate"


class Clock(retry.Clock, Protocol):
    """Tell the time of day, too."""

    def now(self) -> datetime:
        """Return the time of day, with its zone."""
        ...


class Notifier:
    """Tell of ends and alarms by the user's settings; the webhook's secret is among the keys."""

    def __init__(self, settings: NotifySettings, keys: Keys, *, clock: Clock) -> None:
        self._settings, self._keys, self._clock = settings, keys, clock
        self._told: set[str] = set()

    def tell(self, job: Mapping[str, Any]) -> Iterator[str]:
        """Send a job's document, one with an `alarm` as such; yield what went wrong and was not told before."""
        what = _news(job)
        body = json.dumps({"type": f"job.{what}", "timestamp": self._clock.now().isoformat(), "data": job}, default=str)
        id = ID.format(id=job["id"], what=what)
        for way in (partial(self._run, body), partial(self._post, body, webhook_id=id), partial(self._show, job)):
            try:
                way()
            except AnytuneError as error:
                if error.message not in self._told:
                    self._told.add(error.message)
                    yield error.message

    def _run(self, body: str) -> None:
        command = self._settings.command
        if command:
            _called(command, "notify.command", stdin=body)

    def _show(self, job: Mapping[str, Any]) -> None:
        if not self._settings.desktop:
            return
        alarm = job.get("alarm")
        said = f"past its estimate: ${alarm['now']:.2f}, at most ${alarm['most']:.2f} was expected" if alarm else ""
        _called(_shown(f"{job['id']} {said or job['state']}"), "notify.desktop")

    def _post(self, body: str, *, webhook_id: str) -> None:
        address = self._settings.webhook
        if address is not None:
            secret, sent = self._secret(), body.encode()

            def post() -> None:
                signed = webhook.signed(sent, id=webhook_id, at=self._clock.now(), secret=secret)
                _posted(address, sent, {**signed, "Content-Type": "application/json"})

            retry.call(post, clock=self._clock, attempts=TRIES, deadline=LONGEST)

    def _secret(self) -> str:
        name = self._settings.secret_variable
        if name is None:
            raise UsageError("notify.webhook needs notify.secret_variable, which names the variable of its secret")
        found = self._keys.find(name)
        if found is None:
            raise CredentialError(f"notify.webhook needs its secret: {name} is not set", fix=f"anytune keys add {name}")
        return found.value


def is_first(job: Mapping[str, Any], *, home: Path) -> bool:
    """Tell whether no process of this home has told this news yet, and note that it is told now."""
    folder = home / "notified"
    try:
        private.folder(folder)
        (folder / f"{job['id']}-{_news(job)}").touch(mode=0o600, exist_ok=False)
    except FileExistsError:
        return False
    except OSError as error:
        raise StoreError(f"cannot write in {folder}: {error.strerror}") from error
    return True


def _news(job: Mapping[str, Any]) -> str:
    return PAST if "alarm" in job else str(job["state"])


def _shown(text: str) -> tuple[str, ...]:
    """Return the command that shows a text on the desktop; raise `UsageError` where there is none."""
    if sys.platform == "darwin":
        script = 'on run argv\ndisplay notification (item 1 of argv) with title "anytune"\nend run'
        return ("osascript", "-e", script, text)
    if shutil.which("notify-send") is None:
        raise UsageError("notify.desktop: notify-send is not installed", fix="install libnotify, or use notify.command")
    return ("notify-send", "--app-name=anytune", "--", "anytune", text)


def _posted(address: str, body: bytes, headers: Mapping[str, str]) -> None:
    """Send a webhook; raise without its address, which may be as good as a key."""
    import httpx

    from anytune.providers.edge import bounded_client, retry_after

    try:
        with bounded_client(httpx, seconds=SECONDS) as client:
            answer = client.post(address, content=body, headers=dict(headers))
    except httpx.HTTPError as error:
        raise UnavailableError(f"notify.webhook: {type(error).__name__}: it could not be reached") from None
    except httpx.InvalidURL:
        raise UsageError("notify.webhook: it is no address") from None
    said = f"notify.webhook: HTTP {answer.status_code}"
    if answer.is_redirect:
        raise AnytuneError(f"{said}: redirected, which is not followed")
    if answer.status_code == TOO_MANY:
        raise RateLimitedError(said, retry_after=retry_after(answer.headers))
    if answer.status_code >= FAULTY:
        raise UnavailableError(said)
    if not answer.is_success:
        raise AnytuneError(said)


def _called(command: tuple[str, ...], whose: str, *, stdin: str = "") -> None:
    """Run a command to its end, within `SECONDS`."""
    try:
        done = subprocess.run(
            command, input=stdin, text=True, capture_output=True, timeout=SECONDS, check=False, errors="replace"
        )
    except subprocess.TimeoutExpired as error:
        raise AnytuneError(f"{whose}: {command[0]} did not end within {SECONDS:g} s") from error
    except OSError as error:
        raise AnytuneError(f"{whose}: {command[0]}: {error.strerror}") from error
    if done.returncode != 0:
        said = " ".join(done.stderr.split())[:200]
        raise AnytuneError(f"{whose}: {command[0]} ended with status {done.returncode}: {said}")
