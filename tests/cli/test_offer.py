"""Who can be asked, what they tune, until when and at which price."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from anytune import catalog, providers
from anytune.testing import FakeClock
from tests.cli.conftest import Said, Type
from tests.cli.test_bad_input import mistaken
from tests.providers._roots import one_root
from tests.stubs.fireworks import FireworksStub
from tests.stubs.together import TogetherStub

KEYS = [key for name in providers.BUILT_IN if name != "fake" and (key := catalog.load(name).key)]


@pytest.fixture(autouse=True)
def no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in KEYS:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def together(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TogetherStub]:
    """Serve Together's stand-in, and send the provider there."""
    one_root(tmp_path, monkeypatch)
    with TogetherStub() as stub:
        (folder / "anytune.yaml").write_text(f"profiles: {{together: {{base_url: '{stub.base_url}'}}}}\n")
        monkeypatch.setenv("TOGETHER_API_KEY", stub.key)
        yield stub


def test_a_plan_for_all_loads_no_sdk_and_nothing_of_what_follows_jobs(tmp_path: Path) -> None:
    job = Path(__file__).parents[2] / "examples" / "english-to-sql" / "finetune.yaml"
    looking = [sys.executable, "-X", "importtime", "-m", "anytune", "plan", str(job), "--all"]
    around = {**os.environ, "ANYTUNE_HOME": str(tmp_path)}
    done = subprocess.run(looking, env=around, capture_output=True, text=True, check=True)
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time")}
    assert "anytune.planner" in loaded
    far = {"openai", "together", "httpx", "httpx2", "huggingface_hub", "torch", "sqlite3"}
    assert not loaded & {*far, "anytune.jobs", "anytune.store", "anytune.tuner", "anytune.evals"}


