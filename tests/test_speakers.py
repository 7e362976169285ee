"""Servers that speak OpenAI's API, from the job file on: named, planned, refused for where data go, and run."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from anytune.config import ProfileSettings, Settings, load_settings
from anytune.errors import CredentialError, KeyRefusedError, RefusedError, UsageError
from anytune.schema.job import JobState
from anytune.schema.plan import Plan, Policy
from anytune.testing import FakeClock, sample_file
from anytune.tuner import Tuner
from tests.stubs._openai_manners import AZURE, NEBIUS, OPENAI, OWN
from tests.stubs.openai import OpenAIStub

EXAMPLE = Path(__file__).resolve().parent.parent / "examples" / "english-to-sql"
AT_AZURE = "https://mine.openai.azure.com"
JOB = """\
name: sums
provider: openai
models:
  openai: gpt-4.1-mini-2025-04-14
  azure: gpt-4.1-mini-2025-04-14
  nebius: meta-llama/Meta-Llama-3.1-8B-Instruct
  mine: acme/own-7b
data: {train: train.jsonl, test: test.jsonl}
training: {epochs: 1, seed: 3, learning_rate: 1.0e-4, lora: {rank: 8}}
overrides:
  openai: {training: {learning_rate: auto, lora: auto}}
  azure: {training: {learning_rate: auto, lora: auto}}
  mine: {training: {learning_rate: auto, lora: auto}}
