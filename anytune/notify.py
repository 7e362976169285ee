"""Tell that a job has ended, or costs more than expected: to a command, on its stdin, to a webhook, to the desktop.

A webhook that cannot be reached, or is out of order, is tried again for some seconds, each time signed anew under the
same id. A way that fails is left alone for a while, one for which something is missing here for as long as the process
lives; what it was to tell is still to be told. Only what a webhook refuses is not sent again. What fails is told to
whoever watches, once, and harms nothing. A redirect is not followed: the document would go to another host than the
user named.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from math import inf
from typing import Any, Protocol

from anytune import retry, webhook
from anytune.config import Keys, NotifySettings
from anytune.errors import AnytuneError, CredentialError, RateLimitedError, UnavailableError, UsageError
from anytune.schema.job import News

SECONDS = 30.0  # that a command or a webhook has
TRIES = 5  # of a webhook, over some fifteen seconds
LONGEST = 120.0  # seconds for which it is tried, with all waits
TOO_MANY, FAULTY = 429, 500
REST = 600.0  # seconds for which a way is left alone that failed


class Clock(retry.Clock, Protocol):
    """Tell the time of day, too."""

    def now(self) -> datetime:
        """Return the time of day, with its zone."""
        ...


class WebhookRefusedError(AnytuneError):
    """Report that a webhook was reached and does not take what it is sent."""


class Notifier:
    """Tell news by the ways that the user's settings name; the webhook's secret is among the keys."""

    def __init__(self, settings: NotifySettings, keys: Keys, *, clock: Clock) -> None:
        self._settings, self._keys, self._clock = settings, keys, clock
        self._told: set[str] = set()
        self._rests = dict[str, float]()

    def ways(self) -> tuple[str, ...]:
        """Return the ways that can be tried now: one that failed rests."""
        now = self._clock.monotonic()
        return tuple(way for way in self._settings.ways if now >= self._rests.get(way, now))

    def tell(self, news: News, way: str) -> tuple[bool, str | None]:
        """Tell some news by one way; return whether that is done with, and what went wrong and was not told before.

        It is not where the way rests or fails, unless a webhook was reached and refuses what it is sent.
        """
        if way not in self.ways():
            return False, None
        job = json.loads(news.body)
        body = json.dumps({"type": f"job.{news.what}", "timestamp": news.at.isoformat(), "data": job})
        try:
            if way == "command":
                _called(self._settings.command, "notify.command", stdin=body)
            elif way == "webhook":
                self._post(body.encode(), webhook_id=f"anytune-{news.id}")
            else:
                _called(_shown(f"{news.job_id} {_said(news, job)}"), "notify.desktop")
        except (CredentialError, UsageError) as error:
            return self._left(way, error, rest=inf)
        except WebhookRefusedError as error:
            return True, self._once(error)
        except AnytuneError as error:
            return self._left(way, error, rest=REST)
        return True, None

    def _left(self, way: str, error: AnytuneError, *, rest: float) -> tuple[bool, str | None]:
        self._rests[way] = self._clock.monotonic() + rest
        return False, self._once(error)

    def _once(self, error: AnytuneError) -> str | None:
        if error.message in self._told:
            return None
        self._told.add(error.message)
        return error.message

    def _post(self, sent: bytes, *, webhook_id: str) -> None:
        address, secret = self._settings.webhook, self._secret()
        if address is None:
            return

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


def _said(news: News, job: Mapping[str, Any]) -> str:
    alarm = job.get("alarm")
    if alarm is None:
        return news.what
    now, most = (Decimal(str(alarm[name])) for name in ("now", "most"))
    return f"past its estimate: ${now:.2f}, at most ${most:.2f} was expected"


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
        raise WebhookRefusedError(f"{said}: redirected, which is not followed")
    if answer.status_code == TOO_MANY:
        raise RateLimitedError(said, retry_after=retry_after(answer.headers))
    if answer.status_code >= FAULTY:
        raise UnavailableError(said)
    if not answer.is_success:
        raise WebhookRefusedError(said)


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
