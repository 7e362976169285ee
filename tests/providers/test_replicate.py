"""The Replicate provider through real sockets: jobs from create to end, and what may go wrong between."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from anytune.errors import (
    AmbiguousError,
    ClosedError,
    KeyRefusedError,
    MalformedAnswerError,
    NotFoundError,
    QuotaError,
    RateLimitedError,
    RejectedError,
    UnavailableError,
    UsageError,
)
from anytune.providers.base import Quotes, Resumes
from anytune.schema.job import JobState
from tests.providers._replicate import CREATE, JOB_ID, LIST, LOOK, MADE, MAKE, ReplicateRig, running
from tests.stubs._http import Trap
from tests.stubs.replicate import USERNAME, VERSION, ReplicateStub

MODEL_LOOK = f"GET /v1/models/{USERNAME}/*"


@pytest.fixture
def stub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ReplicateStub]:
    with running(tmp_path, monkeypatch) as stub:
        yield stub


@pytest.fixture
def rig(tmp_path: Path, stub: ReplicateStub) -> ReplicateRig:
    return ReplicateRig(tmp_path, stub)


def test_a_job_goes_from_upload_to_a_version_of_its_own_model(rig: ReplicateRig) -> None:
    job = rig.provider.create(rig.request())
    seen = [job, *(rig.provider.retrieve(job.id) for _ in range(2))]
    assert [one.state for one in seen] == [JobState.QUEUED, JobState.RUNNING, JobState.SUCCEEDED]
    assert str(seen[-1].model).startswith(f"{USERNAME}/{MADE}:")
    assert seen[-1].cost is None  # only seconds are told, and no price of them
    made = rig.stub.models[f"{USERNAME}/{MADE}"]
    assert made["visibility"] == "private"
    assert JOB_ID in made["description"]


def test_the_trainer_reads_every_input_that_was_sent(rig: ReplicateRig) -> None:
    id = rig.start(training={"epochs": 2, "learning_rate": 1e-4, "batch_size": 8, "seed": 7, "lora": {"rank": 4}})
    assert rig.stub.read[id] == rig.stub.jobs[id]["input"]
    assert rig.stub.read[id] == {
        "train_data": next(iter(rig.stub.files.values()))["urls"]["get"],
        "num_train_epochs": 2,
        "learning_rate": 1e-4,
        "train_batch_size": 8,
        "seed": 7,
        "lora_rank": 4,
        "run_validation": False,  # or 50 examples would be taken away from training
    }


def test_an_input_that_the_version_does_not_know_starts_nothing(rig: ReplicateRig) -> None:
    assert rig.stub.inputs is not None
    del rig.stub.inputs["learning_rate"]
    with pytest.raises(RejectedError, match="no input learning_rate; it has lora_alpha") as caught:
        rig.start(training={"epochs": 1, "learning_rate": 1e-4})
    assert caught.value.param == "learning_rate"
    assert rig.calls(CREATE) == rig.calls(MAKE) == 0


def test_an_input_that_the_version_wants_besides_starts_nothing(rig: ReplicateRig) -> None:
    assert rig.stub.inputs is not None
    rig.stub.inputs["steps"], rig.stub.required = "integer", ("train_data", "steps")
    with pytest.raises(RejectedError, match="wants steps, too"):
        rig.start()
    assert rig.calls(CREATE) == 0


def test_a_version_that_cannot_be_trained_starts_nothing(rig: ReplicateRig) -> None:
    rig.stub.inputs = None
    with pytest.raises(RejectedError, match="does not say that it can be trained"):
        rig.start()
    assert rig.calls(CREATE) == 0


def test_a_trainer_that_is_not_there_is_said_to_be_unknown(rig: ReplicateRig) -> None:
    with pytest.raises(NotFoundError, match="could not be found"):
        rig.start(model=f"meta/llama-2-7b:{'0' * 64}")


def test_data_that_have_expired_start_nothing(rig: ReplicateRig) -> None:
    request = rig.request()
    rig.stub.expire(request["input"]["train_data"])
    with pytest.raises(RejectedError, match="expired") as caught:
        rig.provider.create(request)
    assert caught.value.fix == "start it anew with --again"
    assert rig.calls(CREATE) == 0


@pytest.mark.parametrize("pattern", ["GET /v1/models/*/versions/*", "GET /v1/files/*", MODEL_LOOK, MAKE])
@pytest.mark.parametrize("status", [500, 200])
def test_preparations_that_fail_leave_no_doubt(rig: ReplicateRig, pattern: str, status: int) -> None:
    request = rig.request()
    rig.stub.html_next(pattern) if status == 200 else rig.stub.fail_next(pattern, status=status)
    with pytest.raises(UnavailableError):
        rig.provider.create(request)
    assert rig.calls(CREATE) == 0
    assert rig.provider.create(request).id in rig.stub.jobs


def test_a_create_is_sent_once(rig: ReplicateRig) -> None:
    rig.stub.fail_next(CREATE, status=500, times=9)
    with pytest.raises(AmbiguousError):
        rig.start()
    assert rig.calls(CREATE) == 1


def test_a_model_whose_making_was_not_heard_of_is_taken_up(rig: ReplicateRig) -> None:
    request = rig.request()
    rig.stub.drop_next(MAKE, when="after")
    with pytest.raises(UnavailableError):
        rig.provider.create(request)
    assert rig.provider.create(request).id in rig.stub.jobs
    assert rig.calls(MAKE) == 1


def test_a_model_that_somebody_else_was_quicker_to_make_is_taken_up(rig: ReplicateRig) -> None:
    request = rig.request()
    rig.provider.create(request)
    rig.stub.fail_next(MODEL_LOOK, status=404, body={"detail": "not yet"})
    assert rig.provider.create(request).id in rig.stub.jobs
    assert rig.calls(MAKE) == 2


def test_a_model_of_the_same_name_with_another_note_is_left_alone(rig: ReplicateRig) -> None:
    rig.start()
    with pytest.raises(RejectedError, match="not for this job"):
        rig.start()
    assert rig.calls(CREATE) == 1


def test_nothing_is_trained_into_a_model_that_all_can_see(rig: ReplicateRig) -> None:
    request = rig.request()
    rig.stub.fail_next(CREATE, status=402)
    with pytest.raises(QuotaError):
        rig.provider.create(request)
    rig.stub.models[f"{USERNAME}/{MADE}"]["visibility"] = "public"
    with pytest.raises(RejectedError, match="is not private"):
        rig.provider.create(request)
    assert rig.calls(CREATE) == 1


def test_no_model_means_that_nothing_was_begun(rig: ReplicateRig) -> None:
    assert rig.provider.find(JOB_ID) is None
    assert rig.calls(LIST) == 0


def test_a_model_alone_is_no_training(rig: ReplicateRig) -> None:
    rig.stub.fail_next(CREATE, status=422, body={"detail": "no"})
    with pytest.raises(RejectedError):
        rig.start()
    assert rig.provider.find(JOB_ID) is None


def test_a_lost_answer_is_found_among_many_on_a_later_page(rig: ReplicateRig) -> None:
    rig.stub.page = 2
    request = rig.request()
    rig.stub.drop_next(CREATE, when="after")
    with pytest.raises(AmbiguousError):
        rig.provider.create(request)
    for number in range(5):
        rig.start(f"other-{number}")
    found = rig.provider.find(JOB_ID)
    assert found is not None
    assert found.id == next(iter(rig.stub.jobs))
    assert found.seen_job_id == JOB_ID


def test_two_trainings_on_the_jobs_file_are_not_guessed_between(rig: ReplicateRig) -> None:
    request = rig.request()
    for _ in range(2):
        rig.provider.create(request)
    with pytest.raises(AmbiguousError, match="2 trainings"):
        rig.provider.find(JOB_ID)


def test_a_training_of_another_job_that_took_the_same_file_is_not_ours(rig: ReplicateRig) -> None:
    mine = rig.request()
    theirs = rig.request("other-0123456789", training={"epochs": 9})
    assert mine["input"]["train_data"] == theirs["input"]["train_data"]  # neither had begun when the other looked
    rig.stub.fail_next(CREATE, status=500)
    with pytest.raises(AmbiguousError):
        rig.provider.create(mine)
    other = rig.provider.create(theirs)
    with pytest.raises(AmbiguousError, match="1 trainings were given the data"):
        rig.provider.find(JOB_ID)
    own = rig.provider.create(mine)
    for job_id, job in ((JOB_ID, own), ("other-0123456789", other)):
        found = rig.provider.find(job_id)
        assert found is not None
        assert found.id == job.id


def test_numbers_that_are_shown_in_another_way_are_the_same_numbers(rig: ReplicateRig) -> None:
    id = rig.start(training={"epochs": 2, "learning_rate": 1e-4})
    shown = rig.stub.jobs[id]["input"]
    rig.stub.set(id, input={**shown, "num_train_epochs": 2.0, "train_data": f"{shown['train_data']}?signature=x"})
    assert rig.provider.find(JOB_ID) is not None


def test_a_training_that_does_not_show_its_input_may_be_ours(rig: ReplicateRig) -> None:
    id = rig.start()
    rig.stub.set(id, input={})
    with pytest.raises(AmbiguousError, match="does not show"):
        rig.provider.find(JOB_ID)
    rig.stub.set(id, version="f" * 64)
    assert rig.provider.find(JOB_ID) is None


@pytest.mark.parametrize(
    "description", ["", "a llama", None, "anytune job other-1111111111, o/n:1 on https://x/y, settings 0"]
)
def test_a_model_with_another_description_is_not_believed(rig: ReplicateRig, description: Any) -> None:
    rig.start()
    rig.stub.models[f"{USERNAME}/{MADE}"]["description"] = description
    with pytest.raises(AmbiguousError, match="description"):
        rig.provider.find(JOB_ID)


@pytest.mark.parametrize("body", [{}, {"error": "no such page"}])
def test_a_404_of_somebody_between_is_not_taken_for_no_job(rig: ReplicateRig, body: Any) -> None:
    rig.stub.fail_next(MODEL_LOOK, status=404, body=body)
    with pytest.raises(AmbiguousError):
        rig.provider.find(JOB_ID)


@pytest.mark.parametrize(
    "page",
    [
        {},
        {"results": None},
        {"results": ["x"]},
        {"results": [], "next": "https://api.replicate.com/v1/trainings"},
        {"results": [], "next": 7},
    ],
)
def test_a_list_that_is_none_is_not_taken_for_an_empty_one(rig: ReplicateRig, page: Any) -> None:
    rig.start()
    rig.stub.fail_next(LIST, status=200, body=page)
    with pytest.raises(MalformedAnswerError):
        rig.provider.find(JOB_ID)


def test_a_list_that_goes_round_in_circles_ends(rig: ReplicateRig) -> None:
    rig.start()
    rig.stub.fail_next(LIST, status=200, body={"results": [], "next": "http://x/?cursor=1"}, times=9)
    with pytest.raises(MalformedAnswerError, match="no end"):
        rig.provider.find(JOB_ID)


def test_the_next_page_is_asked_for_at_our_own_address(rig: ReplicateRig) -> None:
    rig.start()
    with Trap() as trap:
        rig.stub.fail_next(LIST, status=200, body={"results": [], "next": f"{trap.origin}/v1/trainings?cursor=0"})
        assert rig.provider.find(JOB_ID) is not None
        assert trap.calls() == []


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, RejectedError),
        (402, QuotaError),
        (403, RejectedError),
        (404, NotFoundError),
        (409, RejectedError),
        (422, RejectedError),
        (429, RateLimitedError),
        (500, AmbiguousError),
        (503, AmbiguousError),
    ],
)
def test_a_refusal_is_told_in_the_services_own_words(rig: ReplicateRig, status: int, kind: type[Exception]) -> None:
    rig.stub.fail_next(
        CREATE, status=status, body={"title": "So it is", "detail": "and no other way", "status": status}
    )
    with pytest.raises(kind, match="So it is: and no other way") as caught:
        rig.start()
    assert not isinstance(caught.value, ClosedError)


@pytest.mark.parametrize(
    "body",
    [
        {"detail": [{"loc": ["body", "input", "seed"], "msg": "value is not a valid integer"}]},
        {"title": "Invalid", "invalid_fields": [{"field": "seed", "description": "value is not a valid integer"}]},
    ],
)
def test_a_refused_input_is_named(rig: ReplicateRig, body: Any) -> None:
    rig.stub.fail_next(CREATE, status=422, body=body)
    with pytest.raises(RejectedError, match="value is not a valid integer") as caught:
        rig.start()
    assert caught.value.param == "seed"


def test_the_time_of_a_rate_limit_is_read_from_the_words_where_no_header_tells_it(rig: ReplicateRig) -> None:
    rig.stub.fail_next(CREATE, status=429, body={"detail": "Request was throttled. Expected available in 9 seconds."})
    with pytest.raises(RateLimitedError) as caught:
        rig.start()
    assert caught.value.retry_after == 9


@pytest.mark.parametrize(("method", "status"), [("create", 307), ("retrieve", 302)])
def test_a_redirect_carries_neither_key_nor_data_away(rig: ReplicateRig, method: str, status: int) -> None:
    id, request = rig.start("another-7f3a9c2b10"), rig.request()
    with Trap() as trap:
        rig.stub.redirect_next(CREATE if method == "create" else LOOK, to=trap.origin, status=status)
        with pytest.raises(RejectedError, match="not followed"):
            rig.provider.create(request) if method == "create" else rig.provider.retrieve(id)
        assert trap.calls() == []


def test_a_wrong_key_is_told_without_showing_it_and_asked_for_again(rig: ReplicateRig) -> None:
    id = rig.start()
    right, rig.stub.key = rig.stub.key, "another-key"
    with pytest.raises(KeyRefusedError) as caught:
        rig.provider.retrieve(id)
    assert right not in str(caught.value)
    rig.key = "another-key"
    assert rig.provider.retrieve(id).id == id


def test_an_account_that_is_named_is_not_asked_for(tmp_path: Path, stub: ReplicateStub) -> None:
    stub.username = "my-team"
    rig = ReplicateRig(tmp_path, stub, account="my-team")
    rig.start()
    assert rig.calls("GET /v1/account") == 0
    assert f"my-team/{MADE}" in stub.models


def test_an_account_of_somebody_else_starts_nothing(tmp_path: Path, stub: ReplicateStub) -> None:
    with pytest.raises(RejectedError, match="permission"):
        ReplicateRig(tmp_path, stub, account="somebody").start()
    assert stub.jobs == {}


@pytest.mark.parametrize("account", ["../admin", "a b", "a/b"])
def test_an_account_that_is_no_name_goes_nowhere(tmp_path: Path, stub: ReplicateStub, account: str) -> None:
    with pytest.raises(UsageError):
        ReplicateRig(tmp_path, stub, account=account).provider.find(JOB_ID)
    assert stub.journal == []


@pytest.mark.parametrize("id", ["", "..", "a/b", "a?b", "a" * 65, "zz-4"])
def test_an_id_that_is_none_reaches_nobody(rig: ReplicateRig, id: str) -> None:
    for act in (rig.provider.retrieve, rig.provider.cancel, rig.provider.events):
        with pytest.raises(NotFoundError):
            act(id)
    assert rig.calls() == 0


def test_an_accepted_cancel_shows_at_once(rig: ReplicateRig) -> None:
    id = rig.start()
    rig.stub.fail_next("POST */cancel", status=200, body=None)
    stopped = rig.provider.cancel(id)
    assert stopped.state is JobState.CANCELLING
    assert stopped.status == "processing"


def test_a_failed_training_tells_why(rig: ReplicateRig) -> None:
    rig.stub.life = ("starting", "failed")
    job = rig.provider.retrieve(rig.start())
    assert job.state is JobState.FAILED
    assert job.error == "Training failed with exit code 1! Check logs for details"
    assert job.cause is None  # whose fault it is, a trainer does not say


def test_it_neither_quotes_nor_resumes(rig: ReplicateRig) -> None:
    assert not isinstance(rig.provider, Quotes)
    assert not isinstance(rig.provider, Resumes)
    assert VERSION in rig.spec().model
