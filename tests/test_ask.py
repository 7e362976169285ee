"""A hosted model is asked again for what passes by itself, and never for what does not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from anytune.errors import AmbiguousError, KeyRefusedError, NotFoundError, RateLimitedError
from anytune.jobs import Patient
from anytune.jobs.ask import READY
from anytune.testing import FakeClock

CHATS = [[{"role": "user", "content": text}] for text in ("one", "two")]


class Moody:
    """Answer with the question, after the errors that are in the way."""

    def __init__(self, *errors: Exception) -> None:
        self.errors, self.asked, self.closed = list(errors), 0, False

    def answer(self, chats: Sequence[Sequence[Any]], *, max_new_tokens: int) -> Iterator[str]:
        for chat in chats:
            self.asked += 1
            if self.errors:
                raise self.errors.pop(0)
            yield chat[-1]["content"][:max_new_tokens]

    def close(self) -> None:
        self.closed = True


def test_a_model_that_is_not_there_yet_is_asked_again_when_it_said() -> None:
    clock, model = FakeClock(), Moody(*[RateLimitedError("not yet", retry_after=15.0)] * 10, AmbiguousError("HTTP 503"))
    patient = Patient(model, clock)
    assert list(patient.answer(CHATS, max_new_tokens=2)) == ["on", "tw"]
    assert clock.slept[:10] == [15.0] * 10
    assert model.asked == 13
    patient.close()
    assert model.closed


def test_a_model_that_never_comes_is_given_up_in_time() -> None:
    clock, model = FakeClock(), Moody(*[RateLimitedError("not yet", retry_after=15.0)] * 1000)
    with pytest.raises(RateLimitedError):
        list(Patient(model, clock).answer(CHATS, max_new_tokens=2))
    assert READY - 15 <= clock.monotonic() <= READY


@pytest.mark.parametrize("error", [NotFoundError("no such model"), KeyRefusedError("no")])
def test_what_will_not_pass_is_told_at_once(error: Exception) -> None:
    clock, model = FakeClock(), Moody(error)
    with pytest.raises(type(error)):
        list(Patient(model, clock).answer(CHATS, max_new_tokens=2))
    assert (model.asked, clock.slept) == (1, [])


def test_chats_are_asked_as_answers_are_taken() -> None:
    model = Moody()
    next(Patient(model, FakeClock()).answer(CHATS, max_new_tokens=9))
    assert model.asked == 1
