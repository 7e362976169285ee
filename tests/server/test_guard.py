"""The door: requests that no honest client sends are refused, on the wire."""

from __future__ import annotations

import json
import random
import socket
from collections.abc import Iterator
from contextlib import suppress

import httpx
import pytest

from anytune.server import guard
from tests.server.conftest import Here, served

TOKEN = "0123456789abcdef0123456789abcdef"
ASK = json.dumps({"model": "base", "messages": [{"role": "user", "content": "one"}]}).encode()


@pytest.fixture(scope="module")
def closed() -> Iterator[Here]:
    """Serve to those with the token, under any name, as on an address that others reach."""
    with served(token=TOKEN, open_to="0.0.0.0") as here:
        yield here


def raw(here: Here, request: bytes, *, wait: float = 10) -> bytes:
    """Send bytes as they are, and return the first of the answer."""
    with socket.create_connection(("127.0.0.1", here.port), timeout=wait) as wire:
        wire.sendall(request)
        return wire.recv(65536)


def request(here: Here, *, host: str | None = None, more: str = "", body: bytes = ASK, head: str = "") -> bytes:
    host = host if host is not None else f"127.0.0.1:{here.port}"
    lines = f"POST /v1/chat/completions HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{more}"
    length = "" if "Content-Length" in more or "Transfer" in more else f"Content-Length: {len(body)}\r\n"
    kind = "" if "Content-Type" in more else "Content-Type: application/json\r\n"
    return f"{lines}{kind}{length}{head}\r\n".encode() + body


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/1.1 ") else 0


@pytest.mark.parametrize(
    ("host", "more", "expected"),
    [
        (None, "", 200),
        ("localhost:{port}", "", 200),
        ("LOCALHOST:{port}", "", 200),
        ("evil.example", "", 421),  # a name of anybody's that leads here
        ("evil.example:{port}", "", 421),
        ("127.0.0.1.evil.example:{port}", "", 421),
        ("localhost.:{port}", "", 421),
        ("127.0.0.1", "", 421),
        ("127.0.0.1:1", "", 421),
        ("", "", 421),
        (None, "Origin: http://evil.example\r\n", 403),
        (None, "Origin: null\r\n", 403),
        (None, "Origin: http://127.0.0.1:1\r\n", 403),
        (None, "Origin: http://127.0.0.1:{port}\r\n", 200),
        (None, "Content-Type: text/plain\r\n", 415),  # what a form of a page can send without asking
        (None, "Content-Type: application/x-www-form-urlencoded\r\n", 415),
        (None, "Content-Type: application/jsonp\r\n", 415),
        (None, "Content-Type: application/json; charset=utf-8\r\n", 200),
        (None, "Host: evil.example\r\n", 400),  # twice
        (None, "Content-Length: 99999999999\r\n", 413),
        (None, "Content-Length: -1\r\n", 400),
        (None, "Content-Length: 5\r\nContent-Length: 6\r\n", 400),
    ],
)
def test_only_own_names_own_pages_and_json_are_answered(here: Here, host: str, more: str, expected: int) -> None:
    named = host.format(port=here.port) if host is not None else None
    answer = raw(here, request(here, host=named, more=more.format(port=here.port)))
    assert status(answer) == expected
    assert b"access-control-allow" not in answer.lower()


def test_a_body_is_bounded_whatever_it_says_of_its_length(here: Here) -> None:
    chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    head = request(here, more="Transfer-Encoding: chunked\r\n", body=b"")
    with socket.create_connection(("127.0.0.1", here.port), timeout=20) as wire:
        wire.sendall(head)
        try:
            for _ in range(100):  # six MiB
                wire.sendall(chunk)
        except (BrokenPipeError, ConnectionResetError):
            pass
        answer = wire.recv(65536)
    assert status(answer) == 413


def test_headers_are_bounded(here: Here) -> None:
    with socket.create_connection(("127.0.0.1", here.port), timeout=20) as wire:
        wire.sendall(b"GET /health HTTP/1.1\r\nX-Long: ")
        with suppress(BrokenPipeError, ConnectionResetError):
            for _ in range(64):
                wire.sendall(b"x" * 0x10000)
            pytest.fail("four MiB of a header were taken")


def test_a_body_that_does_not_come_is_not_waited_for(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "SECONDS", 0.3)
    assert status(raw(here, request(here, more="Content-Length: 500\r\n", body=b"{"))) == 408


def test_random_bytes_are_never_a_fault_of_the_server(here: Here) -> None:
    chance = random.Random(7)
    for _ in range(300):
        bytes_ = bytes(chance.randrange(256) for _ in range(chance.randrange(1, 200)))
        start = chance.choice([b"", b"POST /v1/chat/completions HTTP/1.1\r\n", b"GET /health HTTP/1.1\r\nHost: "])
        try:
            answer = raw(here, start + bytes_ + b"\r\n\r\n", wait=0.05)
        except (TimeoutError, ConnectionResetError):
            continue
        assert status(answer) < 500
    assert httpx.get(f"{here.origin}/health").json() == {"status": "ok"}


@pytest.mark.parametrize("shown", ["", "Bearer", f"Basic {TOKEN}", f"Bearer {TOKEN[:-1]}", "Bearer \u00e9"])
def test_without_the_token_nothing_is_said(closed: Here, shown: str) -> None:
    headers = {"Authorization": shown.encode()} if shown else {}
    for method, path in (("GET", "/v1/models"), ("POST", "/v1/chat/completions"), ("GET", "/nowhere")):
        said = httpx.request(method, closed.origin + path, headers=headers)
        assert (said.status_code, said.json()["error"]["code"]) == (401, "invalid_api_key")
        assert said.headers["www-authenticate"] == "Bearer"
    assert httpx.get(f"{closed.origin}/health").status_code == 200


def test_with_the_token_any_name_leads_here(closed: Here) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}", "Host": "models.example"}
    assert httpx.get(f"{closed.origin}/v1/models", headers=headers).status_code == 200
    assert not [line for line in closed.told if TOKEN in line]


@pytest.mark.parametrize(
    ("host", "here"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("localhost", True), ("LocalHost", True)]
    + [
        (name, False) for name in ("0.0.0.0", "::", "192.0.2.1", "localhost.evil.example", "", "127.0.0.1.evil.example")
    ],
)
def test_which_addresses_are_this_machines_alone(host: str, here: bool) -> None:
    assert guard.is_loopback(host) is here
    assert (guard.own_names(80, host) is not None) is here
