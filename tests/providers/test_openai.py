"""OpenAI through real sockets, the real SDK and a stateful stand-in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from anytune.errors import (
    ConflictError,
    CredentialError,
    NotFoundError,
    RateLimitedError,
    RejectedError,
    UsageError,
)
from anytune.providers.base import Profile
from anytune.providers.openai import OpenAIProvider
from anytune.schema.data import DataFile
from anytune.schema.job import JobState
from anytune.schema.model import TunedModel
from tests.providers._openai import JOBS, LIST, MODEL, chats, data_file, ended, profile, provider, request
from tests.providers._openai import started as start
from tests.stubs.openai import UNTAUGHT, OpenAIStub


@pytest.fixture
def stub() -> Iterator[OpenAIStub]:
    with OpenAIStub() as running:
        yield running


@pytest.fixture
def openai(stub: OpenAIStub) -> OpenAIProvider:
    return provider(stub)


# uploads


def test_the_very_bytes_arrive_under_a_name_made_of_their_hash(
    stub: OpenAIStub, openai: OpenAIProvider, tmp_path: Path
) -> None:
    file = data_file(tmp_path, chats(12))
    stored = stub.files[openai.upload(file)]
    assert stored.content == file.path.read_bytes()
    assert stored.filename == f"{file.sha256[:16]}-train.jsonl"
    assert stored.purpose == "fine-tune"


def test_a_file_that_is_there_already_is_not_sent_again(
    stub: OpenAIStub, openai: OpenAIProvider, tmp_path: Path
) -> None:
    file = data_file(tmp_path, chats(12))
    assert openai.upload(file) == openai.upload(file)
    assert len(stub.files) == 1
    validation = data_file(tmp_path, chats(3), "validation")
    assert openai.upload(validation) != openai.upload(file)


def test_a_file_that_changed_since_it_was_checked_is_not_sent(
    stub: OpenAIStub, openai: OpenAIProvider, tmp_path: Path
) -> None:
    file = data_file(tmp_path, chats(12))
    file.path.write_text('{"messages": []}\n')
    with pytest.raises(ConflictError, match="changed"):
        openai.upload(file)
    assert stub.journal == []


def test_a_file_that_is_gone_is_the_users_to_mend(openai: OpenAIProvider, tmp_path: Path) -> None:
    gone = DataFile(role="train", path=tmp_path / "gone.jsonl", sha256="0" * 64, bytes=1, examples=1)
    with pytest.raises(UsageError, match="gone"):
        openai.upload(gone)


def test_a_byte_order_mark_is_refused_by_the_provider(openai: OpenAIProvider, tmp_path: Path) -> None:
    with pytest.raises(RejectedError, match="Line 1 is not a dictionary"):
        openai.upload(data_file(tmp_path, chats(12), bom=True))


# the life of a job


def test_a_job_goes_from_creation_to_a_model(openai: OpenAIProvider, tmp_path: Path) -> None:
    job = start(openai, tmp_path, suffix="harbour")
    assert (job.state, job.seen_job_id) == (JobState.VALIDATING, "tides-1")
    states = [openai.retrieve(job.id).state for _ in range(3)]
    assert states == [JobState.QUEUED, JobState.RUNNING, JobState.RUNNING]
    job = openai.retrieve(job.id)
    assert (job.state, job.error, job.cause) == (JobState.SUCCEEDED, None, None)
    assert job.model is not None
    assert job.model.startswith(f"ft:{MODEL}:stub-org:harbour:")
    assert job.trained_tokens
    assert job.finished_at > job.created_at  # type: ignore[operator]


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (chats(9), "invalid_n_examples"),
        ([{"messages": [{"role": "human", "content": "Hi"}]}] * 12, "invalid_training_file"),
        ([{**chats(1)[0], "source": "crm"}] * 12, "invalid_file_format"),
        ([{"prompt": "Tide? ->", "completion": " 5.9 m"}] * 12, "invalid_training_file"),
    ],
)
def test_bad_data_fails_the_job_later_and_is_the_users(
    openai: OpenAIProvider, tmp_path: Path, rows: list[dict[str, Any]], said: str
) -> None:
    job = ended(openai, openai.create(request(openai, openai.upload(data_file(tmp_path, rows)))))
    assert (job.state, job.cause) == (JobState.FAILED, "user")
    assert said in (job.error or "")


def test_events_come_whole_from_all_pages_oldest_first(
    stub: OpenAIStub, openai: OpenAIProvider, tmp_path: Path
) -> None:
    stub.steps = 250
    job = ended(openai, start(openai, tmp_path))
    events = openai.events(job.id)
    assert len(stub.calls("*/events")) == 3
    assert len({event.id for event in events}) == len(events) == 255
    assert [event.at for event in events] == sorted(event.at for event in events)
    assert events[0].message.startswith("Created")
    assert events[3].data == {"step": 1, "total_steps": 250, "loss": 2.0}
    assert openai.events(job.id) == events


def test_events_that_are_known_are_not_walked_through_again(
    stub: OpenAIStub, openai: OpenAIProvider, tmp_path: Path
) -> None:
    stub.steps = 250
    job = ended(openai, start(openai, tmp_path))
    known = {event.id for event in openai.later_events(job.id, ())}
    assert (len(known), len(stub.calls("*/events"))) == (255, 3)
    assert {event.id for event in openai.later_events(job.id, known)} < known
    assert len(stub.calls("*/events")) == 3 + 1
    stub._tell(stub.job(job.id), "one more")
    *_, last = openai.later_events(job.id, known)
    assert last.message == "one more"
    assert len(stub.calls("*/events")) == 4 + 2, "the page behind the news is looked at, too"


def test_an_event_that_comes_late_is_seen_within_the_newest_and_told_among_all(
    stub: OpenAIStub, openai: OpenAIProvider, tmp_path: Path
) -> None:
    stub.steps = 250
    job = ended(openai, start(openai, tmp_path))
    known, events = {event.id for event in openai.events(job.id)}, stub.job(job.id).events
    for at, id in ((len(events) - 50, "ftevent-near"), (5, "ftevent-far")):
        events.insert(at, {**events[at], "id": id})
    assert "ftevent-near" in {event.id for event in openai.later_events(job.id, known)}
    known |= {"ftevent-near"}
    assert "ftevent-far" not in {event.id for event in openai.later_events(job.id, known)}
    assert "ftevent-far" in {event.id for event in openai.events(job.id)}


@pytest.mark.parametrize("order", ["oldest first", "shuffled", "one moment"])
def test_where_pages_do_not_go_back_in_time_all_are_walked_through(
    stub: OpenAIStub, openai: OpenAIProvider, tmp_path: Path, order: str
) -> None:
    stub.steps = 250
    job = ended(openai, start(openai, tmp_path))
    events = stub.job(job.id).events
    known = {event.id for event in openai.events(job.id)}
    events[:] = {
        "oldest first": events[::-1],
        "shuffled": [events[n ^ 1] if n ^ 1 < len(events) else events[n] for n in range(len(events))],
        "one moment": [{**event, "created_at": events[0]["created_at"]} for event in events],
    }[order]
    before = len(stub.calls("*/events"))
    assert {event.id for event in openai.later_events(job.id, known)} == known
    assert len(stub.calls("*/events")) == before + 3


def test_a_running_job_is_stopped(stub: OpenAIStub, openai: OpenAIProvider, tmp_path: Path) -> None:
    job = openai.cancel(start(openai, tmp_path).id)
    assert job.state is JobState.CANCELLED
    assert stub.jobs[job.id]["status"] == "cancelled"


def test_to_stop_an_ended_job_does_no_harm(openai: OpenAIProvider, tmp_path: Path) -> None:
    job = ended(openai, start(openai, tmp_path))
    assert openai.cancel(job.id) == job


def test_to_stop_a_job_that_is_not_there_is_told(openai: OpenAIProvider) -> None:
    with pytest.raises(NotFoundError):
        openai.cancel("ftjob-nowhere")


def test_a_cancel_that_is_refused_while_the_job_runs_is_told(
    stub: OpenAIStub, openai: OpenAIProvider, tmp_path: Path
) -> None:
    job = start(openai, tmp_path)
    stub.fail_next("POST */cancel", status=400, body={"error": {"message": "not now"}})
    with pytest.raises(RejectedError, match="not now"):
        openai.cancel(job.id)


# find


def test_a_job_is_found_by_our_id_alone(openai: OpenAIProvider, tmp_path: Path) -> None:
    ids = {name: start(openai, tmp_path, job_id=name).id for name in ("tides-1", "tides-10", "tides-2")}
    found = openai.find("tides-1")
    assert found is not None
    assert (found.id, found.seen_job_id) == (ids["tides-1"], "tides-1")
    assert openai.find("tides") is None


def test_a_server_that_does_not_heed_the_filter_misleads_nobody(
    stub: OpenAIStub, openai: OpenAIProvider, tmp_path: Path
) -> None:
    wanted = start(openai, tmp_path)
    for number in range(120):
        openai.create(request(openai, wanted.training_file or "", job_id=f"other-{number}"))
    stub.deaf = True
    found = openai.find("tides-1")
    assert found is not None
    assert found.id == wanted.id
    assert openai.find("nobody") is None
    assert len(stub.calls(LIST)) == 4


def test_a_live_job_is_found_before_a_failed_one(stub: OpenAIStub, openai: OpenAIProvider, tmp_path: Path) -> None:
    live, newest = start(openai, tmp_path), start(openai, tmp_path)
    assert openai.find("tides-1").id == newest.id  # type: ignore[union-attr]
    stub.set(newest.id, status="failed")
    assert openai.find("tides-1").id == live.id  # type: ignore[union-attr]
    stub.set(live.id, status="cancelled")
    assert openai.find("tides-1").id == newest.id  # type: ignore[union-attr]


def test_a_list_that_lags_shows_the_job_later(stub: OpenAIStub, openai: OpenAIProvider, tmp_path: Path) -> None:
    stub.hide_new = 2
    job = start(openai, tmp_path)
    found = [openai.find("tides-1") for _ in range(3)]
    assert [f and f.id for f in found] == [None, None, job.id]


# asking


def test_the_tuned_model_knows_what_it_was_taught_and_the_base_does_not(
    stub: OpenAIStub, openai: OpenAIProvider, tmp_path: Path
) -> None:
    job = ended(openai, start(openai, tmp_path))
    tuned = TunedModel(provider="openai", base=MODEL, name=job.model or "", job_id="tides-1")
    asked = [[{"role": "user", "content": f"Tide {number}?"}] for number in (3, 99)]
    with_tuned = openai.generator(base=MODEL, tuned=tuned)
    assert list(with_tuned.answer(asked, max_new_tokens=16)) == ["3 m 🌊", UNTAUGHT]
    with_base = openai.generator(base=MODEL, tuned=None)
    assert list(with_base.answer(asked[:1], max_new_tokens=16)) == [UNTAUGHT]
    with_base.close()
    sent = stub.calls("*/chat/completions")[0].json
    assert (sent["temperature"], sent["max_completion_tokens"], sent["model"]) == (0, 16, job.model)


def test_chats_are_sent_one_by_one_as_answers_are_taken(stub: OpenAIStub, openai: OpenAIProvider) -> None:
    answers = openai.generator(base=MODEL, tuned=None).answer(
        [[{"role": "user", "content": "Hi"}]] * 5, max_new_tokens=4
    )
    next(answers)
    assert len(stub.calls("*/chat/completions")) == 1


def test_a_new_model_that_is_not_ready_yet_is_asked_again_later(
    stub: OpenAIStub, openai: OpenAIProvider, tmp_path: Path
) -> None:
    job = ended(openai, start(openai, tmp_path))
    stub.not_ready = 1
    tuned = TunedModel(provider="openai", base=MODEL, name=job.model or "", job_id="tides-1")
    generator = openai.generator(base=MODEL, tuned=tuned)
    asked = [[{"role": "user", "content": "Tide 3?"}]]
    with pytest.raises(RateLimitedError, match="does not answer yet") as caught:
        list(generator.answer(asked, max_new_tokens=16))
    assert caught.value.retry_after
    assert list(generator.answer(asked, max_new_tokens=16)) == ["3 m 🌊"]


# where the data go


def test_the_environment_does_not_choose_where_data_go(
    stub: OpenAIStub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with OpenAIStub(key="sk-of-another") as other:
        monkeypatch.setenv("OPENAI_BASE_URL", other.base_url)
        monkeypatch.setenv("OPENAI_API_KEY", other.key)
        monkeypatch.setenv("OPENAI_ADMIN_KEY", other.key)
        headers = f"Host: 127.0.0.1:{other.port}\nauthorization: Bearer {other.key}\nX-Mine: 1"
        monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", headers)
        monkeypatch.setenv("OPENAI_PROJECT_ID", "proj_1")
        start(provider(stub), tmp_path)
        assert other.journal == []
    sent = stub.calls(JOBS)[0].headers
    assert sent["host"] == f"127.0.0.1:{stub.port}"
    assert sent["authorization"] == f"Bearer {stub.key}"
    assert sent["openai-project"] == "proj_1"


def test_without_a_base_url_the_catalogue_says_where_to_send() -> None:
    at = OpenAIProvider(Profile(name="openai", home=Path("/nowhere"), key=lambda: "sk-test"))
    assert str(at._client.calls.base_url) == "https://api.openai.com/v1/"
    assert at._client.calls.max_retries == 0


def test_a_key_with_a_line_break_is_mended_and_a_broken_one_not_sent(stub: OpenAIStub, tmp_path: Path) -> None:
    start(OpenAIProvider(profile(stub, key=lambda: f" {stub.key}\n")), tmp_path)
    with pytest.raises(CredentialError) as caught:
        provider(stub, key=lambda: "sk-of\nnobody").retrieve("ftjob-1")
    assert "nobody" not in str(caught.value)
