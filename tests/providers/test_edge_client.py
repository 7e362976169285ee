"""The client at the edge: no call outlives its deadline, and none goes where it was not sent."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import httpx2
import pytest

from anytune.errors import AmbiguousError
from anytune.providers.edge import bounded_client, mapped
from tests.stubs._http import Call, Reply, StubServer


class Echo(StubServer):
    """Answer every call with what it carried."""

    def answer(self, call: Call) -> Reply:
        return Reply(200, {"bytes": len(call.body), "filling": "x" * 2000})


@pytest.fixture
def echo() -> Iterator[Echo]:
    with Echo() as running:
        yield running


def timed_out(http: Any, act: Callable[[Any], object], *, seconds: float) -> float:
    """Expect the act to end in ReadTimeout and return how long that took."""
    client = bounded_client(http, seconds=seconds)
    began = time.monotonic()
    with pytest.raises(http.ReadTimeout, match="no whole answer"):
        act(client)
    return time.monotonic() - began


@pytest.mark.parametrize("http", [httpx, httpx2])
@pytest.mark.parametrize("part", ["headers", "body"])
def test_a_dripping_answer_is_cut_off(echo: Echo, http: Any, part: Any) -> None:
    echo.drip_next("*", pace=0.02, part=part)
    assert 0.2 < timed_out(http, lambda client: client.get(echo.origin), seconds=0.3) < 10


@contextmanager
def listening(serve: Callable[[socket.socket], None]) -> Iterator[str]:
    """Serve one connection by hand."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def run() -> None:
            connection, _ = server.accept()
            with connection:
                serve(connection)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        yield f"127.0.0.1:{server.getsockname()[1]}"
        thread.join(timeout=5)


@pytest.mark.parametrize("http", [httpx, httpx2])
def test_an_upload_that_is_taken_drop_by_drop_is_cut_off(http: Any) -> None:
    ended = threading.Event()

    def sip(connection: socket.socket) -> None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        while not ended.wait(0.01) and connection.recv(1000):
            pass

    with listening(sip) as address:
        whole = b"x" * 20_000_000
        took = timed_out(http, lambda client: client.post(f"http://{address}", content=whole), seconds=0.3)
        ended.set()
    assert took < 10


@pytest.mark.parametrize("http", [httpx, httpx2])
def test_an_answer_without_a_length_is_not_whole_because_it_was_cut_off(http: Any) -> None:
    def never_done(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b'HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{"id": "ftjob-1"}')
        connection.recv(1)

    with listening(never_done) as address:
        assert timed_out(http, lambda client: client.get(f"http://{address}"), seconds=0.3) < 10


def test_a_stream_is_bounded_as_a_whole_too(echo: Echo) -> None:
    echo.drip_next("*", pace=0.02)

    def read(client: Any) -> None:
        with client.stream("GET", echo.origin) as response:
            assert response.status_code == 200
            response.read()

    assert timed_out(httpx, read, seconds=0.3) < 10


def test_a_peer_that_never_shakes_hands_has_surely_been_sent_nothing() -> None:
    with listening(lambda _: time.sleep(0.6)) as address:
        client = bounded_client(httpx2, seconds=0.3)
        with pytest.raises((httpx2.ConnectTimeout, httpx2.ConnectError)):
            client.get(f"https://{address}")


def left_open() -> tuple[int, int]:
    """Count the open files and the threads of this process, the server's among them."""
    return len(os.listdir("/proc/self/fd")), threading.active_count()


def soon(settled: Callable[[], bool]) -> bool:
    """Give threads that are ending up to ten seconds to end."""
    deadline = time.monotonic() + 10
    while not settled() and time.monotonic() < deadline:
        time.sleep(0.01)
    return settled()


@pytest.mark.parametrize("http", [httpx, httpx2])
def test_calls_share_no_connection_and_leave_nothing_open(echo: Echo, http: Any) -> None:
    client = bounded_client(http, seconds=60)
    before = left_open()
    for _ in range(10):
        assert client.post(echo.origin, content=b"12345").json()["bytes"] == 5
    echo.drop_next("*", times=10)
    for _ in range(10):
        with pytest.raises(http.RemoteProtocolError):
            client.get(echo.origin)
    assert len({call.peer for call in echo.journal}) == 20
    assert soon(lambda: all(now <= then for now, then in zip(left_open(), before, strict=True))), (
        before,
        left_open(),
        threading.enumerate(),
    )


@pytest.mark.parametrize("http", [httpx, httpx2])
def test_a_redirect_is_an_answer_and_not_an_order(echo: Echo, http: Any) -> None:
    with Echo() as other:
        echo.redirect_next("*", to=other.origin)
        answer = bounded_client(http, seconds=5).post(f"{echo.origin}/rows", content=b"secret rows")
        assert answer.status_code == 307
        assert other.journal == []


@pytest.mark.parametrize("http", [httpx, httpx2])
@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
def test_a_proxy_of_the_environment_does_not_read_along(
    echo: Echo, http: Any, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Echo() as proxy:
        monkeypatch.setenv(name, proxy.origin)
        bounded_client(http, seconds=5).post(echo.origin, content=b"secret rows")
        assert proxy.journal == []
    assert len(echo.journal) == 1


class Telling(StubServer):
    """Quote a key in every answer, as JSON may write it."""

    def answer(self, call: Call) -> Reply:
        return Reply(200, b'{"said": "tgp-key\\/of-mine and \\"tgp-key/of-mine\\"", "none": "none"}')


@pytest.mark.parametrize("http", [httpx, httpx2])
def test_no_key_comes_back_in_an_answer_and_what_is_no_secret_stays(http: Any) -> None:
    with Telling() as telling:
        answer = bounded_client(http, seconds=5, secret=("tgp-key/of-mine", "none", "")).get(telling.origin)
    assert answer.json() == {"said": '<key> and "<key>"', "none": "none"}
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/octet-stream"


@pytest.mark.parametrize("http", [httpx, httpx2])
def test_a_body_that_ends_before_its_time_is_told_as_a_call_in_doubt(echo: Echo, http: Any) -> None:
    """So does a file that another program writes to while it is sent."""
    with (
        bounded_client(http, seconds=5) as client,
        pytest.raises(AmbiguousError, match="Too little data"),
        mapped("p", "send"),
    ):
        client.post(echo.origin, content=iter([b"half"]), headers={"Content-Length": "8"})