def on(day: date, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every command think that it is this day."""
    clock = FakeClock()
    monkeypatch.setattr("anytune.clock.SystemClock", lambda: clock)
    clock.sleep((day - clock.now().date()).days * 86400.0)


CLOSED = [
    "plan --provider mistral",
    "plan --set provider=cohere",
    "run -y --provider predibase",
    "submit -y --provider hf-autotrain",
    "models --provider predibase",
    "providers refresh --provider Mistral",
    "init new --provider autotrain",
    "check train.jsonl --for cohere",
]


@pytest.mark.parametrize("line", CLOSED)
def test_who_takes_no_jobs_any_more_is_answered_with_since_when_why_and_where_to_go(anytune: Type, line: str) -> None:
    said = anytune(*line.split())
    told = mistaken(said, code=2)
    assert "is closed to new jobs since 202" in told
    assert "go to " in told
    assert "instead" in told
    assert said.out == ""


def test_a_job_file_of_a_closed_provider_is_planned_everywhere_else(anytune: Type, folder: Path) -> None:
    job = (folder / "finetune.yaml").read_text().replace("provider: fake", "provider: cohere")
    (folder / "finetune.yaml").write_text(job)
    assert "since 2025-09-15" in mistaken(anytune("plan"), code=2)
    said = anytune("plan", "--all", "--json")
    assert said.code == 0
    verdicts = {plan["provider"]: plan["ok"] for plan in said.document["plans"]}
    assert verdicts["cohere"] is False
    assert verdicts["fake"] is True


def test_providers_names_those_who_closed(anytune: Type) -> None:
    assert "Mistral, since 2026-03: " in " ".join(anytune("providers").out.split())
    closed = {one["provider"]: one for one in anytune("providers", "--json").document["closed"]}
    assert closed["cohere"]["since"] == "2025-09-15"
    assert all(one["source"] and one["as_of"] for one in closed.values())


def test_models_says_where_until_when_at_what_price_how_long_and_whether_weights_come_home(
    anytune: Type, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    on(date(2026, 11, 27), monkeypatch)
    out = anytune("models").out
    for words in (
        "gpt-4.1-mini-2025-04-14  sft dpo  5.00            65,536  2027-01-05  2027-01-14",
        "tuned weights stay with the provider",
        "tuned weights can be downloaded",
        "a job costs at least $4.00",
        "$3.99 to $11.95 an hour",
        "price not known",
        "! openai takes new jobs until 2027-01-05 (in 39 days)",
        "! 4 models and what is tuned from them shut down on 2027-01-14, in 48 days",
        "! prices and models were read on 2026-09-11, 77 days ago: they may be others by now",
    ):
        assert words in out


def test_models_are_filtered_by_provider_and_method(anytune: Type) -> None:
    (found,) = anytune("models", "--provider", "openai", "--method", "dpo", "--json").document["catalogs"]
    assert "gpt-4o-2024-08-06" in found["models"]
    assert "gpt-3.5-turbo-0125" not in found["models"]
    assert all("dpo" in entry["methods"] for entry in found["models"].values())
    mistaken(anytune("models", "--method", "rft"), code=2)


def test_models_of_an_unknown_provider_gets_the_nearest_name(anytune: Type) -> None:
    said = anytune("models", "--provider", "togther")
    assert "there is no catalogue of 'togther'" in mistaken(said, code=2)
    assert "did you mean together?" in said.err
    assert "catalog: {fake:" in anytune("models", "--provider", "fake").err


def test_models_of_a_server_of_ones_own_asks_for_what_it_tunes(anytune: Type, folder: Path) -> None:
    server = "profiles: {mine: {like: openai, base_url: 'http://127.0.0.1:9/v1'}}\n"
    (folder / "anytune.yaml").write_text(server)
    assert "catalog: {mine: {models: …}}" in anytune("models", "--provider", "mine").err
    (folder / "anytune.yaml").write_text(server + "catalog: {mine: {models: {tide-1: {methods: [sft]}}}}\n")
    assert "tide-1" in anytune("models", "--provider", "mine").out


def test_a_model_and_price_of_the_users_own_are_listed_and_planned(anytune: Type, folder: Path) -> None:
    price = "catalog: {together: {models: {my/model: {methods: [sft], price: {sft: '50000'}}}}}\n"
    (folder / "anytune.yaml").write_text(price)
    assert "as the project's settings say: my/model" in anytune("models", "--provider", "together").out
    said = anytune("plan", "--provider", "together", "--model", "my/model")
    assert said.code == 0, said.out
    assert "at $50000 per million (as the project's settings say)" in " ".join(said.out.split())
    assert "of together: my/model" in anytune("config", "show").out
    config = Path(os.environ["XDG_CONFIG_HOME"]) / "anytune"
    config.mkdir(parents=True)
    (folder / "anytune.yaml").rename(config / "config.yaml")
    told = anytune("plan", "--provider", "together", "--model", "my/model").out
    assert "(as your settings say)" in " ".join(told.split())


def test_a_plug_in_without_a_catalogue_gets_one_from_the_settings(anytune: Type, folder: Path) -> None:
    (folder / "anytune.yaml").write_text("catalog: {fake: {models: {fake-9: {price: {sft: 3}, max_length: 77}}}}\n")
    said = anytune("plan", "--model", "fake-9", "--json")
    assert said.document["ok"], said.document["refused"]
    assert said.document["capabilities"]["price"]["per_million"] == {"sft": "3"}
    assert "fake-9" in anytune("models", "--provider", "fake").out


def test_a_slip_in_a_providers_name_is_told(anytune: Type, folder: Path) -> None:
    (folder / "anytune.yaml").write_text("catalog: {togther: {minimum: 3}}\n")
    said = anytune("models")
    assert "catalog.togther: no provider is called 'togther'" in mistaken(said, code=2)
    assert "did you mean together?" in said.err


def test_the_price_of_an_own_machine_can_be_said(anytune: Type, folder: Path) -> None:
    (folder / "anytune.yaml").write_text("catalog: {local: {usd_per_hour: 36, usd_per_kwh: 0.3}}\n")
    base = Path(__file__).resolve().parents[2] / "fixtures" / "tiny-base"
    said = anytune("plan", "--provider", "local", "--model", str(base), "--json")
    cost, need = said.document["cost"], said.document["resources"]
    energy = need["watt_hours"] / 1000 * 0.3
    assert float(cost["expected"]) == pytest.approx(need["seconds_expected"] / 100 + energy, abs=2e-4)
    assert float(cost["low"]) < float(cost["expected"]) < float(cost["high"])
    assert cost["basis"].endswith("at $36 an hour and $0.3 a kWh (as your settings say)")


def test_without_a_key_a_refresh_names_each_variable_and_touches_nothing(anytune: Type) -> None:
    said = anytune("providers", "refresh")
    assert said.code == 6
    lines = said.out.splitlines()
    assert [line for line in lines if "is not set" in line] == lines
    assert {"OPENAI_API_KEY", "TOGETHER_API_KEY", "FIREWORKS_API_KEY"} <= set(" ".join(lines).split())
    assert not Path(os.environ["ANYTUNE_HOME"]).exists()


def test_a_refresh_keeps_what_the_provider_says_as_of_today(
    anytune: Type, together: TogetherStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    on(date(2026, 11, 27), monkeypatch)
    said = anytune("providers", "refresh", "--provider", "together")
    assert said.code == 0, said.err
    assert f"together: 3 models of {together.base_url}/v1/fine-tunes/models/supported" in said.out
    assert "not in it any more: Qwen/Qwen3.8-27B, google/gemma-4-31B" in said.out
    (found,) = anytune("models", "--provider", "together", "--json").document["catalogs"]
    assert found["listed_on"] == "2026-11-27"
    assert found["models"]["Qwen/Qwen3.5-9B"]["as_of"] == "2026-11-27"
    assert found["models"]["Qwen/Qwen3.5-9B"]["source"].startswith(together.base_url)
    gone = anytune("plan", "--provider", "together", "--model", "google/gemma-4-31B")
    assert gone.code == 3
    assert "together's own list of 2026-11-27 has no model 'google/gemma-4-31B'" in " ".join(gone.out.split())
    assert anytune("plan", "--provider", "together", "--model", "google/gemma-4-31B", "--force").code == 0


def together_in(said: Said) -> dict[str, Any]:
    found: dict[str, Any] = next(one for one in said.document["asked"] if one["provider"] == "together")
    return found


def test_a_refresh_that_fails_for_one_leaves_the_others_and_the_old_list(
    anytune: Type, together: TogetherStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    on(date(2026, 11, 27), monkeypatch)
    assert together_in(anytune("providers", "refresh", "--json"))["models"] == 3
    kept = Path(os.environ["ANYTUNE_HOME"]) / "catalog" / "together.json"
    before = kept.read_bytes()
    together.html_next("GET /v1/fine-tunes/models/supported", times=9)
    said = anytune("providers", "refresh", "--json")
    assert said.code == 1
    assert not any(one["ok"] for one in said.document["asked"])
    assert "not the JSON it should be" in together_in(said)["error"]
    assert kept.read_bytes() == before


def test_a_broken_list_says_how_to_write_it_anew(anytune: Type) -> None:
    kept = Path(os.environ["ANYTUNE_HOME"]) / "catalog" / "together.json"
    kept.parent.mkdir(parents=True)
    kept.write_text("{}")
    said = anytune("models")
    assert "together.json" in mistaken(said, code=2)
    assert "fix: anytune providers refresh" in said.err
    assert anytune("doctor").code == 1
    assert "together.json" in "".join(anytune("doctor").out.split())


def test_a_broken_list_does_not_stop_its_own_refresh(anytune: Type, together: TogetherStub) -> None:
    kept = Path(os.environ["ANYTUNE_HOME"]) / "catalog" / "together.json"
    kept.parent.mkdir(parents=True)
    kept.write_text("{}")
    assert anytune("providers", "refresh", "--provider", "together").code == 0
    assert anytune("models").code == 0


def test_who_has_no_list_says_so_when_asked_by_name(anytune: Type) -> None:
    assert "local has no list" in mistaken(anytune("providers", "refresh", "--provider", "local"), code=2)


def test_fireworks_is_asked_without_its_account(
    anytune: Type, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one_root(tmp_path, monkeypatch)
    with FireworksStub() as stub:
        (folder / "anytune.yaml").write_text(f"profiles: {{fireworks: {{base_url: '{stub.base_url}'}}}}\n")
        monkeypatch.setenv("FIREWORKS_API_KEY", stub.key)
        said: Said = anytune("providers", "refresh", "--provider", "fireworks")
        assert said.code == 0, said.out
        assert {call.path for call in stub.journal} == {"/v1/accounts/fireworks/models"}


def test_the_bill_and_the_error_of_the_estimate_are_shown_after_a_run_and_later(
    anytune: Type, together: TogetherStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    on(date(2026, 11, 27), monkeypatch)
    chosen = ("--provider", "together", "--model", "Qwen/Qwen3.5-9B", "--set", "budget.usd=9")
    said = anytune("run", "-y", "--no-eval", *chosen)
    assert said.code == 0, said.err
    for out in (said.out, anytune("show").out):
        assert "$4.00, the job's total_price" in out
        assert "$4.00, and so it was" in out
        assert "$4.00, by together before it began" in out
    (job,) = anytune("list", "--json").document["jobs"]
    assert (job["quote"], job["cost"], job["cost_basis"]) == ("4.0", "4", "the job's total_price")
    assert job["deviation"] == {"usd": "0.00", "share": 0.0, "within": True}


def test_a_check_holds_to_the_length_that_the_settings_say(anytune: Type, folder: Path) -> None:
    (folder / "anytune.yaml").write_text("catalog: {together: {models: {my/model: {max_length: 5}}}}\n")
    said = anytune("check", "train.jsonl", "--for", "together", "--model", "my/model", "--json")
    assert said.document["files"][0]["counts"] == {"answer-cut-off": 12}
