"""OpenAI offline: what can be done with a model, and what would be sent."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from anytune.errors import (
    CredentialError,
    MissingExtraError,
)
from anytune.providers.base import Generates, Profile, Provider
from anytune.providers.openai import OpenAIProvider
from anytune.providers.openai.speech import Speech
from anytune.schema.spec import every_setting
from tests.providers._openai import MODEL, provider, spec
from tests.stubs.openai import OpenAIStub


@pytest.fixture
def stub() -> Iterator[OpenAIStub]:
    with OpenAIStub() as running:
        yield running


RULES = Speech(Profile(name="openai", home=Path("/nowhere"), key=str)).capabilities(MODEL).settings


def keyless() -> OpenAIProvider:
    def no_key() -> str:
        raise CredentialError("OPENAI_API_KEY is not set")

    return OpenAIProvider(Profile(name="openai", home=Path("/nowhere"), key=no_key))


def test_it_is_a_provider_that_can_be_asked() -> None:
    as_provider: Provider = keyless()
    assert isinstance(as_provider, Generates)
    assert as_provider.name == "openai"


def test_capabilities_and_render_need_neither_key_nor_sdk() -> None:
    code = (
        "import sys; from pathlib import Path; from anytune.providers import load; "
        "from anytune.providers.base import Profile; "
        "p = load('openai', Profile(name='openai', home=Path('.'), key=lambda: 1 / 0)); "
        f"assert p.capabilities('{MODEL}').known; "
        "assert not {'openai', 'httpx', 'httpx2', 'together'} & set(sys.modules), 'an SDK was imported'"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_catalogue_says_when_openai_closes() -> None:
    known = keyless().capabilities(MODEL)
    assert known.known
    assert str(known.accepts_jobs_until) == "2027-01-05"
    assert "gpt-4.1-mini-2025-04-14" in keyless().capabilities("gpt-4.1-mini").similar


def test_every_setting_of_a_job_file_has_a_rule_and_every_refusal_a_reason() -> None:
    assert set(RULES) == every_setting()
    for path, rule in RULES.items():
        assert rule.why if rule.outcome == "refused" else rule.to, path


def test_an_absolute_learning_rate_is_refused_and_the_multiplier_named() -> None:
    assert "learning_rate_multiplier" in (RULES["training.learning_rate"].why or "")


def test_only_what_was_chosen_is_sent_and_always_the_epochs() -> None:
    assert keyless().render(spec(), job_id="tides-1", training_file="file-1", validation_file=None) == {
        "model": MODEL,
        "training_file": "file-1",
        "method": {"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 3}}},
        "metadata": {"anytune_job": "tides-1"},
    }


def test_every_kept_setting_reaches_the_body() -> None:
    knobs = {"epochs": 2, "batch_size": 4, "learning_rate_multiplier": 0.5, "seed": 7, "beta": 0.2}
    chosen = spec(method="dpo", suffix="harbour", training=knobs)
    body = keyless().render(chosen, job_id="tides-1", training_file="file-1", validation_file="file-2")
    hyperparameters = {"n_epochs": 2, "batch_size": 4, "learning_rate_multiplier": 0.5, "beta": 0.2}
    assert body["method"] == {"type": "dpo", "dpo": {"hyperparameters": hyperparameters}}
    assert (body["seed"], body["suffix"], body["validation_file"]) == (7, "harbour", "file-2")
    assert "hyperparameters" not in body


def test_a_seed_of_nought_is_sent() -> None:
    body = keyless().render(spec(training={"seed": 0}), job_id="j", training_file="f", validation_file=None)
    assert body["seed"] == 0


def test_a_missing_sdk_is_told_with_the_extra_that_brings_it(stub: OpenAIStub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(MissingExtraError) as caught:
        provider(stub).retrieve("ftjob-1")
    assert "anytune[openai]" in (caught.value.fix or "")


def test_a_missing_key_is_asked_for_at_the_first_call_only() -> None:
    at = keyless()
    with pytest.raises(CredentialError, match="OPENAI_API_KEY"):
        at.retrieve("ftjob-1")
