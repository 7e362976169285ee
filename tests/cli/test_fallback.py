"""`fallback` at the command line: who is asked next, what is asked anew, and what is told."""

from __future__ import annotations

import os
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from anytune import providers
from anytune.errors import ClosedError, QuotaError, RejectedError, UnavailableError
from anytune.schema.job import Job
from anytune.schema.plan import Capabilities, Plan
from anytune.testing.fake import FakeProvider, FakeService
from anytune.tuner import Tuner
from tests.cli.conftest import KEY, Type
from tests.cli.far_side import SERVICES

CLOSED = "fake: create: not for new jobs"


@pytest.fixture(autouse=True)
def spare(folder: Path, monkeypatch: pytest.MonkeyPatch) -> FakeService:
    """Have another provider to go to, and a job file that names it."""
    monkeypatch.setitem(providers.BUILT_IN, "spare", "tests.cli.far_side:SpareFake")
    monkeypatch.setenv("SPARE_API_KEY", KEY)
    job = folder / "finetune.yaml"
    job.write_text(job.read_text() + "fallback: [spare]\n")
    return SERVICES.setdefault(Path(os.environ["ANYTUNE_HOME"]) / "spare", FakeService())


def closed_since_yesterday(self: FakeProvider, model: str) -> Capabilities:
    known = OPEN(self, model)
    return known.model_copy(update={"accepts_jobs_until": date(2026, 1, 1)}) if self.name == "fake" else known


OPEN = FakeProvider.capabilities


@pytest.mark.parametrize(
    "error", [ClosedError(CLOSED), QuotaError("fake: no credit"), RejectedError("x", param="model")]
)
def test_the_next_one_is_asked_when_the_first_refuses_for_reasons_of_its_own(
    anytune: Type, service: FakeService, spare: FakeService, error: RejectedError
) -> None:
    service.faults["create"] = [error]
    said = anytune("submit", "-y", "--json")
    assert said.code == 0
    assert said.document["job"]["provider"] == "spare"
    assert "going on to spare" in said.err
    assert said.err.count("sums   sft of fake-1 at") == 2, "each is planned and shown by itself"
    assert (len(service.jobs), len(spare.jobs)) == (0, 1)
    (told,) = said.document["job"]["instead_of"]
    assert error.message in told
    assert told in " ".join(anytune("show").out.split())


def test_the_second_run_is_the_same_job_and_asks_the_first_provider_nothing(
    anytune: Type, service: FakeService, spare: FakeService
) -> None:
    service.faults["create"] = [ClosedError(CLOSED)]
    first = anytune("submit", "-y").out
    calls = list(service.calls)
    assert anytune("submit", "-y").out == first
    assert anytune("run", "-y", "--no-eval").code == 0
    assert service.calls == calls
    assert len(spare.jobs) == 1


def test_a_provider_that_is_closed_by_its_catalogue_is_not_sent_anything(
    anytune: Type, service: FakeService, spare: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FakeProvider, "capabilities", closed_since_yesterday)
    said = anytune("submit", "-y", "--json")
    assert said.document["job"]["provider"] == "spare"
    assert "takes no new jobs" in said.document["job"]["instead_of"][0]
    assert service.calls == []
    monkeypatch.setattr(FakeProvider, "capabilities", OPEN)  # by a newer catalogue: the job is where it is
    again = anytune("submit", "-y", "--json")
    assert again.document["job"]["id"] == said.document["job"]["id"]
    assert (len(service.jobs), len(spare.jobs)) == (0, 1)


def test_again_begins_with_the_first_provider(anytune: Type, service: FakeService, spare: FakeService) -> None:
    service.faults["create"] = [ClosedError(CLOSED)]
    anytune("submit", "-y")
    assert anytune("submit", "-y", "--again", "--json").document["job"]["provider"] == "fake"
    assert (len(service.jobs), len(spare.jobs)) == (1, 1)


def test_what_was_made_again_is_the_job_that_the_next_run_finds(
    anytune: Type, service: FakeService, spare: FakeService
) -> None:
    service.faults["create"] = [ClosedError(CLOSED)]
    anytune("submit", "-y")
    made = anytune("submit", "-y", "--again", "--json").document["job"]
    assert anytune("submit", "-y", "--json").document["job"]["id"] == made["id"]
    assert (len(service.jobs), len(spare.jobs)) == (1, 1)


