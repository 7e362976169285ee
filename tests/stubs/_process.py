"""Run a stand-in as a process of its own, so that a test may kill its client and the server lives on."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any

from tests.stubs._http import CONTROL, StubServer

JOURNAL = "journal.jsonl"


def main(make: Callable[[Path | None], StubServer]) -> None:
    """Serve until ended: `--port-file F` gets the port, `--state DIR` the journal as JSON lines."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--port-file", type=Path, required=True)
    arguments.add_argument("--state", type=Path)
    given = arguments.parse_args()
    journal = given.state / JOURNAL if given.state else None
    if given.state:
        given.state.mkdir(parents=True, exist_ok=True)
    with make(journal) as stub:
        ready = given.port_file.with_suffix(".new")
        ready.write_text(str(stub.port))
        ready.replace(given.port_file)
        print(stub.port, flush=True)
        Event().wait()


@dataclass(frozen=True)
class Served:
    """Reach a stand-in that runs as a process of its own."""

    origin: str
    journal_file: Path

    def journal(self) -> list[dict[str, Any]]:
        """Read the calls so far: number, method, path, query, status, json, bytes."""
        if not self.journal_file.exists():
            return []
        return [json.loads(line) for line in self.journal_file.read_text(encoding="utf-8").splitlines()]

    def order(self, call: str, **options: Any) -> None:
        """Order a fault: `order("drop_next", pattern="POST */jobs", when="after")`."""
        self._control({"call": call, "with": options})

    def set(self, **values: Any) -> None:
        """Set attributes of the stand-in, such as `life` or `closed`."""
        self._control({"set": values})

    def census(self) -> dict[str, Any]:
        """Ask what is kept there: `jobs` as the API shows them, `files` as digests of their bytes."""
        told: dict[str, Any] = self._control(None)
        return told

    def _control(self, order: dict[str, Any] | None) -> Any:
        data = json.dumps(order).encode() if order else None
        to = urllib.request.Request(self.origin + CONTROL, data=data, method="POST" if order else "GET")
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(to, timeout=10) as answer:
            return json.loads(answer.read())


@contextmanager
def served(module: str, *, state: Path) -> Iterator[Served]:
    """Start `python -m module` (such as `tests.stubs.openai`) and end it afterwards."""
    port_file = state / "port"
    command = [sys.executable, "-m", module, "--port-file", str(port_file), "--state", str(state)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=Path(__file__).parents[2])
    try:
        deadline = time.monotonic() + 20
        while not port_file.exists():
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{module} did not start")
            time.sleep(0.02)
        yield Served(f"http://127.0.0.1:{port_file.read_text()}", state / JOURNAL)
    finally:
        process.kill()
        process.wait()
