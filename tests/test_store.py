"""The record outlives crashes, crowds and bad disks, and says what is wrong with its file."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from anytune import private
from anytune.data import mix, split
from anytune.errors import AnytuneError, StoreError, UsageError
from anytune.jobs import Bucket, Lease, Worker
from anytune.schema.audit import first_broken
from anytune.schema.data import Source
from anytune.schema.job import Event, JobState, Summary
from anytune.schema.plan import Plan
from anytune.store import HomeRates, SqliteStore, Summaries
from anytune.store.migration import SQLITE as MIGRATIONS
from anytune.store.migration import SUMMARIES
from anytune.testing import FakeClock, sample_file, sample_job
from anytune.testing.store import START, sample_decision


@pytest.fixture
def open_umask() -> Iterator[None]:
    """Have new files and folders open to everybody."""
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.mark.usefixtures("open_umask")
@pytest.mark.parametrize("there", [False, True])
def test_whatever_is_first_made_in_the_home_only_its_owner_can_open(tmp_path: Path, *, there: bool) -> None:
    """Copies of data lie there: a split makes them in a plan, before there is a record; a home may be there before."""
    home = tmp_path / "home"
    if there:
        home.mkdir(mode=0o755)
    train = sample_file(tmp_path).path
    split.kept(train, share=0.25, folder=home / "splits")
    mix.kept([Source(path=train), Source(path=train, weight=2)], folder=home / "mixed")
    Lease(home / "sweeps", "openai").take()
    bucket = Bucket(HomeRates(home), "openai", rate=1, key=lambda: "k", clock=FakeClock())
    bucket.before()
    assert home.stat().st_mode & 0o777 == (0o755 if there else 0o700)
    assert {path.name: path.stat().st_mode & 0o777 for path in home.iterdir()} == dict.fromkeys(
        ("splits", "mixed", "sweeps", "rates"), 0o700
    )
    (home / "splits").chmod(0o755)  # as it was made once
    split.kept(train, share=0.25, folder=home / "splits")
    assert (home / "splits").stat().st_mode & 0o777 == 0o700
    (tmp_path / "file").touch()
    with pytest.raises(AnytuneError, match="file/splits cannot be written: Not a directory"):
        split.kept(train, share=0.25, folder=tmp_path / "file" / "splits")


def test_the_folder_and_the_file_are_for_the_user_alone(tmp_path: Path) -> None:
    home = tmp_path / "home"
    SqliteStore(home)
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    assert stat.S_IMODE((home / "jobs.sqlite3").stat().st_mode) == 0o600


def test_a_home_that_others_could_open_is_closed_when_it_is_ours(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    home = tmp_path / "home"
    SqliteStore(home)
    (home / "rates").mkdir()
    for left in ("credentials", ".worker.77", "worker.json", "jobs.sqlite3-journal"):
        (home / left).touch()
    home.chmod(0o2755)
    SqliteStore(home)
    assert home.stat().st_mode & 0o7777 == 0o2700
    (tmp_path / "empty").mkdir(mode=0o755)
    SqliteStore(tmp_path / "empty")
    assert (tmp_path / "empty").stat().st_mode & 0o777 == 0o700
    assert [line.partition(")")[0] for line in caplog.messages] == [
        f"{home} was open to others (mode 2755",
        f"{tmp_path / 'empty'} was open to others (mode 0755",
    ]


@pytest.mark.parametrize("holds", [["jobs.sqlite3", "setup.py"], ["jobs.sqlite3", "runs.csv"], ["runs", "files"]])
@pytest.mark.parametrize("name", ["anytune", ".anytune", "link"])
def test_a_home_that_is_not_known_to_be_ours_stays_open_whatever_its_name(
    tmp_path: Path, name: str, holds: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    home = tmp_path / name
    if name == "link":
        home = tmp_path / "sources"
        (tmp_path / name).symlink_to(home)
    home.mkdir()
    for each in holds:
        (home / each).touch()
    home.chmod(0o2775)
    private.home(tmp_path / name)
    assert home.stat().st_mode & 0o7777 == 0o2775
    (line,) = caplog.messages
    assert line.startswith(f"{home} is open to others (mode 2775) and stays so, for ")


def test_what_locks_the_home_leaves_it_as_open_as_it_is(tmp_path: Path) -> None:
    home = tmp_path / "thesis"
    home.mkdir(mode=0o755)
    worker = Worker(home, FakeClock())
    with worker.lease as lease:
        assert lease.take()
        assert Worker(home, FakeClock()).lease.is_taken()
    assert worker.pid() is None
    assert home.stat().st_mode & 0o777 == 0o755


def test_a_home_that_holds_more_stays_open_and_one_line_says_why(tmp_path: Path) -> None:
    home = tmp_path / "thesis"
    home.mkdir(mode=0o755)
    (home / "chapter-1.tex").touch()
    code = (
        "import sys; from pathlib import Path; from anytune.store import SqliteStore\n"
        "for _ in range(3): SqliteStore(Path(sys.argv[1]))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(home)], capture_output=True, text=True, check=True)
    assert done.stderr == (
        f"{home} is open to others (mode 0755) and stays so, for it holds more than anytune's own files "
        f"(chapter-1.tex): chmod 700 {home}, or set ANYTUNE_HOME to a folder of anytune's alone\n"
    )
    assert home.stat().st_mode & 0o777 == 0o755
    assert (home / "jobs.sqlite3").stat().st_mode & 0o777 == 0o600


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


def test_a_record_that_is_locked_for_a_while_is_waited_for(tmp_path: Path) -> None:
    SqliteStore(tmp_path)
    holder = sqlite3.connect(tmp_path / "jobs.sqlite3", isolation_level=None, check_same_thread=False)
    holder.execute("BEGIN EXCLUSIVE")
    release = threading.Timer(0.3, holder.execute, ["COMMIT"])
    release.start()
    assert SqliteStore(tmp_path).add(sample_job()) == sample_job()
    release.join()
    holder.close()


def test_an_emptied_record_is_not_made_anew(tmp_path: Path) -> None:
    SqliteStore(tmp_path).add(sample_job())
    (tmp_path / "jobs.sqlite3").write_bytes(b"")
    with pytest.raises(StoreError, match="is empty: what was in it is lost") as caught:
        SqliteStore(tmp_path)
    assert "move it aside" in (caught.value.fix or "")
    assert (tmp_path / "jobs.sqlite3").read_bytes() == b""


def test_a_record_whose_pages_are_broken_is_told_with_the_way_to_save_it(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path)
    for number in range(30):
        store.add(sample_job(f"sample-{number:010d}", attempt=number + 1))
    path = tmp_path / "jobs.sqlite3"
    whole = path.read_bytes()
    path.write_bytes(whole[:4096] + b"\x5a" * (len(whole) - 4096))
    broken = path.read_bytes()
    with pytest.raises(StoreError, match=f"{path}: database disk image is malformed") as caught:
        SqliteStore(tmp_path).list()
    assert f"sqlite3 {path} .recover" in (caught.value.fix or "")
    assert path.read_bytes() == broken


def test_a_record_that_is_made_appears_whole(tmp_path: Path) -> None:
    """What a process left that was killed while it made one is swept away."""
    (tmp_path / "jobs.sqlite3.new").write_bytes(b"half a header")
    (tmp_path / "jobs.sqlite3.new-journal").write_bytes(b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7")
    assert SqliteStore(tmp_path).add(sample_job()) == sample_job()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["jobs.sqlite3", "jobs.sqlite3-journal"]


def test_opening_a_second_store_leaves_the_lock_of_the_first(tmp_path: Path) -> None:
    """A process that closes any descriptor of the file would lose SQLite's locks on it."""
    first = SqliteStore(tmp_path)
    with first._writing():
        with pytest.raises(StoreError, match="locked"):
            SqliteStore(tmp_path, busy_seconds=0).add(sample_job())
        script = (
            "import sys; from pathlib import Path\n"
            "from anytune.errors import StoreError; from anytune.store import SqliteStore\n"
            "from anytune.testing import sample_job\n"
            "try: SqliteStore(Path(sys.argv[1]), busy_seconds=0).add(sample_job())\n"
            "except StoreError as error: print(error.message)\n"
        )
        said = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=True)
        assert "locked" in said.stdout
    assert list(first.list()) == []


