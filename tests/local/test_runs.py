"""Run folders, checkpoints and events: files alone, no torch."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from anytune.local.runs import Run, is_held, new_run, read_json, take_lock, write_json
from anytune.local.training import checkpoint
from anytune.local.training.events import EventLog, read_events


def write(text: str) -> checkpoint.Writer:
    return checkpoint.json_writer(text)


def test_a_second_run_of_the_same_name_finds_the_first(tmp_path: Path) -> None:
    first, lock = new_run(tmp_path, "job", {"a": 1})
    second, none = new_run(tmp_path, "job", {"a": 2})
    assert lock is not None
    assert none is None
    assert second.request() == {"a": 1} == first.request()
    assert [p.name for p in tmp_path.iterdir()] == ["job"], "nothing half-made is left"
    os.close(lock)


def test_a_run_folder_is_for_its_owner_only(tmp_path: Path) -> None:
    run, lock = new_run(tmp_path, "job", {})
    assert lock is not None
    assert run.path.stat().st_mode & 0o777 == 0o700
    os.close(lock)


def test_the_lock_is_held_from_the_first_moment_and_free_when_its_holder_is_gone(tmp_path: Path) -> None:
    run, lock = new_run(tmp_path, "job", {})
    assert lock is not None
    assert is_held(run.path)
    assert take_lock(run.path) is None
    os.close(lock)
    assert not is_held(run.path)
    again = take_lock(run.path)
    assert again is not None
    os.close(again)


def test_a_lock_dies_with_its_process(tmp_path: Path) -> None:
    run, lock = new_run(tmp_path, "job", {})
    assert lock is not None
    child = os.fork()
    if child == 0:  # inherits the lock, as a worker does
        time.sleep(60)
        os._exit(0)
    os.close(lock)
    assert is_held(run.path)
    os.kill(child, 9)
    os.waitpid(child, 0)
    assert not is_held(run.path)


def test_a_file_is_old_or_new_never_half(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"n": 1})
    (tmp_path / ".a.json.99").write_text('{"n":')  # what a killed writer leaves
    assert read_json(tmp_path / "a.json") == {"n": 1}


def test_half_an_event_is_passed_over_and_the_next_worker_starts_a_new_line(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    log = EventLog(path)
    log.tell("one", step=1)
    log.close()
    with path.open("ab") as file:
        file.write(b'{"id": "event-0000002", "at": "2026')
    log = EventLog(path)
    log.tell("two")
    log.close()
    events = read_events(path)
    assert [e.message for e in events] == ["one", "two"]
    assert len({e.id for e in events}) == 2


def test_progress_is_told_at_most_five_times_a_second(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "events.jsonl")
    assert sum(log.due() for _ in range(1000)) <= 2
    log.close()


def test_no_events_are_an_empty_list(tmp_path: Path) -> None:
    assert read_events(tmp_path / "none.jsonl") == []


def test_the_checkpoint_that_others_go_on_from_is_waited_for_and_no_other_is_taken(tmp_path: Path) -> None:
    saved = checkpoint.save(tmp_path, 1, {"a": write("x")})
    digest = checkpoint.sha256(saved.path / checkpoint.MANIFEST)
    hidden = saved.path.rename(tmp_path / "elsewhere")
    assert not checkpoint.appears(saved.path, digest, patience=0)
    late = threading.Timer(0.2, hidden.rename, [saved.path])
    late.start()
    assert checkpoint.appears(saved.path, digest, patience=10)
    assert not checkpoint.appears(saved.path, "0" * 64, patience=0)
    (saved.path / "a").write_text("y")
    assert not checkpoint.appears(saved.path, digest, patience=0)


def test_the_newest_two_checkpoints_are_kept(tmp_path: Path) -> None:
    for step in (1, 2, 3):
        checkpoint.save(tmp_path, step, {"a": write("x")})
    assert sorted(p.name for p in tmp_path.iterdir()) == ["step-00000002", "step-00000003"]
    found = checkpoint.newest(tmp_path)
    assert found is not None
    assert found.step == 3


@pytest.mark.parametrize(
    "harm",
    [
        lambda p: (p / "a").write_text("y"),
        lambda p: (p / "a").write_text(""),
        lambda p: (p / "a").unlink(),
        lambda p: (p / "manifest.json").unlink(),
        lambda p: (p / "manifest.json").write_text('{"step": 2, "fil'),
        lambda p: (p / "manifest.json").write_text("[]"),
        lambda p: [f.unlink() for f in p.iterdir()],
    ],
    ids=["changed", "emptied", "missing", "no manifest", "cut manifest", "other manifest", "empty folder"],
)
def test_a_damaged_checkpoint_is_passed_over_aloud(tmp_path: Path, harm) -> None:  # type: ignore[no-untyped-def]
    checkpoint.save(tmp_path, 1, {"a": write("x"), "b": write("z")})
    newer = checkpoint.save(tmp_path, 2, {"a": write("x"), "b": write("z")})
    harm(newer.path)
    told: list[str] = []
    found = checkpoint.newest(tmp_path, damaged=lambda path, fault: told.append(f"{path.name}: {fault}"))
    assert found is not None
    assert found.step == 1
    assert len(told) == 1
    assert told[0].startswith("step-00000002: ")


def test_an_unfinished_checkpoint_does_not_count(tmp_path: Path) -> None:
    part = tmp_path / ".step-00000009.part"
    part.mkdir()
    (part / "a").write_text("x")
    assert checkpoint.newest(tmp_path) is None


def test_a_run_without_result_or_pid_says_none(tmp_path: Path) -> None:
    run = Run(tmp_path)
    assert run.result() is None
    assert run.pid() is None
