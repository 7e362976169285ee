"""Whatever leaves was decided about, by the rules that held then, and nobody changes the record unseen."""

from __future__ import annotations

import dataclasses
import sqlite3
from datetime import timedelta
from itertools import count
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anytune import jobs
from anytune.errors import AmbiguousError, KeyRefusedError, RefusedError, UnavailableError
from anytune.schema.audit import START, Decision, Link, first_broken
from anytune.schema.data import PrivacyPolicy
from anytune.schema.plan import Policy
from anytune.store import SqliteStore
from anytune.testing.store import sample_decision
from tests.amount import examples
from tests.rigs import Bench, make_bench


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return make_bench(tmp_path)


def decided(bench: Bench) -> list[Decision]:
    links = bench.store.decisions()
    assert first_broken(links) is None
    return [link.decision for link in links]


def test_a_submit_is_decided_about_before_anything_is_sent(bench: Bench) -> None:
    bench.service.faults["upload"] = [KeyRefusedError("not this key")]
    plan = bench.plan()
    with pytest.raises(KeyRefusedError):
        jobs.submit(plan, desk=bench.desk)
    (told,) = decided(bench)
    assert (told.act, told.answer, told.provider, told.reasons) == ("submit", "allowed", "fake", ())
    assert [(d.role, d.sha256, d.examples) for d in told.data] == [(f.role, f.sha256, f.examples) for f in plan.files]
    assert told.job_id == bench.store.list()[0].id


@pytest.mark.parametrize(
    ("policy", "rule"),
    [
        (Policy(residency="local"), "policy.residency"),
        (Policy(providers=("local",)), "policy.providers"),
        (Policy(privacy=PrivacyPolicy(block=("card",))), "policy.privacy.block"),
    ],
)
def test_a_policy_that_became_stricter_stops_what_was_planned_and_is_named_in_the_record(
    bench: Bench, policy: Policy, rule: str
) -> None:
    """Private data that nobody looked for when the job was planned count as there."""
    with pytest.raises(RefusedError) as caught:
        jobs.submit(bench.plan(), desk=dataclasses.replace(bench.desk, policy=policy))
    (told,) = decided(bench)
    assert told.answer == "refused"
    assert told.reasons == caught.value.reasons
    assert rule in told.rules
    assert bench.service.calls == []


def test_a_job_that_goes_on_is_decided_about_anew(bench: Bench) -> None:
    bench.service.faults["create"] = [AmbiguousError("dropped")] * jobs.CREATE_ROUNDS
    with pytest.raises(AmbiguousError):
        jobs.submit(bench.plan(), desk=bench.desk)
    jobs.submit(bench.plan(), desk=bench.desk)
    assert [told.answer for told in decided(bench)] == ["allowed", "allowed"]


@pytest.mark.parametrize(("act", "lines"), [("upload", 1), ("create", 2)])
def test_looks_in_an_outage_write_one_decision_until_something_is_sent(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, act: str, lines: int
) -> None:
    """A file that was sent before the order could not be is one decision more."""
    now, ticks = bench.clock.now, count()
    monkeypatch.setattr(bench.clock, "now", lambda: now() + timedelta(microseconds=next(ticks)))
    bench.service.faults[act] = [UnavailableError("away")] * 1000
    with pytest.raises(UnavailableError):
        jobs.submit(bench.plan(), desk=bench.desk)
    (job,) = bench.store.list()
    for _ in range(31):
        with pytest.raises(UnavailableError):
            jobs.refresh(job.id, desk=bench.desk)
    assert len(decided(bench)) == lines
    bench.service.faults.clear()
    assert jobs.refresh(job.id, desk=bench.desk).remote is not None
    assert len(decided(bench)) == lines


def test_another_answer_in_an_outage_is_written(bench: Bench) -> None:
    bench.service.faults["upload"] = [UnavailableError("away")] * 1000
    with pytest.raises(UnavailableError):
        jobs.submit(bench.plan(), desk=bench.desk)
    (job,) = bench.store.list()
    stricter = dataclasses.replace(bench.desk, policy=Policy(residency="local"))
    for desk, error in ((stricter, RefusedError), (stricter, RefusedError), (bench.desk, UnavailableError)):
        with pytest.raises(error):
            jobs.refresh(job.id, desk=desk)
    assert [told.answer for told in decided(bench)] == ["allowed", "refused", "allowed"]


def test_looking_at_a_job_decides_nothing(bench: Bench) -> None:
    job = jobs.submit(bench.plan(), desk=bench.desk)
    list(jobs.follow(job.id, desk=bench.desk))
    assert len(decided(bench)) == 1


@pytest.mark.parametrize(
    "tampering",
    [
        "UPDATE decisions SET body = replace(body, 'allowed', 'refused') WHERE position = 2",
        "DELETE FROM decisions WHERE position = 2",
        "INSERT INTO decisions SELECT 4, job_id, body, before, seal FROM decisions WHERE position = 1",
        "UPDATE decisions SET position = position + 10 WHERE position = 1",
    ],
)
def test_what_is_changed_dropped_slipped_in_or_moved_breaks_the_chain(tmp_path: Path, tampering: str) -> None:
    store = SqliteStore(tmp_path)
    for number in range(3):
        store.decide(sample_decision(f"job-{number}"))
    assert first_broken(store.decisions()) is None
    with sqlite3.connect(tmp_path / "jobs.sqlite3") as db:
        db.execute(tampering)
    assert first_broken(store.decisions()) is not None


@settings(max_examples=examples(50), deadline=None)
@given(names=st.lists(st.text(max_size=8), min_size=1, max_size=6), data=st.data())
def test_no_chain_holds_after_any_of_its_texts_was_changed(names: list[str], data: st.DataObject) -> None:
    links: list[Link] = []
    for name in names:
        links.append(Link.after(links[-1].seal if links else START, sample_decision(name)))
    assert first_broken(links) is None
    at = data.draw(st.integers(0, len(links) - 1))
    links[at] = links[at].model_copy(update={"text": links[at].text + " "})
    assert first_broken(links) == at
