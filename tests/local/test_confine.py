"""A worker reaches nobody: the kernel gives it no network where it can, and Python refuses in any case."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from anytune.local import confine
from anytune.local.processes import worker_environment

BEYOND = "192.0.2.1"  # TEST-NET-1 of RFC 5737: nobody is there
needs_namespaces = pytest.mark.skipif(
    not confine.has_namespaces(), reason="this system lets us make no network namespace"
)


def secluded(body: str, *, apart: bool = False) -> str:
    """Run Python in a process of its own that has been secluded, and return what it printed."""
    script = "from anytune.local import confine\ntold = []\nconfine.seclude(told.append)\n" + textwrap.dedent(body)
    command = [sys.executable, "-c", script]
    done = subprocess.run(
        confine.confined(command) if apart else command,
        env=worker_environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout.strip()


@pytest.mark.parametrize(
    ("attempt", "whom"),
    [
        (f"socket.create_connection(('{BEYOND}', 443))", BEYOND),  # looked up, as a name is
        ("socket.create_connection(('example.com', 443))", "example.com"),
        ("socket.gethostbyname('example.com')", "example.com"),
        (f"socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('{BEYOND}', 53))", f"{BEYOND}:53"),
        (f"socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendmsg([b'x'], [], 0, ('{BEYOND}', 53))", f"{BEYOND}:53"),
        (f"socket.getnameinfo(('{BEYOND}', 53), 0)", f"{BEYOND}:53"),
        ("socket.socket(socket.AF_INET6).connect(('2001:db8::1', 443))", "2001:db8::1:443"),
        (f"socket.socket().connect(('{BEYOND}', 443))", f"{BEYOND}:443"),
        ("import urllib.request; urllib.request.urlopen('http://example.com/')", "example.com"),
    ],
)
def test_python_refuses_whoever_is_beyond_this_machine(attempt: str, whom: str) -> None:
    said = secluded(
        f"""
        import socket
        try:
            {attempt.replace("; ", chr(10) + " " * 12)}
        except OSError as error:
            print(told, "stay on this machine" in str(error))
        """
    )
    # a name is refused once when it is looked up, or asked for again by what tries the next way
    assert said.startswith(f"['{whom}'")
    assert said.endswith("True")


def test_loopback_and_sockets_of_the_file_system_are_free(tmp_path: Path) -> None:
    said = secluded(
        f"""
        import socket
        served = socket.create_server(("127.0.0.1", 0))
        for host in ("127.0.0.1", "localhost"):
            socket.create_connection((host, served.getsockname()[1])).close()
        own = socket.socket(socket.AF_UNIX)
        own.bind({str(tmp_path / "s")!r})
        own.listen()
        socket.socket(socket.AF_UNIX).connect({str(tmp_path / "s")!r})
        print(told)
        """
    )
    assert said == "[]"


@needs_namespaces
def test_what_a_worker_starts_has_no_network_either() -> None:
    """A shell opens its connection in C, where no hook of Python's is asked."""
    told = secluded(
        f"""
        import subprocess
        tried = subprocess.run(["bash", "-c", "exec 3<>/dev/tcp/{BEYOND}/443"], capture_output=True, text=True)
        print(tried.returncode != 0, "unreachable" in tried.stderr, confine.has_network())
        """,
        apart=True,
    )
    assert told == "True True False"


@needs_namespaces
def test_a_socket_of_the_file_system_is_a_way_out_that_a_namespace_leaves(tmp_path: Path) -> None:
    """As the documents say: who listens there may have a network."""
    with socket.socket(socket.AF_UNIX) as served:
        served.bind(str(tmp_path / "s"))
        served.listen()
        reach = f"import socket\nsocket.socket(socket.AF_UNIX).connect({str(tmp_path / 's')!r})\nprint(told)"
        assert secluded(reach, apart=True) == "[]"


@needs_namespaces
def test_a_confined_process_is_the_same_process_and_keeps_what_it_was_given(tmp_path: Path) -> None:
    """The worker's pid is what a cancel signals, and the lock that it inherits is what says that it lives."""
    lock = os.open(tmp_path / "lock", os.O_CREAT | os.O_RDWR)
    body = f"import json, os; os.fstat({lock}); print(json.dumps([os.getpid(), os.getuid(), os.getcwd()]))"
    with subprocess.Popen(
        confine.confined([sys.executable, "-c", body]), stdout=subprocess.PIPE, pass_fds=(lock,), cwd=tmp_path
    ) as child:
        said = json.loads(child.communicate(timeout=60)[0])
    os.close(lock)
    assert said == [child.pid, os.getuid(), str(tmp_path)]


def test_where_no_namespace_can_be_had_the_command_runs_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))  # no unshare there
    assert confine.has_namespaces.__wrapped__() is False
    forbids = tmp_path / "unshare"
    forbids.write_text("#!/bin/sh\necho 'unshare failed: Operation not permitted' >&2\nexit 1\n")
    forbids.chmod(0o700)
    assert confine.has_namespaces.__wrapped__() is False
    monkeypatch.setattr(confine, "has_namespaces", lambda: False)
    assert confine.confined(["train"]) == ["train"]


def test_this_very_machine_is_asked_and_not_a_setting() -> None:
    others = {name for _, name in socket.if_nameindex()} - {"lo"}
    assert confine.has_network() is bool(others)
