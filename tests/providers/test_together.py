"""The Together provider through real sockets and the vendor's own client."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from anytune.errors import (
    AmbiguousError,
    KeyRefusedError,
    MalformedAnswerError,
    MissingExtraError,
    NotFoundError,
    QuotaError,
    RateLimitedError,
    RejectedError,
    UnavailableError,
)
from anytune.providers.base import Profile
from anytune.providers.together import TogetherProvider
from anytune.schema.job import JobState
from anytune.testing import ProviderContract
from tests.providers._together import CREATE, JOB_ID, LIST, MODEL, TogetherRig, running
from tests.stubs._http import Trap
from tests.stubs._process import served
from tests.stubs.together import STUB_KEY, TogetherStub


@pytest.fixture
def stub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TogetherStub]:
    with running(tmp_path, monkeypatch) as stub:
        yield stub


@pytest.fixture
def rig(tmp_path: Path, stub: TogetherStub) -> TogetherRig:
    return TogetherRig(tmp_path, stub)


class TestTheContract(ProviderContract):
    @pytest.fixture
    def rig(self, tmp_path: Path, stub: TogetherStub) -> TogetherRig:
        return TogetherRig(tmp_path, stub)


def test_a_job_goes_from_upload_to_a_model_that_bears_its_id(rig: TogetherRig) -> None:
    request = rig.request(training_file=rig.provider.upload(rig.file()))
    remote_id = rig.provider.create(request).id
    seen = [rig.provider.retrieve(remote_id) for _ in rig.stub.life[1:]]
    assert [job.state for job in seen] == [
        JobState.QUEUED,
        JobState.RUNNING,
        JobState.RUNNING,
        JobState.FINALIZING,
        JobState.FINALIZING,
        JobState.SUCCEEDED,
    ]
    assert seen[-1].status == "completed"
    assert JOB_ID in str(seen[-1].model)
    assert seen[-1].seen_job_id == JOB_ID
    assert seen[-1].cost == Decimal(4)
    assert seen[-1].trained_tokens
    assert seen[-1].created_at is not None
    assert seen[-1].finished_at is not None
    assert seen[-1].finished_at > seen[-1].created_at


def test_create_sends_exactly_the_rendered_body_in_one_call(rig: TogetherRig) -> None:
    lora = {"rank": 8, "alpha": 64, "dropout": 0.1, "target_modules": ["q_proj", "v_proj"]}
    request = rig.request(training={"epochs": 2, "lora": lora})
    rig.provider.create(request)
    (call,) = rig.stub.calls(CREATE)
    assert call.json == request
    assert call.json["training_type"]["lora_alpha"] == 64
    assert call.json["training_type"]["lora_trainable_modules"] == "q_proj,v_proj"
    assert rig.calls("*models/limits") == rig.calls("*estimate-price") == 0


def test_a_file_that_is_not_validated_yet_is_waited_for_and_nothing_is_created(rig: TogetherRig) -> None:
    rig.stub.file_life = ("QUEUED", "RUNNING", "COMPLETED")
    request = rig.request(training_file=rig.provider.upload(rig.file()))
    with pytest.raises(RateLimitedError, match="not validated yet") as caught:
        rig.provider.create(request)
    assert caught.value.retry_after == 2
    assert rig.calls(CREATE) == 0
    assert rig.provider.create(request).state is JobState.QUEUED


def test_a_faulty_file_is_refused_with_the_report_and_nothing_is_created(rig: TogetherRig) -> None:
    request = rig.request()
    stored = rig.stub.files[request["training_file"]]
    stored.content = (stored.content or b"") + b'{"messages": []}\n'
    stored.steps = ["COMPLETED"]
    with pytest.raises(RejectedError, match=r"train\.jsonl:13: at least one message"):
        rig.provider.create(request)
    assert rig.calls(CREATE) == 0


@pytest.mark.parametrize("status", [500, 503, 529])
def test_trouble_before_the_job_is_sent_is_surely_not_done(rig: TogetherRig, status: int) -> None:
    request = rig.request()
    rig.stub.fail_next("GET /v1/files/*", status=status)
    with pytest.raises(UnavailableError):
        rig.provider.create(request)
    assert rig.calls(CREATE) == 0


def test_a_lost_answer_does_not_pay_twice(rig: TogetherRig) -> None:
    request = rig.request()
    rig.stub.drop_next(CREATE, when="after")
    with pytest.raises(AmbiguousError):
        rig.provider.create(request)
    assert rig.calls(CREATE) == rig.remote_jobs() == 1
    found = rig.provider.find(JOB_ID)
    assert found is not None
    assert found.id in rig.stub.jobs


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (400, {"error": {"message": "bad", "param": "n_epochs"}}, RejectedError),
        (402, {"message": "spending limit"}, QuotaError),
        (403, {}, RejectedError),
        (404, {}, NotFoundError),
        (429, {}, RateLimitedError),
        (500, {}, AmbiguousError),
        (503, b"<html>", AmbiguousError),
        (524, {}, AmbiguousError),
        (200, {}, MalformedAnswerError),
        (200, {"id": None}, MalformedAnswerError),
        (200, {"id": "../../x"}, MalformedAnswerError),
        (200, [], MalformedAnswerError),
        (200, b"", MalformedAnswerError),
    ],
)
def test_each_answer_to_create_ends_in_one_of_the_six_ways(
    rig: TogetherRig, status: int, body: Any, kind: type[Exception]
) -> None:
    request = rig.request()
    rig.stub.fail_next(CREATE, status=status, body=body)
    with pytest.raises(kind) as caught:
        rig.provider.create(request)
    assert type(caught.value) is kind
    assert rig.calls(CREATE) == 1


def test_a_half_answer_to_create_is_ambiguous(rig: TogetherRig) -> None:
    request = rig.request()
    rig.stub.cut_next(CREATE)
    with pytest.raises(AmbiguousError):
        rig.provider.create(request)


def test_a_redirect_of_the_job_reaches_nobody_else(rig: TogetherRig) -> None:
    request = rig.request()
    with Trap() as elsewhere:
        rig.stub.redirect_next(CREATE, to=elsewhere.origin)
        with pytest.raises(RejectedError, match="redirected"):
            rig.provider.create(request)
        assert elsewhere.journal == []


def test_an_account_without_credit_is_told_so(rig: TogetherRig) -> None:
    rig.stub.spent = True
    with pytest.raises(QuotaError, match="spending limit"):
        rig.start()


def test_a_refused_job_names_the_field(rig: TogetherRig) -> None:
    with pytest.raises(RejectedError) as caught:
        rig.provider.create({**rig.request(), "n_epochs": 1000})
    assert caught.value.param == "n_epochs"


def test_an_old_address_with_v1_is_understood(rig: TogetherRig, stub: TogetherStub) -> None:
    old = TogetherProvider(
        Profile(name="together", home=rig.folder, key=lambda: stub.key, base_url=f"{stub.base_url}/v1/")
    )
    assert old.find(JOB_ID) is None
    assert stub.calls()[-1].path == "/v1/fine-tunes"


def test_the_environment_does_not_move_the_data(rig: TogetherRig, monkeypatch: pytest.MonkeyPatch) -> None:
    with Trap() as elsewhere:
        monkeypatch.setenv("TOGETHER_BASE_URL", elsewhere.origin)
        monkeypatch.setenv("TOGETHER_CUSTOM_HEADERS", "Host: elsewhere.example\nAuthorization: Bearer other")
        rig.start()
        assert elsewhere.journal == []
    assert {call.headers["host"] for call in rig.stub.calls()} == {f"127.0.0.1:{rig.stub.port}"}


def test_a_missing_package_is_named_with_its_extra(rig: TogetherRig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "together", None)
    with pytest.raises(MissingExtraError) as caught:
        rig.provider.find(JOB_ID)
    assert "anytune[together]" in str(caught.value.fix)


def test_plan_and_render_load_no_sdk_and_ask_for_no_key() -> None:
    script = """
