"""One run on several machines, here two groups of processes that meet at an address of this one's loopback."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from anytune.errors import RefusedError, UsageError
from anytune.local import secret, spread
from anytune.local.muster import Line, Muster
from anytune.local.processes import start_worker, worker_command, worker_environment
from anytune.local.provider import LocalProvider
from anytune.local.runs import is_held, new_run, take_lock, write_json
from anytune.local.spread import MACHINES, MEETING
from anytune.providers.base import Profile
from anytune.schema.job import JobState
from anytune.schema.spec import DataSpec, TuneSpec
from tests.local.conftest import end_workers, ended, request, wait
from tests.local.test_crew import first_step, followers, furthest, goes_on, until, weights

pytestmark = pytest.mark.timeout(1200)
Other = subprocess.Popen[bytes]
SECRET = b"s" * 64


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("ANYTUNE_HOME", str(tmp_path))
    yield tmp_path
    end_workers(tmp_path)


@pytest.fixture
def where() -> str:
    """Return an address of loopback that is free."""
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        return f"127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def two(where: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Have runs wait for a second machine."""
    monkeypatch.setenv(MACHINES, "2")
    monkeypatch.setenv(MEETING, where)
    return where


@pytest.fixture
def others() -> Iterator[list[Other]]:
    started: list[Other] = []
    yield started
    for process in started:
        process.kill()
        process.wait()


def provider(home: Path, *, shard: Any = False, machines: tuple[str, ...] = ()) -> LocalProvider:
    return LocalProvider(Profile(name="local", home=home, key=lambda: "", shard=shard, machines=machines))


def come(where: str, others: list[Other], machine: int = 1, patience: int = 300) -> Other:
    command = worker_command("join", where, "--machine", str(machine), "--patience", str(patience))
    others.append(subprocess.Popen(command, env=worker_environment(), stderr=subprocess.PIPE))
    return others[-1]


@pytest.mark.local
@pytest.mark.parametrize("shard", [False, True])
def test_two_machines_make_what_two_processes_of_one_make(
    home: Path, base: Path, chats: Path, two: str, others: list[Other], monkeypatch: pytest.MonkeyPatch, shard: bool
) -> None:
    far = provider(home, shard=shard)
    far.create(request(far, base, chats, "apart") | {"event_seconds": 0})
    other = come(two, others)
    assert wait(far, "apart", ended).state is JobState.SUCCEEDED
    assert other.wait(30) == 0
    monkeypatch.delenv(MACHINES)
    near = LocalProvider(Profile(name="local", home=home, key=lambda: "", processes=2, shard=shard))
    near.create(request(near, base, chats, "together") | {"event_seconds": 0})
    assert wait(near, "together", ended).state is JobState.SUCCEEDED
    assert furthest(weights(home, "apart"), weights(home, "together")) == 0
    left = [{path.name for path in (home / "runs" / name).iterdir()} for name in ("apart", "together")]
    assert left[0] == left[1], "the machine that joins writes nothing into the folder"


@pytest.mark.local
def test_a_machine_that_is_gone_pauses_the_run(
    home: Path, base: Path, chats: Path, two: str, others: list[Other]
) -> None:
    far = provider(home)
    far.create(request(far, base, chats, "died", epochs=40))
    other = come(two, others)
    first_step(far, "died")
    (follower,) = followers(home, "died")
    os.kill(other.pid, signal.SIGKILL)
    wait(far, "died", lambda job: job.state is JobState.PAUSED, seconds=60)
    assert "machine 1 of 2 (127.0.0.1) is gone" in [event.message for event in far.events("died")]
    until(lambda: not Path(f"/proc/{follower}").exists() and not is_held(home / "runs" / "died"))


@pytest.mark.local
def test_a_process_that_dies_on_another_machine_fails_the_run_with_one_line_and_it_goes_on_with_the_next(
    home: Path, base: Path, chats: Path, two: str, others: list[Other]
) -> None:
    far = provider(home)
    far.create(request(far, base, chats, "died", epochs=40))
    other = come(two, others)
    first_step(far, "died")
    (follower,) = followers(home, "died")
    os.kill(follower, signal.SIGKILL)
    job = wait(far, "died", ended, seconds=120)
    assert (job.state, job.cause) == (JobState.FAILED, "provider")
    assert job.error == "process 1 of 2: it was ended by SIGKILL"
    assert other.wait(60) == 1
    until(lambda: not is_held(home / "runs" / "died"))
    before = len(far.events("died"))
    far.resume("died")
    come(two, others)
    goes_on(far, "died", before)


