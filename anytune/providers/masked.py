"""Keys that come back from the service that was given them, in an error or an event: put out of sight first."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

Secret = str | tuple[str, ...]  # a key, or several

MASK = "<key>"
SHORTEST = 8  # characters of what is looked for in whole answers: "none" is no secret, and stands in many a word
AS_SENT = {"content-encoding", "content-length", "transfer-encoding"}  # headers that hold for the bytes as they came


def masked(text: str, secret: Secret) -> str:
    """Return a text without the keys."""
    for each in (secret,) if isinstance(secret, str) else secret:
        text = text.replace(each, MASK) if each else text
    return text


def without(response: Any, secret: Secret, *, http: Any) -> Any:
    """Return an answer that was read whole (of httpx or httpx2, `http` is the module) without the keys in it."""
    clean = whole = response.content
    for form in _forms(secret):
        clean = clean.replace(form, MASK.encode())
    if clean is whole or clean == whole:
        return response
    headers = [(name, value) for name, value in response.headers.multi_items() if name.lower() not in AS_SENT]
    return http.Response(
        response.status_code,
        headers=headers,
        content=clean,
        request=response.request,
        extensions=response.extensions,
    )


def _forms(secret: Secret) -> Iterator[bytes]:
    """Yield each key as it is, and as JSON may write it."""
    for each in (secret,) if isinstance(secret, str) else secret:
        if len(each) >= SHORTEST:
            quoted = json.dumps(each)[1:-1]
            yield from dict.fromkeys(form.encode() for form in (each, quoted, quoted.replace("/", "\\/")))
