"""A file that goes in parts is gone on with by the next command after kill -9, within its hour, and is there once.

The stand-in runs as a process of its own and lives on. The child that submits kills itself at its n-th note of the
upload, or is killed at any instant; the next command, in the test's own process, finishes the work.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from anytune import jobs
from anytune.config import ProfileSettings, Settings
from anytune.providers.openai import upload as uploads
from anytune.schema.job import Job
from anytune.schema.plan import Plan
from anytune.testing import FakeClock
from anytune.tuner import Tuner
from tests.stubs._process import Served, served
from tests.test_crash import MODELS, Dying

pytestmark = pytest.mark.engine

SIZE = 400  # bytes of a part here
BEGIN, COMPLETE = "/v1/uploads", "/complete"
MOST_STEPS = 60


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "PART", SIZE)


@pytest.fixture
def far_side(tmp_path: Path) -> Iterator[Served]:
    with served("tests.stubs.openai", state=tmp_path / "far") as running:
        yield running


def tuner(home: Path, far_side: Served, *, clock: FakeClock | None = None) -> Tuner:
    """Make a tuner for which 500 bytes are too many for one call."""
    profile = ProfileSettings(base_url=f"{far_side.origin}/v1", timeout=20)
    settings = Settings(home=home, profiles={"openai": profile})
    made = Tuner(
        settings=settings, environment={"OPENAI_API_KEY": "sk-stub-0123456789abcdef"}, clock=clock or FakeClock()
    )
    speech = made.provider("openai")._speech  # type: ignore[attr-defined]
    vars(speech)["dialect"] = speech.dialect.model_copy(update={"parts_above": 500})
    return made


def plan(at: Tuner, folder: Path, *, topic: str = "tides") -> Plan:
    folder.mkdir(exist_ok=True)
    rows = [
        {"messages": [{"role": "user", "content": f"{topic} {n}?"}, {"role": "assistant", "content": f"{n} m"}]}
        for n in range(36)
    ]
    (folder / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    job = folder / "finetune.yaml"
    job.write_text(f"name: tides\nprovider: openai\nmodel: {MODELS['openai']}\ndata: {{train: train.jsonl}}\n")
    made = at.plan(at.read(job))
    assert made.ok, made.refused
    return made


def killed(submit: Callable[[], object], *, when: Callable[[], bool] | None = None) -> bool:
    """Run a submit in a forked child; kill it once `when` holds, and tell whether it was killed before its end."""
    child = os.fork()
    if child == 0:
        try:
            submit()
        except BaseException:
            os._exit(3)
        os._exit(0)
    until = time.monotonic() + 20
    while when is not None and not when() and time.monotonic() < until:
        if os.waitpid(child, os.WNOHANG)[0]:
            return False
    if when is not None:
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return os.WIFSIGNALED(status)


def dying(home: Path, folder: Path, far_side: Served, *, at: int, topic: str) -> Callable[[], Job]:
    """Submit, and die at step `at`: before and after each time that the record is written."""

    def submit() -> Job:
        steps = iter(range(10 * MOST_STEPS))

        def step() -> None:
            if next(steps) == at:
                os.kill(os.getpid(), signal.SIGKILL)

        here = tuner(home, far_side)
        store = Dying(here.store, step, ("put",))
        desk = jobs.Desk(store=store, provider=here.provider, clock=FakeClock())  # type: ignore[arg-type]
        return jobs.submit(plan(here, folder, topic=topic), desk=desk)

    return submit


def posts(far_side: Served, end: str) -> int:
    """Count the calls of this kind that were answered well."""
    return sum(
        call["method"] == "POST" and call["path"].endswith(end) and call["status"] == 200 for call in far_side.journal()
    )


def parts_of(plan: Plan) -> int:
    return -(-plan.files[0].bytes // SIZE)


def whole(far_side: Served, plan: Plan) -> bool:
    """Tell whether the far side has the file of this plan once, byte for byte."""
    digest = hashlib.sha256(plan.files[0].path.read_bytes()).hexdigest()
    return [file for file in far_side.census()["files"] if file == digest] == [digest]


@pytest.mark.parametrize("strict", [True, False])
def test_killed_at_any_note_of_an_upload_the_next_command_goes_on_and_sends_few_parts_again(
    far_side: Served, tmp_path: Path, strict: bool
) -> None:
    far_side.set(strict_parts=strict)
    deaths = 0
    for at in range(0, MOST_STEPS, 4):
        home, folder, topic = tmp_path / f"home{at}", tmp_path / f"job{at}", f"tides of {at}"
        before, begun = posts(far_side, "/parts"), posts(far_side, BEGIN)
        died = killed(dying(home, folder, far_side, at=at, topic=topic))
        noted = [j.sending["train"] for j in tuner(home, far_side).store.list() if j.sending]
        here = tuner(home, far_side)
        job = here.submit(plan(here, folder, topic=topic))
        assert job.remote is not None
        assert job.sending == {}
        assert len(here.store.list()) == 1
        assert whole(far_side, job.plan)
        count, sent = parts_of(job.plan), posts(far_side, "/parts") - before
        if not strict and noted:  # a part that came twice is left out there
            assert posts(far_side, BEGIN) - begun == 1
            assert sent - count <= uploads.AT_ONCE
        deaths += died
        if not died:
            break
    assert deaths >= 6


def test_killed_in_the_middle_of_its_parts_the_upload_is_not_begun_again(far_side: Served, tmp_path: Path) -> None:
    home, folder = tmp_path / "home", tmp_path / "job"
    far_side.set(strict_parts=False)
    far_side.order("drip_next", pattern="POST */parts", pace=0.005, times=100)
    assert killed(lambda: _submit(home, folder, far_side), when=lambda: posts(far_side, "/parts") > uploads.AT_ONCE)
    far_side.order("disturb", share=0)
    there = posts(far_side, "/parts")
    here = tuner(home, far_side)
    noted = here.job("last").sending["train"]
    assert noted.parts
    job = here.submit(plan(here, folder))
    assert whole(far_side, job.plan)
    assert posts(far_side, BEGIN) == 1
    assert posts(far_side, "/parts") - there == parts_of(job.plan) - len(noted.parts)


def _submit(home: Path, folder: Path, far_side: Served, clock: FakeClock | None = None) -> Job:
    here = tuner(home, far_side, clock=clock)
    return here.submit(plan(here, folder))


def _cut_short(home: Path, folder: Path, far_side: Served) -> None:
    """Leave an upload behind of which some parts are noted."""
    assert killed(dying(home, folder, far_side, at=9, topic="tides"))
    assert tuner(home, far_side).job("last").sending["train"].parts


@pytest.mark.parametrize("known_here", [True, False], ids=["by-our-clock", "by-the-servers-clock-alone"])
def test_an_hour_later_the_upload_is_begun_anew(far_side: Served, tmp_path: Path, known_here: bool) -> None:
    home, folder = tmp_path / "home", tmp_path / "job"
    _cut_short(home, folder, far_side)
    far_side.set(hours_passed=2)
    clock = FakeClock()
    clock.sleep(7200 if known_here else 0)
    refused = [call for call in far_side.journal() if call["status"] == 400]
    job = _submit(home, folder, far_side, clock)
    assert job.remote is not None
    assert whole(far_side, job.plan)
    assert posts(far_side, BEGIN) == 2
    if known_here:
        assert [call for call in far_side.journal() if call["status"] == 400] == refused, "it was not even tried"


@pytest.mark.parametrize("lost", ["a part", "the upload"])
def test_what_the_server_lost_of_an_upload_is_sent_again(far_side: Served, tmp_path: Path, lost: str) -> None:
    home, folder = tmp_path / "home", tmp_path / "job"
    _cut_short(home, folder, far_side)
    far_side.set(lost={"a part": 1, "the upload": 10**6}[lost])
    job = _submit(home, folder, far_side)
    assert whole(far_side, job.plan)
    assert posts(far_side, BEGIN) == 2


def test_a_lost_answer_to_the_last_call_and_a_kill_leave_one_file_that_counts_as_ours(
    far_side: Served, tmp_path: Path
) -> None:
    home, folder = tmp_path / "home", tmp_path / "job"
    far_side.order("drip_next", pattern="POST */complete", part="headers", pace=0.2)
    assert killed(lambda: _submit(home, folder, far_side), when=lambda: posts(far_side, COMPLETE) == 1)
    assert tuner(home, far_side).job("last").sending["train"].ending
    job = _submit(home, folder, far_side)
    assert whole(far_side, job.plan)
    assert (posts(far_side, BEGIN), posts(far_side, COMPLETE)) == (1, 1)
    assert job.sent == (job.files["train"],)


def test_a_checksum_that_does_not_match_makes_the_upload_begin_anew(far_side: Served, tmp_path: Path) -> None:
    home, folder = tmp_path / "home", tmp_path / "job"
    _cut_short(home, folder, far_side)
    far_side.set(garbled=1)
    job = _submit(home, folder, far_side)
    assert whole(far_side, job.plan)
    assert posts(far_side, BEGIN) == 2
