"""All live jobs at once: in a table, in lines, as one document, and without a terminal."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest
import yaml

from anytune.jobs import Lease, Look, Sweep
from anytune.testing.fake import FakeService
from anytune.tuner import Tuner
from tests.cli.conftest import JOB, Type
from tests.cli.test_terminal import CONTROL


def submit(anytune: Type, folder: Path, *names: str) -> list[str]:
    made = []
    for name in names:
        (folder / "other.yaml").write_text(JOB.replace("sums", name))
        made.append(anytune("submit", "other.yaml", "-y").out.strip())
    return made


def test_watch_without_a_job_follows_all_until_they_end(anytune: Type, folder: Path) -> None:
    ids = submit(anytune, folder, "one", "two")
    said = anytune("watch")
    assert said.code == 0
    assert [sum(id in line and "succeeded" in line for line in said.out.splitlines()) for id in ids] == [1, 1]
    assert anytune("watch", "--all").out == "no job is live\n"


def test_a_pipe_gets_one_line_a_change(anytune: Type, folder: Path, service: FakeService) -> None:
    service.polls_to_end = 30
    (id,) = submit(anytune, folder, "one")
    lines = [line for line in anytune("watch", "--all").out.splitlines() if id in line]
    assert 3 <= len(lines) <= 14
    assert "running" in lines[1]
    assert "loss" in lines[-1]


def test_json_is_one_document_at_the_end(anytune: Type, folder: Path) -> None:
    ids = submit(anytune, folder, "one", "two")
    document = anytune("watch", "--json").document
    assert {job["id"] for job in document["jobs"]} == set(ids)
    assert {job["state"] for job in document["jobs"]} == {"succeeded"}


def test_a_job_that_ends_badly_ends_the_watch_badly(anytune: Type, folder: Path, service: FakeService) -> None:
    submit(anytune, folder, "one", "two")
    service.jobs["remote-1"]["status"] = "broken"
    said = anytune("watch", "--json")
    assert said.code == 4
    assert {job["state"] for job in said.document["jobs"]} == {"succeeded", "failed"}
    assert "1 of 2 jobs ended badly" in said.document["error"]["message"]


def test_a_limit_of_time_is_exit_7(anytune: Type, folder: Path, service: FakeService) -> None:
    service.polls_to_end = 10_000
    submit(anytune, folder, "one")
    said = anytune("watch", "--timeout", "0")
    assert said.code == 7
    assert "anytune watch --all" in said.err


def test_ctrl_c_says_how_to_come_back(
    anytune: Type, folder: Path, service: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.polls_to_end = 10_000
    submit(anytune, folder, "one", "two")

    def pressed(_: Sweep) -> float:
        raise KeyboardInterrupt

    monkeypatch.setattr(Sweep, "wait", pressed)
    said = anytune("watch")
    assert said.code == 130
    assert "2 jobs go on without you" in said.err
    assert "come back: anytune watch --all" in said.err


def test_the_word_that_nobody_has_heard_of_is_named_once_by_the_watch_of_one_job(
    anytune: Type, folder: Path, service: FakeService
) -> None:
    (id,) = submit(anytune, folder, "one")
    service.jobs["remote-1"]["status"] = "meditating"
    said = anytune("watch", id, "--timeout", "0.5")
    assert said.code == 7
    assert said.err.count("fake says 'meditating', which is unheard of here") == 1


def test_a_job_and_all_together_are_refused(anytune: Type) -> None:
    assert anytune("watch", "last", "--all").code == 2


def test_a_refused_key_is_exit_6_and_the_job_is_kept(anytune: Type, folder: Path, service: FakeService) -> None:
    (id,) = submit(anytune, folder, "one")
    service.key = "fake-key-of-tomorrow"
    said = anytune("watch")
    assert said.code == 6
    assert anytune("list", "--json").document["jobs"][0]["id"] == id


@pytest.fixture
def local_jobs(anytune: Type, folder: Path) -> list[str]:
    """Write down a job that looks as if it ran here, so that a process of its own can look at it."""
    ids = submit(anytune, folder, "a-job-with-rather-a-long-name")
    store = Tuner().store
    for id in ids:
        job = store.get(id)
        capabilities = job.plan.capabilities.model_copy(update={"local": True, "provider": "local"})
        plan = job.plan.model_copy(update={"capabilities": capabilities})
        store.put(job.model_copy(update={"provider": "local", "plan": plan}))
        run = Path(os.environ["ANYTUNE_HOME"]) / "runs" / "remote-1"
        run.mkdir(parents=True, exist_ok=True)
        (run / "request.json").write_text("{}")
        (run / "lock").touch()
        told = {"id": "1", "at": "2026-11-22T12:00:00Z", "message": "step", "data": {"step": 3, "total_steps": 40}}
        (run / "events.jsonl").write_text(
            json.dumps({**told, "data": {**told["data"], "loss": 1.25, "eta": 90}}) + "\n"
        )
    return ids


def held(run: Path) -> int:
    """Hold a run's lock, as its worker does."""
    handle = os.open(run / "lock", os.O_RDWR)
    fcntl.flock(handle, fcntl.LOCK_EX)
    return handle


