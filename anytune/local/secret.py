"""The secret by which the machines of a run know each other, before anything else is said between them.

It is a file in the home that all of them see, and never goes over the line: each proves that it has it by an HMAC
(RFC 2104, SHA-256) of what both have just drawn, and of which of the two it is, so that no answer serves twice. What is
said afterwards is neither encrypted nor signed.
"""

from __future__ import annotations

import hmac
import json
import os
import secrets
import time
from pathlib import Path
from typing import Any, Protocol

from anytune import private
from anytune.errors import UsageError

NAME = "meeting"
DIGITS = 64
SETTLING = 5.0  # seconds for which another process may be about to write the file
LEADS, JOINS = "leads", "joins"


class Talk(Protocol):
    """Be one end of a line."""

    def tell(self, message: dict[str, Any], /) -> None:
        """Send one message."""

    def awaited(self, seconds: float, /) -> dict[str, Any] | None:
        """Return the next message, None if none comes in that time."""


def read(home: Path) -> bytes | None:
    """Return the secret of this home, None while there is none."""
    try:
        found = (home / NAME).read_bytes()
    except OSError:
        return None
    return found if len(found) == DIGITS else None


def made(home: Path) -> bytes:
    """Return the secret of this home, which is made where there is none; raise `UsageError` where that cannot be."""
    path = home / NAME
    try:
        private.made(home)
        with open(path, "xb", opener=lambda name, flags: os.open(name, flags, 0o600)) as out:
            out.write(secrets.token_hex(DIGITS // 2).encode())
    except FileExistsError:
        pass
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from error
    end = time.monotonic() + SETTLING
    while (found := read(home)) is None:
        if time.monotonic() > end:
            raise UsageError(f"{path} holds no secret that this user can read", fix="remove it")
        time.sleep(0.05)
    return found


def shown_by(line: Talk, secret: bytes, seconds: float) -> bool:
    """Tell whether the one that came has the secret, and show it that we do; it has so many seconds to answer."""
    mine = secrets.token_hex()
    line.tell({"nonce": mine})
    said = line.awaited(seconds) or {}
    theirs = said.get("nonce")
    if not isinstance(theirs, str) or not _is(said.get("proof"), _proof(secret, JOINS, mine, theirs)):
        return False
    line.tell({"proof": _proof(secret, LEADS, mine, theirs)})
    return True


def shown_to(line: Talk, secret: bytes, asked: dict[str, Any], seconds: float) -> bool:
    """Show our secret to the one that has `asked` for it, and tell whether it has it, too."""
    theirs, mine = asked.get("nonce"), secrets.token_hex()
    if not isinstance(theirs, str):
        return False
    line.tell({"nonce": mine, "proof": _proof(secret, JOINS, theirs, mine)})
    return _is((line.awaited(seconds) or {}).get("proof"), _proof(secret, LEADS, theirs, mine))


def _proof(secret: bytes, role: str, leaders: str, joiners: str) -> str:
    return hmac.digest(secret, json.dumps([role, leaders, joiners]).encode(), "sha256").hex()


def _is(told: Any, proof: str) -> bool:
    return isinstance(told, str) and hmac.compare_digest(json.dumps(told).encode(), json.dumps(proof).encode())
