"""The record of jobs on a real PostgreSQL server: the same contract, several people, and what can go wrong there."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from anytune.errors import StoreError
from anytune.schema.audit import first_broken
from anytune.schema.job import JobState, Summary
from anytune.store import JobStore, open_store
from anytune.store.migration import POSTGRES as MIGRATIONS
from anytune.store.migration import statements
from anytune.testing import StoreContract, sample_job
from anytune.testing.store import START, sample_decision
from tests.postgres import Server

ALL_TABLES = "ON ALL TABLES IN SCHEMA anytune"
PASSWORD = "correct-horse-battery"


@pytest.fixture
def database(server: Server) -> str:
    return server.database()


@pytest.fixture
def address(server: Server, database: str) -> str:
    return server.address(database)


def opened(address: str) -> JobStore:
    return open_store(Path("/nowhere"), address=address)


class TestPostgresStore(StoreContract):
    @pytest.fixture
    def store(self, address: str) -> JobStore:
        return opened(address)


def run(script: str, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    start = (
        "import os, signal, sys; from pathlib import Path; from anytune.store import open_store\n"
        "from anytune.testing.store import sample_decision, sample_job\n"
        "store = open_store(Path('/nowhere'), address=sys.argv[1])\n"
    )
    return subprocess.Popen(
        [sys.executable, "-c", start + script, *arguments],
        env={**os.environ, **environment},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_writes_are_in_the_database_when_they_return(address: str) -> None:
    with run("store.add(sample_job()); os.kill(os.getpid(), signal.SIGKILL)\n", address) as done:
        assert done.wait(60) == -9
    assert opened(address).get("sample-0123456789") == sample_job()


def test_a_session_gives_up_a_network_that_is_gone_within_a_minute_or_as_its_address_says(address: str) -> None:
    from anytune.store import libpq

    for own, told in (("", "60000"), ("&tcp_user_timeout=5000", "5000")):
        given = f"{address}{own}"
        with libpq.connected(given, libpq.parts(given), schema="anytune", busy_seconds=1) as db:
            assert db.info.get_parameters()["tcp_user_timeout"] == told


def test_ten_at_once_make_one_record_and_add_one_job(address: str) -> None:
    added: list[str] = []

    def add(number: int) -> None:
        added.append(opened(address).add(sample_job(f"sample-{number:010d}")).id)

    threads = [threading.Thread(target=add, args=(number,)) for number in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(added) == 10
    assert len(set(added)) == 1


def test_one_acts_and_the_other_waits_until_the_first_process_is_killed(address: str) -> None:
    with run("with store.acting('job'):\n    print('mine', flush=True); sys.stdin.read()\n", address) as other:
        assert other.stdout is not None
        other.stdout.readline()
        entered = threading.Event()

        def enter() -> None:
            with opened(address).acting("job"):
                entered.set()

        waiting = threading.Thread(target=enter)
        waiting.start()
        assert not entered.wait(0.2)
        other.kill()
        assert entered.wait(10)
        waiting.join()


@pytest.mark.engine
def test_decisions_of_three_processes_at_once_make_one_chain(address: str) -> None:
    opened(address)
    script = "for _ in range(8): store.decide(sample_decision(sys.argv[2]))\n"
    started = [run(script, address, str(number)) for number in range(3)]
    for process in started:
        with process:
            assert process.wait(60) == 0
    links = opened(address).decisions()
    assert len(links) == 24
    assert first_broken(links) is None


@pytest.mark.engine
def test_events_of_two_at_once_are_kept_once(address: str) -> None:
    script = (
        "from anytune.schema.job import Event; from anytune.testing.store import START\n"
        "store.add_events('sample-0123456789', [Event(id=str(n), at=START, message='') for n in range(200)])\n"
    )
    opened(address).add(sample_job())
    started = [run(script, address) for _ in range(2)]
    for process in started:
        with process:
            assert process.wait(60) == 0
    assert [event.id for event in opened(address).events("sample-0123456789")] == [str(n) for n in range(200)]


@pytest.mark.parametrize("version", range(len(MIGRATIONS) + 1))
def test_a_record_of_every_earlier_anytune_is_taken_up_with_all_that_is_in_it(
    server: Server, database: str, version: int
) -> None:
    job = sample_job()
    server.sql("CREATE SCHEMA anytune", database=database)
    columns = "(id, provider, name, attempt, fingerprint, state, created_at, body)"
    body = job.model_dump_json().replace("'", "''")
    values = f"('{job.id}', 'fake', '{job.name}', 1, '{'0' * 64}', 'submitting', '{START}', '{body}')"
    server.sql(
        "SET search_path = anytune",
        *(statement for script in MIGRATIONS[:version] for statement in statements(script)),
        *(["CREATE TABLE version (number INTEGER)", f"INSERT INTO version VALUES ({version})"] if version else []),
        *([f"INSERT INTO jobs {columns} VALUES {values}"] if version else []),
        database=database,
    )
    store = opened(server.address(database))
    assert list(store.list()) == ([job] if version else [])
    assert list(store.summaries()) == ([Summary.of(job)] if version else [])
    store.decide(sample_decision(job.id))
    assert len(opened(server.address(database)).decisions()) == 1


def newer(server: Server, database: str) -> None:
    server.sql(f"UPDATE anytune.version SET number = {len(MIGRATIONS) + 1}", database=database)


def test_a_newer_record_is_not_touched(server: Server, database: str, address: str) -> None:
    store = opened(address)
    store.add(sample_job())
    newer(server, database)
    with pytest.raises(StoreError, match="newer anytune") as caught:
        opened(address)
    assert caught.value.fix == "pip install -U anytune"
    with pytest.raises(StoreError, match="newer anytune"):
        store.put(sample_job())


def test_a_session_that_was_cut_while_idle_is_made_anew(server: Server, database: str, address: str) -> None:
    store = opened(address)
    cut = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database}'"
    server.sql(cut)
    assert store.add(sample_job()) == sample_job()
    server.sql(cut)
    assert len(store.list()) == 1


def test_who_has_lost_the_right_to_act_cannot_write_the_job(server: Server, database: str, address: str) -> None:
    store = opened(address)
    job = store.add(sample_job())
    other = store.add(sample_job("other-0123456789", name="other"))
    with store.acting(job.id):
        server.sql(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database}'")
        with pytest.raises(StoreError) as caught:
            store.put(job.model_copy(update={"state": JobState.RUNNING}))
        store.put(other)
    told(caught.value, fix="run it again; nothing that was acknowledged is lost")
    assert store.get(job.id) == job


def told(error: StoreError, *, fix: str) -> None:
    """Hold an error to one line that names the place and the way to mend it, without a secret."""
    assert fix in (error.fix or "")
    for line in (error.message, error.fix or ""):
        assert line
        assert "\n" not in line
        assert PASSWORD not in line


def refused(address: str) -> StoreError:
    with pytest.raises(StoreError) as caught:
        opened(address)
    assert "postgresql://" in caught.value.message
    return caught.value


def test_a_server_that_is_away_is_told_and_nothing_is_lost(server: Server, address: str) -> None:
    store = opened(address)
    store.add(sample_job())
    server.stop()
    try:
        for act in (store.list, lambda: store.put(sample_job())):
            with pytest.raises(StoreError) as caught:
                act()
            told(caught.value, fix="start the server, or look at the address in `store` of config.yaml")
        told(refused(address), fix="start the server")
    finally:
        server.start()
    assert list(store.list()) == [sample_job()]


def test_a_host_that_there_is_not_is_told() -> None:
    told(refused("postgresql://me@127.0.0.1:1/db"), fix="look at the address")
    told(refused("postgresql://me@no-such-host.invalid/db?connect_timeout=2"), fix="look at the address")


def test_a_database_or_a_user_that_there_is_not_is_told(server: Server, address: str) -> None:
    told(refused(server.address("nowhere")), fix="createdb nowhere")
    told(refused(address.replace("owner@", "nobody_here@")), fix="createuser nobody_here")


def test_what_a_user_may_not_do_is_told_with_the_grant(server: Server, database: str, address: str) -> None:
    server.sql(f"DROP ROLE IF EXISTS {database}_guest", f"CREATE ROLE {database}_guest LOGIN")
    guest = server.address(database, user=f"{database}_guest")
    told(refused(guest), fix=f"GRANT CREATE ON DATABASE {database} TO {database}_guest")
    opened(address).add(sample_job())
    told(refused(guest), fix=f"GRANT USAGE ON SCHEMA anytune TO {database}_guest")
    server.sql(
        f"GRANT USAGE ON SCHEMA anytune TO {database}_guest",
        f"GRANT SELECT ON ALL TABLES IN SCHEMA anytune TO {database}_guest",
        database=database,
    )
    store = opened(guest)
    assert list(store.list()) == [sample_job()]
    with pytest.raises(StoreError) as caught:
        store.put(sample_job())
    told(caught.value, fix="INSERT, UPDATE ON ALL TABLES IN SCHEMA anytune")
    server.sql(*(caught.value.fix or "").split("; "), database=database)
    store.put(sample_job())
    store.decide(sample_decision())
    server.sql("UPDATE anytune.version SET number = number - 1", database=database)
    told(refused(guest), fix="let the owner of the schema anytune run anytune list once")


def test_who_shared_a_record_before_shares_what_a_newer_anytune_adds_to_it(
    server: Server, database: str, address: str
) -> None:
    guest = f"{database}_friend"
    old = (statement for script in MIGRATIONS[:-1] for statement in statements(script))
    server.sql(f"DROP ROLE IF EXISTS {guest}", f"CREATE ROLE {guest} LOGIN")
    server.sql("CREATE SCHEMA anytune", "SET search_path = anytune", *old, database=database)
    version = f"INSERT INTO anytune.version VALUES ({len(MIGRATIONS) - 1})"
    server.sql("CREATE TABLE anytune.version (number INTEGER)", version, database=database)
    grants = (
        f"GRANT {what} TO {guest}" for what in ("USAGE ON SCHEMA anytune", f"SELECT, INSERT, UPDATE {ALL_TABLES}")
    )
    server.sql(*grants, database=database)
    opened(address)
    store = opened(server.address(database, user=guest))
    job = store.add(sample_job())
    store.put(job.model_copy(update={"state": JobState.FAILED}), ended=True)
    (news,) = store.untold("me", since=START)
    store.told(news, "me")


def test_a_server_that_takes_no_writes_can_be_read_and_says_so(server: Server, database: str, address: str) -> None:
    opened(address).add(sample_job())
    server.sql(f"ALTER DATABASE {database} SET default_transaction_read_only = on")
    store = opened(address)
    assert list(store.list()) == [sample_job()]
    with pytest.raises(StoreError) as caught:
        store.put(sample_job())
    told(caught.value, fix="name the primary in `store` of config.yaml")


def test_a_writer_that_does_not_end_is_waited_for_and_then_told(database: str, address: str) -> None:
    import psycopg

    from anytune.store.postgres import PostgresStore

    store = PostgresStore(address, busy_seconds=0.1)
    store.add(sample_job())
    with psycopg.connect(address) as holder:
        holder.execute("LOCK TABLE anytune.jobs")
        with pytest.raises(StoreError) as caught:
            store.put(sample_job())
        told(caught.value, fix="another anytune is writing")
    store.put(sample_job())


@pytest.fixture
def guarded(server: Server, database: str) -> str:
    server.sql("DROP ROLE IF EXISTS guarded", f"CREATE ROLE guarded LOGIN SUPERUSER PASSWORD '{PASSWORD}'")
    return server.address(database, user="guarded")


def test_the_password_is_found_where_libpq_finds_it(
    server: Server, guarded: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPASSFILE", str(tmp_path / "pgpass"))
    told(refused(guarded), fix="the password comes from PGPASSWORD, ~/.pgpass or a service file")
    monkeypatch.setenv("PGPASSWORD", "wrong")
    told(refused(guarded), fix="the password comes from PGPASSWORD")
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    opened(guarded).add(sample_job())
    monkeypatch.delenv("PGPASSWORD")
    (tmp_path / "pgpass").write_text(f"*:*:*:guarded:{PASSWORD}\n")
    (tmp_path / "pgpass").chmod(0o600)
    assert len(opened(guarded).list()) == 1
    (tmp_path / "pgpass").unlink()
    service = f"[team]\nhost={server.folder}\nuser=guarded\npassword={PASSWORD}\n"
    (tmp_path / "services").write_text(service)
    monkeypatch.setenv("PGSERVICEFILE", str(tmp_path / "services"))
    assert len(opened(guarded.partition("?")[0].replace("guarded@", "") + "?service=team").list()) == 1


@pytest.mark.parametrize("form", ["postgresql://me:{}@h/db", "postgresql://me@h/db?password={}", "password={} host=h"])
def test_an_address_with_a_password_is_refused_without_showing_it(form: str) -> None:
    with pytest.raises(StoreError) as caught:
        opened(form.format(PASSWORD))
    told(caught.value, fix="PGPASSWORD")


@pytest.mark.engine
def test_the_command_line_keeps_its_jobs_there(address: str, tmp_path: Path) -> None:
    opened(address).add(sample_job())
    own = tmp_path / "config" / "anytune"
    own.mkdir(parents=True)
    (own / "config.yaml").write_text(f"store: {address}\n")
    environment = {**os.environ, "XDG_CONFIG_HOME": str(own.parent), "ANYTUNE_HOME": str(tmp_path / "home")}

    def anytune(*arguments: str) -> str:
        command = [sys.executable, "-m", "anytune", *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True, cwd=tmp_path).stdout

    assert "sample-0123456789" in anytune("list")
    assert address in anytune("config", "show")
    assert not (tmp_path / "home" / "jobs.sqlite3").exists()