@pytest.mark.engine
def test_the_table_fits_sixty_columns_survives_a_resize_and_ends_with_the_jobs(local_jobs: list[str]) -> None:
    run = Path(os.environ["ANYTUNE_HOME"]) / "runs" / "remote-1"
    (run / "worker.pid").write_text(str(os.getpid()))
    handle = held(run)
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 20, 60, 0, 0))
    kept = {name: value for name, value in os.environ.items() if name not in {"COLUMNS", "LINES"}}
    child = subprocess.Popen(
        [sys.executable, "-m", "anytune", "watch"],
        stdin=theirs, stdout=theirs, stderr=theirs, env={**kept, "TERM": "xterm-256color"},
    )  # fmt: skip
    os.close(theirs)
    drawn = until(ours, b"3/40")
    fcntl.ioctl(ours, termios.TIOCSWINSZ, struct.pack("HHHH", 10, 44, 0, 0))
    child.send_signal(signal.SIGWINCH)
    drawn += os.read(ours, 65536)
    (run / "result.json").write_text(json.dumps({"state": "succeeded", "finished_at": None, "model_path": "/m"}))
    os.close(handle)
    drawn += until(ours, None)
    text = CONTROL.sub("", drawn.decode())
    assert child.wait(timeout=20) == 0
    assert "3/40" in text
    assert "succeeded" in text
    assert [line for line in text.splitlines() if len(line) > 60 and "on this machine" not in line] == []


def until(terminal: int, wanted: bytes | None) -> bytes:
    drawn = b""
    while wanted is None or wanted not in drawn:
        try:
            piece = os.read(terminal, 65536)
        except OSError:  # Linux's way to say that nobody writes any more
            break
        if not piece:
            break
        drawn += piece
    return drawn


@pytest.mark.engine
def test_a_detached_process_goes_on_alone_is_one_a_home_and_is_shown(anytune: Type, local_jobs: list[str]) -> None:
    home = Path(os.environ["ANYTUNE_HOME"])
    run = home / "runs" / "remote-1"
    (run / "worker.pid").write_text(str(os.getpid()))
    handle = held(run)
    begun = anytune("watch", "--detach", "--json").document
    assert begun["begun"]
    again = anytune("watch", "--detach", "--json").document
    assert (again["begun"], again["worker"]) == (False, begun["worker"])
    assert anytune("list", "--json").document["worker"] == begun["worker"]
    assert f"process {begun['worker']} watches all jobs" in anytune("doctor").out
    (run / "result.json").write_text(json.dumps({"state": "succeeded", "finished_at": None, "model_path": "/m"}))
    os.close(handle)
    os.waitpid(begun["worker"], 0)
    log = (home / "watch.log").read_text()
    assert f"{local_jobs[0]}  succeeded" in log
    assert (home / "watch.log").stat().st_mode & 0o077 == 0
    assert anytune("list", "--json").document["worker"] is None
    assert not Lease(home, "worker").is_taken()


def test_a_detached_process_for_a_job_that_is_not_there_is_refused(anytune: Type) -> None:
    assert anytune("watch", "nothing", "--detach").code == 2


