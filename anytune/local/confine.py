"""Keep a worker and all that it starts from every network: by the kernel where it lets us, by Python in any case.

A guard inside Python alone is passed by C code and by child processes; from a network namespace of the worker's own
nobody in it reaches an address beyond itself. Linux gives one without privileges (user_namespaces(7),
network_namespaces(7)) unless its administrator or a container forbids that; then, and on other systems, the audit hook
is what there is, and each run says so. Switches that only ask libraries to stay offline are set as well, so that they
do not wait for what cannot be.

A namespace does not close the sockets that lie in the file system (unix(7)): who may open that of a container's daemon,
for one, can have it send. They are as open to the worker as to the user whose account it runs under.
"""

from __future__ import annotations

import fcntl
import ipaddress
import os
import shutil
import socket
import struct
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from typing import Any

APART = ("unshare", "--user", "--map-current-user", "--net")  # util-linux; execs the command, so the pid stays
KEPT = ("--keep-caps",)  # what a process may do to the network that it alone has
UP = 1  # IFF_UP of netdevice(7), in the flags that these two read and set
GET_FLAGS, SET_FLAGS = 0x8913, 0x8914
NAMED = {"socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"}
SENT = {"socket.connect": 1, "socket.sendto": 1, "socket.sendmsg": 1, "socket.getnameinfo": 0}  # where whom stands
LOOPBACK_NAMES = {"", "localhost", "ip6-localhost"}

Refused = Callable[[str], None]


def confined(command: list[str], *, loopback: bool = False) -> list[str]:
    """Return the command as one that runs where there is no network, unchanged where the kernel lets us make none.

    With `loopback` it may wake the loopback of that place (`raise_loopback`), by which its processes talk.
    """
    more = KEPT if loopback else ()
    return [*APART, *more, "--", *command] if has_namespaces(*more) else command


@cache
def has_namespaces(*more: str) -> bool:
    """Tell whether this system lets us start a process without a network; tried once a process, in about 10 ms."""
    if not sys.platform.startswith("linux") or shutil.which(APART[0]) is None:
        return False
    try:
        tried = subprocess.run(
            [*APART, *more, "--", "true"], capture_output=True, stdin=subprocess.DEVNULL, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return tried.returncode == 0


def raise_loopback() -> None:
    """Wake the loopback of a network namespace of our own, where it sleeps at first; elsewhere it is awake."""
    if has_network() or not sys.platform.startswith("linux"):
        return
    with suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        name, flags = struct.unpack("16sh", fcntl.ioctl(asked, GET_FLAGS, struct.pack("16sh", b"lo", 0)))
        fcntl.ioctl(asked, SET_FLAGS, struct.pack("16sh", name, flags | UP))


def has_network() -> bool:
    """Tell whether this process could reach another machine: whether it has an interface beside loopback."""
    try:
        return any(name != "lo" for _, name in socket.if_nameindex())
    except OSError:
        return True


def seclude(told: Refused) -> None:
    """Refuse from now on, in this process, each connection and each name beyond loopback; `told` hears of every one.

    The hook of PEP 578 cannot be taken off again: call it only in a process that is to stay alone. The caller that
    tries gets a `PermissionError`, as from a firewall on this machine.
    """

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event not in NAMED and event not in SENT:
            return
        beyond = _beyond(event, arguments)
        if beyond is not None:
            told(beyond)
            raise PermissionError(f"the data of this job stay on this machine: no connection to {beyond}")

    sys.addaudithook(hook)


def _beyond(event: str, arguments: tuple[Any, ...]) -> str | None:
    """Return whom this would reach beyond loopback, None if nobody."""
    if event in NAMED:
        host = arguments[0]
        return None if host is None or _is_loopback(_text(host)) else _text(host)
    place = SENT[event]
    address = arguments[place] if len(arguments) > place else None
    if not isinstance(address, tuple) or len(address) < 2:
        return None  # a socket of the file system, or one that is connected already
    host = _text(address[0])
    return None if _is_loopback(host) else f"{host}:{address[1]}"


def _is_loopback(host: str) -> bool:
    if host.lower() in LOOPBACK_NAMES:
        return True
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return False


def _text(host: object) -> str:
    return host.decode("ascii", "replace") if isinstance(host, bytes | bytearray) else str(host)


def offline_switches() -> None:
    """Tell libraries to stay offline; must come before they are imported."""
    os.environ.update(HF_HUB_OFFLINE="1", TRANSFORMERS_OFFLINE="1", HF_DATASETS_OFFLINE="1", WANDB_MODE="offline")
