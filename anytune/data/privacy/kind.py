"""The kinds of private data by their stable names."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

from anytune.errors import UsageError

KINDS = {
    "email": "an e-mail address",
    "phone": "a telephone number",
    "card": "a payment card's number with a right check digit",
    "iban": "a bank account's number with right check digits",
    "national-id": "a person's number: US, FR, ES, IT, DE, GB, NL or BR",
    "ip": "an IPv4 or IPv6 address",
    "private-key": "a private key in PEM",
    "key": "a cloud or API key, a password, or a login in a URL",
    "jwt": "a JSON web token",
}
NAME = "name"  # found only by an adapter that the user asked for


def chosen(kinds: Iterable[str] | None) -> frozenset[str]:
    """Return the kinds that are meant, all for None; raise UsageError at a name that is none."""
    if kinds is None:
        return frozenset(KINDS)
    if isinstance(kinds, str):
        raise UsageError(f"kinds is a set of names, not the text {kinds!r}", fix=f'write {{"{kinds}"}}')
    known = (*KINDS, NAME)
    meant = tuple(kinds)
    for kind in meant:
        if kind not in known:
            near = get_close_matches(str(kind).lower(), known, n=1, cutoff=0.5)
            fix = f"did you mean {near[0]}?" if near else f"there are: {', '.join(KINDS)}"
            raise UsageError(f"there is no kind of private data {kind!r}", fix=fix)
    return frozenset(meant)
