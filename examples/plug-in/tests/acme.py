"""Acme itself, as far as a test needs it: a small server on this machine that keeps state and checks what it gets."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingTCPServer
from typing import Any

FIELDS = {"id", "base", "data", "check_data", "passes", "batch", "rate", "rank", "seed"}
ENDED = {"ready", "broken", "stopped"}


class Acme(ThreadingTCPServer):
    """Serve on a free port while inside `with`; `faults` says what the next calls of a method meet."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.key, self.calls = "acme-key-0123456789", 0
        self.faults: list[tuple[str, str]] = []
        self.files: set[str] = set()
        self.jobs: dict[str, dict[str, Any]] = {}
        self.received: dict[str, Any] = {}
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def answer(self, method: str, parts: list[str], body: bytes) -> tuple[int, Any]:
        """Carry one call out."""
        match method, parts:
            case "PUT", ["data", name]:
                self.files.add(name)
                return 200, {"id": name}
            case "PUT", ["jobs", name]:
                self.received = json.loads(body)
                if set(self.received) - FIELDS or self.received.get("data") not in self.files:
                    return 400, {"error": {"message": "a field is unknown, or the data are not there"}}
                self.jobs.setdefault(name, {"id": name, "state": "waiting", "model": None, "log": ["made"]})
            case _, ["jobs", name, *_] if name not in self.jobs:
                return 404, {"error": {"message": f"there is no job {name}"}}
            case "POST", ["jobs", name, "stop"] if self.jobs[name]["state"] not in ENDED:
                self.jobs[name]["state"] = "stopped"
            case "GET", ["jobs", name, "log"]:
                at = "2026-11-22T08:00:0{}+00:00"
                log = enumerate(self.jobs[name]["log"])
                return 200, {"lines": [{"id": f"{name}-{n}", "at": at.format(n), "text": text} for n, text in log]}
        return 200, {key: value for key, value in self.jobs[parts[1]].items() if key != "log"}


class Handler(BaseHTTPRequestHandler):
    """Read one call and send one answer, or the fault that was ordered for it."""

    server: Acme

    def handle_any(self) -> None:
        """Answer one call."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        acme, parts = self.server, self.path.strip("/").split("/")
        acme.calls += 1
        fault = next((f for f in acme.faults if f[0] == self.command), None)
        status, told = 401, {"error": {"message": f"no such key: {self.headers.get('Authorization')}"}}
        headers = {}
        if self.headers.get("Authorization") == f"Bearer {acme.key}":
            if fault is None or fault[1] in ("drop", "html"):
                status, told = acme.answer(self.command, parts, body)
            if fault is not None:
                acme.faults.remove(fault)
                if fault[1] == "drop":
                    self.close_connection = True
                    return
                if fault[1] != "html":
                    status, told, headers = int(fault[1]), {}, {"Retry-After": "7"}
        raw = b"<html>" if fault is not None and fault[1] == "html" else json.dumps(told).encode()
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(raw))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(raw)

    do_GET = do_PUT = do_POST = handle_any

    def log_message(self, *_: object) -> None:
        """Say nothing."""
