"""The contract of a store of jobs, as tests: subclass it with a fixture `store`."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from anytune.errors import StoreError, UsageError
from anytune.schema.audit import START as FIRST
from anytune.schema.audit import Decision, first_broken
from anytune.schema.data import DataReport
from anytune.schema.job import Event, Job, JobState, RemoteJob, Summary
from anytune.schema.money import Limit, Order
from anytune.schema.plan import Capabilities, CostEstimate, Plan
from anytune.schema.spec import TuneSpec
from anytune.store import JobStore

START = datetime(2026, 11, 22, 12, tzinfo=UTC)


def sample_job(job_id: str = "sample-0123456789", *, name: str = "sample", attempt: int = 1, minute: int = 0) -> Job:
    """Make a job without a provider."""
    at = START + timedelta(minutes=minute)
    spec = TuneSpec.model_validate(
        {"name": name, "provider": "fake", "model": "fake-1", "data": {"train": Path("train.jsonl")}}
    )
    nothing = Decimal(0)
    plan = Plan(
        spec=spec,
        capabilities=Capabilities(provider="fake", model="fake-1", known=True, methods=("sft",), settings={}),
        data=DataReport(files=()),
        files=(),
        settings=(),
        cost=CostEstimate(low=nothing, expected=nothing, high=nothing, basis="a test"),
        fingerprint="0" * 64,
        made_on=date(2026, 11, 22),
    )
    return Job(id=job_id, provider="fake", plan=plan, attempt=attempt, created_at=at, updated_at=at)


def sample_decision(job_id: str = "sample-0123456789") -> Decision:
    """Make a decision about a job's data."""
    return Decision(at=START, job_id=job_id, act="submit", provider="fake", place="unknown", answer="allowed", by="me")


def sample_order(job_id: str, usd: str | None, *, at: datetime = START, attempt: int = 1) -> Job:
    """Make a job with an order, of project `there` and by `me`."""
    job = sample_job(job_id, attempt=attempt)
    order = Order(at=at, usd=None if usd is None else Decimal(usd))
    return job.model_copy(update={"orders": (order,), "project": "there", "by": "me"})