def test_two_at_once_go_on_to_the_same_job(
    anytune: Type, service: FakeService, spare: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other process is refused between this one's plan and its submit."""
    submit, others = Tuner.submit_or_leave, [True]

    def overtaken(self: Tuner, plan: Plan, **how: Any) -> Job:
        if others.pop() if others else False:
            with pytest.raises(ClosedError):
                submit(self, plan, **how)
        return submit(self, plan, **how)

    monkeypatch.setattr(Tuner, "submit_or_leave", overtaken)
    service.faults["create"] = [ClosedError(CLOSED)]
    assert anytune("submit", "-y", "--json").document["job"]["provider"] == "spare"
    assert (len(service.jobs), len(spare.jobs)) == (0, 1)


def test_a_fault_of_the_data_a_setting_or_the_key_asks_nobody_else(
    anytune: Type, folder: Path, service: FakeService, spare: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.faults["create"] = [RejectedError("fake: create: the file is faulty", param="training_file")]
    assert anytune("submit", "-y").code == 3
    assert anytune("submit", "-y", "--set", "training.epochs=99", "--set", "name=other").code == 3
    monkeypatch.setenv("FAKE_API_KEY", "another-key-0987654321")
    assert anytune("submit", "-y", "--set", "name=third").code == 6
    (folder / "train.jsonl").write_text("no JSON\n")
    assert anytune("submit", "-y", "--set", "name=fourth").code == 3
    assert spare.calls == []


def test_the_fallback_has_its_own_residency_and_its_own_yes(
    anytune: Type, folder: Path, service: FakeService, spare: FakeService
) -> None:
    service.faults["create"] = [ClosedError(CLOSED), ClosedError(CLOSED)]
    (folder / "anytune.yaml").write_text("policy: {providers: [fake, local]}\n")
    said = anytune("submit", "-y")
    assert said.code == 3
    assert "allows only fake, local" in said.err
    assert spare.calls == []


def test_nobody_takes_it_and_each_reason_is_told(anytune: Type, service: FakeService, spare: FakeService) -> None:
    service.faults["create"] = [ClosedError(CLOSED)]
    spare.faults["create"] = [QuotaError("spare: no credit")]
    said = anytune("submit", "-y")
    assert said.code == 3
    assert "no provider took sums" in said.err
    assert f"- {CLOSED}" in said.err
    assert "- spare: no credit" in said.err


def test_a_fallback_that_is_not_set_up_is_passed_over(
    anytune: Type, service: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.faults["create"] = [ClosedError(CLOSED)]
    monkeypatch.delenv("SPARE_API_KEY")
    said = anytune("submit", "-y")
    assert said.code == 3
    assert "SPARE_API_KEY" in said.err


def test_an_outage_leads_on_when_it_lasts(
    anytune: Type, service: FakeService, spare: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("anytune.jobs.elsewhere.OUTAGE", 0.0)
    monkeypatch.setattr("anytune.clock.time.sleep", lambda _: None)
    service.faults["upload"] = [UnavailableError("fake: cannot be reached")] * 100
    assert anytune("submit", "-y", "--json").document["job"]["provider"] == "spare"
    assert (len(service.jobs), len(spare.jobs)) == (0, 1)


def test_an_outage_of_all_leaves_the_job_with_the_last_to_go_on(
    anytune: Type, service: FakeService, spare: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("anytune.jobs.elsewhere.OUTAGE", 0.0)
    monkeypatch.setattr("anytune.clock.time.sleep", lambda _: None)
    for far in (service, spare):
        far.faults["upload"] = [UnavailableError("fake: cannot be reached")] * 100
    said = anytune("submit", "-y")
    assert said.code == 1
    assert "fix: anytune submit finetune.yaml goes on at spare" in said.err
    assert "- fake: cannot be reached" in said.err
    states = {job["provider"]: job["state"] for job in anytune("list", "--json").document["jobs"]}
    assert states == {"fake": "failed", "spare": "submitting"}
    spare.faults.clear()
    went = anytune("submit", "-y", "--json").document["job"]
    assert (went["provider"], went["attempt"], len(went["instead_of"])) == ("spare", 1, 1)
    assert (len(service.jobs), len(spare.jobs)) == (0, 1)


def test_a_fallback_that_there_is_not_is_told_before_anybody_is_asked(
    anytune: Type, folder: Path, service: FakeService
) -> None:
    job = folder / "finetune.yaml"
    job.write_text(job.read_text().replace("[spare]", "[spar]"))
    said = anytune("submit", "-y")
    assert said.code == 2
    assert "did you mean spare?" in said.err
    job.write_text(job.read_text().replace("[spar]", "[spare]").replace("model: fake-1", "models: {fake: fake-1}"))
    said = anytune("submit", "-y")
    assert (said.code, "no model for provider 'spare'" in said.err) == (2, True)
    assert service.calls == []


def test_the_plan_says_who_would_be_asked_next(anytune: Type) -> None:
    assert "fallback  spare; each is planned anew" in anytune("plan").out
