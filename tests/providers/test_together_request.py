"""What Together is sent for a job file: pure, without a server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anytune.errors import UsageError
from anytune.providers.base import Profile
from anytune.providers.together import TogetherProvider
from anytune.providers.together import request as requests
from anytune.schema.spec import TuneSpec
from tests.providers._together import JOB_ID, MODEL
from tests.stubs._together_rules import checked_job

PROVIDER = TogetherProvider(Profile(name="together", home=Path("/nowhere"), key=lambda: "unused"))


def rendered(validation_file: str | None = None, **changes: Any) -> dict[str, Any]:
    document = {"name": "sql", "provider": "together", "model": MODEL, "data": {"train": "train.jsonl"}}
    body = PROVIDER.render(
        TuneSpec.model_validate({**document, **changes}),
        job_id=JOB_ID,
        training_file="file-1",
        validation_file=validation_file,
    )
    return checked_job(body)


def test_a_plain_job_file_becomes_a_lora_on_the_assistants_tokens() -> None:
    assert rendered() == {
        "model": MODEL,
        "training_file": "file-1",
        "suffix": "at--english-to-sql-7f3a9c2b10",
        "training_method": {"method": "sft", "train_on_inputs": False},
        "training_type": {
            "type": "Lora",
            "lora_r": 16,
            "lora_alpha": 32,
            "lora_dropout": 0.0,
            "lora_trainable_modules": "all-linear",
        },
        "n_epochs": 3,
        "n_checkpoints": 1,
        "n_evals": 0,
        "packing": True,
        "batch_size": "max",
        "learning_rate": 1e-4,
        "lr_scheduler": {
            "lr_scheduler_type": "cosine",
            "lr_scheduler_args": {"min_lr_ratio": 0.0, "num_cycles": 0.5},
        },
        "warmup_ratio": 0.0,
        "weight_decay": 0.0,
        "max_grad_norm": 1.0,
    }


def test_each_setting_lands_in_its_field() -> None:
    body = rendered(
        training={
            "epochs": 5,
            "batch_size": 16,
            "learning_rate": 3e-4,
            "warmup_ratio": 0.03,
            "weight_decay": 0.01,
            "max_grad_norm": 0.5,
            "scheduler": "linear",
            "max_length": 4096,
            "seed": 7,
            "lora": {"rank": 64, "alpha": 16, "dropout": 0.05, "target_modules": ["q_proj", "v_proj"]},
        }
    )
    assert body["training_type"] == {
        "type": "Lora",
        "lora_r": 64,
        "lora_alpha": 16,
        "lora_dropout": 0.05,
        "lora_trainable_modules": "q_proj,v_proj",
    }
    assert body["lr_scheduler"] == {
        "lr_scheduler_type": "linear",
        "lr_scheduler_args": {"min_lr_ratio": 0.0},
    }
    named = ("n_epochs", "batch_size", "learning_rate", "warmup_ratio", "weight_decay", "max_grad_norm")
    assert [body[name] for name in named] == [5, 16, 3e-4, 0.03, 0.01, 0.5]
    assert (body["max_seq_length"], body["random_seed"]) == (4096, 7)


def test_a_validation_file_is_evaluated_once_an_epoch() -> None:
    body = rendered("file-2", training={"epochs": 4})
    assert (body["validation_file"], body["n_evals"]) == ("file-2", 4)


def test_preferences_are_learnt_with_their_beta() -> None:
    assert rendered(method="dpo")["training_method"] == {"method": "dpo"}
    assert rendered(method="dpo", training={"beta": 0.2})["training_method"]["dpo_beta"] == 0.2


@pytest.mark.parametrize(
    ("method", "lora", "rate"),
    [("sft", "auto", 1e-4), ("sft", None, 1e-5), ("dpo", "auto", 1e-5), ("dpo", None, 1e-6)],
)
def test_a_rate_left_open_fits_what_is_trained(method: str, lora: str | None, rate: float) -> None:
    body = rendered(method=method, training={"lora": lora})
    assert body["learning_rate"] == rate
    assert body["training_type"]["type"] == ("Full" if lora is None else "Lora")


def test_full_weights_are_refused_where_only_lora_is_offered() -> None:
    assert PROVIDER.capabilities("openai/gpt-oss-20b").settings["training.lora"].outcome == "refused"
    assert PROVIDER.capabilities(MODEL).settings["training.lora"].outcome == "translated"


def test_no_file_is_planned_that_one_upload_cannot_carry() -> None:
    assert PROVIDER.capabilities(MODEL).max_file_bytes == int(50.1 * 1024**3)


@pytest.mark.parametrize(
    ("suffix", "sent"),
    [
        (None, "at--english-to-sql-7f3a9c2b10"),
        ("shop", "shop--english-to-sql-7f3a9c2b10"),
        ("a--b", "a-b--english-to-sql-7f3a9c2b10"),
        ("---", "at--english-to-sql-7f3a9c2b10"),
        ("a-very-long-suffix-of-the-users", "a-very-long-s--english-to-sql-7f3a9c2b10"),
    ],
)
def test_the_users_suffix_gives_way_to_the_job_id(suffix: str | None, sent: str) -> None:
    assert requests.tag(JOB_ID, suffix=suffix) == sent


@settings(deadline=None)
@given(
    job_id=st.from_regex(r"[a-z0-9][a-z0-9._-]{0,23}-[0-9a-f]{10}", fullmatch=True),
    suffix=st.none() | st.from_regex(r"[A-Za-z0-9._-]{1,64}", fullmatch=True),
)
def test_the_job_id_is_read_back_from_every_suffix(job_id: str, suffix: str | None) -> None:
    sent = requests.tag(job_id, suffix=suffix)
    assert len(sent) <= 40
    assert requests.job_id_in(sent) == job_id
    assert requests.carries(job_id, sent.upper())


@pytest.mark.parametrize("foreign", [None, "", "my-model", "my--", 7])
def test_a_suffix_of_someone_elses_carries_no_job_id(foreign: object) -> None:
    assert requests.job_id_in(foreign) is None


def test_a_job_id_without_room_is_an_error_and_is_not_cut() -> None:
    with pytest.raises(UsageError, match="too long"):
        requests.tag("x" * 37, suffix=None)
