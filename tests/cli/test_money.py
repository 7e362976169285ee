"""Money at the command line: the budget of a month, what was spent, what going on and cancelling cost, the alarm."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
import yaml

from anytune.schema.job import JobState
from anytune.schema.plan import Cancelling, Capabilities, Price
from anytune.testing.fake import FakeProvider, FakeService
from anytune.tuner import Tuner
from anytune.ui import terminal
from tests.cli.conftest import Type

SOURCE = "invented for tests"
BILLED = "the steps that are done are billed"


@pytest.fixture(autouse=True)
def dear(monkeypatch: pytest.MonkeyPatch) -> None:
    """Charge at least four dollars a job, and say what is billed of a cancelled one."""
    known = FakeProvider.capabilities

    def priced(self: FakeProvider, model: str) -> Capabilities:
        price = Price(
            per_million={"sft": Decimal(2)}, minimum=Decimal(4), as_of=date(2026, 11, 22), source=SOURCE
        )  # fmt: skip
        billed = Cancelling(what=BILLED, as_of="November 2026", source=SOURCE)
        return known(self, model).model_copy(update={"price": price, "cancelling": billed})

    monkeypatch.setattr(FakeProvider, "capabilities", priced)


@pytest.fixture
def rented(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rent a machine at two dollars an hour for at most three."""
    known = FakeProvider.capabilities
    price = Price(per_hour=Decimal(2), hours=Decimal(3), as_of=date(2026, 11, 22), source=SOURCE)
    monkeypatch.setattr(
        FakeProvider, "capabilities", lambda self, model: known(self, model).model_copy(update={"price": price})
    )


@pytest.fixture
def says(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], list[str]]:
    """Sit at the terminal and say this to whatever is asked."""

    def saying(word: str) -> list[str]:
        asked: list[str] = []
        monkeypatch.setattr(terminal, "can_ask", lambda: True)
        monkeypatch.setattr(terminal, "ask", lambda question: asked.append(question) or word)
        return asked

    return saying


def own(**settings: object) -> None:
    config = Path(os.environ["XDG_CONFIG_HOME"]) / "anytune"
    config.mkdir(parents=True, exist_ok=True)
    (config / "config.yaml").write_text(yaml.safe_dump(settings))


def submit(anytune: Type, name: str, *more: str) -> str:
    said = anytune("submit", "-y", "--set", f"name={name}", *more)
    assert said.code == 0, said.err
    return said.out.strip()


def now() -> str:
    return f"{datetime.now(UTC):%Y-%m}"


def test_a_plan_beyond_the_projects_month_is_refused_with_the_sum_the_rest_and_the_renewal(
    anytune: Type, folder: Path, service: FakeService
) -> None:
    (folder / "anytune.yaml").write_text("project: sums\nbudget: {month: 10 USD}\n")
    for name in ("one", "two"):
        submit(anytune, name)
    service.calls.clear()
    said = anytune("plan", "--set", "name=three")
    assert said.code == 3
    told = " ".join(said.out.split())
    assert f"the budget of project 'sums' for {now()} is $10.00: $8.00 of it is spent or ordered" in told
    assert "so $2.00 is left, and this may cost up to $4.00" in told
    assert "it renews on " in told
    assert anytune("submit", "-y", "--set", "name=three").code == 3
    assert service.calls == []
    assert "three" not in anytune("list").out


def test_the_job_that_is_there_is_taken_up_however_full_the_month_is(
    anytune: Type, folder: Path, service: FakeService
) -> None:
    (folder / "anytune.yaml").write_text("budget: {month: 4}\n")
    job = submit(anytune, "one")
    assert submit(anytune, "one") == job
    assert anytune("submit", "-y", "--set", "name=one", "--again").code == 3
    assert len(service.jobs) == 1


def test_a_project_cannot_widen_the_users_own_budget_and_needs_no_name(
    anytune: Type, folder: Path, service: FakeService
) -> None:
    own(budget={"month": "5 USD"})
    (folder / "anytune.yaml").write_text("budget: {month: 999 USD}\n")
    submit(anytune, "one")
    said = anytune("plan", "--set", "name=two")
    assert (said.code, "your own budget for" in said.out, "of project" in said.out.split("refused")[1]) == (
        3, True, False,
    )  # fmt: skip
    assert {budget["name"] for budget in anytune("spend", "--json").document["budgets"]} >= {"work"}


