"""Which setting becomes which field of a Fireworks job."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from anytune.errors import UsageError
from anytune.providers.base import Profile
from anytune.providers.fireworks import FireworksProvider
from anytune.providers.fireworks import request as requests
from anytune.schema.spec import TuneSpec
from anytune.testing.rig import sample_file, sample_spec

DATASET = "accounts/me/datasets/at-1"
JOB_ID = "sums-7f3a9c2b10"


def provider(**settings: Any) -> FireworksProvider:
    return FireworksProvider(Profile(name="fireworks", home=Path("/nowhere"), key=lambda: "", **settings))


def rendered(tmp_path: Path, *, validation: str | None = None, region: str | None = None, **changes: Any) -> Any:
    sample = sample_spec(sample_file(tmp_path), provider="fireworks", model="qwen3p5-9b")
    spec = TuneSpec.model_validate({**sample.model_dump(mode="json", exclude_unset=True), **changes})
    made = provider(region=region)
    return made.render(spec, job_id=JOB_ID, training_file=DATASET, validation_file=validation)


def test_a_job_with_nothing_chosen_leaves_the_choice_to_the_provider(tmp_path: Path) -> None:
    assert rendered(tmp_path) == {
        "collection": "supervisedFineTuningJobs",
        "id": f"at-{JOB_ID}",
        "body": {
            "dataset": DATASET,
            "displayName": JOB_ID,
            "baseModel": "accounts/fireworks/models/qwen3p5-9b",
            "outputModel": f"accounts/me/models/at-{JOB_ID}",
            "epochs": 2,
            "evalAutoCarveout": False,
        },
    }


def test_what_is_chosen_stands_in_the_fields_of_the_interface(tmp_path: Path) -> None:
    training = {
        "epochs": 3,
        "batch_size": 16,
        "learning_rate": 2e-4,
        "weight_decay": 0.1,
        "max_length": 1000,
        "lora": {"rank": 8},
    }
    body = rendered(tmp_path, training=training, validation="accounts/me/datasets/at-2", region="EU_PARIS_1")["body"]
    assert {name: body[name] for name in body if name not in {"dataset", "displayName", "baseModel"}} == {
        "outputModel": f"accounts/me/models/at-{JOB_ID}",
        "epochs": 3,
        "learningRate": 2e-4,
        "loraRank": 8,
        "batchSizeSamples": 16,
        "maxContextLength": 992,
        "optimizerWeightDecay": 0.1,
        "region": "EU_PARIS_1",
        "evaluationDataset": "accounts/me/datasets/at-2",
        "evalAutoCarveout": False,
    }


def test_preferences_are_another_collection_with_the_loss_named(tmp_path: Path) -> None:
    made = rendered(tmp_path, method="dpo", training={"epochs": 1, "beta": 0.2}, region="EU_PARIS_1")
    assert made["collection"] == "dpoJobs"
    assert made["body"]["lossConfig"] == {"method": "DPO", "dpo": {"beta": 0.2}}
    assert made["body"]["trainingConfig"]["epochs"] == 1
    assert made["body"]["trainingConfig"]["region"] == "EU_PARIS_1"
    assert set(made["body"]) == {"dataset", "displayName", "trainingConfig", "lossConfig"}


def test_preferences_with_validation_data_are_refused_before_anything_is_sent(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no evaluation dataset"):
        rendered(tmp_path, method="dpo", validation="accounts/me/datasets/at-2")


def test_the_suffix_is_part_of_the_models_name_and_cut_to_fit(tmp_path: Path) -> None:
    assert rendered(tmp_path, suffix="My_SQL.v2")["body"]["outputModel"] == f"accounts/me/models/my-sql-v2-at-{JOB_ID}"
    long = rendered(tmp_path, suffix="x" * 64)["body"]["outputModel"].rpartition("/")[2]
    assert len(long) == 63
    assert long.endswith(f"-at-{JOB_ID}")
    assert rendered(tmp_path, suffix="2nd")["body"]["outputModel"] == f"accounts/me/models/at-2nd-at-{JOB_ID}"


@pytest.mark.parametrize(
    ("job_id", "made"),
    [
        ("sums-7f3a9c2b10", "at-sums-7f3a9c2b10"),
        ("7days-7f3a9c2b10", "at-7days-7f3a9c2b10"),
        ("a.b_c-7f3a9c2b10", "at-a-b-c-7f3a9c2b10"),
    ],
)
def test_the_jobs_id_there_begins_with_a_letter_and_holds_ours(job_id: str, made: str) -> None:
    assert requests.resource_id(job_id) == made


def test_an_id_without_room_is_refused() -> None:
    with pytest.raises(UsageError, match="too long"):
        requests.resource_id("x" * 61)


def test_a_model_may_be_named_in_short_or_whole() -> None:
    assert requests.full_model("qwen3-8b") == "accounts/fireworks/models/qwen3-8b"
    assert requests.full_model("accounts/me/models/mine") == "accounts/me/models/mine"
    short, whole = (provider().capabilities(m) for m in ("qwen3-8b", "accounts/fireworks/models/qwen3-8b"))
    assert short.known
    assert whole.known
    assert whole.price == short.price


def test_a_place_of_the_providers_is_taken_as_it_writes_it() -> None:
    assert provider(region="EU_FRANKFURT_1").capabilities("qwen3-8b").problems == ()


def test_a_region_that_the_provider_does_not_have_is_a_problem_with_the_nearest_named() -> None:
    can = provider(region="eu-frankfurt-1").capabilities("qwen3-8b")
    assert "EU_FRANKFURT_1" in can.problems[0]
