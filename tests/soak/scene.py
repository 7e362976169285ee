"""The calls that a fault may strike, at each hosted provider, and the command in which each comes to pass."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.soak.work import FINISH, FIREWORKS, OPENAI, TOGETHER, Hosted
from tests.stubs._http import StubServer
from tests.stubs.fireworks import FireworksStub
from tests.stubs.openai import OpenAIStub
from tests.stubs.together import TogetherStub

SUBMIT = ("submit", "-y")
WATCH = ("watch", "last", "--timeout", "7200")
CANCEL = ("cancel", "last")
EXPORT = ("export", "last", "--to", "adapter", "--out", "taken")
PAUSE = ("pause", "last")
RESUME = ("resume", "last", "-y")
SHOW = ("show", "last")
ALL = ("watch", "--all", "--timeout", "90000")  # by a clock that runs on while a slow machine works
EVALUATE = ("eval", "last", "--test", "held.jsonl")
THERE = "THERE"  # in a command: the id of the job that is at the provider
STANDS: dict[str, Callable[[], StubServer]] = {
    "openai": OpenAIStub,
    "together": TogetherStub,
    "fireworks": FireworksStub,
}


@dataclass(frozen=True)
class Scene:
    """Be one call: whose, for what (`act`), how it is known (`pattern`), and the command in which it is made.

    `before` are the commands that come first, `loses` the call whose answer is lost so that this one is made at all.
    `setup` then changes the far side, and `forgets` takes the record away. `job` names where the job stands in the
    answer: the answer itself, or a list in it; None where none does. `then` are the commands that bring it to its end.
    """

    provider: Hosted
    act: str
    pattern: str
    command: tuple[str, ...] = SUBMIT
    before: tuple[tuple[str, ...], ...] = ()
    loses: str | None = None
    job: str | None = None
    setup: Callable[[Any], None] | None = None
    forgets: bool = False
    then: tuple[tuple[str, ...], ...] = (FINISH,)

    @property
    def name(self) -> str:
        return f"{self.provider.name} {self.act}"

    @property
    def submits(self) -> bool:
        """Tell whether a refusal of this call ends the job before there is one."""
        return self.command == SUBMIT and self.loses is None


def _pause(stub: Any) -> None:
    for id in stub.jobs:
        stub.set(id, status="paused")


def _run(stub: Any) -> None:
    for id in stub.jobs:
        stub.set(id, status="running")


def _end(stub: Any) -> None:
    """Let the jobs end: the list of a stand-in moves none on."""
    for id in stub.jobs:
        stub.finish(id)


def _adopted(provider: Hosted, one: str) -> Scene:
    """Take in a job of which this record knows nothing, for it was made with another."""
    adopt = ("adopt", provider.name, THERE)
    return Scene(provider, "adopt", one, adopt, (SUBMIT,), job=".", forgets=True, then=(adopt, WATCH))


def _openai() -> list[Scene]:
    jobs, one = "/v1/fine_tuning/jobs", "GET /v1/fine_tuning/jobs/ftjob-??????"
    return [
        Scene(OPENAI, "look for the file", "GET /v1/files"),
        Scene(OPENAI, "upload", "POST /v1/files"),
        Scene(OPENAI, "create", f"POST {jobs}", job="."),
        Scene(OPENAI, "find", f"GET {jobs}", loses=f"POST {jobs}", job="data"),
        Scene(OPENAI, "retrieve", one, WATCH, (SUBMIT,), job="."),
        Scene(OPENAI, "events", "*/events", WATCH, (SUBMIT,)),
        Scene(OPENAI, "cancel", "*/cancel", CANCEL, (SUBMIT,), job=".", then=(CANCEL, WATCH)),
        Scene(OPENAI, "look at a paused one", one, RESUME, (SUBMIT,), job=".", setup=_pause, then=(RESUME, WATCH)),
        Scene(OPENAI, "resume", "*/resume", RESUME, (SUBMIT,), job=".", setup=_pause, then=(RESUME, WATCH)),
        Scene(OPENAI, "pause", "*/pause", PAUSE, (SUBMIT,), job=".", setup=_run, then=(PAUSE, RESUME, WATCH)),
        _adopted(OPENAI, one),
        Scene(OPENAI, "show", one, SHOW, (SUBMIT,), job="."),
        Scene(OPENAI, "show events", "*/events", SHOW, (SUBMIT,)),
        Scene(OPENAI, "sweep", f"GET {jobs}", ALL, (SUBMIT,), job="data", setup=_end),
        Scene(OPENAI, "ask the model", "POST */chat/completions", EVALUATE, (SUBMIT, WATCH), then=(EVALUATE,)),
    ]


def _brings_no_events(stub: TogetherStub) -> None:
    stub.tells_events = False


def _together() -> list[Scene]:
    jobs, one = "/v1/fine-tunes", "GET /v1/fine-tunes/ft-????????-????????"
    return [
        Scene(TOGETHER, "reserve", "POST /v1/files"),
        Scene(TOGETHER, "store", "PUT /storage/*"),
        Scene(TOGETHER, "check", "POST */preprocess"),
        Scene(TOGETHER, "quote", "POST */estimate-price"),
        Scene(TOGETHER, "create", f"POST {jobs}", job="."),
        Scene(TOGETHER, "find", f"GET {jobs}", loses=f"POST {jobs}", job="data"),
        Scene(TOGETHER, "retrieve", one, WATCH, (SUBMIT,), job="."),
        Scene(TOGETHER, "events", "*/events", WATCH, (SUBMIT,), setup=_brings_no_events),
        Scene(TOGETHER, "figures", "*/metrics", WATCH, (SUBMIT,)),
        Scene(TOGETHER, "cancel", "*/cancel", CANCEL, (SUBMIT,), job=".", then=(CANCEL, WATCH)),
        _adopted(TOGETHER, one),
        Scene(TOGETHER, "show", one, SHOW, (SUBMIT,), job="."),
        Scene(TOGETHER, "show events", "*/events", SHOW, (SUBMIT,)),
        Scene(TOGETHER, "sweep", f"GET {jobs}", ALL, (SUBMIT,), job="data", setup=_end),
        Scene(TOGETHER, "archive", "GET /v1/finetune/download", EXPORT, (SUBMIT, WATCH), then=(EXPORT,)),
    ]


def _fireworks() -> list[Scene]:
    jobs = "*/supervisedFineTuningJobs"
    one = f"GET {jobs}/*"
    return [
        Scene(FIREWORKS, "accounts", "GET /v1/accounts"),
        Scene(FIREWORKS, "name", "POST */datasets"),
        Scene(FIREWORKS, "place", "POST *:getUploadEndpoint"),
        Scene(FIREWORKS, "store", "PUT /storage/*"),
        Scene(FIREWORKS, "check", "POST *:validateUpload"),
        Scene(FIREWORKS, "look at the file", "GET */datasets/*"),
        Scene(FIREWORKS, "create", f"POST {jobs}", job="."),
        Scene(FIREWORKS, "find", one, loses=f"POST {jobs}", job="."),
        Scene(FIREWORKS, "retrieve", one, WATCH, (SUBMIT,), job="."),
        Scene(FIREWORKS, "cancel", "POST *:cancel", CANCEL, (SUBMIT,), then=(CANCEL, WATCH)),
        _adopted(FIREWORKS, one),
        Scene(FIREWORKS, "show", one, SHOW, (SUBMIT,), job="."),
        Scene(FIREWORKS, "address", "GET *:getDownloadEndpoint", EXPORT, (SUBMIT, WATCH), then=(EXPORT,)),
        Scene(FIREWORKS, "download", "GET /storage/*", EXPORT, (SUBMIT, WATCH), then=(EXPORT,)),
    ]


SCENES = (*_openai(), *_together(), *_fireworks())