def unprivileged(tmp_path: Path, *, fixed: str) -> tuple[str, str]:
    """Add a job to the home as a user without privileges, in a forked child; return what is told and how to mend it."""
    told, tell = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            if os.geteuid() == 0:
                os.setgroups([])
                os.setgid(65534)
                os.setuid(65534)
            SqliteStore(tmp_path / "home").add(sample_job())
            os.write(tell, b"nothing\n")
        except StoreError as error:
            os.write(tell, f"{error.message}\n{error.fix}".encode())
        finally:
            os._exit(0)
    os.close(tell)
    os.waitpid(child, 0)
    with os.fdopen(told) as answer:
        message, _, fix = answer.read().partition("\n")
    assert fixed in fix
    return message, fix


@pytest.fixture
def theirs(tmp_path: Path) -> Iterator[Path]:
    """Return a home of the unprivileged user's with one job, on a way that this user may go."""
    SqliteStore(tmp_path / "home").add(sample_job())
    if os.geteuid() == 0:
        for folder in (tmp_path, *tmp_path.parents):
            if not folder.stat().st_mode & 0o001:
                folder.chmod(folder.stat().st_mode | 0o011)
        for path in (tmp_path / "home", *(tmp_path / "home").iterdir()):
            os.chown(path, 65534, 65534)
    yield tmp_path / "home"
    (tmp_path / "home").chmod(0o700)


