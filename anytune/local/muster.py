"""The machines that train one run together, and the line between each and the one that leads.

On the machine that leads, the worker listens at the rendezvous; on each other one `join.py` connects there, is told
which processes to start, and says if one of them dies. A line that ends is a machine that is gone, whichever side hears
it: nothing waits for ever. What goes over the line is JSON, one object a line, once each has shown the other that it
has the secret of their home (`secret.py`). No torch is here.
"""

from __future__ import annotations

import fcntl
import json
import socket
import struct
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from anytune.errors import UsageError
from anytune.local import secret, spread

AGAIN = "again"  # the word for a worker that begins anew, and waits for all again
PATIENCE = 600.0  # seconds for which the machines wait for each other
GREETING = 10.0  # seconds in which one that connects has to say who it is
LAST = 2.0  # seconds for the same when the run is over
MOST = 1 << 16  # bytes of one line
GET_ADDRESS = 0x8915  # SIOCGIFADDR of netdevice(7)
ALIKE = ("torch", "transformers", "peft", "bitsandbytes")  # packages whose versions must be the same everywhere
Message = dict[str, Any]


class Line:
    """Be one end of the line; `lost` once the other end is gone."""

    def __init__(self, link: socket.socket) -> None:
        self._link, self._read, self.lost = link, b"", False
        self._waiting: deque[Message] = deque()
        link.setblocking(False)
        link.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3)):
            if hasattr(socket, name):  # a machine without power is noticed within a minute
                link.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)

    @property
    def address(self) -> str:
        """Return this machine's own address on the line."""
        return str(self._link.getsockname()[0])

    def tell(self, message: Mapping[str, Any]) -> None:
        """Send one message, if there is still somebody to read it."""
        try:
            self._link.settimeout(GREETING)
            self._link.sendall(json.dumps(message).encode() + b"\n")
            self._link.setblocking(False)
        except OSError:
            self.lost = True

    def heard(self) -> Iterator[Message]:
        """Yield the messages that have come."""
        while not self.lost:
            try:
                piece = self._link.recv(MOST)
            except BlockingIOError:
                break
            except OSError:
                piece = b""
            self.lost = not piece or len(self._read) > MOST
            self._read += piece
        *whole, self._read = self._read.split(b"\n")
        for line in whole:
            with suppress(ValueError, RecursionError):
                message = json.loads(line)
                if isinstance(message, dict):
                    self._waiting.append(message)
        while self._waiting:
            yield self._waiting.popleft()

    def awaited(self, seconds: float, stop: Callable[[], bool] = lambda: False) -> Message | None:
        """Return the next message, None if none comes in that time, the line is lost, or somebody wants to stop."""
        end = time.monotonic() + seconds
        while not stop() and time.monotonic() < end:
            for message in self.heard():
                return message
            if self.lost:
                return None
            time.sleep(0.05)
        return None

    def close(self) -> None:
        """Hang up."""
        self._link.close()


class Away:
    """Be another machine, as the leader sees it."""

    def __init__(self, line: Line, name: str) -> None:
        self.line, self.name = line, name
        self._death: Message | None = None

    def death(self) -> Message | None:
        """Return what it said of the death of a process, or that it is gone itself; None if all is well."""
        for message in self.line.heard():
            if "status" in message and self._death is None:
                self._death = message
        if self._death is None and self.line.lost:
            self._death = {"status": -1, "error": f"{self.name} is gone", "gone": True}
        return self._death


