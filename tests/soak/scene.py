"""The calls that a fault may strike, at each hosted provider, and the command in which each comes to pass."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.soak.work import FIREWORKS, OPENAI, TOGETHER, Hosted
from tests.stubs._http import StubServer
from tests.stubs.fireworks import FireworksStub
from tests.stubs.openai import OpenAIStub
from tests.stubs.together import TogetherStub

SUBMIT = ("submit", "-y")
WATCH = ("watch", "last", "--timeout", "7200")
CANCEL = ("cancel", "last")
EXPORT = ("export", "last", "--to", "adapter", "--out", "taken")
STANDS: dict[str, Callable[[], StubServer]] = {
    "openai": OpenAIStub,
    "together": TogetherStub,
    "fireworks": FireworksStub,
}


@dataclass(frozen=True)
class Scene:
    """Be one call: whose, for what (`act`), how it is known (`pattern`), and the command in which it is made.

    `before` are the commands that come first, `loses` the call whose answer is lost so that this one is made at all.
    `job` names where the job stands in the answer: the answer itself, or a list in it; None where none does. `setup`
    makes the service one that needs this call.
    """

    provider: Hosted
    act: str
    pattern: str
    command: tuple[str, ...] = SUBMIT
    before: tuple[tuple[str, ...], ...] = ()
    loses: str | None = None
    job: str | None = None
    setup: Callable[[Any], None] | None = None

    @property
    def name(self) -> str:
        return f"{self.provider.name} {self.act}"

    @property
    def submits(self) -> bool:
        """Tell whether a refusal of this call ends the job before there is one."""
        return self.command == SUBMIT and self.loses is None


def _openai() -> list[Scene]:
    jobs, one = "/v1/fine_tuning/jobs", "GET /v1/fine_tuning/jobs/ftjob-??????"
    return [
        Scene(OPENAI, "look for the file", "GET /v1/files"),
        Scene(OPENAI, "upload", "POST /v1/files"),
        Scene(OPENAI, "create", f"POST {jobs}", job="."),
        Scene(OPENAI, "find", f"GET {jobs}", loses=f"POST {jobs}", job="data"),
        Scene(OPENAI, "retrieve", one, WATCH, (SUBMIT,), job="."),
        Scene(OPENAI, "events", "*/events", WATCH, (SUBMIT,)),
        Scene(OPENAI, "cancel", "*/cancel", CANCEL, (SUBMIT,), job="."),
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
        Scene(TOGETHER, "cancel", "*/cancel", CANCEL, (SUBMIT,), job="."),
        Scene(TOGETHER, "archive", "GET /v1/finetune/download", EXPORT, (SUBMIT, WATCH)),
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
        Scene(FIREWORKS, "cancel", "POST *:cancel", CANCEL, (SUBMIT,)),
        Scene(FIREWORKS, "address", "GET *:getDownloadEndpoint", EXPORT, (SUBMIT, WATCH)),
        Scene(FIREWORKS, "download", "GET /storage/*", EXPORT, (SUBMIT, WATCH)),
    ]


SCENES = (*_openai(), *_together(), *_fireworks())