@pytest.mark.local
def test_a_machine_ends_its_processes_when_the_one_that_leads_is_gone(
    home: Path, base: Path, chats: Path, two: str, others: list[Other]
) -> None:
    far = provider(home)
    far.create(request(far, base, chats, "led", epochs=100))
    other = come(two, others)
    first_step(far, "led")
    os.kill(far._run("led").pid() or 0, signal.SIGKILL)
    assert other.wait(30) == 7, "as a run that can go on"
    assert other.stderr is not None
    assert b"the machine that leads is gone" in other.stderr.read()
    until(lambda: followers(home, "led") == [])


@pytest.mark.local
def test_one_machine_that_is_told_to_stop_has_all_save_and_stop(
    home: Path, base: Path, chats: Path, two: str, others: list[Other]
) -> None:
    far = provider(home)
    far.create(request(far, base, chats, "halted", epochs=100))
    other = come(two, others)
    first_step(far, "halted")
    other.send_signal(signal.SIGTERM)
    assert wait(far, "halted", lambda job: job.state is JobState.PAUSED, seconds=60)
    assert other.wait(30) == 7
    assert any((home / "runs" / "halted" / "checkpoints").iterdir())


def test_a_machine_that_does_not_come_is_named(where: str) -> None:
    muster = Muster(spread.place(where, named="x"), 3, SECRET)
    with pytest.raises(UsageError, match=rf"machine 1, 2 of 3 did not come to {where}"):
        muster.gather(lambda: False, patience=0)
    assert not muster.gather(lambda: True)
    muster.dismiss("failed")


def test_who_comes_with_other_versions_or_another_number_is_refused(where: str) -> None:
    place = spread.place(where, named="x")
    muster = Muster(place, 2, SECRET)
    said = []
    for hello in ({"machine": 1, "versions": {"torch": "1.0"}}, {"machine": 2}, {}):
        line = Line(socket.create_connection(place))
        greeting = threading.Thread(target=muster._greet, args=muster._server.accept())
        greeting.start()
        assert secret.shown_to(line, SECRET, line.awaited(5) or {}, 5)
        line.tell(hello)
        greeting.join(10)
        said.append((line.awaited(5) or {}).get("refused", ""))
        line.close()
    assert said[0].startswith("it has torch 1.0, the machine that leads torch ")
    assert said[1:] == ["there is no machine 2 to come of 2", "there is no machine None to come of 2"]
    assert muster.away == {}
    with pytest.raises(UsageError, match="one that came was refused: there is no machine None to come of 2"):
        muster.gather(lambda: False, patience=0)
    muster.dismiss("failed")


def test_an_address_that_leads_no_other_machine_here_is_refused_at_once() -> None:
    """Debian gives a machine's own name such an address."""
    with pytest.raises(UsageError, match=r"127\.0\.1\.1 is 127\.0\.1\.1 on this machine, which no other one reaches"):
        Muster(("127.0.1.1", 0), 2, SECRET)


@pytest.mark.parametrize(
    "answer",
    [
        b'{"machine": 1}\n',
        b'{"nonce": "x", "proof": "\\ud800"}\n',
        b'{"nonce": ["x"], "proof": 1}\n',
        b"[" * 50_000 + b"\n",
        b"\x00" * (1 << 18),
        b"",
    ],
)
def test_a_stranger_is_not_taken_for_a_machine_and_ends_nothing(where: str, answer: bytes) -> None:
    told: list[str] = []
    place = spread.place(where, named="x")
    muster = Muster(place, 2, SECRET, told.append)
    stranger = socket.create_connection(place)
    stranger.sendall(answer)
    if answer != b"\x00" * (1 << 18):
        stranger.shutdown(socket.SHUT_WR)
    with pytest.raises(UsageError, match="machine 1 of 2 did not come"):
        muster.gather(lambda: False, patience=0.5)
    assert muster.away == {}
    assert told == ["127.0.0.1 came without the secret of this ANYTUNE_HOME and was sent away"]
    stranger.close()
    muster.dismiss("failed")


