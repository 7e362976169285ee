"""A loopback server for stand-ins of hosted APIs: real sockets, a journal of all calls, faults on order.

A stand-in subclasses `StubServer` and implements `answer`. Patterns are globs over "METHOD /path", or over
the path alone when they start with "/" or "*"; `*` also matches slashes. Faults strike in the order in which
they were made.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal
from urllib.parse import parse_qsl, unquote, urlsplit

from tests.stubs._call import Call, Fault, Refuse, Reply, When, multipart
from tests.stubs._noise import Noise

__all__ = ["Call", "Fault", "Refuse", "Reply", "StubServer", "Trap", "multipart"]

HTML = b"<!doctype html><title>Sign in</title><p>Welcome to the hotel's network"
CONTROL = "/_stub"
ORDERS = {"fail_next", "html_next", "redirect_next", "drop_next", "drip_next", "cut_next", "break_next", "disturb"}


class StubServer:
    """Serve on 127.0.0.1, on a free port, while inside `with`."""

    prefix = ""

    def __init__(self, *, key: str = "test-key-of-nobody", journal_file: Path | None = None) -> None:
        self.key = key
        self.journal: list[Call] = []
        self.lock = threading.RLock()
        self.closing = threading.Event()
        self._journal_file = journal_file
        self._faults: list[Fault] = []
        self._noise = Noise()
        self._server = _Server(self)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)

    def answer(self, call: Call) -> Reply:
        """Carry one call out; runs under the lock, may raise `Refuse`."""
        raise NotImplementedError

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def base_url(self) -> str:
        return f"{self.origin}{self.prefix}"

    def census(self) -> dict[str, Any]:
        """Say what is kept here: the `jobs` as the API shows them, and a digest of the bytes of each of the `files`."""
        return {}

    def __enter__(self) -> Any:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=5)

    def calls(self, pattern: str = "*") -> list[Call]:
        """List the calls of the journal that match, oldest first."""
        with self.lock:
            return [call for call in self.journal if call.matches(pattern)]

    def fail_next(
        self,
        pattern: str,
        *,
        status: int,
        times: int = 1,
        headers: Mapping[str, str] | None = None,
        body: Any = None,
        when: When = "before",
        skip: int = 0,
    ) -> None:
        """Answer with this instead; `when="after"` does the work first (a 500 that lies)."""
        reply = Reply(status, {} if body is None else body, dict(headers or {}))
        self._order(Fault(pattern, "answer", when=when, times=times, skip=skip, reply=reply))

    def html_next(self, pattern: str, *, times: int = 1, when: When = "before", skip: int = 0) -> None:
        """Answer 200 with a page, as a captive portal does."""
        headers = {"Content-Type": "text/html; charset=utf-8"}
        self.fail_next(pattern, status=200, times=times, headers=headers, body=HTML, when=when, skip=skip)

    def redirect_next(self, pattern: str, *, to: str, status: int = 307, times: int = 1, skip: int = 0) -> None:
        """Send the caller to another origin (`to` + the same path)."""
        self._order(Fault(pattern, "answer", times=times, skip=skip, reply=Reply(status, {}, {"Location": to})))

    def drop_next(self, pattern: str, *, when: When = "before", times: int = 1, skip: int = 0) -> None:
        """Close the connection without a word, before or after the work."""
        self._order(Fault(pattern, "drop", when=when, times=times, skip=skip))

    def drip_next(
        self,
        pattern: str,
        *,
        pace: float = 0.05,
        part: Literal["headers", "body"] = "body",
        times: int = 1,
        skip: int = 0,
    ) -> None:
        """Do the work, then send the answer byte by byte, `pace` seconds apart."""
        self._order(Fault(pattern, "drip", when="after", times=times, skip=skip, pace=pace, part=part))

    def cut_next(self, pattern: str, *, times: int = 1, skip: int = 0) -> None:
        """Do the work, then answer the first half of the JSON as if it were all."""
        self._order(Fault(pattern, "cut", when="after", times=times, skip=skip))

    def break_next(self, pattern: str, *, times: int = 1, skip: int = 0) -> None:
        """Do the work, then close the connection in the middle of the answer."""
        self._order(Fault(pattern, "break", when="after", times=times, skip=skip))

    def disturb(self, *, share: float, seed: int = 0) -> None:
        """Strike this share of all calls with faults of every kind, from now on; 0 ends it."""
        with self.lock:
            self._noise = Noise(share=share, seed=seed)

    def settle(self) -> None:
        """Forget all faults on order."""
        with self.lock:
            self._faults.clear()
            self._noise = Noise()

    def _order(self, fault: Fault) -> None:
        with self.lock:
            self._faults.append(fault)

    def _take(self, call: Call) -> tuple[Reply, Fault | None]:
        if call.path == CONTROL:
            return self._controlled(call), None
        with self.lock:
            call.number = len(self.journal)
            self.journal.append(call)
            fault = next((f for f in self._faults if f.strikes(call)), None) or self._noise.strike(call)
            reply = Reply()
            if fault is None or fault.when == "after":
                try:
                    reply = self.answer(call)
                except Refuse as refusal:
                    reply = refusal.reply
                except ValueError as error:
                    reply = Reply(400, {"error": {"message": f"bad request: {error}"}})
            if fault is not None and fault.kind == "answer":
                reply = _redirected(fault.reply, call)
            call.status = None if fault is not None and fault.kind == "drop" else reply.status
            self._write_down(call)
            return reply, fault

    def _controlled(self, call: Call) -> Reply:
        """Carry out a test's order from outside: {"call": name, "with": {...}} or {"set": {...}}; GET is a census."""
        with self.lock:
            if call.method == "GET":
                return Reply(200, self.census())
            order = call.json
            if order.get("call") in ORDERS:
                getattr(self, order["call"])(**order.get("with", {}))
            for name, value in order.get("set", {}).items():
                setattr(self, name, value)
        return Reply(200, {})

    def _write_down(self, call: Call) -> None:
        if self._journal_file is None:
            return
        kind = call.headers.get("content-type", "")
        entry = {
            "number": call.number,
            "method": call.method,
            "path": call.path,
            "query": call.query,
            "status": call.status,
            "json": _decoded(call.body) if kind.startswith("application/json") else None,
            "bytes": len(call.body),
        }
        with self._journal_file.open("a", encoding="utf-8") as journal:
            journal.write(json.dumps(entry) + "\n")