def test_with_a_budget_a_job_of_unknown_price_is_refused(anytune: Type, monkeypatch: pytest.MonkeyPatch) -> None:
    own(budget={"month": 100})
    known = FakeProvider.capabilities
    monkeypatch.setattr(
        FakeProvider, "capabilities", lambda self, model: known(self, model).model_copy(update={"price": None})
    )
    said = anytune("plan")
    assert said.code == 3
    assert "and the price is not known" in " ".join(said.out.split())


@pytest.mark.parametrize("amount", ["200 EUR", "€200", "200 dollars", "-5", "yes", "1e3 USD", ".nan"])
def test_an_amount_in_another_currency_or_none_at_all_is_refused_with_its_place(
    anytune: Type, folder: Path, amount: str
) -> None:
    (folder / "anytune.yaml").write_text(f"budget: {{month: {amount}}}\n")
    said = anytune("list")
    assert said.code == 2
    assert "anytune.yaml:1:10: budget.month: " in said.err


@pytest.mark.parametrize("amount", ["200 USD", "$200", "200", "200.00", "USD 200"])
def test_dollars_may_be_written_in_several_ways(folder: Path, amount: str) -> None:
    (folder / "anytune.yaml").write_text(f"budget: {{month: {amount}}}\n")
    assert Tuner().settings.project_budget.month == 200


def test_spend_tells_by_project_and_provider_what_was_spent_ordered_and_is_left(anytune: Type, folder: Path) -> None:
    own(budget={"month": 20})
    (folder / "anytune.yaml").write_text("project: sums\nbudget: {month: 10}\n")
    one = submit(anytune, "one")
    submit(anytune, "two")
    store = Tuner().store
    store.put(store.get(one).model_copy(update={"state": JobState.SUCCEEDED, "cost": Decimal("3.10")}))
    document = anytune("spend", "--json").document
    (row,) = document["rows"]
    assert (row["project"], row["provider"], row["jobs"]) == ("sums", "fake", 2)
    assert (row["cost"], row["expected"], document["usd"], document["currency"]) == ("3.10", "4.00", "7.10", "USD")
    left = {budget["whose"]: budget["left"] for budget in document["budgets"]}
    assert left == {"user": "12.90", "project": "2.90"}
    told = anytune("spend").out
    assert f"the budget of project 'sums': $7.10 of $10.00 taken in {now()}, $2.90 left" in " ".join(told.split())
    assert anytune("spend", "--month", "2020-01", "--json").document["rows"] == []
    assert anytune("spend", "--month", "2020").code == 2


def test_spend_says_what_keeping_a_model_costs_and_that_it_is_not_counted(anytune: Type) -> None:
    job = submit(anytune, "one")
    store = Tuner().store
    made = store.get(job)
    store.put(made.model_copy(update={"provider": "together", "state": JobState.SUCCEEDED}))
    assert "not counted: 1 tuned model at together" in " ".join(anytune("spend").out.split())
    (kept,) = anytune("spend", "--json").document["hosting"]
    assert (kept["provider"], kept["models"], kept["low"]) == ("together", 1, "3.99")


def test_an_empty_month_is_said(anytune: Type) -> None:
    assert f"nothing was ordered in {now()}" in anytune("spend").out


def test_resume_asks_before_money_leaves_again_and_says_how_much(
    anytune: Type, rented: None, service: FakeService, says: Callable[[str], list[str]]
) -> None:
    service.polls_to_end = 99
    job = submit(anytune, "one")
    service.jobs["remote-1"]["status"] = "interrupted"
    said = anytune("resume", job)
    assert (said.code, f"fix: anytune resume {job} -y" in said.err) == (2, True)
    assert "may cost up to $6.00 again (3 hours more at $2 an hour)" in said.err
    asked = says("n")
    assert anytune("resume", job).code == 3
    assert "may cost up to $6.00 again" in asked[0]
    assert service.jobs["remote-1"]["status"] == "interrupted"
    says("y")
    assert anytune("resume", job).code == 0
    assert service.jobs["remote-1"]["status"] == "working"