def test_an_answer_that_was_heard_serves_no_second_time(where: str) -> None:
    muster = Muster(spread.place(where, named="x"), 2, SECRET)
    heard: list[dict[str, Any]] = []

    def come_and_answer(answer: Callable[[Line, dict[str, Any]], None]) -> Line | None:
        line = Line(socket.create_connection(muster.where))
        answering = threading.Thread(target=lambda: answer(line, line.awaited(5) or {}))
        answering.start()
        admitted = muster._admitted(*muster._server.accept())
        answering.join(10)
        line.close()
        return admitted

    def honest(line: Line, asked: dict[str, Any]) -> None:
        say = line.tell
        line.tell = lambda message: (heard.append(dict(message)), say(message))  # type: ignore[assignment,func-returns-value]
        assert secret.shown_to(line, SECRET, asked, 5)

    assert come_and_answer(honest) is not None
    assert come_and_answer(lambda line, _: line.tell(heard[0])) is None
    muster.dismiss("failed")


@pytest.mark.parametrize("answer", [{"end": "succeeded"}, {"run": "/", "first": 1}, {"nonce": "x"}])
def test_a_machine_that_meets_a_stranger_believes_nothing(
    home: Path, where: str, others: list[Other], answer: dict[str, Any]
) -> None:
    shared = secret.made(home)
    assert (home / "meeting").stat().st_mode & 0o777 == 0o600
    with closing(socket.create_server(spread.place(where, named="x"))) as server:
        other = come(where, others)
        line = Line(server.accept()[0])
        line.tell(answer)
        line.tell({"proof": "0" * 64, "end": "succeeded"})
        assert other.wait(30) == 1
        said = b"" if other.stderr is None else other.stderr.read()
    assert f"who listens at {where} does not know the secret of {home}".encode() in said
    assert shared not in said
    assert said.count(b"\n") == 1
    line.close()


def test_an_address_that_is_another_machines_is_told() -> None:
    with pytest.raises(UsageError, match=r"this machine cannot listen at 192\.0\.2\.1:29400"):
        Muster(("192.0.2.1", 29400), 2, SECRET)


@pytest.mark.parametrize("told", ["", "node1", "node1:", ":29400", "node1:port", "node1:70000"])
def test_what_is_no_rendezvous_is_told(told: str) -> None:
    with pytest.raises(UsageError, match="should be host:port"):
        spread.meeting({MACHINES: "2", MEETING: told})
    assert spread.meeting({MACHINES: "1", MEETING: told}) is None


def test_data_that_stay_here_meet_no_machine_but_those_that_the_user_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(MACHINES, "2")
    monkeypatch.setenv(MEETING, "node1:29400")

    def rendered(residency: str, *machines: str) -> dict[str, Any]:
        data = DataSpec(train=tmp_path / "train.jsonl", residency=residency)
        asked = TuneSpec(name="x", provider="local", model="a/b", data=data)
        far = provider(tmp_path, machines=machines)
        return far.render(asked, job_id="x", training_file="file-1", validation_file=None)

    with pytest.raises(RefusedError, match="residency: local, and ANYTUNE_RENDEZVOUS is node1:29400") as refused:
        rendered("local")
    assert "\n" not in refused.value.message
    assert "profiles.local.machines" in str(refused.value.fix)
    assert rendered("local", "node*")["offline"]
    with pytest.raises(RefusedError):
        rendered("local", "other*")
    assert rendered("any")
    monkeypatch.setenv(MEETING, "127.0.0.1:29400")
    assert rendered("local")


@pytest.mark.local
def test_data_that_stay_here_meet_no_machine_when_their_run_goes_on(
    home: Path, base: Path, chats: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = provider(home)
    body = request(here, base, chats, "kept") | {"residency": "local"}
    run, lock = new_run(home / "runs", "kept", body)
    assert lock is not None
    os.close(lock)
    write_json(run.path / "result.json", {"state": "failed"})
    before = sorted(path.name for path in run.path.iterdir())
    monkeypatch.setenv(MACHINES, "2")
    monkeypatch.setenv(MEETING, "node1:29400")
    with pytest.raises(RefusedError, match="residency: local, and ANYTUNE_RENDEZVOUS is node1:29400"):
        here.resume("kept")
    with pytest.raises(RefusedError):
        here.create(body)
    with pytest.raises(RefusedError):
        here.create(body | {"job_id": "other"})
    assert [path.name for path in (home / "runs").iterdir()] == ["kept"]
    lock = take_lock(run.path)
    assert lock is not None
    with pytest.raises(RefusedError):
        start_worker(run, lock)
    assert not is_held(run.path)
    assert sorted(path.name for path in run.path.iterdir()) == before
    (run.path / "result.json").unlink()
    ran = subprocess.run(worker_command("run", str(run.path)), env=worker_environment(), check=False)
    assert ran.returncode == 1
    assert "data.residency: local" in str(here.retrieve("kept").error)
    assert provider(home, machines=("node*",))._require_named(body) is None
