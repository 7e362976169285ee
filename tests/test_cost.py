"""What a job costs: before, afterwards, and how far the two are apart; no figure is made up."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from anytune import cost as reckoning
from anytune import providers
from anytune.config import ProfileSettings, Settings
from anytune.jobs import desk
from anytune.providers.base import Profile
from anytune.schema.catalog import Layer
from anytune.schema.job import Job, JobState, RemoteJob
from anytune.schema.plan import CostEstimate, Deviation, Plan, ResourceEstimate
from anytune.schema.training import Method
from anytune.testing import FakeClock, FakeProvider, no_key, sample_file, sample_spec
from anytune.testing.offline import with_setting
from anytune.tuner import Tuner
from anytune.ui import jobs as ui
from tests.models import a_model
from tests.providers._roots import one_root
from tests.rigs import make_bench
from tests.stubs._http import StubServer
from tests.stubs.fireworks import ACCOUNT, FireworksStub
from tests.stubs.openai import OpenAIStub
from tests.stubs.together import TogetherStub

STUBS = {"openai": OpenAIStub, "together": TogetherStub, "fireworks": FireworksStub}
MODELS = {"openai": "gpt-4.1-mini-2025-04-14", "together": "Qwen/Qwen3.5-9B", "fireworks": "qwen3p5-9b"}
BASIS = {
    "openai": "trained tokens at the price of 2026-11-22",
    "together": "the job's total_price",
    "fireworks": "an estimate of Fireworks' own; no bill comes with the job",
}


@pytest.fixture(params=STUBS)
def stub(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StubServer]:
    one_root(tmp_path, monkeypatch)
    with STUBS[request.param]() as running:
        running.name = request.param
        yield running


def ended(folder: Path, stub: StubServer) -> Job:
    """Run a small job at a stand-in until it ends."""
    name = str(stub.name)  # type: ignore[attr-defined]
    sample_file(folder)
    (folder / "finetune.yaml").write_text(
        f"name: sums\nprovider: {name}\nmodel: {MODELS[name]}\ndata: {{train: train.jsonl}}\ntraining: {{epochs: 2}}\n"
    )
    reached = ProfileSettings(base_url=stub.base_url, account=ACCOUNT if name == "fireworks" else None)
    settings = Settings(home=folder / "home", profiles={name: reached})
    tuner = Tuner(settings=settings, environment={f"{name.upper()}_API_KEY": stub.key}, clock=FakeClock())
    job = tuner.submit(tuner.plan(tuner.read(folder / "finetune.yaml")))
    *_, job = tuner.wait(job.id)
    assert job.state is JobState.SUCCEEDED, job.error
    return tuner.job(job.id)


def test_the_bill_is_kept_with_its_basis_and_the_error_of_the_estimate(tmp_path: Path, stub: StubServer) -> None:
    job = ended(tmp_path, stub)
    assert job.cost is not None
    assert job.cost_basis is not None
    assert BASIS[str(stub.name)] in job.cost_basis  # type: ignore[attr-defined]
    assert job.plan.cost.expected is not None
    assert job.deviation is not None
    assert job.deviation.usd == job.cost - job.plan.cost.expected
    document = ui.document(job)
    assert Decimal(document["cost"]) == job.cost
    assert set(document["deviation"]) == {"usd", "share", "within"}


def estimate(low: str, expected: str, high: str) -> CostEstimate:
    return CostEstimate(low=Decimal(low), expected=Decimal(expected), high=Decimal(high), basis="a table")


@pytest.mark.parametrize(
    ("told", "cost", "off"),
    [
        (estimate("1", "2", "3"), "2", Deviation(usd=Decimal(0), share=0.0, within=True)),
        (estimate("1", "2", "3"), "3.004", Deviation(usd=Decimal("1.004"), share=0.502, within=True)),
        (estimate("1", "2", "3"), "5", Deviation(usd=Decimal(3), share=1.5, within=False)),
        (estimate("1", "2", "3"), "0.5", Deviation(usd=Decimal("-1.5"), share=-0.75, within=False)),
        (estimate("0", "0", "0"), "0.5", Deviation(usd=Decimal("0.5"), share=None, within=False)),
        (CostEstimate(low=None, expected=None, high=None, basis="no price known"), "1", None),
    ],
)
def test_the_error_of_an_estimate_is_the_bill_less_what_was_expected(
    told: CostEstimate, cost: str, off: Deviation | None
) -> None:
    assert reckoning.deviation(told, Decimal(cost)) == off


def test_a_bill_that_was_told_stays_until_a_newer_one_is(tmp_path: Path) -> None:
    bench = make_bench(tmp_path)
    job = bench.store.add(_job(bench.plan()))
    running = RemoteJob(id="r", status="working", state=JobState.RUNNING, cost=Decimal("0.5"))
    job = desk.record(job, running, bench.desk)
    assert (job.cost, job.cost_basis, job.deviation) == (Decimal("0.5"), "as fake says", None)
    job = desk.record(job, running.model_copy(update={"cost": None}), bench.desk)
    assert (job.cost, job.cost_basis) == (Decimal("0.5"), "as fake says")
    done = running.model_copy(update={"state": JobState.SUCCEEDED, "model": "m", "cost": None, "trained_tokens": 10**6})
    job = desk.record(job, done, bench.desk)
    assert (job.cost, job.cost_basis) == (Decimal(2), "1,000,000 trained tokens at the price of 2026-11-22")


def test_a_job_that_was_stopped_has_a_bill_and_no_error_of_its_estimate(tmp_path: Path) -> None:
    bench = make_bench(tmp_path)
    job = bench.store.add(_job(bench.plan()))
    stopped = RemoteJob(id="r", status="stopped", state=JobState.CANCELLED, cost=Decimal("0.5"))
    job = desk.record(job, stopped, bench.desk)
    assert (job.cost, job.deviation) == (Decimal("0.5"), None)


def _job(plan: Plan) -> Job:
    now = FakeClock().now()
    return Job(id="sums-1", provider="fake", plan=plan, created_at=now, updated_at=now)


def test_an_own_machine_costs_what_the_settings_say_of_its_time() -> None:
    layer = Layer.model_validate({"usd_per_hour": "3.6"})
    assert layer.usd_per_hour == Decimal("3.6")
    can = FakeProvider(Profile(name="fake", home=Path("/nowhere"), key=no_key)).capabilities("fake-1")
    here = can.model_copy(update={"local": True, "usd_per_hour": Decimal("3.6"), "usd_per_kwh": Decimal("0.5")})
    need = ResourceEstimate(
        seconds_low=50, seconds_expected=100, seconds_high=200, memory_low=1, memory_expected=1, memory_high=1,
        memory_available=2, watt_hours=10, device="cpu", basis="measured",
    )  # fmt: skip
    rate = reckoning.own_rate(here, need)
    assert rate == pytest.approx(Decimal("0.001") + Decimal("0.36") * Decimal("0.5") / 3600)
    assert reckoning.own_rate(here, None) is None
    assert reckoning.own_rate(can, need) is None


@pytest.mark.parametrize("method", ["sft", "dpo"])
@pytest.mark.parametrize("name", providers.BUILT_IN)
def test_the_number_of_epochs_is_always_sent_so_that_no_provider_chooses_one(
    tmp_path: Path, name: str, method: Method
) -> None:
    spec = sample_spec(sample_file(tmp_path), provider=name, model=a_model(name, method))
    spec = spec.model_copy(update={"method": method, "training": type(spec.training)()})
    provider = providers.load(name, Profile(name=name, home=tmp_path, key=no_key))
    said, other = (with_setting(spec, "training.epochs", epochs) for epochs in (spec.training.epochs, 7))
    bodies = [
        provider.render(asked, job_id="j-1", training_file="f", validation_file=None) for asked in (spec, said, other)
    ]
    assert bodies[0] == bodies[1] != bodies[2]
