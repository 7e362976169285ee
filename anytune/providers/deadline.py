"""One deadline for a whole call, however its bytes come: the connection is shut when the time is up."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from threading import Timer
from typing import Any


class Deadline:
    """Shut a call's connection when its time is up.

    httpcore tells of each new connection through the `trace` extension. What is shut is a duplicate of its
    socket, to the kernel the same connection: neither TLS nor httpcore is touched from the timer's thread.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._passed = False
        self._sockets: list[socket.socket] = []
        self._timer = Timer(seconds, self._pass)
        self._timer.daemon = True
        self._timer.start()

    def watch(self, event: str, info: Mapping[str, Any]) -> None:
        """Hear from httpcore: (`connection.connect_tcp.complete`, {"return_value": the stream})."""
        if event.endswith("connect_tcp.complete"):
            self._sockets.append(info["return_value"].get_extra_info("socket").dup())
            if self._passed:
                self._pass()

    @contextmanager
    def told(self, http: Any) -> Iterator[None]:
        """Raise `ReadTimeout` for whatever follows from the shut connection, an end that looks whole too."""
        try:
            yield
        except http.TransportError as error:
            if not self._passed or isinstance(error, (http.ConnectError, http.ConnectTimeout)):
                raise
        if self._passed:
            raise http.ReadTimeout(f"no whole answer within {self._seconds:g} s") from None

    def stop(self) -> None:
        """Let the connection be."""
        self._timer.cancel()
        for watched in self._sockets:
            watched.close()

    def _pass(self) -> None:
        self._passed = True
        for watched in self._sockets:
            with suppress(OSError):
                watched.shutdown(socket.SHUT_RDWR)
