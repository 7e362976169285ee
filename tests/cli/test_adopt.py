"""`adopt` and `abandon` at the command line."""

from __future__ import annotations

import pytest

from anytune.errors import AmbiguousError, RejectedError, UnavailableError
from anytune.testing.fake import FakeService
from tests.cli.conftest import Type

ELSEWHERE = {"status": "waiting", "polls": 0, "request": {"tag": None, "model": "fake-1"}}


def test_a_job_made_elsewhere_is_listed_watched_and_asked(anytune: Type, service: FakeService) -> None:
    service.jobs["ft-1"] = dict(ELSEWHERE)
    said = anytune("adopt", "fake", "ft-1", "--json")
    job = said.document["job"]
    assert (said.code, job["name"], job["model"], job["remote"]["id"]) == (0, "ft-1", "fake-1", "ft-1")
    assert anytune("adopt", "fake", "ft-1").out.startswith(job["id"])
    assert job["id"] in anytune("list").out
    assert anytune("watch", "last").code == 0
    assert "tuned-ft-1" in anytune("show").out
    assert anytune("chat", "last", "--once", "Hello?").code == 0


def test_what_is_not_there_is_told_with_the_way_out(anytune: Type) -> None:
    assert anytune("adopt", "fake", "ft-1").code == 3
    said = anytune("adopt", "nobody", "ft-1")
    assert (said.code, "no provider and no job is called 'nobody'" in said.err) == (2, True)
    assert "fix: there are: local, openai" in said.err
    for meant, given in (("openai", "opnai"), ("fake", "fak")):
        said = anytune("adopt", given, "ft-1")
        assert f"no provider and no job is called {given!r}" in said.err
        assert f"did you mean {meant}?" in said.err
    assert anytune("abandon", "last").code == 2


def test_a_submit_left_open_says_what_the_user_can_say(anytune: Type, service: FakeService) -> None:
    service.faults |= {"lost": [AmbiguousError("dropped")], "find": [RejectedError("fake: no lists")]}
    said = anytune("submit", "-y")
    assert said.code == 1
    assert "ITS-ID, or anytune abandon" in said.err
    assert anytune("adopt", "sums", "remote-1").out.split()[1] == "running"
    assert anytune("abandon", "sums").code == 5, "what is there is not given up"
    assert service.calls.count("create") == 1


def test_a_job_given_up_in_an_outage_is_told_to_be_there_perhaps(
    anytune: Type, service: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("anytune.clock.time.sleep", lambda _: None)
    anytune("submit", "-y")
    service.faults["retrieve"] = [UnavailableError("fake: away")] * 10
    said = anytune("abandon", "sums", "--json")
    assert "fake could not be asked and may have it" in " ".join(said.err.split())
    assert "may have it" in said.document["job"]["error"]
