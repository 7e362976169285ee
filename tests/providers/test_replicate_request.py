"""What becomes of a job file at Replicate, in which everything hangs on the trainer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from anytune.config import load_settings
from anytune.errors import UsageError
from anytune.providers.base import Profile
from anytune.providers.replicate import ReplicateProvider
from anytune.providers.replicate import request as requests
from anytune.schema.spec import TuneSpec, every_setting
from anytune.schema.trainer import MAPPABLE, Trainer
from anytune.testing import no_key

JOB_ID = "sums-7f3a9c2b10"
OTHER = f"somebody/flan-trainer:{'ab' * 32}"
FLAN = Trainer(data="rows", fields={"training.epochs": "passes"}, input={"size": "xl"})


def provider(**trainers: Any) -> ReplicateProvider:
    return ReplicateProvider(Profile(name="replicate", home=Path(), key=no_key, trainers=trainers))


def spec(model: str = OTHER, **training: Any) -> TuneSpec:
    document = {"name": "sums", "provider": "replicate", "model": model, "data": {"train": "train.jsonl"}}
    return TuneSpec.model_validate({**document, "training": {"epochs": 2, **training}})


def rendered(trainer: Trainer | None, *, validation: str | None = None, **training: Any) -> dict[str, Any]:
    return requests.request(
        spec(**training), trainer, job_id=JOB_ID, training_file="https://x/f/1", validation_file=validation
    )


def test_a_trainer_of_the_users_own_words_gets_its_inputs() -> None:
    assert rendered(FLAN)["input"] == {"size": "xl", "passes": 2, "rows": "https://x/f/1"}


def test_what_the_user_left_open_stays_the_trainers_choice() -> None:
    trainer = FLAN.model_copy(update={"fields": {path: path.rpartition(".")[2] for path in MAPPABLE}})
    assert set(rendered(trainer)["input"]) == {"size", "epochs", "rows"}
    assert rendered(trainer, lora={"rank": 4}, weight_decay=0)["input"]["weight_decay"] == 0
    assert "dropout" not in rendered(trainer, lora={"rank": 4})["input"]


def test_a_validation_file_goes_where_the_trainer_takes_one() -> None:
    watched = FLAN.model_copy(update={"validation": "held", "unvalidated": {"split": 0}})
    assert rendered(watched, validation="https://x/f/2")["input"]["held"] == "https://x/f/2"
    assert "split" not in rendered(watched, validation="https://x/f/2")["input"]
    assert rendered(watched)["input"]["split"] == 0
    with pytest.raises(UsageError, match="no validation file"):
        rendered(FLAN, validation="https://x/f/2")


@pytest.mark.parametrize("value", ["2026-01-01", ".nan", "{a: [2026-01-01]}", "!!binary aGk="])
@pytest.mark.parametrize("where", ["input", "unvalidated"])
def test_an_input_that_json_cannot_hold_is_told_with_its_place(tmp_path: Path, where: str, value: str) -> None:
    said = f"profiles: {{replicate: {{trainers: {{a/b: {{data: rows, {where}: {{since: {value}}}}}}}}}}}\n"
    (tmp_path / "anytune.yaml").write_text(said)
    with pytest.raises(UsageError, match=r"anytune.yaml:1:.*'since' is nothing that JSON can hold"):
        load_settings(folder=tmp_path, environment={"XDG_CONFIG_HOME": str(tmp_path)})


def test_an_unknown_trainer_is_not_rendered() -> None:
    with pytest.raises(UsageError, match="nothing is known"):
        rendered(None)


@pytest.mark.parametrize("model", ["somebody/flan", "flan:abc", f"flan:{'ab' * 32}", f"a/b/c:{'ab' * 32}", "a/../b:0"])
def test_a_trainer_is_one_version_of_a_model(model: str) -> None:
    with pytest.raises(UsageError, match="owner/name:version"):
        requests.request(spec(model), FLAN, job_id=JOB_ID, training_file="x", validation_file=None)
    known = provider().capabilities(model)
    assert any("owner/name:version" in problem for problem in (*known.problems, known.opaque or ""))


def test_the_note_leads_back_to_job_trainer_file_and_settings() -> None:
    file = "https://x/v1/files/1"
    made = requests.request(spec(), FLAN, job_id=JOB_ID, training_file=file, validation_file=None)
    settings = requests.settings_of({"size": "xl", "passes": 2.0, "rows": f"{file}?signed"})
    assert requests.noted(made["model"]["description"]) == (JOB_ID, OTHER, file, settings)
    assert settings != requests.settings_of({**made["input"], "passes": 3})


def test_the_model_is_named_after_the_job() -> None:
    assert requests.model_name("A.b_c-7f3a9c2b10") == "at-a-b-c-7f3a9c2b10"
    with pytest.raises(UsageError, match="too long"):
        requests.model_name("x" * 80)


def test_every_setting_has_a_rule_whatever_the_trainer() -> None:
    for trainer in (None, FLAN):
        rules = requests.rules(trainer, "somebody/flan-trainer")
        assert set(rules) == every_setting()
        refused = [path for path, rule in rules.items() if rule.outcome == "refused"]
        assert len(refused) == len(rules) - (trainer is not None)
        assert "profiles.replicate.trainers.somebody/flan-trainer.fields" in str(rules["training.weight_decay"].why)


def test_the_users_word_on_one_version_comes_before_that_on_the_model() -> None:
    version = FLAN.model_copy(update={"data": "lines"})
    here = provider(**{"somebody/flan-trainer": FLAN, OTHER: version})
    body = here.render(spec(), job_id=JOB_ID, training_file="x", validation_file=None)
    assert body["input"]["lines"] == "x"
    assert here.capabilities(OTHER).known


def test_the_users_word_comes_before_the_catalogues() -> None:
    listed = f"meta/llama-2-7b:{'ab' * 32}"
    assert provider().capabilities(listed).trainer != FLAN
    assert provider(**{"meta/llama-2-7b": FLAN}).capabilities(listed).trainer == FLAN


def test_a_profile_describes_a_trainer_as_the_catalogue_does(tmp_path: Path) -> None:
    (tmp_path / "anytune.yaml").write_text(
        "profiles:\n  replicate:\n    trainers:\n      somebody/flan-trainer:\n"
        "        {data: rows, fields: {training.epochs: passes}, input: {size: xl}}\n"
    )
    settings = load_settings(folder=tmp_path, environment={"XDG_CONFIG_HOME": str(tmp_path)})
    assert settings.profiles["replicate"].trainers == {"somebody/flan-trainer": FLAN}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{fields: {}}", "data is missing"),
        ("{data: rows, fields: {training.epoch: passes}}", "'training.epoch' is no setting that an input can take"),
        ("{data: rows, fields: {suffix: name}}", "'suffix' is no setting"),
        ("{data: rows, fields: {training.epochs: rows}}", "'rows' is to take two things"),
        ("{data: rows, input: {passes: 1}, fields: {training.epochs: passes}}", "'passes' is to take two things"),
        ("{data: rows, inputs: {}}", "did you mean 'input'?"),
    ],
)
def test_a_fault_in_a_profile_is_told_with_its_place(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "anytune.yaml"
    path.write_text(f"profiles:\n  replicate:\n    trainers:\n      somebody/flan: {text}\n")
    with pytest.raises(UsageError) as caught:
        load_settings(folder=tmp_path, environment={"XDG_CONFIG_HOME": str(tmp_path)})
    assert said in caught.value.message
    assert f"{path}:4:" in caught.value.message
