"""The Fireworks provider through real sockets: jobs from create to end, and what may go wrong between."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from anytune.errors import (
    AmbiguousError,
    KeyRefusedError,
    MalformedAnswerError,
    NotFoundError,
    RateLimitedError,
    RejectedError,
    UnavailableError,
    UsageError,
)
from anytune.providers.base import Profile, Quotes, Resumes
from anytune.providers.fireworks import FireworksProvider
from anytune.schema.job import JobState
from tests.providers._fireworks import CREATE, JOB_ID, JOBS, LOOK, NAME, FireworksRig, pairs_file, running
from tests.stubs._http import Trap
from tests.stubs.fireworks import ACCOUNT, LIFE, FireworksStub

DPO_NAME = f"accounts/{ACCOUNT}/dpoJobs/at-{JOB_ID}"


@pytest.fixture
def stub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FireworksStub]:
    with running(tmp_path, monkeypatch) as stub:
        yield stub


@pytest.fixture
def rig(tmp_path: Path, stub: FireworksStub) -> FireworksRig:
    return FireworksRig(tmp_path, stub)


def test_a_job_goes_from_upload_to_a_model_that_bears_its_id(rig: FireworksRig) -> None:
    job = rig.provider.create(rig.request(training_file=rig.provider.upload(rig.file())))
    assert job.id == NAME
    assert job.seen_job_id == JOB_ID
    seen = [rig.provider.retrieve(job.id) for _ in LIFE[1:]]
    assert [one.state for one in seen] == [
        JobState.VALIDATING,
        JobState.QUEUED,
        JobState.RUNNING,
        JobState.FINALIZING,
        JobState.SUCCEEDED,
    ]
    assert seen[-1].model == f"accounts/{ACCOUNT}/models/at-{JOB_ID}"
    assert str(seen[-1].cost) == "2.5"


def test_preferences_are_found_in_their_own_collection(rig: FireworksRig, tmp_path: Path) -> None:
    request = rig.request(training_file=rig.provider.upload(pairs_file(tmp_path)), method="dpo")
    assert rig.provider.create(request).id == DPO_NAME
    found = rig.provider.find(JOB_ID)
    assert found is not None
    assert found.id == DPO_NAME
    assert found.seen_job_id == JOB_ID


def test_a_lost_answer_is_found_by_one_look_and_a_second_create_pays_nothing(rig: FireworksRig) -> None:
    request = rig.request()
    rig.stub.drop_next(CREATE, when="after")
    with pytest.raises(AmbiguousError):
        rig.provider.create(request)
    before = rig.calls()
    found = rig.provider.find(JOB_ID)
    assert found is not None
    assert rig.calls() == before + 1
    assert rig.provider.create(request).id == found.id
    assert rig.remote_jobs() == 1


def test_a_conflict_about_something_else_stays_a_refusal(rig: FireworksRig) -> None:
    rig.stub.fail_next(CREATE, status=409, body={"code": 6, "message": "model already exists"})
    with pytest.raises(RejectedError, match="model already exists"):
        rig.provider.create(rig.request())


def test_a_create_is_sent_once(rig: FireworksRig) -> None:
    rig.stub.fail_next(CREATE, status=500, times=9)
    with pytest.raises(AmbiguousError):
        rig.provider.create(rig.request())
    assert rig.calls(CREATE) == 1


def test_a_dataset_that_is_not_ready_is_waited_for_before_anything_is_started(rig: FireworksRig) -> None:
    rig.stub.landing = 3
    request = rig.request(training_file=rig.provider.upload(rig.file()))
    for _ in range(2):
        with pytest.raises(RateLimitedError) as caught:
            rig.provider.create(request)
        assert caught.value.retry_after == 2
    assert rig.calls(CREATE) == 0
    assert rig.provider.create(request).id == NAME


def test_a_look_at_the_dataset_that_fails_starts_nothing(rig: FireworksRig) -> None:
    request = rig.request()
    rig.stub.fail_next("GET /v1/*datasets/*", status=500)
    with pytest.raises(UnavailableError):
        rig.provider.create(request)
    assert rig.calls(CREATE) == 0


def test_the_region_of_the_profile_is_asked_for(tmp_path: Path, stub: FireworksStub) -> None:
    rig = FireworksRig(tmp_path, stub, region="EU_FRANKFURT_1")
    rig.start()
    assert stub.jobs[NAME]["region"] == "EU_FRANKFURT_1"


def test_a_job_placed_in_another_region_is_cancelled_and_refused(tmp_path: Path, stub: FireworksStub) -> None:
    rig = FireworksRig(tmp_path, stub, region="EU_FRANKFURT_1")
    stub.given_region = "US_IOWA_1"
    with pytest.raises(RejectedError, match="US_IOWA_1 instead of EU_FRANKFURT_1"):
        rig.start()
    assert stub.jobs[NAME]["state"] == "JOB_STATE_CANCELLED"


@pytest.mark.parametrize(("method", "status"), [("create", 307), ("retrieve", 302)])
def test_a_redirect_carries_neither_key_nor_data_away(rig: FireworksRig, method: str, status: int) -> None:
    request = rig.request()
    name = rig.start("another-7f3a9c2b10")
    with Trap() as trap:
        rig.stub.redirect_next(CREATE if method == "create" else LOOK, to=trap.origin, status=status)
        with pytest.raises(RejectedError, match="not followed"):
            rig.provider.create(request) if method == "create" else rig.provider.retrieve(name)
        assert trap.calls() == []


@pytest.mark.parametrize("pattern", [CREATE, LOOK])
def test_a_page_instead_of_an_answer_is_none(rig: FireworksRig, pattern: str) -> None:
    request = rig.request()
    name = rig.start("another-7f3a9c2b10")
    rig.stub.html_next(pattern)
    with pytest.raises(MalformedAnswerError):
        rig.provider.create(request) if pattern == CREATE else rig.provider.retrieve(name)


@pytest.mark.parametrize("body", [{}, {"error": "no such page"}, {"code": 16}])
def test_a_404_of_somebody_between_is_not_taken_for_no_job(rig: FireworksRig, body: Any) -> None:
    rig.stub.fail_next(LOOK, status=404, body=body)
    with pytest.raises(AmbiguousError):
        rig.provider.find(JOB_ID)


def test_a_wrong_key_is_told_without_showing_it_and_asked_for_again(rig: FireworksRig) -> None:
    name = rig.start()
    right, rig.stub.key = rig.stub.key, "another-key"
    with pytest.raises(KeyRefusedError) as caught:
        rig.provider.retrieve(name)
    assert right not in str(caught.value)
    rig.key = "another-key"
    assert rig.provider.retrieve(name).id == name


def test_a_key_without_rights_to_the_account_is_refused_by_the_services_word(rig: FireworksRig) -> None:
    rig.stub.accounts = ("another",)
    with pytest.raises(RejectedError, match="no access to account"):
        rig.provider.retrieve(NAME)


def test_an_account_that_is_not_named_is_the_one_that_the_key_serves(tmp_path: Path, stub: FireworksStub) -> None:
    rig = FireworksRig(tmp_path, stub, account=None)
    assert rig.start() == NAME
    assert rig.provider.find("nobody-0000000000") is None
    assert rig.provider.find(JOB_ID) is not None
    assert rig.calls("GET /v1/accounts") == 1


@pytest.mark.parametrize("accounts", [(), ("one", "two")])
def test_a_key_of_several_accounts_wants_one_named(
    tmp_path: Path, stub: FireworksStub, accounts: tuple[str, ...]
) -> None:
    rig = FireworksRig(tmp_path, stub, account=None)
    stub.accounts = accounts
    with pytest.raises(UsageError) as caught:
        rig.provider.upload(rig.file())
    assert caught.value.fix is not None
    assert "FIREWORKS_ACCOUNT_ID" in caught.value.fix


@pytest.mark.parametrize("account", ["../admin", "a b", "accounts/"])
def test_an_account_that_is_no_id_goes_nowhere(tmp_path: Path, stub: FireworksStub, account: str) -> None:
    rig = FireworksRig(tmp_path, stub, account=account)
    with pytest.raises(UsageError):
        rig.provider.find(JOB_ID)
    assert stub.journal == []


def test_an_account_may_be_named_as_the_service_writes_it(tmp_path: Path, stub: FireworksStub) -> None:
    assert FireworksRig(tmp_path, stub, account=f"accounts/{ACCOUNT}").provider.find(JOB_ID) is None


@pytest.mark.parametrize("name", ["x", f"{JOBS}/..", f"{JOBS}/a?b", f"{JOBS}/a/b", "accounts/a/datasets/b"])
def test_a_name_that_is_none_of_a_job_reaches_nobody(rig: FireworksRig, name: str) -> None:
    for act in (rig.provider.retrieve, rig.provider.cancel, rig.provider.events, rig.provider.resume):
        with pytest.raises(NotFoundError):
            act(name)
    assert rig.calls() == 0


def test_a_paused_job_goes_on_and_a_running_one_is_left_alone(rig: FireworksRig) -> None:
    name = rig.start()
    rig.stub.life = ("JOB_STATE_PAUSED",) * 9
    assert rig.provider.resume(name).state is JobState.PAUSED  # the stand-in pauses it again at the next look
    assert rig.calls("POST *:resume") == 1
    rig.stub.life = ("JOB_STATE_RUNNING",) * 9
    assert rig.provider.resume(name).state is JobState.RUNNING
    assert rig.calls("POST *:resume") == 1


def test_an_accepted_cancel_shows_at_once(rig: FireworksRig) -> None:
    name = rig.start()
    rig.stub.fail_next("POST *:cancel", status=200, body={})
    stopped = rig.provider.cancel(name)
    assert stopped.state is JobState.CANCELLING
    assert stopped.status == "JOB_STATE_VALIDATING"


def test_a_failed_job_tells_of_its_end(rig: FireworksRig) -> None:
    name = rig.start()
    status = {"code": "INVALID_ARGUMENT", "message": "No valid training examples"}
    rig.stub.set(name, state="JOB_STATE_FAILED", status=status, completedTime="2030-01-01T00:00:00Z")
    events = rig.provider.events(name)
    assert [(e.level, e.message) for e in events] == [
        ("info", "the job was created"),
        ("error", "No valid training examples (INVALID_ARGUMENT)"),
    ]


def test_a_job_that_dates_nothing_has_no_events(rig: FireworksRig) -> None:
    name = rig.start()
    rig.stub.set(name, createTime=None)
    assert rig.provider.events(name) == []


def test_what_the_interface_lacks_is_not_offered(rig: FireworksRig) -> None:
    assert not isinstance(rig.provider, Quotes)
    assert isinstance(rig.provider, Resumes)


def test_the_address_may_end_in_v1(tmp_path: Path, stub: FireworksStub) -> None:
    there = Profile(
        name="fireworks", home=tmp_path, key=lambda: stub.key, account=ACCOUNT, base_url=f"{stub.base_url}/v1/"
    )
    assert FireworksProvider(there).find(JOB_ID) is None
