"""Webhooks as Standard Webhooks has them: signed when sent, held against their signature when received.

The signature is HMAC-SHA256 of `id.timestamp.body` under the secret, in base64 behind `v1,`; several may stand in a
row, while a secret is changed. A secret is base64 behind `whsec_`. OpenAI signs its own webhooks so, too
(standard-webhooks/standard-webhooks, spec/standard-webhooks.md).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections import OrderedDict
from collections.abc import Mapping
from datetime import datetime, timedelta

from anytune.errors import RefusedError, UsageError

PREFIX = "whsec_"
VERSION = "v1"
TOLERANCE = timedelta(minutes=5)  # between a webhook's time and ours, as the specification's own libraries have it
REMEMBERED = 100_000  # ids at most: a window's worth, even under a flood


def signed(body: bytes, *, id: str, at: datetime, secret: str) -> dict[str, str]:
    """Return the headers that a webhook is sent with."""
    timestamp = str(int(at.timestamp()))
    signature = _signature(body, id=id, timestamp=timestamp, key=key_of(secret))
    return {"webhook-id": id, "webhook-timestamp": timestamp, "webhook-signature": f"{VERSION},{signature}"}


def verify(body: bytes, headers: Mapping[str, str], *, secret: str, now: datetime) -> str:
    """Return the id of a webhook whose signature and time are good; raise `RefusedError` for any other.

    While a secret is changed, `secret` may hold the new and the old one, with a blank between. The webhook may have
    come before: see `Replays`. What it says is a hint to ask, never a state.
    """
    lower = {name.lower(): value for name, value in headers.items()}
    try:
        id, timestamp, told = (lower[f"webhook-{name}"] for name in ("id", "timestamp", "signature"))
    except KeyError as error:
        raise RefusedError(f"the webhook is not signed: it has no {error.args[0]}") from None
    if not (timestamp.isascii() and timestamp.isdecimal() and len(timestamp) <= 12):
        raise RefusedError("the webhook's timestamp is no time")
    if abs(now.timestamp() - int(timestamp)) > TOLERANCE.total_seconds():
        raise RefusedError(f"the webhook is from another time than now, by more than {TOLERANCE.seconds // 60} min")
    keys = [key_of(each) for each in secret.split() or [""]]
    good = [_signature(body, id=id, timestamp=timestamp, key=key).encode() for key in keys]
    given = [signature.encode() for version, _, signature in map(_parted, told.split()) if version == VERSION]
    if not any([hmac.compare_digest(one, other) for one in given for other in good]):
        raise RefusedError("the webhook's signature is not the one that the secret makes")
    return id


class Replays:
    """Remember the webhooks of the last minutes, so that one that comes again is told from a new one."""

    def __init__(self, *, window: timedelta = 2 * TOLERANCE) -> None:
        self._window = window
        self._seen: OrderedDict[str, datetime] = OrderedDict()

    def is_new(self, id: str, *, now: datetime) -> bool:
        """Tell whether this id has not come within the window, and remember it."""
        while self._seen and (now - next(iter(self._seen.values())) > self._window or len(self._seen) >= REMEMBERED):
            self._seen.popitem(last=False)
        return self._seen.setdefault(id, now) is now


def key_of(secret: str) -> bytes:
    """Return the key that a secret stands for; raise `UsageError` for one that is none, without showing it."""
    try:
        key = base64.b64decode(secret.strip().removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not key:
        raise UsageError(f"the webhook's secret is not one: it should be base64, behind {PREFIX}")
    return key


def _parted(signature: str) -> tuple[str, str, str]:
    return signature.partition(",")


def _signature(body: bytes, *, id: str, timestamp: str, key: bytes) -> str:
    signed_ = b".".join((id.encode(), timestamp.encode(), body))
    return base64.b64encode(hmac.new(key, signed_, hashlib.sha256).digest()).decode()
