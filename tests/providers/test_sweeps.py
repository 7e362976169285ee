"""Many jobs are asked for by few calls: pages are walked only as far as the wanted jobs lie."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from anytune import providers
from anytune.errors import KeyRefusedError, MalformedAnswerError, RejectedError
from anytune.providers.base import Profile, Sweeps
from anytune.providers.fireworks import answer as fireworks
from anytune.providers.openai import answer as openai
from anytune.providers.openai import provider as openai_module
from anytune.providers.together import answer as together
from anytune.schema.job import RemoteJob
from tests.providers._fireworks import FireworksRig
from tests.providers._fireworks import running as fireworks_running
from tests.providers._openai import LIST, chats, data_file, provider, request
from tests.providers._roots import one_root
from tests.stubs.fireworks import FireworksStub
from tests.stubs.openai import OpenAIStub
from tests.stubs.replicate import ReplicateStub
from tests.stubs.together import TogetherStub

STANDS: dict[str, Callable[[], Any]] = {
    "openai": OpenAIStub,
    "together": TogetherStub,
    "fireworks": FireworksStub,
    "replicate": ReplicateStub,
}


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> Iterator[OpenAIStub]:
    monkeypatch.setattr(openai_module, "PAGE", 4)
    with OpenAIStub() as stub:
        yield stub


def many(stub: OpenAIStub, folder: Path, count: int) -> list[RemoteJob]:
    at = provider(stub)
    file = at.upload(data_file(folder, chats(12)))
    return [at.create(request(at, file, job_id=f"tides-{n:02d}")) for n in range(count)]


def test_the_walk_ends_when_all_wanted_jobs_were_seen(stub: OpenAIStub, tmp_path: Path) -> None:
    jobs = many(stub, tmp_path, 18)
    assert provider(stub).retrieve_many([jobs[-1].id, jobs[-3].id]).keys() == {jobs[-1].id, jobs[-3].id}
    assert len(stub.calls(LIST)) == 1
    assert provider(stub).retrieve_many([job.id for job in jobs]).keys() == {job.id for job in jobs}
    assert len(stub.calls(LIST)) == 1 + 5


def test_the_walk_ends_where_jobs_are_older_than_the_oldest_wanted(stub: OpenAIStub, tmp_path: Path) -> None:
    jobs = many(stub, tmp_path, 18)
    found = provider(stub).retrieve_many([jobs[-1].id, "ftjob-gone"], since=jobs[-1].created_at)
    assert found.keys() == {jobs[-1].id}
    assert len(stub.calls(LIST)) == 2
    assert jobs[0].created_at is not None
    long_ago = jobs[0].created_at - timedelta(days=1)
    assert provider(stub).retrieve_many(["ftjob-gone"], since=long_ago) == {}


def test_a_key_that_was_renewed_is_taken_at_the_next_call(stub: OpenAIStub, tmp_path: Path) -> None:
    (job,) = many(stub, tmp_path, 1)
    keys = iter(["sk-old", stub.key])
    at = provider(stub, key=lambda: next(keys))
    with pytest.raises(KeyRefusedError):
        at.retrieve_many([job.id])
    assert at.retrieve_many([job.id]).keys() == {job.id}


def test_fireworks_lists_are_walked_by_collection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with fireworks_running(tmp_path, monkeypatch) as stub:
        stub.page = 2
        rig = FireworksRig(tmp_path, stub)
        names = [rig.start(f"sums-{n:010d}") for n in range(5)]
        assert rig.provider.retrieve_many(names).keys() == set(names)
        assert [call.path.rpartition("/")[2] for call in stub.calls("GET *Jobs")] == ["supervisedFineTuningJobs"] * 3


LISTS = {
    "openai": ("GET /v1/fine_tuning/jobs", "data", "id"),
    "together": ("GET /v1/fine-tunes", "data", "id"),
    "fireworks": ("GET *supervisedFineTuningJobs", "supervisedFineTuningJobs", "name"),
    "replicate": ("GET /v1/trainings", "results", "id"),
}


@pytest.mark.parametrize("odd", [[], {}, None, 7, ["a"]], ids=repr)
@pytest.mark.parametrize("name", list(LISTS))
def test_an_id_that_is_no_id_in_a_list_is_nobodys_and_no_defect(
    name: str, odd: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pattern, rows, id = LISTS[name]
    one_root(tmp_path, monkeypatch)
    with STANDS[name]() as stub:
        made = Profile(name=name, home=tmp_path, key=lambda: stub.key, base_url=stub.base_url)
        at = providers.load(name, made)
        assert isinstance(at, Sweeps)
        stub.fail_next(pattern, status=200, body={rows: [{id: odd, "status": "running"}], "next": None})
        wanted = "accounts/a/supervisedFineTuningJobs/b" if name == "fireworks" else "b"
        with suppress(MalformedAnswerError):
            assert at.retrieve_many([wanted]) == {}
        assert len(stub.calls()) == 1


@pytest.mark.parametrize("odd", [[], {}, 7, [["a"]]], ids=repr)
def test_a_word_that_is_no_word_is_an_unheard_of_one(odd: Any) -> None:
    together.refuse_faulty({"processing_status": odd}, act="look")
    together.require_checked({"processing_status": odd}, act="look")
    with pytest.raises(RejectedError, match="encrypted"):
        fireworks.require_plain({"encryptionState": odd}, act="look")
    failed = {"id": "ftjob-1", "status": "failed", "error": {"param": odd}}
    assert openai.job_of(failed, act="look").cause == "provider"