def test_resume_is_held_to_the_budget_of_the_month(
    anytune: Type, rented: None, folder: Path, service: FakeService
) -> None:
    service.polls_to_end = 99
    (folder / "anytune.yaml").write_text("budget: {month: 10}\n")
    job = submit(anytune, "one")
    service.jobs["remote-1"]["status"] = "interrupted"
    said = anytune("resume", job, "-y")
    assert said.code == 3
    assert "$6.00 of it is spent or ordered, so $4.00 is left, and this may cost up to $6.00" in said.err
    (folder / "anytune.yaml").write_text("budget: {month: 12}\n")
    assert anytune("resume", job, "-y").code == 0
    assert anytune("spend", "--json").document["usd"] == "12.00"


def test_what_cancelling_costs_is_said_before_it_happens(
    anytune: Type, service: FakeService, says: Callable[[str], list[str]]
) -> None:
    service.polls_to_end = 99
    job = submit(anytune, "one")
    asked = says("n")
    said = anytune("cancel", job)
    assert said.code == 3
    assert f"cancelling {job}: fake: {BILLED} (as of November 2026)" in " ".join(said.err.split())
    assert (len(asked), service.jobs["remote-1"]["status"]) == (1, "waiting")
    document = anytune("cancel", job, "-y", "--json").document
    assert BILLED in document["cancelling"]
    assert service.jobs["remote-1"]["status"] == "stopped"
    assert anytune("cancel", job).code == 0, "it has ended: nothing is asked"
    assert len(asked) == 1


def test_where_nobody_can_be_asked_a_cancel_says_it_and_goes_on(anytune: Type, service: FakeService) -> None:
    job = submit(anytune, "one")
    said = anytune("cancel", job)
    assert (said.code, said.out) == (0, f"{job} cancelled\n")
    assert BILLED in " ".join(said.err.split())


def told_to(folder: Path) -> Path:
    kept = folder / "kept.json"
    command = [sys.executable, "-c", f"import sys; open({str(kept)!r}, 'a').write(sys.stdin.read() + chr(10))"]
    own(notify={"command": command})
    return kept


@pytest.mark.parametrize("watch", [("watch", "one"), ("watch", "--all")])
def test_a_job_past_its_estimate_raises_one_alarm_in_the_watch_the_events_and_the_notifications(
    anytune: Type, rented: None, folder: Path, service: FakeService, watch: tuple[str, ...]
) -> None:
    kept = told_to(folder)
    service.polls_to_end = 20
    job = submit(anytune, "one")
    began(job, hours=4)
    said = anytune(*watch, "--timeout", "20")
    assert said.code in (0, 7)
    told = " ".join((said.out + said.err).split())
    past = r"is past its estimate: \$8\.0\d so far \(14,4\d\d s at \$2\.00 an hour\), at most \$6\.00 was expected"
    assert len(re.findall(past, told)) == 1, told
    assert f"anytune cancel {job} stops it: fake: {BILLED}" in told
    anytune("watch", "--all", "--timeout", "20")
    anytune("watch", job, "--timeout", "20")
    happened = anytune("events", job, "--json").document["events"]
    assert [event["level"] for event in happened if event["id"] == "past-its-estimate"] == ["warning"]
    news = [json.loads(line) for line in kept.read_text().splitlines()]
    (alarm,) = [one for one in news if one["type"] == "job.past_estimate"]
    assert alarm["data"]["id"] == job
    assert alarm["data"]["alarm"]["most"] == "6.00"
    assert 8 <= float(alarm["data"]["alarm"]["now"]) < 8.01


def began(job: str, *, hours: float) -> None:
    """Let a job's record say that it has been running for so long."""
    store = Tuner().store
    was = Tuner().refresh(job)
    at = datetime.now(UTC) - timedelta(hours=hours)
    store.put(was.model_copy(update={
        "history": tuple(stay.model_copy(update={"since": at}) for stay in was.history),
        "orders": tuple(order.model_copy(update={"at": at}) for order in was.orders),
    }))  # fmt: skip


def test_a_job_within_its_estimate_raises_none(anytune: Type, rented: None, service: FakeService) -> None:
    service.polls_to_end = 99
    job = submit(anytune, "one")
    began(job, hours=3.01)  # the provider ends it after three: it was seen a little late
    said = anytune("watch", job, "--timeout", "20")
    assert "past its estimate" not in said.out + said.err
