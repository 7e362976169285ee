"""What the stand-in of the Hub insists on: fields, names, sizes; and how it refuses."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from tests.stubs._call import Refuse, Reply

LABEL = re.compile(r"[A-Za-z0-9_-]{0,120}")
PATH = re.compile(r"(?!/)(?!.*(^|/)\.\.?(/|$)).+")
PRICES = {
    "cpu-basic": 167,
    "t4-small": 6667,
    "l4x1": 13333,
    "a10g-small": 16667,
    "a10g-large": 25000,
    "a100-large": 41667,
}
JOB: dict[str, Callable[[Any], bool]] = {
    "command": lambda value: isinstance(value, list) and bool(value) and all(isinstance(part, str) for part in value),
    "arguments": lambda value: value == [],
    "environment": lambda value: is_texts(value) and not any("TOKEN" in name for name in value),
    "secrets": lambda value: is_texts(value),
    "flavor": lambda value: value in PRICES,
    "timeoutSeconds": lambda value: isinstance(value, int) and 0 < value <= 30 * 86400,
    "labels": lambda value: is_texts(value) and all(LABEL.fullmatch(text) for pair in value.items() for text in pair),
    "dockerImage": lambda value: isinstance(value, str) and bool(value),
}
REPOSITORY: dict[str, Callable[[Any], bool]] = {
    "name": lambda value: isinstance(value, str),
    "organization": lambda value: isinstance(value, str),
    "type": lambda value: value in ("dataset", "model"),
    "visibility": lambda value: value in ("private", "public"),
}


def is_texts(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(text, str) for pair in value.items() for text in pair)


def refusal(status: int, message: str, *, code: str | None = None) -> Refuse:
    headers = {"X-Error-Message": message, **({"X-Error-Code": code} if code else {})}
    return Refuse(Reply(status, {"error": message}, headers))


def checked(body: Any, fields: Mapping[str, Callable[[Any], bool]], *, required: tuple[str, ...]) -> dict[str, Any]:
    """Return the body if it is an object of these fields alone, each as it should be."""
    if not isinstance(body, dict):
        raise refusal(400, "the body must be an object")
    unknown = sorted(set(body) - set(fields))
    if unknown:
        raise refusal(400, f"unrecognized keys: {', '.join(unknown)}")
    wrong = [name for name in fields if name in body and not fields[name](body[name])]
    wrong += [name for name in required if name not in body]
    if wrong:
        raise refusal(400, f"invalid: {', '.join(wrong)}")
    return body


def machine(name: str, micro: int) -> dict[str, Any]:
    return {
        "name": name,
        "prettyName": name,
        "cpu": "8 vCPU",
        "ram": "30 GB",
        "unitCostMicroUSD": micro,
        "unitCostUSD": micro / 1_000_000,
        "unitLabel": "minute",
    }


def git_hash(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def iso(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
