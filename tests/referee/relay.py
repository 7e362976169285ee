"""Stand before Prism: hand each call on, one at a time, and keep what Prism says of it.

Prism tells in a header of the answer what was wrong with the request and with the answer. What it cannot do goes
around it, straight to the stand-in: each `Aside` says what and why.
"""

from __future__ import annotations

import http.client
import json
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlencode, urlsplit

from tests.stubs._http import Call, Reply, StubServer

SAID = "sl-violations"
ERROR = "Error"
HOP = {"connection", "content-length", "transfer-encoding", "keep-alive", "host", "date", SAID}
SLOW = 30.0  # seconds; Prism never answers a body that is no JSON


@dataclass(frozen=True)
class Finding:
    """Be one thing that is not as the description says."""

    call: str
    said: str

    def __str__(self) -> str:
        return f"{self.call}: {self.said}"


@dataclass(frozen=True)
class Aside:
    """Be a kind of call that goes around Prism, with the reason."""

    pattern: str
    reason: str


class Relay(StubServer):
    """Hand calls on to Prism, or around it."""

    def __init__(self, prism: str, stand_in: str, asides: Sequence[Aside]) -> None:
        super().__init__()
        self._prism, self._stand_in, self._asides = prism, stand_in, asides
        self.findings: list[Finding] = []
        self.undescribed: set[str] = set()
        self.judged = 0
        self.gone_aside = 0

    def answer(self, call: Call) -> Reply:
        """Send the call on and give back what came."""
        if any(call.matches(aside.pattern) for aside in self._asides):
            self.gone_aside += 1
            return _sent(call, self._stand_in)[0]
        reply, said = _sent(call, self._prism)
        self.judged += 1
        for fault in json.loads(said or "[]"):
            self._note(call, fault, reply)
        kind = reply.headers.get("content-type", "")
        if kind.startswith("application/problem+json"):  # Prism's own words, no stand-in's
            self._find(call, str(reply.body)[:400])
        return reply

    def _note(self, call: Call, fault: dict[str, object], reply: Reply) -> None:
        where = ".".join(map(str, fault["location"])) if isinstance(fault["location"], list) else ""
        if fault["severity"] == ERROR:
            self._find(call, f"{where}: {fault['message']}")
        elif where == "response":  # a status that the description lacks: the answer was held against nothing
            self.undescribed.add(f"{call.method} → {reply.status}")

    def _find(self, call: Call, said: str) -> None:
        self.findings.append(Finding(call.route, said))


def _sent(call: Call, to: str) -> tuple[Reply, str | None]:
    base = urlsplit(to)
    line = http.client.HTTPConnection(str(base.hostname), base.port, timeout=SLOW)
    path = base.path + call.path.replace(" ", "%20") + (f"?{urlencode(call.query)}" if call.query else "")
    try:
        headers = {name: value for name, value in call.headers.items() if name not in HOP}
        line.request(call.method, path, body=call.body or None, headers=headers)
        answer = line.getresponse()
        body = answer.read()
        kept = {name.lower(): value for name, value in answer.getheaders() if name.lower() not in HOP}
        return Reply(answer.status, body, kept), answer.headers.get(SAID)
    except (OSError, http.client.HTTPException) as error:
        silent = {"location": ["prism"], "severity": ERROR, "message": f"no answer: {error}"}
        return Reply(502, {"error": {"message": silent["message"]}}), json.dumps([silent])
    finally:
        line.close()