class StoreContract:
    """Say what every store holds."""

    @pytest.fixture
    def store(self) -> JobStore:
        """Return an empty store; subclasses replace this."""
        raise NotImplementedError("subclass StoreContract with a fixture named store")

    def test_a_job_comes_back_as_it_was_written(self, store: JobStore) -> None:
        job = sample_job()
        assert store.add(job) == job
        assert store.get(job.id) == job

    def test_the_second_job_of_a_name_and_attempt_is_the_first(self, store: JobStore) -> None:
        first = store.add(sample_job("sample-aaaaaaaaaa"))
        assert store.add(sample_job("sample-bbbbbbbbbb")) == first
        assert len(store.list()) == 1

    def test_another_attempt_is_another_job(self, store: JobStore) -> None:
        store.add(sample_job("sample-aaaaaaaaaa"))
        store.add(sample_job("sample-bbbbbbbbbb", attempt=2, minute=1))
        assert [job.attempt for job in store.list()] == [2, 1]

    def test_a_change_is_there_for_the_next_reader(self, store: JobStore) -> None:
        job = store.add(sample_job())
        store.put(job.model_copy(update={"state": JobState.RUNNING}))
        assert store.get(job.id).state is JobState.RUNNING

    def test_a_job_that_is_not_there_cannot_be_changed(self, store: JobStore) -> None:
        with pytest.raises(StoreError):
            store.put(sample_job())

    def test_jobs_are_named_by_id_beginning_name_or_last(self, store: JobStore) -> None:
        one = store.add(sample_job("sample-aaaaaaaaaa"))
        two = store.add(sample_job("other-bbbbbbbbbb", name="other", minute=1))
        assert store.get("sample-aa") == one
        assert store.get("other") == two
        assert store.get("last") == two

    def test_no_job_and_too_many_are_told(self, store: JobStore) -> None:
        with pytest.raises(UsageError, match="no job 'x'"):
            store.get("x")
        store.add(sample_job("sample-aaaaaaaaaa"))
        store.add(sample_job("sample-abbbbbbbbb", attempt=2))
        with pytest.raises(UsageError, match="begins 2 jobs"):
            store.get("sample-a")

    def test_signs_of_a_pattern_are_only_letters(self, store: JobStore) -> None:
        store.add(sample_job())
        for sign in ("%", "_", "sample%", "*", "'"):
            with pytest.raises(UsageError):
                store.get(sign)

    def test_an_event_is_kept_once_and_in_order(self, store: JobStore) -> None:
        job = store.add(sample_job())
        events = [Event(id=str(n), at=START + timedelta(seconds=n), message=f"step {n}") for n in range(4)]
        assert list(store.add_events(job.id, events[:2])) == events[:2]
        assert list(store.add_events(job.id, events)) == events[2:]
        assert list(store.add_events(job.id, events)) == []
        assert list(store.events(job.id)) == events

    def test_lists_are_narrowed_by_name_and_provider(self, store: JobStore) -> None:
        store.add(sample_job("sample-aaaaaaaaaa"))
        store.add(sample_job("other-bbbbbbbbbb", name="other"))
        assert [job.name for job in store.list(name="other")] == ["other"]
        assert list(store.list(provider="nobody")) == []

    def test_the_summary_of_a_job_is_that_of_the_job_as_it_stands(self, store: JobStore) -> None:
        one = store.add(sample_job("sample-aaaaaaaaaa"))
        two = store.add(sample_job("sample-bbbbbbbbbb", attempt=2, minute=1))
        assert list(store.summaries()) == [Summary.of(two), Summary.of(one)]
        changed = one.model_copy(update={"state": JobState.FAILED, "error": "\0 and \u00e9", "cost": Decimal("1.50")})
        store.put(changed)
        assert list(store.summaries()) == [Summary.of(two), Summary.of(changed)]

    def test_texts_that_a_provider_may_send_are_kept(self, store: JobStore) -> None:
        job = store.add(sample_job())
        texts = ("\0", "a\0b", "%s", "\u2028", "\U0001f41f", "'; DROP TABLE jobs")
        events = [Event(id=text, at=START, message=text, data={"said": text}) for text in texts]
        assert list(store.add_events(job.id, events)) == events
        assert list(store.add_events(job.id, events)) == []
        assert list(store.events(job.id)) == events

    def test_a_name_that_no_job_can_have_is_no_job(self, store: JobStore) -> None:
        store.add(sample_job())
        for name in ("", "\0", "sample\0", "\udc80", "\u00e9"):
            with pytest.raises(UsageError):
                store.get(name)

    def test_no_jobs_so_far_is_said_of_the_last(self, store: JobStore) -> None:
        with pytest.raises(UsageError, match="no jobs so far"):
            store.get("last")

    def test_the_right_to_act_can_be_had_again_and_is_given_back_by_an_error(self, store: JobStore) -> None:
        job = store.add(sample_job())
        for _ in range(2):
            with pytest.raises(ZeroDivisionError), store.acting(job.id):
                store.put(job)
                raise ZeroDivisionError

    def test_acting_for_one_job_does_not_hold_up_another(self, store: JobStore) -> None:
        with store.acting("a"), store.acting("b"):
            assert list(store.list()) == []

    def test_decisions_stay_in_order_each_sealed_with_the_one_before(self, store: JobStore) -> None:
        assert list(store.decisions()) == []
        links = [store.decide(sample_decision(name)) for name in ("one", "two", "one")]
        assert list(store.decisions()) == links
        assert [link.before for link in links] == [FIRST, links[0].seal, links[1].seal]
        assert first_broken(links) is None

    def test_the_last_decision_about_a_job_is_its_own(self, store: JobStore) -> None:
        assert store.last_decision("one") is None
        links = [store.decide(sample_decision(name)) for name in ("one", "two", "one", "two")]
        assert [store.last_decision(name) for name in ("one", "two", "three")] == [links[2], links[3], None]

    def test_an_order_is_written_only_if_it_fits_into_every_budget_of_its_month(self, store: JobStore) -> None:
        limits = [
            Limit(whose="user", name="me", usd=Decimal(12)),
            Limit(whose="project", name="there", usd=Decimal(10)),
        ]
        for number, (usd, fits) in enumerate([("6.10", True), ("4.00", False), ("3.90", True), ("0.01", False)], 1):
            job = sample_order(f"sample-{number}aaaaaaaaa", usd, attempt=number)
            store.add(job.model_copy(update={"orders": ()}))
            refused = store.reserve(job, dearest=Decimal(usd), limits=limits)
            assert [found.limit.whose for found in refused] == ([] if fits else ["project"])
            assert (store.get(job.id).orders == job.orders) is fits
        assert refused[0].spent == Decimal("10.00")
        assert refused[0].renews == date(2026, 12, 1)
        assert sum(charge.usd or 0 for charge in store.charges("2026-11")) == Decimal("10.00")

    def test_another_month_and_another_project_have_room_of_their_own(self, store: JobStore) -> None:
        limit = Limit(whose="project", name="there", usd=Decimal(5))
        store.add(sample_order("sample-aaaaaaaaaa", "5"))
        later = sample_order("sample-bbbbbbbbbb", "5", attempt=2, at=datetime(2026, 12, 1, tzinfo=UTC))
        store.add(later.model_copy(update={"orders": ()}))
        assert not store.reserve(later, dearest=Decimal(5), limits=[limit])
        other = sample_order("sample-cccccccccc", "5", attempt=3).model_copy(update={"project": "elsewhere"})
        store.add(other.model_copy(update={"orders": ()}))
        assert not store.reserve(other, dearest=Decimal(5), limits=[limit.model_copy(update={"name": "elsewhere"})])
        assert [charge.job_id for charge in store.charges("2026-12")] == [later.id]

    def test_what_a_job_counts_for_goes_with_what_becomes_of_it(self, store: JobStore) -> None:
        job = store.add(sample_order("sample-aaaaaaaaaa", "5"))
        assert [(c.usd, c.known) for c in store.charges("2026-11")] == [(Decimal(5), False)]
        store.put(job.model_copy(update={"state": JobState.SUCCEEDED, "cost": Decimal("4.20")}))
        assert [(c.usd, c.known) for c in store.charges("2026-11")] == [(Decimal("4.20"), True)]
        assert list(store.charges("2026-10")) == []

    def test_what_the_job_itself_reserved_before_does_not_stand_in_its_way(self, store: JobStore) -> None:
        limit = Limit(whose="user", name="me", usd=Decimal(5))
        job = store.add(sample_order("sample-aaaaaaaaaa", "5"))
        assert not store.reserve(job, dearest=Decimal(5), limits=[limit])
        assert store.reserve(job, dearest=Decimal("5.01"), limits=[limit])
        assert store.reserve(job, dearest=None, limits=[limit]), "nobody knows what it costs"

    def test_the_end_of_a_job_is_news_for_each_who_is_to_be_told_until_it_was_told(self, store: JobStore) -> None:
        job = store.add(sample_job())
        store.put(job)
        assert list(store.untold("me", since=START)) == []
        ended = job.model_copy(update={"state": JobState.FAILED, "error": "why"})
        store.put(ended, ended=True)
        (news,) = store.untold("me", since=START)
        assert (news.id, news.job_id, news.what, news.at) == (f"{job.id}-failed", job.id, "failed", job.updated_at)
        assert Summary.model_validate_json(news.body) == Summary.of(ended)
        for _ in range(2):
            store.told(news, "me")
        assert list(store.untold("me", since=START)) == []
        assert list(store.untold("you", since=START)) == [news]
        assert list(store.untold("you", since=START + timedelta(microseconds=1))) == []

    def test_a_job_that_ends_a_second_time_is_other_news(self, store: JobStore) -> None:
        job = store.add(sample_job())
        for minute in (1, 2):
            at = START + timedelta(minutes=minute)
            store.put(job.model_copy(update={"state": JobState.FAILED, "updated_at": at}), ended=True)
        assert [news.id for news in store.untold("me", since=START)] == [f"{job.id}-failed", f"{job.id}-failed-2"]

    def test_a_job_that_cannot_be_written_is_no_news(self, store: JobStore) -> None:
        with pytest.raises(StoreError):
            store.put(sample_job(), ended=True)
        assert list(store.untold("me", since=START)) == []

    def test_an_alarm_is_raised_once_and_is_news(self, store: JobStore) -> None:
        later = START + timedelta(hours=9)
        job, event = store.add(sample_job()), Event(id="alarm", at=later, message="too dear")
        assert [store.raise_alarm(job, event, what="alarm", body="{}") for _ in range(2)] == [True, False]
        assert list(store.events(job.id)) == [event]
        (news,) = store.untold("me", since=later)
        assert (news.id, news.at, news.body) == (f"{job.id}-alarm", later, "{}"), "as old as the alarm, not as the job"

    def test_the_last_events_of_a_job_that_ended_at_a_provider_are_missed_until_they_are_there(
        self, store: JobStore
    ) -> None:
        there = RemoteJob(id="remote-1", status="done", state=JobState.FAILED)
        job = store.add(sample_job()).model_copy(update={"state": JobState.FAILED, "remote": there})
        other = store.add(sample_job("other-bbbbbbbbbb", name="other"))
        store.put(other.model_copy(update={"state": JobState.FAILED}), ended=True)
        assert store.unheard() == frozenset(), "it never came to a provider"
        for last in ([Event(id="1", at=START, message="the end")], []):
            store.put(job, ended=True)
            assert store.unheard() == {job.id}
            store.add_events(job.id, [])
            assert store.unheard() == {job.id}
            store.add_events(job.id, last, last=True)
            assert store.unheard() == frozenset()
        assert store.event_ids(job.id) == {"1"}
        assert store.event_ids(other.id) == frozenset()
