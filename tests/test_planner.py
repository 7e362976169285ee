"""A plan says everything that a submit would do, and every reason against it."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from anytune import catalog, planner
from anytune.schema.data import DataReport, FileReport, Issue
from anytune.schema.plan import Capabilities, Plan, Policy, Rule, Setting
from anytune.testing import FakeProvider, sample_file, sample_spec
from tests.rigs import make_plan, profile, report_of

TODAY = date(2026, 11, 22)


@pytest.fixture
def provider(tmp_path: Path) -> FakeProvider:
    return FakeProvider(profile(tmp_path))


def hosted(tmp_path: Path, provider: str, model: str, *, today: date = TODAY, force: bool = False) -> Plan:
    file = sample_file(tmp_path)
    return planner.make(
        sample_spec(file, provider=provider, model=model),
        report_of(file),
        catalog.capabilities(provider, model, settings={"training.epochs": Rule(outcome="kept", to="n_epochs")}),
        policy=Policy(),
        today=today,
        force=force,
    )


def test_a_refused_plan_names_every_reason_not_the_first(tmp_path: Path, provider: FakeProvider) -> None:
    plan = make_plan(
        tmp_path,
        provider,
        policy=Policy(residency="us", providers=("local",)),
        model="fake-2",
        method="dpo",
        training={"epochs": 80, "quantize": "nf4"},
        budget={"usd": "0.01"},
    )
    text = "\n".join(plan.refused)
    for reason in (
        "training.epochs = 80: the most that fake takes is 50",
        "training.quantize = nf4: the fake provider keeps only a few settings",
        "method dpo: fake trains fake-2 by sft only",
        "the project's policy is us: fake keeps the data in eu",
        "the project's policy allows only local",
        "the job's budget is $0.01",
        "fake tunes no model 'fake-2' that the catalogue knows; did you mean fake-1?",
    ):
        assert reason in text


def test_settings_are_kept_with_the_providers_own_name(tmp_path: Path, provider: FakeProvider) -> None:
    plan = make_plan(tmp_path, provider, training={"epochs": 4, "seed": 7})
    assert [(s.path, s.outcome, s.to) for s in plan.settings] == [
        ("training.epochs", "kept", "epochs"),
        ("training.seed", "kept", "seed"),
    ]


def test_a_setting_without_a_rule_is_refused_not_dropped(tmp_path: Path) -> None:
    file = sample_file(tmp_path)
    spec = sample_spec(file, provider="fake", model="m").model_copy(update={"suffix": "mine"})
    bare = Capabilities(provider="fake", model="m", known=True, methods=("sft",), settings={}, local=True)
    plan = planner.make(spec, report_of(file), bare, policy=Policy(), today=TODAY)
    assert "suffix = mine: fake has no such setting" in plan.refused


def test_the_cost_is_tokens_times_epochs_times_price(tmp_path: Path, provider: FakeProvider) -> None:
    cost = make_plan(tmp_path, provider, training={"epochs": 10}).cost
    assert (cost.low, cost.expected, cost.high) == (Decimal("0.02"), Decimal("0.02"), Decimal("0.03"))
    assert cost.as_of == TODAY
    assert "10 epochs at $2 per million" in cost.basis


def test_a_minimum_charge_is_charged(tmp_path: Path) -> None:
    assert hosted(tmp_path, "together", "Qwen/Qwen3.5-9B").cost.expected == Decimal("4.00")


def test_an_unknown_price_is_said_and_breaks_a_budget(tmp_path: Path, provider: FakeProvider) -> None:
    spec = {"model": "fake-1", "budget": {"usd": 5}}
    plan = make_plan(tmp_path, provider, **spec)
    unpriced = plan.capabilities.model_copy(update={"price": None})
    again = planner.make(plan.spec, plan.data, unpriced, policy=Policy(), today=TODAY)
    assert again.cost.expected is None
    assert any("the price is not known" in reason for reason in again.refused)


def test_a_closed_provider_is_refused_after_its_date_and_warned_about_before(tmp_path: Path) -> None:
    before = hosted(tmp_path, "openai", "gpt-4.1-mini-2025-04-14")
    assert before.ok
    assert any("shut down on 2027-01-14, in 53 days" in warning for warning in before.warnings)
    after = hosted(tmp_path, "openai", "gpt-4.1-mini-2025-04-14", today=date(2027, 1, 6))
    assert any("takes no new jobs" in reason for reason in after.refused)
    assert hosted(tmp_path, "openai", "gpt-4.1-mini-2025-04-14", today=date(2027, 1, 6), force=True).ok


def test_old_prices_are_said_to_be_old(tmp_path: Path) -> None:
    plan = hosted(tmp_path, "together", "Qwen/Qwen3.5-9B")
    assert any("were read on 2026-09-11" in warning for warning in plan.warnings)


@pytest.mark.parametrize(
    ("residency", "provider", "model", "refused"),
    [
        ("any", "openai", "gpt-4.1-mini-2025-04-14", False),
        ("eu", "openai", "gpt-4.1-mini-2025-04-14", True),
        ("us", "together", "Qwen/Qwen3.5-9B", False),
        ("eu", "together", "Qwen/Qwen3.5-9B", True),
        ("local", "together", "Qwen/Qwen3.5-9B", True),
    ],
)
def test_data_goes_only_where_it_may(tmp_path: Path, residency: str, provider: str, model: str, refused: bool) -> None:
    file = sample_file(tmp_path)
    spec = sample_spec(file, provider=provider, model=model)
    spec = spec.model_copy(update={"data": spec.data.model_copy(update={"residency": residency})})
    rules = {"training.epochs": Rule(outcome="kept")}
    plan = planner.make(
        spec, report_of(file), catalog.capabilities(provider, model, settings=rules), policy=Policy(), today=TODAY
    )
    assert bool(plan.refused) is refused


def test_faulty_data_refuses_the_plan_with_the_first_line_and_the_count(tmp_path: Path, provider: FakeProvider) -> None:
    plan = make_plan(tmp_path, provider)
    issue = Issue(code="role-unknown", level="error", message="'human' is no role", line=3)
    report = FileReport(path=Path("train.jsonl"), examples=9, errors=(issue,), counts={"role-unknown": 5})
    bad = planner.make(plan.spec, DataReport(files=(report,)), plan.capabilities, policy=Policy(), today=TODAY)
    assert bad.refused[0] == "train.jsonl line 3: 'human' is no role [role-unknown] (and 4 more: anytune check)"


def test_the_same_content_has_the_same_fingerprint_wherever_it_lies(tmp_path: Path, provider: FakeProvider) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    one, other = (make_plan(tmp_path / place, provider) for place in "ab")
    assert one.fingerprint == other.fingerprint
    assert make_plan(tmp_path / "a", provider, training={"epochs": 3}).fingerprint != one.fingerprint


def test_the_stricter_budget_goes_with_the_plan(tmp_path: Path, provider: FakeProvider) -> None:
    plan = make_plan(tmp_path, provider, policy=Policy(budget_usd=Decimal(3)), budget={"usd": 5})
    assert plan.spec.budget is not None
    assert plan.spec.budget.usd == 3


def test_test_data_that_is_trained_on_is_not_held_out(tmp_path: Path, provider: FakeProvider) -> None:
    plan = make_plan(tmp_path, provider)
    twice = DataReport(files=(*plan.data.files, *report_of(sample_file(tmp_path, role="test")).files))
    made = planner.make(plan.spec, twice, plan.capabilities, policy=Policy(), today=TODAY)
    assert made.refused == ("data.test has the same content as data.train: it is not held out",)


def test_a_base_model_that_would_be_fetched_is_refused_where_nothing_may_leave(
    tmp_path: Path, provider: FakeProvider
) -> None:
    plan = make_plan(tmp_path, provider)
    here = plan.capabilities.model_copy(update={"local": True, "fetches": "the base model"})
    spec = plan.spec.model_copy(update={"data": plan.spec.data.model_copy(update={"residency": "local"})})
    made = planner.make(spec, plan.data, here, policy=Policy(), today=TODAY)
    assert made.refused == ("data.residency is local: the base model would be fetched",)


def test_what_stands_in_the_request_for_a_setting_is_told(tmp_path: Path, provider: FakeProvider) -> None:
    plan = make_plan(tmp_path, provider, training={"epochs": 4, "seed": 7})
    request = {"tag": "x", "body": {"epochs": 4, "deep": {"seed": 8}}}
    assert [setting.sent for setting in planner.as_sent(plan.settings, request)] == [4, 8]
    assert [setting.sent for setting in planner.as_sent(plan.settings, {})] == [None, None]


def test_of_several_places_the_one_that_the_request_has_is_told() -> None:
    either = Setting(path="training.epochs", value=4, outcome="kept", to="method.{supervised|dpo}.n")
    request = {"method": {"type": "dpo", "dpo": {"n": 4}}}
    assert [made.to for made in planner.as_sent((either,), request)] == ["method.dpo.n"]
    assert [made.to for made in planner.as_sent((either,), {"n": 4})] == [either.to]
