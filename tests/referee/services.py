"""The two services that are judged: what describes them, what stands in for them, what goes around Prism."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.referee import lives, mocked, patches, suites
from tests.referee.placeholders import OpenAIPlaceholders, TogetherPlaceholders
from tests.referee.prism import Prism, proxy
from tests.referee.relay import Aside, Relay
from tests.referee.spec import prepared
from tests.stubs.openai import OpenAIStub
from tests.stubs.together import TogetherStub


@dataclass(frozen=True)
class Seen:
    """Be a relay with a Prism behind it."""

    relay: Relay
    prism: Prism

    def told(self, what: str) -> list[str]:
        """Print what was seen, and return what is wrong in it."""
        wrong = sorted({str(finding) for finding in self.relay.findings})
        calls = f"{self.relay.judged} calls under Prism ({self.prism.megabytes()} MB)"
        print(f"{what}: {calls}, {self.relay.gone_aside} around it, {len(wrong)} violations")
        for status in sorted(self.relay.undescribed):
            print(f"  held against nothing, for the description has no such status: {status}")
        return [f"{what}: {said}" for said in wrong]


@dataclass(frozen=True)
class Service:
    """Be one service that is judged."""

    name: str
    paths: tuple[str, ...]
    patches: tuple[patches.Patch, ...]
    asides: tuple[Aside, ...]
    stand_in: Callable[[], Any]
    for_suite: Callable[[], Any]
    live: Callable[[Any, str, Path], Iterator[str]]
    acts: Callable[[str, Path], dict[str, Callable[[], Any]]]
    suite: suites.Suite
    prefix: str
    jobs: str

    def described(self, specs: Path, folder: Path) -> Path:
        """Mend the description and cut it to what is asked."""
        source, target = specs / f"{self.name}.yaml", folder / f"{self.name}.json"
        try:
            return prepared(source, target, paths=self.paths, patches=self.patches, prefix=self.prefix)
        except patches.Stale as stale:
            raise SystemExit(f"referee: {source.name} has changed: {stale}") from None

    @contextmanager
    def watched(self, stub: Any, prism: Path, description: Path) -> Iterator[Seen]:
        """Put Prism, and before it the relay, in front of a stand-in."""
        with (
            proxy(prism, description, stub.base_url) as behind,
            Relay(behind.origin, stub.base_url, self.asides) as relay,
        ):
            yield Seen(relay, behind)

    def asleep(self, stub: Any, relay: Relay) -> list[str]:
        """Show the referee a wrong request and a wrong answer; complain if it sees nothing in them."""
        missed = []
        before = len(relay.findings)
        _ask(relay, self.jobs, stub.key, {"model": 5})
        missed += [] if len(relay.findings) > before else [f"{self.name}: Prism overlooks a wrong request"]
        before = len(relay.findings)
        job_id = next(iter(stub.jobs))
        stub.set(job_id, created_at="yesterday")
        _ask(relay, f"{self.jobs}/{job_id}", stub.key)
        missed += [] if len(relay.findings) > before else [f"{self.name}: Prism overlooks a wrong answer"]
        return missed


def _ask(relay: Relay, path: str, key: str, body: Any = None) -> None:
    data = None if body is None else json.dumps(body).encode()
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        opener.open(urllib.request.Request(relay.origin + path, data=data, headers=headers), timeout=30).close()
    except urllib.error.HTTPError as refused:
        refused.close()


BINARY = "Prism makes a 500 of bytes, and the description has only JSON"
OPENAI = Service(
    name="openai",
    paths=("/files*", "/uploads*", "/models*", "/fine_tuning/jobs*", "/fine_tuning/checkpoints*", "/chat/completions"),
    patches=patches.OPENAI,
    asides=(Aside("GET /files/*/content", BINARY),),
    stand_in=OpenAIStub,
    for_suite=OpenAIPlaceholders,
    live=lives.live_at_openai,
    acts=mocked.openai_acts,
    suite=suites.OPENAI,
    prefix="",
    jobs="/fine_tuning/jobs",
)
TOGETHER = Service(
    name="together",
    paths=("/files*", "/fine-tunes*"),
    patches=patches.TOGETHER,
    asides=(
        Aside("POST /v1/files", "not described; Prism would also follow the redirect, with our key"),
        Aside("POST /v1/files/*/preprocess", "not described"),
        Aside("POST /v1/fine-tunes/preview", "not described"),
        Aside("GET /v1/fine-tunes/*/download-tokenized-dataset", "not described"),
        Aside("GET /v1/files/*/content", BINARY),
    ),
    stand_in=TogetherStub,
    for_suite=TogetherPlaceholders,
    live=lives.live_at_together,
    acts=mocked.together_acts,
    suite=suites.TOGETHER,
    prefix="/v1",
    jobs="/v1/fine-tunes",
)
ALL = (OPENAI, TOGETHER)
