"""What the providers' own lists say of base models, asked over real sockets."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest

from anytune import catalog
from anytune.errors import AmbiguousError, KeyRefusedError, MalformedAnswerError
from anytune.providers.base import Lists, Profile, Provider
from anytune.providers.fireworks import FireworksProvider
from anytune.providers.openai import OpenAIProvider
from anytune.providers.together import TogetherProvider
from tests.providers._roots import one_root
from tests.stubs._http import StubServer
from tests.stubs.fireworks import FireworksStub
from tests.stubs.openai import OpenAIStub
from tests.stubs.together import TogetherStub

KINDS = {
    "openai": (OpenAIProvider, OpenAIStub, "GET /v1/models"),
    "together": (TogetherProvider, TogetherStub, "GET /v1/fine-tunes/models/supported"),
    "fireworks": (FireworksProvider, FireworksStub, "GET /v1/accounts/fireworks/models"),
}


@pytest.fixture(params=KINDS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def stub(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StubServer]:
    one_root(tmp_path, monkeypatch)
    with KINDS[name][1]() as running:
        yield running


def at(stub: StubServer, name: str, *, key: str | None = None) -> Lists:
    profile = Profile(name=name, home=Path("/nowhere"), key=lambda: key or stub.key, base_url=stub.base_url)
    provider: Provider = KINDS[name][0](profile)
    assert isinstance(provider, Lists)
    return provider


def test_a_list_names_where_it_came_from_and_models_of_the_catalogue(name: str, stub: StubServer) -> None:
    offer = at(stub, name).models()
    assert offer.source.startswith(stub.origin)
    assert f"GET {offer.source.removeprefix(stub.origin)}" == KINDS[name][2]
    assert set(offer.models) & set(catalog.load(name).models)
    assert all(call.method == "GET" for call in stub.journal)


@pytest.mark.parametrize(
    "body", [{}, [], {"data": {}}, {"models": "all"}, {"models": []}, {"data": [1], "models": [1]}], ids=str
)
def test_an_answer_that_is_no_list_is_not_taken_for_an_empty_one(name: str, stub: StubServer, body: object) -> None:
    stub.fail_next(KINDS[name][2], status=200, body=body)
    with pytest.raises(MalformedAnswerError):
        at(stub, name).models()


def test_a_page_of_somebody_between_is_no_list(name: str, stub: StubServer) -> None:
    stub.html_next(KINDS[name][2])
    with pytest.raises(AmbiguousError):
        at(stub, name).models()


def test_a_refused_key_is_told_without_showing_it(name: str, stub: StubServer) -> None:
    key = "another-key-0123456789"
    with pytest.raises(KeyRefusedError) as caught:
        at(stub, name, key=key).models()
    assert key not in str(caught.value)


def test_together_says_how_long_an_example_may_be() -> None:
    with TogetherStub() as stub:
        offer = at(stub, "together").models()
        assert offer.models["openai/gpt-oss-20b"].max_length == 131072
        stub.fail_next("GET /v1/fine-tunes/models/limits", status=404)
        assert None in {said.max_length for said in at(stub, "together").models().models.values()}


def test_openai_says_when_a_model_ends_and_adds_none() -> None:
    with OpenAIStub() as stub:
        offer = at(stub, "openai").models()
    assert offer.models["gpt-4.1-mini-2025-04-14"].shutdown == date(2027, 1, 14)
    assert set(offer.models) <= set(catalog.load("openai").models)


def test_fireworks_list_is_walked_to_its_end_and_only_what_can_be_tuned_is_kept() -> None:
    with FireworksStub() as stub:
        row = {**stub.models[0], "name": "accounts/fireworks/models/newest", "tunable": True}
        ends = {"deprecationDate": {"year": 2027, "month": 3, "day": 1}}
        stub.models = [dict(stub.models[-1], name=f"accounts/fireworks/models/m{n}") for n in range(250)]
        stub.models += [{**row, **ends}]
        offer = at(stub, "fireworks").models()
        assert len(stub.journal) == 2
    assert set(offer.models) == {"newest"}
    assert offer.models["newest"].shutdown == date(2027, 3, 1)


def test_a_list_without_an_end_is_no_list() -> None:
    with FireworksStub() as stub:
        page = {"models": stub.models, "nextPageToken": "1"}
        stub.fail_next("GET /v1/accounts/fireworks/models", status=200, body=page, times=1000)
        with pytest.raises(MalformedAnswerError, match="no end"):
            at(stub, "fireworks").models()
