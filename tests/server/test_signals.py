"""A server that is stopped ends its worker first, whoever stops it and whatever it is at."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

pytest.importorskip("uvicorn")
pytestmark = pytest.mark.engine

ROOT = Path(__file__).parents[2]
SERVER = """
import asyncio
from anytune.server import run
from anytune.server.chat import Card, Chat
from tests.server.conftest import engine

made = engine()
listening = run.bind("127.0.0.1", 0)
app = run.app(chat=Chat(made, (Card("base", 1),)), hooks=None, hosts=None, token=None, told=lambda _: None)
say = lambda: print(listening.getsockname()[1], made._child.pid, flush=True)
print("stopped by", asyncio.run(run.serve(listening, app, engine=made, hooks=None, ready=say)))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("busy", [False, True])
def test_a_signal_ends_server_and_worker(number: signal.Signals, busy: bool) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    try:
        assert process.stdout is not None
        port, worker = map(int, process.stdout.readline().split())
        asked = {"model": "base", "messages": [{"role": "user", "content": "slowly " * 5000}], "stream": True}
        url = f"http://127.0.0.1:{port}"
        assert httpx.get(f"{url}/health", timeout=60).status_code == 200
        with httpx.stream("POST", f"{url}/v1/chat/completions", json=asked, timeout=60) as answer:
            lines = answer.iter_lines()
            if busy:
                next(lines)
            else:
                answer.close()
            process.send_signal(number)
            out, err = process.communicate(timeout=120)
    finally:
        process.kill()
    assert (process.returncode, out.strip()) == (0, f"stopped by {int(number)}"), err
    assert "Traceback" not in err
    end = time.monotonic() + 30
    while Path(f"/proc/{worker}").exists() and time.monotonic() < end:
        time.sleep(0.05)
    assert not Path(f"/proc/{worker}").exists()