import sys
from pathlib import Path
from anytune.providers.base import Profile
from anytune.providers.together import TogetherProvider
from anytune.schema.spec import TuneSpec
provider = TogetherProvider(Profile(name="together", home=Path("."), key=lambda: 1 / 0))
provider.capabilities("openai/gpt-oss-20b")
spec = TuneSpec(name="a", provider="together", model="m", data={"train": "t.jsonl"})
provider.render(spec, job_id="a-0123456789", training_file="f", validation_file=None)
assert not {"together", "httpx"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", script], check=True)


def test_a_key_that_was_renewed_is_taken_up(rig: TogetherRig) -> None:
    remote_id = rig.start()
    rig.stub.key = "renewed"
    with pytest.raises(KeyRefusedError):
        rig.provider.retrieve(remote_id)
    rig.key = "renewed"
    assert rig.provider.retrieve(remote_id).id == remote_id


def test_an_answer_that_never_ends_is_cut_at_the_deadline(tmp_path: Path, stub: TogetherStub) -> None:
    rig = TogetherRig(tmp_path, stub, timeout=1.0)
    stub.drip_next(LIST, pace=0.3)
    with pytest.raises(AmbiguousError):
        rig.provider.find(JOB_ID)


def test_cancelling_twice_and_after_the_end_is_harmless(rig: TogetherRig) -> None:
    remote_id = rig.start()
    assert rig.provider.cancel(remote_id).state is JobState.CANCELLING
    assert rig.provider.cancel(remote_id).state is JobState.CANCELLED
    assert rig.provider.cancel(remote_id).state is JobState.CANCELLED
    with pytest.raises(NotFoundError):
        rig.provider.cancel("ft-of-nobody")


def test_a_cancel_refused_on_a_running_job_is_told(rig: TogetherRig) -> None:
    remote_id = rig.start()
    rig.stub.fail_next("POST */cancel", status=400, body={"message": "not now"})
    with pytest.raises(RejectedError, match="not now"):
        rig.provider.cancel(remote_id)


@pytest.mark.engine
def test_a_client_killed_after_create_leaves_a_job_that_is_found(tmp_path: Path) -> None:
    with served("tests.stubs.together", state=tmp_path / "state") as server:
        command = [sys.executable, "-c", CLIENT, server.origin, str(tmp_path)]
        assert subprocess.run(command, check=False).returncode == -9
        routes = [f"{call['method']} {call['path']}" for call in server.journal()]
        assert routes.count(CREATE) == 1
        survivor = TogetherProvider(
            Profile(name="together", home=tmp_path, key=lambda: STUB_KEY, base_url=server.origin)
        )
        assert survivor.find(JOB_ID) is not None


def test_the_vendors_own_client_takes_the_stand_in_for_the_service(rig: TogetherRig) -> None:
    import together

    sdk = together.Together(api_key=rig.key, base_url=rig.stub.base_url, max_retries=0)
    file = sdk.files.upload(rig.file().path)
    assert sdk.files.retrieve(file.id).processing_status == "COMPLETED"
    created = sdk.fine_tuning.create(
        training_file=file.id, model=MODEL, lora=True, train_on_inputs=False, suffix="of-the-sdk"
    )
    assert [job.id for job in sdk.fine_tuning.list().data] == [created.id]
    assert sdk.fine_tuning.retrieve(created.id).status == "queued"
    assert sdk.fine_tuning.list_events(created.id).data[0].type == "job_pending"
    assert sdk.fine_tuning.cancel(created.id).status == "cancel_requested"
    assert rig.provider.find(JOB_ID) is None


CLIENT = f"""
import os, sys
from pathlib import Path
from anytune.providers.base import Profile
from anytune.providers.together import TogetherProvider
from anytune.testing.rig import sample_file, sample_spec
home = Path(sys.argv[2])
profile = Profile(name="together", home=home, key=lambda: "{STUB_KEY}", base_url=sys.argv[1])
provider = TogetherProvider(profile)
file = sample_file(home)
provider.create(
    provider.render(
        sample_spec(file, provider="together", model="{MODEL}"),
        job_id="{JOB_ID}",
        training_file=provider.upload(file),
        validation_file=None,
    )
)
os.kill(os.getpid(), 9)
"""
