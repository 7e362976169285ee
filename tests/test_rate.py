"""All who share a record share one budget of calls a provider and key; who waits is never passed over."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime, timedelta
from itertools import count, pairwise
from multiprocessing import get_context
from pathlib import Path
from threading import Thread
from typing import Any

import httpx
import httpx2
import pytest

from anytune.errors import RateLimitedError, StoreError
from anytune.jobs import SystemClock
from anytune.jobs.rate import BURST, LONGEST, SPREAD, Bucket
from anytune.providers.base import Profile
from anytune.providers.edge import bounded_client
from anytune.providers.fireworks import FireworksProvider
from anytune.providers.openai import OpenAIProvider
from anytune.providers.together import TogetherProvider
from anytune.store import HomeRates, Rates, Slip, open_rates
from anytune.testing import FakeClock, sample_file
from anytune.tuner import Tuner
from tests.postgres import Server
from tests.stubs._http import Call, Reply
from tests.stubs.openai import OpenAIStub

JOB = "name: {name}\nprovider: openai\nmodel: gpt-4.1-mini-2025-04-14\ndata: {{train: '{train}'}}\n"


def bucket(home: Path, clock: FakeClock, *, rate: float = 2.0, key: str = "k", name: str = "openai") -> Bucket:
    return Bucket(HomeRates(home), name, rate=rate, key=lambda: key, clock=clock)


def times(at: Bucket, clock: FakeClock, count: int) -> list[float]:
    found = []
    for _ in range(count):
        at.before()
        found.append(clock.monotonic())
    return found


def test_after_a_burst_calls_come_at_the_rate(tmp_path: Path) -> None:
    clock = FakeClock()
    found = times(bucket(tmp_path, clock), clock, 30)
    assert found[:20] == [0.0] * 20
    assert [later - earlier for earlier, later in pairwise(found[19:])] == pytest.approx([0.6] * 10)


def test_no_minute_has_more_calls_than_its_budget(tmp_path: Path) -> None:
    clock = FakeClock()
    at, found = bucket(tmp_path, clock), []
    for pause in (0.0, 300.0, 7.0, 20.0):
        clock.sleep(pause)
        found += times(at, clock, 150)
    assert max(sum(start <= other < start + 60 for other in found) for start in found) == 120


def test_two_processes_draw_on_one_bucket_and_another_key_has_its_own(tmp_path: Path) -> None:
    clock = FakeClock()
    one, two, other = bucket(tmp_path, clock), bucket(tmp_path, clock), bucket(tmp_path, clock, key="another")
    times(one, clock, 10)
    times(two, clock, 10)
    assert clock.monotonic() == 0
    times(other, clock, 10)
    assert clock.monotonic() == 0
    one.before()
    assert clock.monotonic() == pytest.approx(0.6)


def test_a_429_of_one_holds_the_others_back_for_as_long_as_the_provider_says(tmp_path: Path) -> None:
    clock = FakeClock()
    one, two = bucket(tmp_path, clock), bucket(tmp_path, clock)
    one.before()
    one.after(429, {"retry-after": "12"})
    found = times(two, clock, 3)
    assert 12 <= found[0] <= 13.3
    assert found[2] - found[1] == pytest.approx(1.2), "half as often as before"
    for _ in range(40):
        two.after(200, {})
    now = clock.monotonic()
    assert times(two, clock, 3)[-1] - now <= 1.9


def test_a_provider_that_names_a_long_time_is_not_asked_and_nobody_sleeps_through_it(tmp_path: Path) -> None:
    clock = FakeClock()
    one, two = bucket(tmp_path, clock), bucket(tmp_path, clock)
    one.after(429, {"retry-after": "3600"})
    with pytest.raises(RateLimitedError) as caught:
        two.before()
    assert 3600 <= (caught.value.retry_after or 0) <= 3602
    assert clock.slept == []


def test_refusals_without_a_time_shut_it_for_longer_each_time(tmp_path: Path) -> None:
    clock, waits = FakeClock(), []
    at = bucket(tmp_path, clock)
    for _ in range(4):
        at.after(429, {})
        began = clock.monotonic()
        at.before()
        waits.append(clock.monotonic() - began)
    assert waits == sorted(waits)
    assert waits[0] >= 2
    assert waits[-1] >= 16


def test_many_refusals_at_once_are_one(tmp_path: Path) -> None:
    clock = FakeClock()
    at = bucket(tmp_path, clock)
    for _ in range(10):
        at.after(429, {"retry-after": "5"})
    found = times(at, clock, 3)
    assert found[2] - found[1] == pytest.approx(1.2)


class Struck(FakeClock):
    """Be a clock during whose first sleep something happens."""

    def __init__(self, happens: Callable[[], None]) -> None:
        super().__init__()
        self._happens: list[Callable[[], None]] = [happens]

    def sleep(self, seconds: float) -> None:
        while self._happens:
            self._happens.pop()()
        super().sleep(seconds)


def test_a_longer_time_that_comes_while_others_wait_holds_them_back_too(tmp_path: Path) -> None:
    """Of two calls that are refused at once, one is told to wait for 5 s, and the other for 25."""
    clock = Struck(lambda: other.after(429, {"retry-after": "25"}))
    other, waiting = bucket(tmp_path, clock), bucket(tmp_path, clock)
    other.after(429, {"retry-after": "5"})
    found = times(waiting, clock, 2)
    assert 25 <= found[0] <= 27
    assert found[1] - found[0] == pytest.approx(1.2), "half as often as before, not a quarter"


def test_a_good_answer_to_a_call_from_before_a_refusal_opens_nothing(tmp_path: Path) -> None:
    clock = FakeClock()
    at = bucket(tmp_path, clock)
    for _ in range(3):
        at.after(429, {})
        at.after(200, {})
        at.before()
    assert clock.monotonic() >= 2 + 4 + 8


def test_an_answer_is_not_lost_for_what_cannot_be_written_down(tmp_path: Path) -> None:
    (tmp_path / "rates").write_text("a file where a folder should be")
    bucket(tmp_path, FakeClock()).after(429, {"retry-after": "5"})
    with pytest.raises(StoreError):
        bucket(tmp_path, FakeClock()).before()


def test_a_file_that_cannot_be_locked_or_written_is_told_with_its_path_and_a_fix(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some network drives lock nothing; what a disk that is full says comes by the same way as a limit of size."""
    at, most = bucket(tmp_path, FakeClock()), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, most[1]))
    try:
        with pytest.raises(StoreError, match=f"cannot write {tmp_path}/rates/openai-.*: File too large") as caught:
            at.before()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, most)
    assert "ANYTUNE_HOME" in (caught.value.fix or "")

    def refuse(handle: int, how: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(StoreError, match=r"rates/openai-.*: No locks available") as caught:
        at.before()
    assert "ANYTUNE_HOME" in (caught.value.fix or "")
    at.after(429, {})


@pytest.mark.parametrize("left", ["", "{}", "[1", '{"free": "much"}'])
def test_a_file_that_makes_no_sense_is_begun_anew(tmp_path: Path, left: str) -> None:
    clock = FakeClock()
    at = bucket(tmp_path, clock)
    at.before()
    (path,) = (tmp_path / "rates").iterdir()
    path.write_text(left)
    at.before()
    assert json.loads(path.read_text())["free"] == 19
    assert path.stat().st_mode & 0o077 == 0


def test_a_clock_that_was_wrong_shuts_nobody_out(tmp_path: Path) -> None:
    ahead, clock = FakeClock(), FakeClock()
    ahead.sleep(7200)
    bucket(tmp_path, ahead).after(429, {"retry-after": "3000"})
    times(bucket(tmp_path, clock), clock, 1)
    assert clock.monotonic() == 0


def test_the_key_is_not_in_the_file_nor_in_its_name(tmp_path: Path) -> None:
    bucket(tmp_path, FakeClock(), key="sk-secret-of-mine").before()
    (path,) = (tmp_path / "rates").iterdir()
    assert "secret" not in path.name + path.read_text()


def test_hosted_providers_have_a_budget_and_a_server_on_this_machine_has_none_unless_it_is_said(
    tmp_path: Path,
) -> None:
    def gated(text: str, name: str) -> bool:
        (tmp_path / "anytune.yaml").write_text(text)
        return Tuner(folder=tmp_path).reach.profile(name).gate is not None

    assert gated("", "openai")
    assert gated("", "hf-jobs")
    assert not gated("", "local")
    here = "profiles: {openai: {base_url: 'http://127.0.0.1:9/v1'%s}}"
    assert not gated(here % "", "openai")
    assert gated(here % ", rate: 5", "openai")


class Counting:
    """Be a gate that counts."""

    def __init__(self) -> None:
        self.passed = 0
        self.heard: list[int] = []

    def before(self) -> None:
        self.passed += 1

    def after(self, status: int, headers: object) -> None:
        self.heard.append(status)


class Shut:
    """Be a gate that lets nobody through."""

    def before(self) -> None:
        raise RateLimitedError("not now", retry_after=77.0)

    def after(self, status: int, headers: object) -> None:
        raise AssertionError("nothing was sent")


@pytest.fixture
def stub() -> Iterator[OpenAIStub]:
    with OpenAIStub() as made:
        yield made


def profile(stub: OpenAIStub, tmp_path: Path, gate: object) -> Profile:
    return Profile(name="openai", home=tmp_path, key=lambda: stub.key, base_url=stub.base_url, gate=gate)  # type: ignore[arg-type]


def test_every_call_passes_the_gate_and_what_was_answered_is_heard(stub: OpenAIStub, tmp_path: Path) -> None:
    gate = Counting()
    stub.fail_next("GET /v1/fine_tuning/jobs", status=429, headers={"Retry-After": "3"})
    provider = OpenAIProvider(profile(stub, tmp_path, gate))
    with pytest.raises(RateLimitedError):
        provider.find("a-job")
    provider.find("a-job")
    assert gate.passed == len(stub.journal) == 2
    assert gate.heard == [429, 200]


class Slow(Counting):
    """Be a gate that takes longer to hear of an answer than a call may last."""

    def after(self, status: int, headers: object) -> None:
        time.sleep(0.5)
        super().after(status, headers)


@pytest.mark.parametrize("http", [httpx, httpx2])
def test_a_gate_that_is_slow_to_hear_takes_no_answer_away(stub: OpenAIStub, http: Any) -> None:
    gate = Slow()
    client = bounded_client(http, seconds=0.3, gate=gate)
    assert client.get(f"{stub.base_url}/models").status_code == 401
    with client.stream("GET", f"{stub.base_url}/models") as answer:
        assert answer.read()
    assert gate.heard == [401, 401]


@pytest.mark.parametrize("kind", [OpenAIProvider, TogetherProvider, FireworksProvider])
def test_what_the_gate_says_comes_through_as_it_is(stub: OpenAIStub, tmp_path: Path, kind: type) -> None:
    """The SDKs wrap whatever is raised inside them."""
    with pytest.raises(RateLimitedError) as caught:
        kind(profile(stub, tmp_path, Shut())).find("a-job")
    assert caught.value.retry_after == 77.0
    assert stub.journal == []


@pytest.fixture(params=["home", "postgres"])
def address(request: pytest.FixtureRequest) -> str | None:
    """Be both places where budgets are kept, as the setting `store` names them."""
    if request.param == "home":
        return None
    server: Server = request.getfixturevalue("server")
    return server.address(server.database())


@pytest.fixture
def shared(address: str | None, tmp_path: Path) -> Callable[[], Rates]:
    """Open one place as processes of the same team do: each for itself, on a machine of its own where that can be."""
    homes = (tmp_path / f"machine-{number}" for number in count())
    return lambda: open_rates(tmp_path if address is None else next(homes), address=address)


def test_what_one_wrote_the_next_reads_and_every_name_has_its_own(shared: Callable[[], Rates]) -> None:
    one, two = shared(), shared()
    with one.lent("a%20name") as slip:
        assert slip.text == ""
        slip.text = "written"
    with two.lent("a%20name") as slip, one.lent("another") as other:
        assert (slip.text, other.text) == ("written", "")
        other.text = "\u00e9 '; --"
    assert (two.seen("a%20name"), two.seen("another"), two.seen("nobody's")) == ("written", "\u00e9 '; --", "")


def test_half_a_change_is_none(shared: Callable[[], Rates]) -> None:
    rates = shared()
    with pytest.raises(ZeroDivisionError), rates.lent("name") as slip:
        slip.text = "half"
        raise ZeroDivisionError
    with shared().lent("name") as slip:
        assert slip.text == ""


def test_a_slip_is_lent_to_one_at_a_time_also_among_threads_of_one_process(shared: Callable[[], Rates]) -> None:
    both = shared()

    def add(rates: Rates) -> None:
        for _ in range(20):
            with rates.lent("sum") as slip:
                slip.text = str(int(slip.text or 0) + 1)

    threads = [Thread(target=add, args=(rates,)) for rates in (both, both, shared(), shared())]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert both.seen("sum") == "80"


def test_a_429_on_one_machine_holds_those_of_its_team_back(shared: Callable[[], Rates]) -> None:
    one, two = (Bucket(shared(), "openai", rate=2.0, key=lambda: "k", clock=SystemClock()) for _ in range(2))
    one.after(429, {"retry-after": "3600"})
    with pytest.raises(RateLimitedError) as caught:
        two.before()
    assert 3590 <= (caught.value.retry_after or 0) <= 3602


def test_machines_whose_clocks_differ_go_by_the_servers(server: Server) -> None:
    """The clock of one is two hours ahead, that of the other a day behind."""
    address, now = server.address(server.database()), datetime.now(UTC)
    ahead, behind = (FakeClock(now + timedelta(hours=hours)) for hours in (2, -24))
    one, two = (
        Bucket(open_rates(Path("/nowhere"), address=address), "p", rate=0.5, key=lambda: "k", clock=clock)
        for clock in (ahead, behind)
    )
    times(one, ahead, 5)
    assert ahead.slept == []
    two.before()
    assert behind.slept == [pytest.approx(2.4, abs=0.5)], "the burst is spent"


def test_a_server_that_is_away_lets_no_call_through_and_says_so(server: Server) -> None:
    nobody = server.address("there-is-none")
    at = Bucket(open_rates(Path("/nowhere"), address=nobody), "p", rate=1, key=lambda: "k", clock=FakeClock())
    at.after(429, {})
    with pytest.raises(StoreError, match="does not exist"):
        at.before()


class Cut(HomeRates):
    """Be a record that cannot be had for some times."""

    def __init__(self, home: Path, times: int) -> None:
        super().__init__(home)
        self.times = times

    def lent(self, name: str) -> AbstractContextManager[Slip]:
        self.times -= 1
        if self.times >= 0:
            raise StoreError("the server closed the session")
        return super().lent(name)


@pytest.mark.parametrize(("cut", "passes"), [(2, True), (3, False)])
def test_a_record_that_cannot_be_had_is_tried_again_twice(tmp_path: Path, *, cut: int, passes: bool) -> None:
    at = Bucket(Cut(tmp_path, cut), "p", rate=1, key=lambda: "k", clock=FakeClock())
    with nullcontext() if passes else pytest.raises(StoreError):
        at.before()


@pytest.mark.engine
def test_a_machine_that_falls_asleep_with_the_budget_ends_nobodys_call(server: Server, tmp_path: Path) -> None:
    address = server.address(server.database())
    asleep, awake = (open_rates(tmp_path, address=address) for _ in range(2))
    with pytest.raises(StoreError), asleep.lent("name"):
        began = time.monotonic()
        with awake.lent("name") as slip:
            slip.text = "written"
        took = time.monotonic() - began
    assert 1 < took < 8
    assert asleep.seen("name") == "written"


@pytest.mark.engine
def test_eight_processes_keep_the_budget_together_and_each_gets_its_share(shared: Callable[[], Rates]) -> None:
    """Nothing is left of the burst when they begin."""
    rate, seconds, crowd = 40.0, 2.0, 8
    drained, spent = time.monotonic(), FakeClock(datetime.now(UTC))
    times(Bucket(shared(), "p", rate=rate, key=lambda: "k", clock=spent), spent, int(rate * BURST))
    context = get_context("fork")
    together, answers = context.Barrier(crowd), context.SimpleQueue()

    def one() -> None:
        at, passed = Bucket(shared(), "p", rate=rate, key=lambda: "k", clock=SystemClock()), []
        together.wait()
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            at.before()
            passed.append(time.monotonic())
        answers.put(passed)
        os._exit(0)

    processes = [context.Process(target=one) for _ in range(crowd)]
    for process in processes:
        process.start()
    passed = [answers.get() for _ in processes]
    for process in processes:
        process.join()
    every = sorted(at for one in passed for at in one)
    refilled = (every[0] - drained) * rate
    for start in every:
        assert sum(start <= at < start + 1 for at in every) <= rate + refilled + 2
    assert len(every) >= 0.6 * rate * SPREAD * seconds
    shares = [len(one) for one in passed]
    assert min(shares) >= 0.5 * sum(shares) / crowd, shares
    assert max(max((b - a for a, b in pairwise(one)), default=0) for one in passed) < LONGEST / 10


class Timed(OpenAIStub):
    """Note when each call came."""

    def __init__(self) -> None:
        super().__init__()
        self.times: list[float] = []

    def answer(self, call: Call) -> Reply:
        self.times.append(time.monotonic())
        return super().answer(call)


def watching(folder: Path, settings: str) -> subprocess.Popen[bytes]:
    """Watch all jobs from a machine of its own."""
    (folder / "anytune").mkdir(parents=True)
    (folder / "anytune" / "config.yaml").write_text(settings)
    own = {"ANYTUNE_HOME": str(folder / "home"), "XDG_CONFIG_HOME": str(folder), "OPENAI_API_KEY": OpenAIStub().key}
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "anytune", "watch", "--all"],  # its settings stand in a folder named anytune
        cwd=folder,
        env={**os.environ, **own},
        stdout=subprocess.DEVNULL,
    )


