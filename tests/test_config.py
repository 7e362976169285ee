"""What the user wrote is read strictly, and every fault is told with its place."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from anytune import config
from anytune.errors import CredentialError, UsageError
from anytune.schema.plan import Policy
from anytune.schema.spec import TuneSpec
from anytune.schema.training import Lora
from anytune.tuner import Tuner

BASE = """\
name: tides
provider: local
models: {local: ./base, openai: gpt-4.1-mini-2025-04-14}
data: {train: train.jsonl}
"""


def load(folder: Path, text: str = BASE, **options: Any) -> TuneSpec:
    path = folder / "finetune.yaml"
    path.write_text(text)
    return config.load_job(path, **options)


def fault(folder: Path, text: str, **options: Any) -> UsageError:
    with pytest.raises(UsageError) as caught:
        load(folder, text, **options)
    return caught.value


def test_one_line_switches_the_provider_and_its_model(tmp_path: Path) -> None:
    assert load(tmp_path).model == str(tmp_path / "base")
    assert load(tmp_path, provider="openai").model == "gpt-4.1-mini-2025-04-14"
    assert load(tmp_path, BASE.replace("provider: local", "provider: openai")).model == "gpt-4.1-mini-2025-04-14"


def test_overrides_hold_for_their_provider_only(tmp_path: Path) -> None:
    text = (
        BASE
        + "training: {learning_rate: 2.0e-4, lora: {rank: 8}}\n"
        + "overrides: {openai: {training: {learning_rate: auto, lora: auto}}}\n"
    )
    assert load(tmp_path, text).training.lora == Lora(rank=8)
    hosted = load(tmp_path, text, provider="openai").training
    assert (hosted.learning_rate, hosted.lora) == ("auto", "auto")


def test_set_stands_above_the_overrides_of_the_file(tmp_path: Path) -> None:
    text = BASE + "overrides: {openai: {training: {epochs: 5, learning_rate: auto, lora: auto}}}\n"
    changes = ["training.epochs=1", "training.lora.rank=4", "provider=local"]
    made = load(tmp_path, text, provider="openai", changes=changes)
    assert (made.provider, made.training.epochs) == ("openai", 1)
    assert (made.training.lora, made.training.learning_rate) == (Lora(rank=4), "auto")


def test_set_changes_any_key_deep_or_new(tmp_path: Path) -> None:
    spec = load(tmp_path, changes=["training.epochs=1", "training.lora.rank=4", "data.residency=eu"])
    assert spec.training.epochs == 1
    assert spec.training.lora == Lora(rank=4)
    assert spec.data.residency == "eu"
    assert load(tmp_path, changes=["training.lora=null"]).training.lora is None


def test_a_number_that_yaml_takes_for_text_is_a_number(tmp_path: Path) -> None:
    assert load(tmp_path, BASE + "training: {learning_rate: 2e-4}\n").training.learning_rate == 2e-4


def test_paths_are_meant_from_the_job_file(tmp_path: Path) -> None:
    assert load(tmp_path).data.train == tmp_path / "train.jsonl"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (BASE + "traning: {}\n", "finetune.yaml:5:1: unknown key 'traning': did you mean 'training'?"),
        (BASE + "training: {epoch: 3}\n", "finetune.yaml:5:12: unknown key 'training.epoch': did you mean 'epochs'?"),
        (BASE + "training:\n  lora: {rnk: 3}\n", "6:10: unknown key 'training.lora.rnk': did you mean 'rank'?"),
        (BASE + "training: {epochs: 0}\n", "5:12: training.epochs: 0: input should be greater than or equal to 1"),
        (BASE + "training: {weight_decay: .inf}\n", "training.weight_decay: inf: input should be a finite number"),
        ("provider: local\ndata: {train: a}\n", "name is missing"),
        ("name: [\n", "not YAML"),
        ("", "empty or not a mapping"),
        (BASE + "evaluation: {metrics: [sql_execution]}\n", "needs evaluation.database"),
        (BASE.replace("train.jsonl", "a, validation: b, split: 0.1"), "either validation or split"),
        ("name: a\nprovider: together\ndata: {train: a}\n", "no model for provider 'together'"),
    ],
)
def test_each_fault_names_its_place_and_the_nearest_key(tmp_path: Path, text: str, says: str) -> None:
    assert says in fault(tmp_path, text).message


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    told = fault(tmp_path, BASE + "training: {epochs: 0, learning_rate: fast}\nbudgt: 3\n")
    said = "\n".join((told.message, *told.reasons))
    assert "training.learning_rate" in said
    assert "did you mean 'budget'?" in said


def test_a_fault_in_a_set_is_not_blamed_on_the_file(tmp_path: Path) -> None:
    assert fault(tmp_path, BASE, changes=["training.epochs=abc"]).message.startswith("--set training.epochs: ")
    assert fault(tmp_path, BASE, changes=["foo=1"]).message.startswith("--set foo: unknown key")


def test_a_provider_that_there_is_not_is_answered_with_the_nearest(tmp_path: Path) -> None:
    assert fault(tmp_path, BASE, provider="opnai", known=["openai", "local"]).fix == "did you mean openai?"


def test_a_missing_file_and_a_set_without_value_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        config.load_job(tmp_path / "none.yaml")
    assert caught.value.fix == "anytune init writes a job file"
    assert "is not KEY=VALUE" in fault(tmp_path, BASE, changes=["training.epochs"]).message


def test_the_project_file_is_found_above_and_stands_above_the_users(tmp_path: Path) -> None:
    inner = tmp_path / "project" / "deep"
    inner.mkdir(parents=True)
    (tmp_path / "anytune").mkdir()
    (tmp_path / "anytune" / "config.yaml").write_text(
        "profiles: {openai: {region: eu, timeout: 9}}\npolicy: {residency: eu, budget_usd: 5}\n"
    )
    (tmp_path / "project" / "anytune.yaml").write_text("profiles: {openai: {timeout: 7}}\npolicy: {residency: local}\n")
    settings = config.load_settings(
        folder=inner, environment={"XDG_CONFIG_HOME": str(tmp_path), "ANYTUNE_HOME": str(tmp_path / "home")}
    )
    assert settings.profiles["openai"].region == "eu"
    assert settings.profiles["openai"].timeout == 7
    assert settings.policy == Policy(residency="local", budget_usd=Decimal(5))
    assert settings.home == tmp_path / "home"


def project(folder: Path, text: str) -> config.Settings:
    (folder / "anytune").mkdir(exist_ok=True)
    (folder / "anytune" / "config.yaml").write_text(
        "profiles: {openai: {region: eu}}\npolicy: {residency: eu, budget_usd: 5}\n"
    )
    (folder / "anytune.yaml").write_text(text)
    return config.load_settings(folder=folder, environment={"XDG_CONFIG_HOME": str(folder)})


@pytest.mark.parametrize("key", ["key_variable: AWS_SECRET_ACCESS_KEY", "region: eu", "account: theirs"])
def test_a_strangers_project_cannot_choose_the_key_or_vouch_for_a_region(tmp_path: Path, key: str) -> None:
    with pytest.raises(UsageError, match="a project cannot set profiles"):
        project(tmp_path, f"profiles: {{openai: {{{key}}}}}\n")


def test_with_a_projects_base_url_the_users_word_on_the_region_no_longer_holds(tmp_path: Path) -> None:
    settings = project(tmp_path, "profiles: {openai: {base_url: 'https://elsewhere.example/v1'}}\n")
    assert settings.profiles["openai"].region is None


def test_a_project_that_takes_the_users_base_url_away_takes_the_word_on_the_region_with_it(tmp_path: Path) -> None:
    settings = project(tmp_path, "profiles: {openai: {base_url: null}}\n")
    assert settings.profiles["openai"].region is None


@pytest.mark.parametrize(
    ("address", "keyless"),
    [
        ("https://elsewhere.example/v1", True),
        ("https://127.0.0.1.elsewhere.example", True),
        ("null", True),
        ("https://mine.example/v1", False),  # as the user has it
        ("http://127.0.0.1:8000/v1", False),
        ("http://localhost:8000", False),
    ],
)
def test_no_key_goes_where_a_project_alone_sends_it(tmp_path: Path, address: str, keyless: bool) -> None:
    (tmp_path / "anytune").mkdir()
    (tmp_path / "anytune" / "config.yaml").write_text(
        "profiles: {mine: {like: openai, base_url: 'https://mine.example/v1', key_variable: MINE_KEY}}\n"
    )
    (tmp_path / "anytune.yaml").write_text(f"profiles: {{mine: {{base_url: {address}}}}}\n")
    at = Tuner(folder=tmp_path, environment={"XDG_CONFIG_HOME": str(tmp_path), "MINE_KEY": "m"})
    if keyless:
        with pytest.raises(CredentialError, match=": no key goes there"):
            at.reach.profile("mine").key()
    else:
        assert at.reach.profile("mine").key() == "m"


def test_the_key_of_a_built_in_provider_stays_here_when_a_strangers_project_moves_it(tmp_path: Path) -> None:
    (tmp_path / "anytune.yaml").write_text("profiles: {together: {base_url: 'https://elsewhere.example'}}\n")
    at = Tuner(folder=tmp_path, environment={"XDG_CONFIG_HOME": str(tmp_path), "TOGETHER_API_KEY": "t"})
    with pytest.raises(CredentialError, match=": no key goes there"):
        at.reach.profile("together").key()


@pytest.mark.parametrize("key", ["home: /x", "keyless: []"])
def test_what_no_file_may_say_is_an_unknown_key(tmp_path: Path, key: str) -> None:
    with pytest.raises(UsageError, match="unknown key"):
        project(tmp_path, f"{key}\n")


def test_a_project_cannot_loosen_the_users_policy(tmp_path: Path) -> None:
    assert project(tmp_path, "policy: {residency: any, budget_usd: 999}\n").policy == Policy(
        residency="eu", budget_usd=Decimal(5)
    )
    assert project(tmp_path, "policy: {residency: us}\n").policy.residency == "local"


def users(folder: Path, text: str) -> config.Settings:
    (folder / "anytune").mkdir(exist_ok=True)
    (folder / "anytune" / "config.yaml").write_text(text)
    return config.load_settings(folder=folder, environment={"XDG_CONFIG_HOME": str(folder)})


@pytest.mark.parametrize("address", ["postgresql://me@db.example/jobs", "postgres:///jobs?host=%2Frun&service=team"])
def test_the_user_may_name_a_shared_store(tmp_path: Path, address: str) -> None:
    assert users(tmp_path, f"store: {address}\n").store == address


def test_a_strangers_project_cannot_say_where_jobs_are_recorded(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="a project cannot set store") as caught:
        project(tmp_path, "store: postgresql://me:hush@theirs.example/jobs\n")
    assert "hush" not in str(caught.value.message)
    assert str(tmp_path / "anytune" / "config.yaml") in (caught.value.fix or "")


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://me:hush@h/db",
        "postgresql://me:hu#sh@h/db",
        "postgresql://me:hu?sh@h/db",
        "postgresql://:hush@/db",
        "postgresql://me@h/db?password=hush",
        "postgresql://me@h/db?sslmode=require&sslpassword=hush",
        "postgresql://me@h/db?PASSWORD=hush",
        "host=h password=hush",
        "mysql://me:hush@h/db",
    ],
)
def test_an_address_with_a_password_is_refused_and_never_shown(tmp_path: Path, address: str) -> None:
    with pytest.raises(UsageError) as caught:
        users(tmp_path, f"store: '{address}'\n")
    assert "config.yaml:1:1: store: it " in caught.value.message
    with pytest.raises(ValidationError) as other:
        config.Settings(home=tmp_path, store=address)
    for shown in (caught.value.message, caught.value.fix or "", str(other.value)):
        assert "hu" not in shown


def test_a_key_is_read_when_needed_and_its_variable_is_named(tmp_path: Path) -> None:
    environment: dict[str, str] = {}
    key = config.key_source("openai", "OPENAI_API_KEY", config.Keys(tmp_path, environment))
    with pytest.raises(CredentialError, match="OPENAI_API_KEY is not set"):
        key()
    environment["OPENAI_API_KEY"] = " sk-1 "
    assert key() == "sk-1"


def test_the_schema_of_the_job_file_names_every_key() -> None:
    schema = config.job_schema()
    assert set(schema["properties"]) == set(TuneSpec.model_fields)


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ("training: {epochs: 1, epochs: 5}\n", "5:23: not YAML: the key 'epochs' stands here twice"),
        ("name: other\n", "5:1: not YAML: the key 'name' stands here twice"),
        ("suffix: 2026-13-45\n", "5:9: not YAML: '2026-13-45' is no timestamp"),
        ("training: {epochs: !!int many}\n", "5:20: not YAML: 'many' is no int"),
        ("training: {epochs: " + "9" * 5000 + "}\n", "is no int"),
        ("training: " + "[" * 100_000, "nested too deep"),
        ("overrides: [a]\n", "5:1: overrides: this: it takes keys of its own below it"),
        ("overrides: {local: [a]}\n", "5:13: overrides.local: this"),
        ("training: &t {lora: *t}\n", "unknown key 'training.lora.lora'"),
        ("training: {beta: 0.1}\n", "1:1: training.beta belongs to method: dpo"),
    ],
)
def test_what_yaml_would_let_pass_or_trip_over_is_told(tmp_path: Path, more: str, says: str) -> None:
    assert says in fault(tmp_path, BASE + more).message


def test_aliases_are_read_once_each(tmp_path: Path) -> None:
    rows = "".join(f"  x{n}: &x{n} {{a: *x{n - 1}, b: *x{n - 1}}}\n" for n in range(1, 60))
    assert load(tmp_path, BASE + "overrides:\n  x0: &x0 {k: 1}\n" + rows).name == "tides"


@pytest.mark.parametrize("change", ["provider=[a]", "overrides=[1]", "data=3", "training.epochs=2026-13-45", "a=[[["])
def test_a_set_of_the_wrong_shape_is_told(tmp_path: Path, change: str) -> None:
    assert fault(tmp_path, BASE, changes=[change]).message


def test_paths_that_lead_nowhere_are_only_paths(tmp_path: Path) -> None:
    text = BASE.replace("train.jsonl", "~nobody-here/train.jsonl").replace("./base", "b" * 300)
    assert load(tmp_path, text).data.train == tmp_path / "~nobody-here" / "train.jsonl"


def test_an_empty_project_file_changes_nothing_and_none_moves_the_record(tmp_path: Path) -> None:
    environment = {"ANYTUNE_HOME": str(tmp_path / "home"), "XDG_CONFIG_HOME": str(tmp_path / "none")}
    (tmp_path / "anytune.yaml").write_text("# nothing yet\n")
    assert config.load_settings(folder=tmp_path, environment=environment).home == tmp_path / "home"
    (tmp_path / "anytune.yaml").write_text("home: elsewhere\n")
    with pytest.raises(UsageError, match="unknown key 'home'"):
        config.load_settings(folder=tmp_path, environment=environment)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("training.quantize=int4", "input should be 'nf4' or 'int8'"),
        ("training.lora.use_dora=true", "DoRA is trained nowhere here"),
        ("training.orpo_lambda=0.1", "training.orpo_lambda belongs to method: dpo"),
    ],
)
def test_what_is_not_trained_here_says_what_to_take(tmp_path: Path, change: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        load(tmp_path, changes=[change])
    assert said in caught.value.message
    assert "\n" not in caught.value.message


def test_orpo_takes_no_beta_and_no_second_loss(tmp_path: Path) -> None:
    for other in ("beta=0.1", "simpo_gamma=1.0"):
        with pytest.raises(UsageError, match="says nothing beside orpo_lambda"):
            load(tmp_path, changes=["method=dpo", "training.orpo_lambda=0.1", f"training.{other}"])
