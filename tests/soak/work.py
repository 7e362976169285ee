"""What the campaigns on whole lives of jobs share: a folder with a job for a hosted provider, and commands typed there.

A command is a process of its own that is forked with everything imported, for to import is most of what a short command
does. Its clock is quick: it waits a thousandth of what it says that it waited.
"""

from __future__ import annotations

import io
import json
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import chdir, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest import mock

import anytune.clock
from anytune import cli
from anytune.schema.job import Job
from anytune.store import SqliteStore
from tests.stubs._process import served

HASTE = 1000  # how many times as quickly as it says the quick clock waits
DEFECTS = ("a defect of anytune", "Traceback (most recent call last)")
FINISH = ("run", "-y", "--no-eval")


@dataclass(frozen=True)
class Hosted:
    """Be a hosted provider: its stand-in, the path of its interface there, a model, and a key."""

    name: str
    model: str
    variable: str
    key: str
    path: str = ""

    @property
    def module(self) -> str:
        return f"tests.stubs.{self.name}"


OPENAI = Hosted("openai", "gpt-4.1-mini-2025-04-14", "OPENAI_API_KEY", "sk-stub-0123456789abcdef", "/v1")
TOGETHER = Hosted("together", "Qwen/Qwen3.5-9B", "TOGETHER_API_KEY", "tgp-stub-0123456789abcdef")
FIREWORKS = Hosted("fireworks", "qwen3p5-9b", "FIREWORKS_API_KEY", "fw-stub-0123456789abcdef")


class QuickClock:
    """Be this machine's clock, plus what was slept; `ahead` is how far off it is to begin with, in seconds."""

    def __init__(self, ahead: float = 0.0, *, haste: float = HASTE) -> None:
        self._slept, self._ahead, self._haste = 0.0, ahead, haste

    def now(self) -> datetime:
        return datetime.now(UTC) + timedelta(seconds=self._slept + self._ahead)

    def monotonic(self) -> float:
        return time.monotonic() + self._slept

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds / self._haste)
        self._slept += seconds


@dataclass(frozen=True)
class Said:
    """Be what a command left behind."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Desk:
    """Be a folder with a job for one provider, whose record lies beneath it."""

    folder: Path
    provider: Hosted

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def said(self) -> Path:
        """Name the file with all that the commands in processes of their own said of errors."""
        return self.folder / "said"

    def jobs(self) -> Sequence[Job]:
        """Read the record, if there is one."""
        return SqliteStore(self.home).list() if (self.home / "jobs.sqlite3").exists() else []

    def environment(self) -> dict[str, str]:
        own = {"ANYTUNE_HOME": str(self.home), "XDG_CONFIG_HOME": str(self.folder), "COLUMNS": "80"}
        return {**own, self.provider.variable: self.provider.key}

    def typed(self, *arguments: str, clock: QuickClock | None = None) -> Said:
        """Type a command in this process."""
        out, err, at = io.StringIO(), io.StringIO(), clock or QuickClock()
        with (
            chdir(self.folder),
            mock.patch.dict(os.environ, self.environment()),
            mock.patch.object(anytune.clock, "SystemClock", return_value=at),
            redirect_stdout(out),
            redirect_stderr(err),
        ):
            code = cli.call(list(arguments))
        return Said(code, out.getvalue(), err.getvalue())

    def forked(self, *arguments: str, out: Path = Path(os.devnull), start: Callable[[], Any] | None = None) -> int:
        """Begin a command in a process of its own and return that process's number; `start` is called just before."""
        child = os.fork()
        if child:
            return child
        code = 70
        try:
            for stream, path in ((sys.stdout, out), (sys.stderr, self.said)):
                os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), stream.fileno())
            os.chdir(self.folder)
            os.environ.update(self.environment())
            with mock.patch.object(anytune.clock, "SystemClock", QuickClock):
                if start is not None:
                    start()
                code = cli.call(list(arguments))
        except BaseException:
            traceback.print_exc()
        finally:
            for stream in (sys.stdout, sys.stderr):
                stream.flush()
            os._exit(code)

    def defects(self) -> list[str]:
        """List the defects that the commands told of."""
        told = self.said.read_text(encoding="utf-8") if self.said.exists() else ""
        return [line for line in told.splitlines() if line.startswith(DEFECTS) or DEFECTS[0] in line]


def laid_out(folder: Path, provider: Hosted, origin: str, *, topic: str, more: str = "", timeout: float = 20) -> Desk:
    """Write a job file, data that no other topic has, and settings that lead to the stand-in."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [
        json.dumps({"messages": [
            {"role": "user", "content": f"What of {topic} is {n} plus {n}?"},
            {"role": "assistant", "content": f"{n + n} of {topic}."},
        ]})
        for n in range(12)
    ]  # fmt: skip
    (folder / "train.jsonl").write_text("\n".join(lines) + "\n")
    job = f"name: tides\nprovider: {provider.name}\nmodel: {provider.model}\ndata: {{train: train.jsonl}}\n"
    (folder / "finetune.yaml").write_text(job + more)
    at = f"{{base_url: '{origin}{provider.path}', timeout: {timeout}}}"
    (folder / "anytune.yaml").write_text(f"profiles: {{{provider.name}: {at}}}\n")
    return Desk(folder, provider)


@contextmanager
def warm(*providers: Hosted) -> Iterator[None]:
    """Live one whole life here, so that whatever a command imports or reads once is there in those forked from now."""
    with tempfile.TemporaryDirectory() as folder:
        for provider in providers:
            with served(provider.module, state=Path(folder) / f"far-{provider.name}") as far:
                desk = laid_out(Path(folder) / provider.name, provider, far.origin, topic="warmth")
                said = desk.typed(*FINISH)
                if said.code != 0:
                    raise RuntimeError(f"{provider.name}: {said.err}")
    yield
