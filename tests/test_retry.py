"""What may be sent again is sent again, and only that."""

from __future__ import annotations

import pytest

from anytune import retry
from anytune.errors import AmbiguousError, KeyRefusedError, RateLimitedError, RejectedError, UnavailableError
from anytune.testing import FakeClock


class Act:
    def __init__(self, *outcomes: Exception | str) -> None:
        self.outcomes, self.calls = list(outcomes), 0

    def __call__(self) -> str:
        self.calls += 1
        outcome = self.outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


def test_a_passing_fault_is_tried_again() -> None:
    act, clock = Act(UnavailableError("a"), AmbiguousError("b"), "done"), FakeClock()
    assert retry.call(act, clock=clock) == "done"
    assert len(clock.slept) == 2


def test_the_providers_own_time_is_kept_to_the_second() -> None:
    clock = FakeClock()
    retry.call(Act(RateLimitedError("a", retry_after=13), "done"), clock=clock)
    assert clock.slept == [13]


@pytest.mark.parametrize("final", [RejectedError("no"), KeyRefusedError("no"), ValueError("a bug")])
def test_what_is_final_is_not_repeated(final: Exception) -> None:
    act = Act(final, "done")
    with pytest.raises(type(final)):
        retry.call(act, clock=FakeClock())
    assert act.calls == 1


def test_what_may_have_been_done_is_not_repeated_by_a_create() -> None:
    act = Act(AmbiguousError("lost"), "done")
    with pytest.raises(AmbiguousError):
        retry.call(act, clock=FakeClock(), repeat=retry.SURELY_NOT_DONE)
    assert act.calls == 1


def test_nobody_waits_past_the_deadline() -> None:
    clock = FakeClock()
    with pytest.raises(RateLimitedError):
        retry.call(Act(RateLimitedError("a", retry_after=3600), "done"), clock=clock, deadline=60)
    assert clock.slept == []


def test_attempts_are_counted() -> None:
    act = Act(*[UnavailableError("down")] * 9)
    with pytest.raises(UnavailableError):
        retry.call(act, clock=FakeClock(), attempts=4)
    assert act.calls == 4


def test_waits_that_the_provider_asked_for_do_not_count_as_attempts() -> None:
    clock = FakeClock()
    assert retry.call(Act(*[RateLimitedError("not yet", retry_after=2)] * 40, "done"), clock=clock) == "done"
    assert sum(clock.slept) == 80


def test_polite_waits_leave_all_attempts_for_what_fails_after_them() -> None:
    faults = [*[RateLimitedError("not yet", retry_after=1)] * 9, UnavailableError("down"), UnavailableError("down")]
    assert retry.call(Act(*faults, "done"), clock=FakeClock()) == "done"


@pytest.mark.parametrize("said", [0.0, -5.0, float("nan")])
def test_a_wait_of_nothing_is_no_reason_to_hammer(said: float) -> None:
    clock = FakeClock()
    with pytest.raises(RateLimitedError):
        retry.call(Act(*[RateLimitedError("busy", retry_after=said)] * 99), clock=clock, deadline=60)
    assert set(clock.slept) == {1.0}
