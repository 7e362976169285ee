"""What passes over the wire of a stand-in: a call, a reply, a refusal, a fault on order."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, Literal

When = Literal["before", "after"]


@dataclass
class Call:
    """Be one request as it came in; `status` is what was answered, None when the connection was dropped.

    `peer` is the client's port: calls of one connection share it.
    """

    number: int
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    status: int | None = None
    peer: int = 0

    @property
    def route(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def json(self) -> Any:
        """Decode the body; raise ValueError when it is no JSON."""
        return json.loads(self.body)

    def matches(self, pattern: str) -> bool:
        return fnmatchcase(self.path if pattern[:1] in "/*" else self.route, pattern)


@dataclass(frozen=True)
class Reply:
    """Be one answer; bytes go out as they are, anything else as JSON."""

    status: int = 200
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)

    def encoded(self) -> tuple[bytes, dict[str, str]]:
        raw = self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()
        kind = "application/octet-stream" if isinstance(self.body, bytes) else "application/json"
        return raw, {"Content-Type": kind, "Content-Length": str(len(raw)), **self.headers}


class Refuse(Exception):
    """Carry a refusal out of any depth of `answer`."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(str(reply.body))
        self.reply = reply


@dataclass
class Fault:
    """Be a fault on order; `when` says whether the call is carried out before the fault shows."""

    pattern: str
    kind: Literal["answer", "drop", "drip", "cut", "break"]
    when: When = "before"
    times: int = 1
    skip: int = 0
    reply: Reply = Reply()
    pace: float = 0.05
    part: Literal["headers", "body"] = "body"

    def strikes(self, call: Call) -> bool:
        """Tell whether this call is hit, and count it."""
        if self.times <= 0 or not call.matches(self.pattern):
            return False
        if self.skip > 0:
            self.skip -= 1
            return False
        self.times -= 1
        return True


def multipart(call: Call) -> dict[str, tuple[str | None, bytes]]:
    """Take a multipart/form-data body apart: field name to (file name or None, content)."""
    kind, _, rest = call.headers.get("content-type", "").partition(";")
    boundary = dict(pair.strip().split("=", 1) for pair in rest.split(";") if "=" in pair).get("boundary", "")
    if kind.strip() != "multipart/form-data" or not boundary:
        raise ValueError("not multipart/form-data")
    parts: dict[str, tuple[str | None, bytes]] = {}
    for raw in call.body.split(b"--" + boundary.strip('"').encode())[1:-1]:
        head, _, content = raw.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        disposition = next(h for h in head.decode().split("\r\n") if h.lower().startswith("content-disposition"))
        given = dict(pair.strip().split("=", 1) for pair in disposition.split(";")[1:])
        name = given.get("filename")
        parts[given["name"].strip('"')] = (name and name.strip('"'), content.removesuffix(b"\r\n"))
    return parts
