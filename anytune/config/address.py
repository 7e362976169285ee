"""What may be written down as the address of a shared store: everything but a password."""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import parse_qsl

SCHEMES = ("postgresql://", "postgres://")


class Fault(NamedTuple):
    """Say what is wrong with an address, without showing it: it may hold a secret."""

    message: str
    fix: str


NO_ADDRESS = Fault("it should be an address such as postgresql://user@host/db", "anytune config show")
PASSWORD = Fault("it holds a password", "leave it out: PGPASSWORD, ~/.pgpass or a service file has it")


def fault(address: str) -> Fault | None:
    """Return what is wrong with the address of a store, None if nothing; whatever could be a password is one."""
    if not address.startswith(SCHEMES) or not address.isprintable():
        return NO_ADDRESS
    place, _, options = address.partition("://")[2].partition("?")
    user = place.rpartition("@")[0]
    if ":" in user or "@" in options or "#" in address:
        return PASSWORD
    named = [name.lower() for name, _ in parse_qsl(options, keep_blank_values=True)]
    return PASSWORD if any("password" in name for name in named) else None