@pytest.mark.engine
def test_two_machines_that_watch_one_record_on_a_server_keep_one_budget(server: Server, tmp_path: Path) -> None:
    """Each of them would ask for the list, and for the events of sixteen jobs, at once if it were alone."""
    address, jobs, rate, enough = server.address(server.database()), 16, 0.6, 10
    with Timed() as far:
        leads = f"store: {address}\nprofiles: {{openai: {{base_url: '{far.base_url}'"
        (tmp_path / "anytune").mkdir()
        (tmp_path / "anytune" / "config.yaml").write_text(f"{leads}}}}}\n")
        own = {"ANYTUNE_HOME": str(tmp_path / "home"), "XDG_CONFIG_HOME": str(tmp_path), "OPENAI_API_KEY": far.key}
        tuner = Tuner(folder=tmp_path, environment=own)
        train = sample_file(tmp_path).path
        for number in range(jobs):
            (tmp_path / "job.yaml").write_text(JOB.format(name=f"job-{number}", train=train))
            tuner.submit(tuner.plan(tuner.read(tmp_path / "job.yaml")))
        for remote_id in far.jobs:
            far.set(remote_id, status="running")
        far.times.clear()
        settings = f"{leads}, rate: {rate}}}}}\n"
        both = [watching(tmp_path / name, settings) for name in ("one", "two")]
        until = time.monotonic() + 60
        while len(far.times) < enough and time.monotonic() < until:
            time.sleep(0.1)
        assert [process.poll() for process in both] == [None, None]
        for process in both:
            process.kill()
            process.wait()
    assert len(far.times) >= enough
    for number, at in enumerate(far.times, 1):
        assert number <= rate * (BURST + SPREAD * (at - far.times[0])) + 1