def test_a_record_set_read_only_is_told_with_the_command_that_mends_it(tmp_path: Path, theirs: Path) -> None:
    record = theirs / "jobs.sqlite3"
    record.chmod(0o400)
    message, _ = unprivileged(tmp_path, fixed=f"chmod u+rw {record}")
    assert message == f"cannot write {record}: it is set read-only"


def test_a_folder_set_read_only_is_told_with_the_command_that_mends_it(tmp_path: Path, theirs: Path) -> None:
    theirs.chmod(0o500)
    message, _ = unprivileged(tmp_path, fixed=f"chmod u+rwx {theirs}")
    assert message == f"cannot write {theirs}: it is set read-only"


def test_a_record_that_became_read_only_while_it_was_open_is_told(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path)
    store._db.execute("PRAGMA query_only = ON")
    with pytest.raises(StoreError, match="readonly") as caught:
        store.add(sample_job())
    assert f"chmod u+rw {tmp_path / 'jobs.sqlite3'}" in (caught.value.fix or "")


@pytest.mark.skipif(os.geteuid() != 0, reason="files of another user's can be made by root only")
def test_a_record_of_another_users_is_told(tmp_path: Path, theirs: Path) -> None:
    os.chown(theirs / "jobs.sqlite3", 0, 0)
    message, _ = unprivileged(tmp_path, fixed="sudo chown -R $USER")
    assert message.endswith("it belongs to another user")


FULL_DISK = """
import sys
from pathlib import Path
from anytune.errors import StoreError
from anytune.schema.job import Event, JobState, Summary
from anytune.schema.plan import Plan
from anytune.store import SqliteStore
from anytune.testing import sample_job
from anytune.testing.store import START
home = Path(sys.argv[1])
store, kept = SqliteStore(home), []
try:
    for number in range(1000):
        kept.append(store.add(sample_job(f"sample-{number:010d}", attempt=number + 1)))
except StoreError as error:
    print(error.message, error.fix, sep="\\n")
assert 3 < len(kept) < 1000
again = SqliteStore(home)
assert again._db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
assert sorted(job.id for job in again.list()) == [job.id for job in kept]
print("nothing lost")
"""