def told_to(folder: Path, **settings: object) -> Path:
    """Write the user's settings so that a command keeps what it is told."""
    kept = folder / "kept.json"
    config = Path(os.environ["XDG_CONFIG_HOME"]) / "anytune"
    config.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-c", f"import sys; open({str(kept)!r}, 'a').write(sys.stdin.read() + chr(10))"]
    (config / "config.yaml").write_text(yaml.safe_dump({"notify": {"command": command, **settings}}))
    return kept


def test_a_command_of_the_users_is_told_of_each_end_once(anytune: Type, folder: Path) -> None:
    kept = told_to(folder)
    ids = submit(anytune, folder, "one", "two")
    assert anytune("watch", ids[0]).code == 0
    assert anytune("watch", "--all").code == 0
    assert anytune("watch", ids[0]).code == 0
    told = [json.loads(line) for line in kept.read_text().splitlines()]
    assert [one["data"]["id"] for one in told] == ids
    assert {one["type"] for one in told} == {"job.succeeded"}
    assert "FAKE_API_KEY" not in kept.read_text()


def test_a_notification_that_fails_is_told_and_fails_no_watch(anytune: Type, folder: Path) -> None:
    told_to(folder, command=["/nowhere/at-all"])
    submit(anytune, folder, "one", "two")
    said = anytune("watch")
    assert said.code == 0
    assert said.err.count("notify.command: /nowhere/at-all: No such file") == 1


def test_a_slow_hook_holds_up_no_watch_and_is_waited_for_at_the_end(
    anytune: Type, folder: Path, service: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its first call is only answered when the other job has ended, too, which a watch that waits would never see."""
    go, kept = folder / "go", told_to(folder)
    wait = f"import os, time\nwhile not os.path.exists({str(go)!r}): time.sleep(0.02)\n"
    told_to(folder, command=[sys.executable, "-c", f"import sys\n{wait}open({str(kept)!r}, 'a').write('told\\n')"])
    submit(anytune, folder, "one", "two")
    service.jobs["remote-1"]["status"] = "done"
    turn = Sweep.turn

    def watched(sweep: Sweep) -> Look:
        look = turn(sweep)
        if sweep.over:
            go.touch()
        return look

    monkeypatch.setattr(Sweep, "turn", watched)
    said = anytune("watch")
    assert said.code == 0, said.err
    assert kept.read_text() == "told\n" * 2


def test_an_end_that_was_noted_by_a_command_that_tells_nobody_is_told_by_the_next_watch(
    anytune: Type, folder: Path, service: FakeService
) -> None:
    kept = told_to(folder)
    (id,) = submit(anytune, folder, "one")
    service.jobs["remote-1"]["status"] = "done"
    assert anytune("show", id).code == 0
    assert not kept.exists()
    for _ in range(2):
        assert anytune("watch").out == "no job is live\n"
    (told,) = [json.loads(line) for line in kept.read_text().splitlines()]
    assert (told["type"], told["data"]["id"]) == ("job.succeeded", id)


@pytest.mark.engine
def test_who_is_killed_while_it_tells_has_the_next_tell_it_again_under_the_same_id(
    anytune: Type, folder: Path, service: FakeService
) -> None:
    """The command of the first is at work for ever; that of the second ends."""
    begun, kept = folder / "begun", told_to(folder)
    told_to(folder, command=[sys.executable, "-c", f"import time\nopen({str(begun)!r}, 'w')\ntime.sleep(600)"])
    (id,) = submit(anytune, folder, "one")
    service.jobs["remote-1"]["status"] = "done"
    anytune("show", id)
    first = subprocess.Popen([sys.executable, "-m", "anytune", "watch"], start_new_session=True)
    until = time.monotonic() + 60
    while not begun.exists() and time.monotonic() < until:
        time.sleep(0.05)
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    (only,) = Tuner().due()
    told_to(folder)
    assert anytune("watch").code == 0
    assert [json.loads(line)["data"]["id"] for line in kept.read_text().splitlines()] == [id]
    assert only.news.id == f"{id}-succeeded"
    assert list(Tuner().due()) == []


def test_a_project_cannot_say_what_is_run(anytune: Type, folder: Path) -> None:
    (folder / "anytune.yaml").write_text("notify: {command: [touch, owned]}\n")
    said = anytune("list")
    assert said.code == 2
    assert "a project cannot set notify" in said.err
