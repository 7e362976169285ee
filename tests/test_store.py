"""The record outlives crashes, crowds and bad disks, and says what is wrong with its file."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from anytune.errors import StoreError, UsageError
from anytune.schema.audit import first_broken
from anytune.schema.job import Event
from anytune.store import MIGRATIONS, SqliteStore
from anytune.testing import sample_job
from anytune.testing.store import START, sample_decision


def test_the_folder_and_the_file_are_for_the_user_alone(tmp_path: Path) -> None:
    home = tmp_path / "home"
    SqliteStore(home)
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    assert stat.S_IMODE((home / "jobs.sqlite3").stat().st_mode) == 0o600


def test_writes_are_on_disk_when_they_return(tmp_path: Path) -> None:
    """A process that is killed right after `add` returned has lost nothing."""
    script = (
        "import os, signal, sys; from pathlib import Path\n"
        "from anytune.store import SqliteStore; from anytune.testing import sample_job\n"
        "SqliteStore(Path(sys.argv[1])).add(sample_job()); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path / "home")], check=False)
    assert done.returncode == -9
    assert SqliteStore(tmp_path / "home").get("sample-0123456789") == sample_job()


def test_ten_at_once_add_one_job(tmp_path: Path) -> None:
    SqliteStore(tmp_path)
    added: list[str] = []

    def add(number: int) -> None:
        added.append(SqliteStore(tmp_path).add(sample_job(f"sample-{number:010d}")).id)

    threads = [threading.Thread(target=add, args=(number,)) for number in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(added) == 10
    assert len(set(added)) == 1


def test_one_acts_and_the_other_waits_until_the_first_process_ends(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from anytune.store import SqliteStore\n"
        "with SqliteStore(Path(sys.argv[1])).acting('job'):\n"
        "    print('mine', flush=True); sys.stdin.read()\n"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert other.stdout is not None
    other.stdout.readline()
    entered = threading.Event()

    def enter() -> None:
        with SqliteStore(tmp_path).acting("job"):
            entered.set()

    waiting = threading.Thread(target=enter)
    waiting.start()
    assert not entered.wait(0.2)
    other.kill()
    other.wait()
    other.stdout.close()
    if other.stdin:
        other.stdin.close()
    assert entered.wait(5)
    waiting.join()


def test_a_newer_record_is_not_touched(tmp_path: Path) -> None:
    SqliteStore(tmp_path)
    with sqlite3.connect(tmp_path / "jobs.sqlite3") as db:
        db.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    with pytest.raises(StoreError, match="newer anytune") as caught:
        SqliteStore(tmp_path)
    assert caught.value.fix == "pip install -U anytune"


def test_a_damaged_record_is_told_with_its_path_and_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "jobs.sqlite3").write_bytes(b"not a database, but long enough to be looked at" * 50)
    before = (tmp_path / "jobs.sqlite3").read_bytes()
    with pytest.raises(StoreError, match=str(tmp_path / "jobs.sqlite3")):
        SqliteStore(tmp_path)
    assert (tmp_path / "jobs.sqlite3").read_bytes() == before


def test_a_locked_record_is_waited_for_and_then_told(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path, busy_seconds=0.1)
    holder = sqlite3.connect(tmp_path / "jobs.sqlite3", isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    with pytest.raises(StoreError, match="locked"):
        store.add(sample_job())
    holder.execute("COMMIT")
    holder.close()
    assert store.add(sample_job()) == sample_job()


def test_a_home_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError) as caught:
        SqliteStore(tmp_path / "file" / "home")
    assert caught.value.fix == "set ANYTUNE_HOME to a folder of yours"


def test_lists_stay_quick_with_many_jobs(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path)
    for number in range(50):
        store.add(sample_job(f"sample-{number:010d}", attempt=number + 1, minute=number))
    assert [job.attempt for job in store.list()] == list(range(50, 0, -1))
    assert os.path.getsize(tmp_path / "jobs.sqlite3") < 1_000_000


def test_a_full_disk_is_named_and_leaves_the_record_usable(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path)
    job = store.add(sample_job())
    (pages,) = store._db.execute("PRAGMA page_count").fetchone()
    store._db.execute(f"PRAGMA max_page_count = {pages}")
    long = [Event(id=str(number), at=START, message="x" * 9000) for number in range(50)]
    with pytest.raises(StoreError, match="full") as caught:
        store.add_events(job.id, long)
    assert caught.value.fix == "the disk is full; nothing was lost, make room and run it again"
    store._db.execute(f"PRAGMA max_page_count = {pages + 1000}")
    assert len(store.add_events(job.id, long)) == 50


def test_a_job_of_another_version_is_told_not_thrown(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path)
    job = store.add(sample_job())
    store._db.execute("UPDATE jobs SET body = json_set(body, '$.fresh', 1)")
    for read in (store.list, lambda: store.get(job.id)):
        with pytest.raises(StoreError, match="another version of anytune"):
            read()


def test_no_name_means_no_job(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path)
    store.add(sample_job())
    with pytest.raises(UsageError):
        store.get("")


def test_locks_that_cannot_be_made_are_told(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path)
    (tmp_path / "locks").write_text("")
    with pytest.raises(StoreError, match="locks"), store.acting("job"):
        pass


@pytest.mark.parametrize("version", range(len(MIGRATIONS) + 1))
def test_a_record_of_every_earlier_anytune_is_taken_up_with_all_that_is_in_it(tmp_path: Path, version: int) -> None:
    """The scripts are how each of them made its file; a job is written in its columns, which are still the same."""
    job = sample_job()
    with sqlite3.connect(tmp_path / "jobs.sqlite3") as db:
        for script in MIGRATIONS[:version]:
            db.executescript(script)
        db.execute(f"PRAGMA user_version = {version}")
        if version:
            row = (job.id, job.provider, job.name, 1, "0" * 64, job.state, START.isoformat(), job.model_dump_json())
            db.execute("INSERT INTO jobs VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)
    store = SqliteStore(tmp_path)
    assert list(store.list()) == ([job] if version else [])
    store.decide(sample_decision(job.id))
    assert len(SqliteStore(tmp_path).decisions()) == 1


def test_decisions_of_ten_processes_at_once_make_one_chain(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path\n"
        "from anytune.store import SqliteStore; from anytune.testing.store import sample_decision\n"
        "store = SqliteStore(Path(sys.argv[1]))\n"
        "for _ in range(5): store.decide(sample_decision(sys.argv[2]))\n"
    )
    SqliteStore(tmp_path)
    started = [subprocess.Popen([sys.executable, "-c", script, str(tmp_path), str(n)]) for n in range(10)]
    assert [process.wait(60) for process in started] == [0] * 10
    links = SqliteStore(tmp_path).decisions()
    assert len(links) == 50
    assert first_broken(links) is None
