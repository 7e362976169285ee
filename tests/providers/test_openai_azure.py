"""Azure: OpenAI's API with a mark before the file, a key in a header of its own, tiers, and a short suffix."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from anytune.errors import (
    NotFoundError,
    RateLimitedError,
    RejectedError,
    UnavailableError,
    UsageError,
)
from anytune.providers.base import Profile
from anytune.providers.openai import OpenAIProvider
from anytune.schema.model import TunedModel
from tests.providers._openai import JOBS, MODEL, chats, data_file, ended, provider, spec, started
from tests.providers._openai import request as body
from tests.stubs._openai_manners import AZURE, BOM
from tests.stubs.openai import OpenAIStub

LLAMA = "meta-llama/Meta-Llama-3.1-8B-Instruct"
ID = "tides-0a1b2c3d4e"


@pytest.fixture
def azure() -> Iterator[OpenAIStub]:
    with OpenAIStub(manner=AZURE) as stub:
        yield stub


def offline(name: str, **changes: Any) -> OpenAIProvider:
    return OpenAIProvider(Profile(name=name, home=Path("/nowhere"), key=str, **changes))


def rendered(at: OpenAIProvider, **changes: Any) -> dict[str, Any]:
    return at.render(spec(**changes), job_id=ID, training_file="file-1", validation_file=None)


# Azure


def test_azure_gets_a_byte_order_mark_once_and_the_file_stays_as_it_is(azure: OpenAIStub, tmp_path: Path) -> None:
    at = provider(azure, name="azure")
    bare, marked = data_file(tmp_path, chats(12)), data_file(tmp_path, chats(13), "validation", bom=True)
    as_it_is = bare.path.read_bytes()
    assert azure.files[at.upload(bare)].content == BOM + as_it_is
    assert azure.files[at.upload(marked)].content == marked.path.read_bytes()
    assert bare.path.read_bytes() == as_it_is
    assert at.upload(bare) == at.upload(bare)
    assert len(azure.files) == 2


def test_a_large_file_with_a_mark_arrives_whole(azure: OpenAIStub, tmp_path: Path) -> None:
    at = provider(azure, name="azure")
    file = data_file(tmp_path, chats(20_000))
    assert file.bytes > 1 << 20
    assert azure.files[at.upload(file)].content == BOM + file.path.read_bytes()


def test_azure_takes_a_job_once_its_file_is_processed(azure: OpenAIStub, tmp_path: Path) -> None:
    azure.unchecked = 1
    at = provider(azure, name="azure")
    request = body(at, at.upload(data_file(tmp_path, chats(12))), job_id=ID)
    with pytest.raises(RateLimitedError, match="not processed yet") as caught:
        at.create(request)
    assert caught.value.retry_after
    assert azure.calls(JOBS) == []
    assert at.create(request).seen_job_id == ID


def test_a_file_that_azure_cannot_use_is_refused_and_an_unclear_look_starts_nothing(
    azure: OpenAIStub, tmp_path: Path
) -> None:
    at = provider(azure, name="azure")
    file_id = at.upload(data_file(tmp_path, chats(12)))
    request = body(at, file_id, job_id=ID)
    azure.fail_next("GET */files/*", status=503)
    with pytest.raises(UnavailableError):
        at.create(request)
    azure.files[file_id].status = "error"
    with pytest.raises(RejectedError, match="error"):
        at.create(request)
    assert azure.calls(JOBS) == []


def test_azure_gets_the_key_in_its_own_header_and_nobodys_organisation(
    azure: OpenAIStub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_ORG_ID", "org-1")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "proj_1")
    started(provider(azure, name="azure"), tmp_path)
    for call in azure.journal:
        assert call.headers["api-key"] == azure.key
        assert not {"authorization", "openai-organization", "openai-project"} & set(call.headers)


@pytest.mark.parametrize(
    ("tier", "word"), [(None, "Standard"), ("globalStandard", "GlobalStandard"), ("developer", "developerTier")]
)
def test_the_tier_of_the_profile_says_how_azure_trains(
    azure: OpenAIStub, tmp_path: Path, tier: str | None, word: str
) -> None:
    started(provider(azure, name="azure", tier=tier), tmp_path)
    assert azure.calls(JOBS)[-1].json["trainingType"] == word


def test_azures_suffix_is_short_without_dots_and_ends_in_a_mark_of_the_job(azure: OpenAIStub, tmp_path: Path) -> None:
    at = provider(azure, name="azure")
    job = started(at, tmp_path, job_id=ID, suffix="harbour.of.brest")
    suffix = azure.calls(JOBS)[-1].json["suffix"]
    assert suffix == f"harbour-{hashlib.sha256(ID.encode()).hexdigest()[:10]}"
    assert rendered(offline("azure"))["suffix"].startswith("at-")
    azure.set(job.id, metadata=None)  # as a server would have it that drops them
    found = at.find(ID)
    assert found is not None
    assert (found.id, found.seen_job_id) == (job.id, ID)
    assert at.find("tides-0a1b2c3d4f") is None


@pytest.mark.parametrize(
    ("given", "address"),
    [
        ("https://mine.openai.azure.com", "https://mine.openai.azure.com/openai/v1"),
        ("https://mine.openai.azure.com/", "https://mine.openai.azure.com/openai/v1"),
        ("https://mine.openai.azure.com/openai/v1/", "https://mine.openai.azure.com/openai/v1"),
    ],
)
def test_an_address_of_azure_may_be_given_short(given: str, address: str) -> None:
    assert offline("azure", base_url=given)._speech.base_url == address


def test_azure_without_an_address_says_what_one_looks_like() -> None:
    at = offline("azure")
    said = "profiles.azure.base_url is not set: https://<resource>.openai.azure.com"
    assert at.capabilities(MODEL).problems == (said,)
    with pytest.raises(UsageError, match="is not set"):
        at.retrieve("ftjob-1")
    assert offline("azure", base_url="https://mine.openai.azure.com").capabilities(MODEL).problems == ()


def test_a_tier_that_is_none_is_a_problem_of_the_plan() -> None:
    (said,) = offline("azure", base_url="https://a", tier="globalstandard").capabilities(MODEL).problems
    assert said == "profiles.azure.tier: 'globalstandard': did you mean globalStandard?"
    (said,) = offline("openai", tier="developer").capabilities(MODEL).problems
    assert said == "profiles.openai.tier: openai has no tiers"


def test_a_model_that_azure_has_not_deployed_says_what_is_to_be_done(azure: OpenAIStub, tmp_path: Path) -> None:
    at = provider(azure, name="azure")
    job = ended(at, started(at, tmp_path))
    tuned = TunedModel(provider="azure", base=MODEL, name=job.model or "", job_id="tides-1")
    with pytest.raises(NotFoundError) as caught:
        list(at.generator(base=MODEL, tuned=tuned).answer([[{"role": "user", "content": "Hi"}]], max_new_tokens=1))
    assert "deployed" in (caught.value.fix or "")