"""


def tuner(folder: Path, profiles: dict[str, dict[str, Any]], *, policy: Policy = Policy(), **keys: str) -> Tuner:
    made = {name: ProfileSettings(**profile) for name, profile in profiles.items()}
    settings = Settings(home=folder / "home", profiles=made, policy=policy)
    return Tuner(settings=settings, environment=keys, clock=FakeClock())


@pytest.fixture
def planned(tmp_path: Path) -> Callable[..., Plan]:
    """Plan the job at a provider, with one profile of it."""
    sample_file(tmp_path)
    sample_file(tmp_path, role="test", examples=11)
    (tmp_path / "finetune.yaml").write_text(JOB)

    def plan(name: str, *changes: str, policy: Policy = Policy(), **profile: Any) -> Plan:
        at = tuner(tmp_path, {name: profile} if profile else {}, policy=policy)
        return at.plan(at.read(tmp_path / "finetune.yaml", provider=name, changes=changes))

    return plan


@pytest.fixture
def hosts() -> Iterator[dict[str, OpenAIStub]]:
    with ExitStack() as stack:
        manners = {"openai": OPENAI, "azure": AZURE, "nebius": NEBIUS, "mine": OWN}
        yield {name: stack.enter_context(OpenAIStub(manner=manner)) for name, manner in manners.items()}


# the switch


def test_the_provider_line_alone_moves_a_job_among_those_who_speak_openais_api(
    tmp_path: Path, hosts: dict[str, OpenAIStub], planned: Callable[..., Plan]
) -> None:
    keys = {name: f"{name.upper()}_KEY" for name in hosts}
    profiles = {n: {"base_url": stub.base_url, "key_variable": keys[n]} for n, stub in hosts.items()}
    profiles["mine"]["like"] = "openai"
    at = tuner(tmp_path, profiles, **{keys[name]: stub.key for name, stub in hosts.items()})
    for name, stub in hosts.items():
        (tmp_path / "finetune.yaml").write_text(JOB.replace("provider: openai", f"provider: {name}"))
        stub.unchecked = 2
        plan = at.plan(at.read(tmp_path / "finetune.yaml"))
        assert plan.ok, plan.refused
        *_, job = at.wait(at.submit(plan).id)
        assert job.state is JobState.SUCCEEDED, job.error
        assert at.model(job.id).name
        assert len(stub.jobs) == 1
        assert at.events(job.id)
    assert {job.provider for job in at.store.list()} == set(hosts)


def test_the_example_moves_to_azure_and_nebius_by_its_provider_line(tmp_path: Path) -> None:
    folder = shutil.copytree(EXAMPLE, tmp_path / "example")
    at = tuner(tmp_path, {"azure": {"base_url": AT_AZURE}})
    for name in ("azure", "nebius"):
        text = (folder / "finetune.yaml").read_text().replace("provider: local", f"provider: {name}")
        (folder / "finetune.yaml").write_text(text)
        plan = at.plan(at.read(folder / "finetune.yaml"))
        assert plan.ok, plan.refused
        (folder / "finetune.yaml").write_text(text.replace(f"provider: {name}", "provider: local"))


def test_a_model_that_is_not_there_yet_is_waited_for(
    tmp_path: Path, hosts: dict[str, OpenAIStub], planned: Callable[..., Plan]
) -> None:
    stub = hosts["openai"]
    at = tuner(tmp_path, {"openai": {"base_url": stub.base_url}}, OPENAI_API_KEY=stub.key)
    job = at.submit(at.plan(at.read(tmp_path / "finetune.yaml")))
    list(at.wait(job.id))
    stub.not_ready = 3
    report = at.evaluate(job.id)
    assert report.metrics[0].tuned > report.metrics[0].base == 0.0


# where data go


@pytest.mark.parametrize(
    ("profile", "regions", "allowed"),
    [
        ({"base_url": AT_AZURE}, None, False),
        ({"base_url": AT_AZURE, "region": "swedencentral"}, ("swedencentral", "eu"), True),
        ({"base_url": AT_AZURE, "region": "northcentralus"}, ("northcentralus", "us"), False),
        ({"base_url": AT_AZURE, "region": "eu"}, ("eu",), True),
        ({"base_url": AT_AZURE, "region": "swedencentral", "tier": "standard"}, ("swedencentral", "eu"), True),
        ({"base_url": AT_AZURE, "region": "swedencentral", "tier": "globalStandard"}, None, False),
        ({"base_url": AT_AZURE, "region": "eu", "tier": "developer"}, None, False),
    ],
)
def test_azure_keeps_data_in_a_region_only_where_the_tier_does_not_roam(
    planned: Callable[..., Plan], profile: dict[str, str], regions: tuple[str, ...] | None, allowed: bool
) -> None:
    for wish in ({"changes": ("data.residency=eu",)}, {"policy": Policy(residency="eu")}):
        plan = planned("azure", *wish.get("changes", ()), policy=wish.get("policy", Policy()), **profile)
        assert plan.capabilities.regions == regions
        assert plan.ok is allowed, plan.refused
    assert planned("azure", **profile).ok


def test_nebius_and_an_own_server_are_in_a_region_only_by_the_users_word(planned: Callable[..., Plan]) -> None:
    eu = "data.residency=eu"
    assert not planned("nebius", eu).ok
    assert planned("nebius", eu, region="eu").ok
    mine = {"like": "openai", "base_url": "https://gpu.example/v1"}
    assert "gpu.example" in " ".join(planned("mine", eu, **mine).refused)
    assert planned("mine", eu, region="eu", **mine).ok
    assert not planned("mine", policy=Policy(providers=("openai",)), **mine).ok


AT_EU = "https://eu.api.openai.com/v1"


@pytest.mark.parametrize(
    ("profile", "said"),
    [
        ({}, "cannot be seen from its key"),
        ({"region": "eu"}, f"set profiles.openai.base_url to {AT_EU}"),
        ({"region": "eu", "base_url": "https://api.openai.com/v1"}, f"set profiles.openai.base_url to {AT_EU}"),
        ({"region": "eu", "base_url": "https://us.api.openai.com/v1"}, f"set profiles.openai.base_url to {AT_EU}"),
        ({"region": "eu", "base_url": "https://gateway.example/v1"}, f"set profiles.openai.base_url to {AT_EU}"),
        ({"base_url": AT_EU}, "the profile sends it to eu.api.openai.com"),
        ({"region": "jp", "base_url": "https://jp.api.openai.com/v1"}, "eu or us at most"),
    ],
)
def test_openai_keeps_data_in_a_region_only_by_the_users_word_and_at_its_host(
    planned: Callable[..., Plan], profile: dict[str, str], said: str
) -> None:
    (refused,) = planned("openai", "data.residency=eu", **profile).refused
    assert said in refused
    assert planned("openai", **profile).ok


def test_openai_keeps_data_in_a_region_at_its_host(planned: Callable[..., Plan]) -> None:
    plan = planned("openai", "data.residency=eu", region="eu", base_url=AT_EU)
    assert plan.ok, plan.refused
    assert plan.capabilities.regions == ("eu",)
    assert not planned("openai", "data.residency=us", region="eu", base_url=AT_EU).ok


# what is named


def test_azure_without_an_address_is_refused_with_one_line(planned: Callable[..., Plan]) -> None:
    said = "profiles.azure.base_url is not set: https://<resource>.openai.azure.com"
    assert planned("azure").refused == (said,)


def test_a_budget_needs_a_price_which_azure_and_an_own_server_have_not(planned: Callable[..., Plan]) -> None:
    assert not planned("azure", "budget.usd=5", base_url=AT_AZURE).ok
    assert not planned("mine", "budget.usd=5", like="openai", base_url="https://gpu.example/v1").ok
    assert planned("nebius", "budget.usd=5").ok


def test_an_own_server_is_listed_and_planned_with_the_others(tmp_path: Path, planned: Callable[..., Plan]) -> None:
    at = tuner(tmp_path, {"mine": {"like": "nebius", "base_url": "https://gpu.example/v1"}, "idle": {"region": "eu"}})
    assert "mine" in at.reach.names()
    assert "idle" not in at.reach.names()
    assert "mine" in dict(at.plan_all(tmp_path / "finetune.yaml"))
    with pytest.raises(UsageError, match="no provider is called 'mine'"):
        planned("mine")


@pytest.mark.parametrize("name", ["openai", "mine"])
def test_a_password_in_an_address_is_not_shown(planned: Callable[..., Plan], name: str) -> None:
    like = {"like": "openai"} if name == "mine" else {}
    made = planned(name, "data.residency=eu", base_url="https://me:hunter2@gpu.example/v1", **like)
    assert "gpu.example" in made.refused[0]
    assert "hunter2" not in made.model_dump_json()


def test_an_own_server_gets_the_key_that_its_profile_names_and_no_other(tmp_path: Path) -> None:
    base_url = "https://gpu.example/v1"
    own = tuner(tmp_path, {"mine": {"like": "nebius", "base_url": base_url}}, NEBIUS_API_KEY="nb", MINE_API_KEY="m")
    assert own.reach.profile("mine").key() == ""
    named = {"like": "nebius", "base_url": base_url, "key_variable": "MINE_KEY"}
    assert tuner(tmp_path, {"mine": named}, MINE_KEY="k").reach.profile("mine").key() == "k"
    with pytest.raises(CredentialError, match="MINE_KEY"):
        tuner(tmp_path, {"mine": named}).reach.profile("mine").key()
    second = tuner(tmp_path, {"second": {"like": "nebius"}}, NEBIUS_API_KEY="nb")
    assert second.reach.profile("second").key() == "nb"


def test_the_data_of_an_own_server_are_checked_as_those_of_the_one_it_is_like(planned: Callable[..., Plan]) -> None:
    mine = {"base_url": "https://gpu.example/v1"}
    sample_file(planned("nebius").spec.data.train.parent, examples=5)
    assert planned("mine", "overrides={}", like="nebius", **mine).data.ok
    assert not planned("mine", like="openai", **mine).data.ok  # which wants ten


def test_a_project_may_name_a_server_but_not_whose_key_it_gets(tmp_path: Path) -> None:
    environment = {"ANYTUNE_HOME": str(tmp_path / "home"), "XDG_CONFIG_HOME": str(tmp_path / "config")}
    (tmp_path / "anytune.yaml").write_text("profiles: {mine: {like: nebius, base_url: 'https://a/v1', tier: x}}\n")
    found = load_settings(folder=tmp_path, environment=environment).profiles["mine"]
    assert (found.like, found.tier, found.key_variable) == ("nebius", "x", None)
    (tmp_path / "anytune.yaml").write_text("profiles: {mine: {like: nebius, key_variable: OTHER_KEY}}\n")
    with pytest.raises(UsageError, match="a project cannot set profiles"):
        load_settings(folder=tmp_path, environment=environment)


def test_a_data_file_is_checked_for_an_own_server_by_its_name(tmp_path: Path) -> None:
    file = sample_file(tmp_path, examples=5)
    at = tuner(tmp_path, {"mine": {"like": "openai", "base_url": "https://gpu.example/v1"}})
    assert not at.check([file.path], for_providers=("mine",)).ok  # ten are wanted
    assert at.reach.judges(("mine", "openai", "nebius")) == ("openai", "nebius")


def test_a_tier_that_became_one_that_roams_stops_a_submit_that_goes_on(
    tmp_path: Path, hosts: dict[str, OpenAIStub], planned: Callable[..., Plan]
) -> None:
    stub = hosts["azure"]
    profile = {"base_url": stub.base_url, "region": "swedencentral"}
    at = tuner(tmp_path, {"azure": profile}, AZURE_OPENAI_API_KEY="of-nobody")
    plan = at.plan(at.read(tmp_path / "finetune.yaml", provider="azure", changes=("data.residency=eu",)))
    with pytest.raises(KeyRefusedError):
        at.submit(plan)  # the job is kept
    (kept,) = at.store.list()
    roaming = tuner(tmp_path, {"azure": {**profile, "tier": "developer"}}, AZURE_OPENAI_API_KEY=stub.key)
    with pytest.raises(RefusedError) as caught:
        roaming.resume(kept.id)
    assert "the tier developer may train anywhere" in " ".join(caught.value.reasons)
    assert stub.files == {}
    staying = tuner(tmp_path, {"azure": profile}, AZURE_OPENAI_API_KEY=stub.key)
    assert staying.resume(kept.id).remote is not None


# like: azure


GPT = "gpt-4.1-mini-2025-04-14"


@pytest.mark.parametrize("domain", ["openai.azure.com", "services.ai.azure.com", "cognitiveservices.azure.com"])
def test_a_second_resource_at_azure_is_azure(planned: Callable[..., Plan], domain: str) -> None:
    known = planned(
        "mine", f"models.mine={GPT}", like="azure", base_url=f"https://mine.{domain}", region="swedencentral"
    ).capabilities
    assert (known.known, known.regions) == (True, ("swedencentral", "eu"))
    assert str(known.accepts_jobs_until) == "2027-04-13"
    assert known.hosting is not None


@pytest.mark.parametrize("host", ["gpu.example", "openai.azure.com.example", "notopenai.azure.com"])
def test_another_server_that_speaks_as_azure_does_is_not_taken_for_azure(
    planned: Callable[..., Plan], host: str
) -> None:
    made = planned("mine", like="azure", base_url=f"https://{host}", region="swedencentral")
    known = made.capabilities
    assert (known.model, known.known) == ("acme/own-7b", True)
    assert (known.accepts_jobs_until, known.price, known.hosting) == (None, None, None)
    assert known.regions == ("swedencentral",), "which part of the world that is, only Azure says of its own"
    assert f"which models {host} tunes, at which price and until when is not known here" in made.warnings
    assert planned("mine", like="azure", base_url=f"https://{host}").capabilities.regions is None


# the price that nobody at hand names


@pytest.mark.parametrize("name", ["azure", "mine"])
def test_a_price_that_is_not_known_is_said_aloud_with_what_it_does_and_where_one_is_put(
    planned: Callable[..., Plan], name: str
) -> None:
    profile = {"base_url": AT_AZURE} if name == "azure" else {"like": "openai", "base_url": "https://gpu.example/v1"}
    made = planned(name, **profile)
    assert made.ok
    assert made.cost.expected is None
    (said,) = [warning for warning in made.warnings if "any budget refuses it" in warning]
    assert f"catalog.{name}.models.{made.spec.model}.price in your settings" in said
    assert any("the price is not known" in reason for reason in planned(name, "budget.usd=20", **profile).refused)


@pytest.mark.parametrize("name", ["azure", "mine"])
def test_a_price_that_the_settings_say_is_planned_with_as_theirs(tmp_path: Path, name: str) -> None:
    sample_file(tmp_path)
    (tmp_path / "finetune.yaml").write_text(JOB.replace(", test: test.jsonl", "") + "budget: {usd: 20}\n")
    profile = {"base_url": AT_AZURE} if name == "azure" else {"like": "azure", "base_url": "https://gpu.example/v1"}
    model = GPT if name == "azure" else "acme/own-7b"
    settings = Settings.model_validate({
        "home": tmp_path / "home",
        "profiles": {name: profile},
        "catalog": {name: {"models": {model: {"price": {"sft": "30"}}}}},
    })  # fmt: skip
    at = Tuner(settings=settings, environment={}, clock=FakeClock())
    made = at.plan(at.read(tmp_path / "finetune.yaml", provider=name))
    assert made.ok, made.refused
    assert "as your settings say" in made.cost.basis
    assert made.cost.as_of == FakeClock().now().date()
    assert not [warning for warning in made.warnings if "any budget" in warning]