READ_ONLY = """
import os
import subprocess
import sys
from pathlib import Path
from anytune.errors import StoreError
from anytune.store import SqliteStore
from anytune.testing import sample_job
home = Path(sys.argv[1])
if not (child := os.fork()):
    SqliteStore(home).add(sample_job())
    os._exit(0)
os.waitpid(child, 0)
subprocess.run(["mount", "-o", "remount,ro", str(home.parent)], check=True)
try:
    SqliteStore(home)
except StoreError as error:
    print(error.message, error.fix, sep="\\n")
"""


def on_small_disk(script: str, folder: Path) -> list[str]:
    """Run a script on a file system of 128 KiB in a namespace of its own, and return what it prints."""
    mounted = 'mount -t tmpfs -o size=128k none "$1" && exec "$2" -c "$3" "$1/home"'
    command = ["unshare", "-rm", "sh", "-c", mounted, "sh", str(folder), sys.executable, script]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no unshare here")
    if "unshare failed" in done.stderr or "mount:" in done.stderr:
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_a_disk_that_is_full_loses_nothing(tmp_path: Path) -> None:
    message, fix, *rest = on_small_disk(FULL_DISK, tmp_path)
    assert "disk is full" in message
    assert fix == "the disk is full; nothing was lost, make room and run it again"
    assert rest == ["nothing lost"]


def test_a_file_system_mounted_read_only_is_told(tmp_path: Path) -> None:
    message, fix = on_small_disk(READ_ONLY, tmp_path)
    assert message == f"cannot write {tmp_path / 'home'}: its file system is mounted read-only"
    assert "mount it anew for writing" in fix


def test_a_process_that_ran_while_a_newer_one_took_up_the_record_writes_no_more(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path)
    with sqlite3.connect(tmp_path / "jobs.sqlite3") as db:
        db.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    with pytest.raises(StoreError, match="a newer anytune has taken up the record"):
        store.add(sample_job())
    assert list(store.list()) == []


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
    assert list(store.summaries()) == ([Summary.of(job)] if version else [])
    if version < SUMMARIES:
        assert store._db.execute("SELECT count(*) FROM summaries").fetchone() == (len(store.list()),)
    store.decide(sample_decision(job.id))
    assert len(SqliteStore(tmp_path).decisions()) == 1


@pytest.mark.engine
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


def test_a_list_as_json_is_what_was_written_and_of_other_versions_what_they_would_have_written(tmp_path: Path) -> None:
    """Most texts go through as they stand; what lacks a field, as one of an earlier anytune, is written anew."""
    store = SqliteStore(tmp_path)
    jobs = [store.add(sample_job(f"sample-{n}aaaaaaaaa", attempt=n, minute=n)) for n in range(1, 4)]
    first = Summary.of(jobs[0])
    older = first.model_dump_json(exclude={"project", "cost_basis"})
    store._db.execute("UPDATE summaries SET body = ? WHERE id = ?", (older, jobs[0].id))
    store._db.execute("DELETE FROM summaries WHERE id = ?", (jobs[1].id,))
    found = store.summaries()
    assert isinstance(found, Summaries)
    texts = [(Summary.of(job).model_dump_json(), False) for job in reversed(jobs)]
    assert list(found.texts()) == texts
    here = jobs[2].model_copy(update={"state": JobState.RUNNING, "plan": _local(jobs[2].plan)})
    store.put(here)
    assert [is_open for _, is_open in store.summaries().texts()] == [True, False, False]  # type: ignore[attr-defined]
    for body in ("{}", older.replace('"name"', '"unheard-of"'), older[:-1]):
        store._db.execute("UPDATE summaries SET body = ? WHERE id = ?", (body, jobs[0].id))
        with pytest.raises(StoreError, match="another version"):
            list(store.summaries().texts())  # type: ignore[attr-defined]


def _local(plan: Plan) -> Plan:
    return plan.model_copy(update={"capabilities": plan.capabilities.model_copy(update={"local": True})})