class Muster:
    """Hold the lines to all other machines; made before a worker is kept from the network."""

    def __init__(
        self, where: tuple[str, int], machines: int, shared: bytes, told: Callable[[str], None] = print
    ) -> None:
        self.where, self.machines = where, machines
        self._secret, self._told, self._strangers = shared, told, set[str]()
        self._refused: str | None = None  # why the last one that was sent away was
        self.away: dict[int, Away] = {}
        try:
            family, _, _, _, address = socket.getaddrinfo(*where, type=socket.SOCK_STREAM)[0]
            host = str(address[0])
            if ip_address(host.partition("%")[0]).is_loopback and where[0] not in spread.LOOPBACK:
                said = f"{spread.MEETING}: {where[0]} is {host} on this machine, which no other one reaches"
                raise UsageError(said, fix="name its address in the network that the machines share")
            self._server = socket.create_server((host, where[1]), family=family, reuse_port=False)
        except OSError as error:
            said = f"{spread.MEETING}: this machine cannot listen at {where[0]}:{where[1]}: {error.strerror or error}"
            raise UsageError(said, fix="name an address of the machine that leads, and a port that is free") from error
        self._server.settimeout(0.2)

    @classmethod
    def of(cls, environment: Mapping[str, str], home: Path, told: Callable[[str], None]) -> Muster | None:
        """Listen where the environment says so; None where one machine trains alone. `told` hears of strangers."""
        machines, where = spread.machines(environment), spread.meeting(environment)
        return cls(where, machines, secret.made(home), told) if machines > 1 and where is not None else None

    @property
    def address(self) -> str:
        """Return the address at which the machines meet."""
        return str(self._server.getsockname()[0])

    def gather(self, stop: Callable[[], bool], *, patience: float = PATIENCE) -> bool:
        """Wait until all machines are there, False if somebody wants to stop; raise `UsageError` if one stays away."""
        end = time.monotonic() + patience
        while len(self.away) < self.machines - 1:
            if stop():
                return False
            if time.monotonic() > end:
                missing = ", ".join(str(n) for n in range(1, self.machines) if n not in self.away)
                raise UsageError(
                    f"machine {missing} of {self.machines} did not come to {self.where[0]}:{self.where[1]}"
                    + (f"; one that came was refused: {self._refused}" if self._refused else ""),
                    fix="start the worker's join there, as docs/how-to/cluster.md has it",
                )
            with suppress(TimeoutError, ConnectionError):
                self._greet(*self._server.accept())
        return True

    def _greet(self, link: socket.socket, address: Any) -> None:
        if (line := self._admitted(link, address)) is None:
            return
        hello = line.awaited(GREETING) or {}
        number = hello.get("machine")
        if not isinstance(number, int) or not 0 < number < self.machines or number in self.away:
            self._refused = f"there is no machine {number} to come of {self.machines}"
        elif hello.get("versions") != versions():
            self._refused = f"it has {said(hello.get('versions'))}, the machine that leads {said(versions())}"
        else:
            self.away[number] = Away(line, f"machine {number} of {self.machines} ({address[0]})")
            return
        line.tell({"refused": self._refused})
        line.close()

    def _admitted(self, link: socket.socket, address: Any, seconds: float = GREETING) -> Line | None:
        """Return the line to one that has the secret, None for a stranger, of whom is told once."""
        line = Line(link)
        if secret.shown_by(line, self._secret, seconds):
            return line
        line.close()
        if address[0] not in self._strangers:
            self._strangers.add(address[0])
            self._told(f"{address[0]} came without the secret of this ANYTUNE_HOME and was sent away")
        return None

    def tell(self, message: Callable[[int], Mapping[str, Any]]) -> None:
        """Tell each machine something."""
        for number, away in self.away.items():
            away.line.tell(message(number))

    def dismiss(self, word: str) -> None:
        """Tell all, those too who have come just now, how the run ended, and hang up."""
        self.tell(lambda _: {"end": word})
        for away in self.away.values():
            away.line.close()
        self._server.settimeout(0)
        with suppress(OSError):
            end = time.monotonic() + GREETING
            while time.monotonic() < end:
                if (line := self._admitted(*self._server.accept(), seconds=LAST)) is not None:
                    line.awaited(LAST)  # what has been said and not read would cut off our own last word
                    line.tell({"end": word})
                    line.close()
        self._server.close()


def versions() -> dict[str, str | None]:
    """Return the versions of what computes."""
    return {name: _version(name) for name in ALIKE}


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def said(found: Any) -> str:
    """Say versions in one line."""
    return ", ".join(f"{name} {number}" for name, number in found.items()) if isinstance(found, dict) else "none"


def interface_of(address: str) -> str | None:
    """Return the name of the network interface that has this address (IPv4), None if none is found."""
    for _, name in socket.if_nameindex():
        with suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
            told = fcntl.ioctl(asked, GET_ADDRESS, struct.pack("256s", name.encode()[:15]))
            if socket.inet_ntoa(told[20:24]) == address or (name == "lo" and address.startswith("127.")):
                return name
    return None