class Trap(StubServer):
    """Answer `{}` to everything: the other origin, whose journal must stay empty."""

    def answer(self, call: Call) -> Reply:
        return Reply(200, {})


def _redirected(reply: Reply, call: Call) -> Reply:
    target = reply.headers.get("Location")
    if target is None or urlsplit(target).path:
        return reply
    return Reply(reply.status, reply.body, {**reply.headers, "Location": target + call.path})


def _decoded(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return None


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, stub: StubServer) -> None:
        self.stub = stub
        super().__init__(("127.0.0.1", 0), _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that hung up."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def _serve(self) -> None:
        where = urlsplit(self.path)
        call = Call(
            number=-1,
            method=self.command,
            path=unquote(where.path),
            query=dict(parse_qsl(where.query, keep_blank_values=True)),
            headers={name.lower(): value for name, value in self.headers.items()},
            body=self._body(),
            peer=self.client_address[1],
        )
        reply, fault = self.server.stub._take(call)
        kind = fault.kind if fault is not None else "answer"
        if kind == "drop":
            self._hang_up()
            return
        raw, headers = reply.encoded()
        head = [f"HTTP/1.1 {reply.status} Stub", *(f"{name}: {value}" for name, value in headers.items())]
        if kind == "cut":
            raw = raw[: len(raw) // 2]
            head = [f"Content-Length: {len(raw)}" if h.startswith("Content-Length") else h for h in head]
        start = ("\r\n".join(head) + "\r\n\r\n").encode()
        with suppress(OSError):
            self._send(start, raw, fault)

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = do_HEAD = _serve

    def _send(self, start: bytes, raw: bytes, fault: Fault | None) -> None:
        if fault is not None and fault.kind == "drip":
            whole = start + raw
            at_once = whole.index(b"\r\n") + 2 if fault.part == "headers" else len(start)
            self.connection.sendall(whole[:at_once])
            for byte in whole[at_once:]:
                if self.server.stub.closing.wait(fault.pace):
                    break
                self.connection.sendall(bytes([byte]))
            self.close_connection = True
        elif fault is not None and fault.kind == "break":
            self.connection.sendall(start + raw[: len(raw) // 2])
            self._hang_up()
        else:
            self.connection.sendall(start + raw)

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _hang_up(self) -> None:
        self.close_connection = True
        with suppress(OSError):
            self.connection.shutdown(2)

    def log_message(self, format: str, *args: Any) -> None:
        """Write no log: the journal is the record."""
