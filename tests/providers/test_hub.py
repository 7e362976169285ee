"""Hugging Face Jobs beyond the contract: what is sent where, and what is made of what the trainer leaves."""

from __future__ import annotations

import hashlib
import io
import json
import tomllib
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest

import anytune
from anytune import catalog, errors, planner
from anytune.errors import (
    AmbiguousError,
    KeyRefusedError,
    NotFoundError,
    QuotaError,
    RejectedError,
    UnavailableError,
    UsageError,
)
from anytune.local import _hf_request as requests
from anytune.local._hf_answer import STATES
from anytune.local._hf_fault import told
from anytune.local._hf_package import pack
from anytune.local.hf_jobs import HFJobsProvider
from anytune.schema.job import JobState
from anytune.schema.plan import Policy
from tests.providers._hub import CREATE, JOB_ID, JOBS, LIST, LOOK, MODEL, PUT, REPOSITORY, HubRig, hub_id, running
from tests.rigs import report_of
from tests.stubs._http import Trap
from tests.stubs.hub import NAMESPACE, HubStub
from tests.stubs.hub import REPOSITORY as NAME

PREUPLOAD, COMMIT = f"POST {REPOSITORY}/preupload/*", f"POST {REPOSITORY}/commit/*"
ROOT = Path(__file__).parents[2]


@pytest.fixture
def stub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubStub]:
    with running(tmp_path, monkeypatch) as served:
        yield served


@pytest.fixture
def rig(tmp_path: Path, stub: HubStub) -> HubRig:
    return HubRig(tmp_path, stub)


def test_the_repository_is_made_private_before_the_first_byte_goes_there(rig: HubRig) -> None:
    rig.provider.upload(rig.file())
    assert rig.stub.calls("POST /api/repos/create")[0].json["visibility"] == "private"
    assert rig.stub.shelf.repositories[NAME].private is True


def test_a_repository_that_others_can_read_gets_nothing(rig: HubRig) -> None:
    rig.provider.upload(rig.file())
    rig.stub.shelf.repositories[NAME].private = False
    before = rig.calls("POST *") + rig.calls("PUT *")
    for act in (lambda: rig.provider.upload(rig.file()), rig.start):
        with pytest.raises(RejectedError, match="can be read by others"):
            act()
    assert rig.calls("POST *") + rig.calls("PUT *") == before


@pytest.mark.parametrize("large_from", [10_000_000, 0])
def test_data_that_lie_there_are_not_sent_again(rig: HubRig, large_from: int) -> None:
    rig.stub.large_from = large_from
    file = rig.file()
    assert rig.provider.upload(file) == rig.provider.upload(file) == f"file-{file.sha256}"
    assert rig.calls(f"POST {REPOSITORY}/commit/main") == 1
    assert rig.calls(PUT) == (1 if large_from == 0 else 0)
    assert rig.stub.shelf.repositories[NAME].files[f"files/{file.sha256}.jsonl"] == file.path.read_bytes()


def test_a_large_file_goes_to_the_storage_without_the_key(rig: HubRig) -> None:
    rig.stub.large_from = 0
    rig.provider.upload(rig.file())
    (put,) = rig.stub.calls(PUT)
    assert "authorization" not in put.headers
    assert put.headers["host"].startswith("localhost")


def test_a_storage_that_is_not_reached_by_https_gets_nothing(rig: HubRig) -> None:
    rig.stub.large_from, rig.stub.storage = 0, "http://storage.example"
    with pytest.raises(RejectedError, match="not reached by https"):
        rig.provider.upload(rig.file())


def test_the_key_is_not_sent_to_another_host_that_wants_it(rig: HubRig) -> None:
    rig.stub.large_from = 0
    with Trap() as trap:
        rig.stub.verifier = trap.origin
        with pytest.raises(RejectedError, match="the key was wanted"):
            rig.provider.upload(rig.file())
        assert trap.calls() == []


@pytest.mark.parametrize("status", [301, 302, 307, 308])
@pytest.mark.parametrize("pattern", [PREUPLOAD, COMMIT, PUT, CREATE, LOOK])
def test_a_redirect_carries_neither_key_nor_data_away(rig: HubRig, pattern: str, status: int) -> None:
    rig.stub.large_from = 0 if pattern == PUT else rig.stub.large_from
    with Trap() as trap:
        rig.stub.redirect_next(pattern, to=trap.origin, status=status)
        with pytest.raises(RejectedError, match="not followed"):
            rig.provider.upload(rig.file())
            rig.provider.retrieve(rig.start())
        assert trap.calls() == []


def test_the_next_page_of_a_list_is_not_asked_for_elsewhere(rig: HubRig) -> None:
    for number in range(3):
        rig.start(f"job-{number}")
    with Trap() as trap:
        link = {"Link": f'<{trap.origin}{JOBS}?cursor=2>; rel="next"'}
        rig.stub.fail_next(LIST, status=200, headers=link, body=[])
        with pytest.raises(RejectedError, match="the key was wanted"):
            rig.provider.find("job-0")
        assert trap.calls() == []


def test_a_job_is_found_beyond_the_first_page(rig: HubRig) -> None:
    ids = [rig.start(f"job-{number}") for number in range(5)]
    for number, id in enumerate(ids):
        found = rig.provider.find(f"job-{number}")
        assert found is not None
        assert found.id == id


@pytest.mark.parametrize("fault", [{"status": 500}, {"status": 502}, {"status": 503}, {"status": 408}])
def test_the_library_does_not_send_a_create_again_by_itself(rig: HubRig, fault: dict[str, Any]) -> None:
    rig.stub.fail_next(CREATE, when="after", **fault)
    with pytest.raises(AmbiguousError):
        rig.start()
    assert rig.calls(CREATE) == 1
    found = rig.provider.find(JOB_ID)
    assert found is not None
    assert found.seen_job_id == JOB_ID


@pytest.mark.parametrize(
    "pattern",
    [PREUPLOAD, "POST */objects/batch", PUT, COMMIT, f"GET {REPOSITORY}"],
)
def test_the_library_repeats_no_step_of_an_upload_and_does_not_sleep(
    rig: HubRig, pattern: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: pytest.fail(f"slept {seconds} s"))
    rig.stub.large_from = 0
    for fault in ({"status": 503}, {"status": 429, "headers": {"Retry-After": "30"}}):
        rig.stub.fail_next(pattern, **fault)
        before = rig.calls(pattern)
        with pytest.raises(errors.ProviderError):
            rig.provider.upload(rig.file())
        assert rig.calls(pattern) == before + 1


@pytest.mark.parametrize("pattern", [f"GET {REPOSITORY}", f"POST {REPOSITORY}/paths-info/*", COMMIT])
def test_what_fails_before_the_create_has_surely_started_nothing(rig: HubRig, pattern: str) -> None:
    rig.stub.drop_next(pattern)
    with pytest.raises(UnavailableError):
        rig.start()
    assert rig.remote_jobs() == 0
    assert rig.calls(CREATE) == 0


def test_the_key_goes_out_as_a_secret_alone(rig: HubRig) -> None:
    request = rig.request()
    id = hub_id(rig.provider.create(request).id)
    body = rig.stub.calls(CREATE)[-1].json
    assert body.pop("secrets") == {"HF_TOKEN": rig.key}
    assert rig.key not in json.dumps([body, request, rig.stub.jobs[id]])


def test_the_time_limit_and_the_machine_are_those_of_the_profile(tmp_path: Path, stub: HubStub) -> None:
    HubRig(tmp_path, stub, flavor="a10g-large", hours=0.5).start()
    HubRig(tmp_path, stub).start("another")
    bodies = [call.json for call in stub.calls(CREATE)]
    assert [(body["flavor"], body["timeoutSeconds"]) for body in bodies] == [("a10g-large", 1800), ("l4x1", 14400)]


def test_the_very_program_that_runs_here_is_sent_and_only_once(rig: HubRig) -> None:
    rig.start()
    rig.start("another")
    path, content = pack()
    assert pack() == (path, content)
    assert rig.stub.shelf.repositories[NAME].files[path] == content
    assert rig.calls(PUT) == 1
    assert {call.json["environment"]["ANYTUNE_CODE"] for call in rig.stub.calls(CREATE)} == {path}
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        worker = archive.read("anytune/local/worker.py")
        assert not [name for name in archive.namelist() if not name.endswith((".py", ".yaml"))]
    assert worker == (Path(anytune.__file__).parent / "local" / "worker.py").read_bytes()


def test_the_packages_of_the_job_are_those_that_the_project_states() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    terminal = {"typer>=0.15,<1", "rich>=13.7,<16"}  # nobody looks at a terminal there
    wanted = {*project["dependencies"], *extras["local"], *extras["hf-jobs"]} - terminal
    assert set(requests.PACKAGES) == wanted


def test_the_flavors_are_among_those_of_the_library() -> None:
    from huggingface_hub import JobHardware

    known = catalog.load("hf-jobs").flavors
    assert set(known) <= {flavor.value for flavor in JobHardware}
    assert requests.FLAVOR in known


def test_every_stage_of_the_library_has_a_state() -> None:
    from huggingface_hub import JobStage

    assert set(STATES) == {stage.value for stage in JobStage}


@pytest.mark.parametrize(
    ("stage", "state"), [("SCHEDULING", "queued"), ("RUNNING", "running"), ("PREEMPTED", "unknown")]
)
def test_a_machine_that_is_not_gone_is_asked_about_by_one_call(rig: HubRig, stage: str, state: str) -> None:
    rig.stub.life = (stage,)
    id = rig.start()
    before = rig.calls()
    assert rig.provider.retrieve(id).state == state
    assert rig.calls() == before + 1


@pytest.mark.parametrize("stage", ["COMPLETED", "ERROR", "CANCELED", "DELETED"])
def test_with_the_whole_model_there_a_job_has_succeeded_however_its_machine_ended(rig: HubRig, stage: str) -> None:
    id = rig.start()
    rig.finish(id)
    rig.stub.enter(hub_id(id), stage)
    job = rig.provider.retrieve(id)
    assert job.state is JobState.SUCCEEDED
    assert job.model == f"hf://datasets/{NAME}/jobs/{JOB_ID}/model"
    assert job.trained_tokens == 120


def test_what_a_job_cost_are_its_machines_minutes(rig: HubRig) -> None:
    id = rig.start()
    rig.finish(id)
    assert str(rig.provider.retrieve(id).cost) == "0.0267"  # two begun minutes at $0.80 an hour


def test_the_trainers_own_word_says_why_a_job_failed(rig: HubRig) -> None:
    id = rig.start()
    result = {"state": "failed", "cause": "user", "error": "out of memory", "fix": "set micro_batch_size: 1"}
    rig.stub.leave(JOB_ID, {"result.json": json.dumps(result).encode()})
    rig.stub.enter(hub_id(id), "ERROR", message="Job failed with exit code: 1")
    job = rig.provider.retrieve(id)
    assert (job.state, job.cause) == (JobState.FAILED, "user")
    assert job.error == "out of memory; set micro_batch_size: 1"


@pytest.mark.parametrize(("stage", "state"), [("COMPLETED", "failed"), ("ERROR", "failed"), ("CANCELED", "cancelled")])
def test_a_job_that_left_nothing_is_told_by_its_machines_word(rig: HubRig, stage: str, state: str) -> None:
    id = rig.start()
    rig.stub.enter(hub_id(id), stage, message="Job timeout")
    job = rig.provider.retrieve(id)
    assert job.state == state
    assert state == "cancelled" or "Job timeout and left no result" in (job.error or "")


def test_a_result_that_cannot_be_read_is_not_taken_for_none(rig: HubRig) -> None:
    id = rig.start()
    rig.finish(id)
    for order in (rig.stub.html_next, rig.stub.drop_next, rig.stub.cut_next):
        order("GET /api/resolve-cache/*/result.json")
        with pytest.raises(AmbiguousError):
            rig.provider.retrieve(id)
    rig.stub.fail_next("GET */resolve/main/*/result.json", status=404, body={"error": "a page of somebody between"})
    with pytest.raises(NotFoundError):
        rig.provider.retrieve(id)
    assert rig.provider.retrieve(id).state is JobState.SUCCEEDED


def test_a_job_with_a_checkpoint_is_paused_and_resume_starts_one_more_machine(rig: HubRig) -> None:
    id = rig.start()
    rig.stub.leave(JOB_ID, {f"checkpoints/step-0000000{n}/manifest.json": b"{}" for n in (4, 7)})
    rig.stub.enter(hub_id(id), "ERROR", message="Job timeout")
    paused = rig.provider.retrieve(id)
    assert paused.state is JobState.PAUSED
    assert paused.error == "Job timeout; resume goes on from step 7"
    going = rig.provider.resume(id)
    assert (going.id, going.state) == (id, JobState.QUEUED)
    assert rig.provider.resume(id).id == id
    assert rig.remote_jobs() == 2
    first, second = (call.json for call in rig.stub.calls(CREATE))
    assert first == second
    found = rig.provider.find(JOB_ID)
    assert found is not None
    assert found.id == id
    rig.stub.finish(list(rig.stub.jobs)[1])
    assert rig.provider.retrieve(id).state is JobState.SUCCEEDED


def test_cancelling_a_resumed_job_stops_the_machine_that_runs(rig: HubRig) -> None:
    id = rig.start()
    rig.stub.leave(JOB_ID, {"checkpoints/step-00000004/manifest.json": b"{}"})
    rig.stub.enter(hub_id(id), "ERROR")
    rig.provider.resume(id)
    assert rig.provider.cancel(id).state is JobState.CANCELLED
    assert [job["status"]["stage"] for job in rig.stub.jobs.values()] == ["ERROR", "CANCELED"]


def test_the_namespace_is_the_keys_owner_where_none_is_named(tmp_path: Path, stub: HubStub) -> None:
    rig = HubRig(tmp_path, stub, account=None)
    assert rig.start().startswith(f"{NAMESPACE}/")
    assert rig.calls("GET /api/whoami-v2") == 1


@pytest.mark.parametrize("account", ["a/b", "..", "a b", ""])
def test_a_namespace_that_is_none_goes_nowhere(tmp_path: Path, stub: HubStub, account: str) -> None:
    with pytest.raises(UsageError, match="no name of a user"):
        HubRig(tmp_path, stub, account=account).start()
    assert stub.calls() == []


@pytest.mark.parametrize("id", ["", "a", "a/b", "a/b/c/d", "../b/c", "a/b?c/d", "a/%2e/c"])
def test_a_name_that_is_none_of_a_job_reaches_nobody(rig: HubRig, id: str) -> None:
    for act in (rig.provider.retrieve, rig.provider.cancel, rig.provider.events, rig.provider.resume):
        with pytest.raises(NotFoundError):
            act(id)
    assert rig.calls() == 0


def test_an_answer_about_another_job_is_none(rig: HubRig) -> None:
    id, other = rig.start(), rig.start("another")
    rig.stub.set(hub_id(id), labels={"anytune-job": "another"})
    with pytest.raises(AmbiguousError, match="another job"):
        rig.provider.retrieve(id)
    assert rig.provider.retrieve(other).seen_job_id == "another"


@pytest.mark.parametrize("body", [{}, [], "x", {"id": ""}, {"id": "a"}, {"id": "a", "status": {}}, None])
def test_a_misshapen_answer_to_create_leaves_open_whether_there_is_a_job(rig: HubRig, body: Any) -> None:
    rig.stub.fail_next(CREATE, status=200, body=body, when="after")
    with pytest.raises(AmbiguousError):
        rig.start()
    assert rig.provider.find(JOB_ID) is not None


@pytest.mark.parametrize(
    "change",
    [
        {"id": None},
        {"status": None},
        {"status": {"stage": None, "message": 5}},
        {"status": {"stage": {"deep": []}}},
        {"owner": {}},
        {"createdAt": "yesterday"},
        {"labels": []},
        {"labels": {"anytune-job": 5}},
        {"durations": {"runningSecs": "many"}, "status": {"stage": "ERROR"}},
        {"durations": [], "flavor": 7, "status": {"stage": "COMPLETED"}},
    ],
)
def test_a_misshapen_answer_about_a_job_ends_nothing(rig: HubRig, change: dict[str, Any]) -> None:
    id = rig.start()
    rig.finish(id)
    whole = {**rig.stub.jobs[hub_id(id)], "status": {"stage": "RUNNING"}, **change}
    rig.stub.fail_next(LOOK, status=200, body=whole)
    with suppress(AmbiguousError):
        assert not rig.provider.retrieve(id).state.is_terminal or "status" in change
    assert rig.provider.retrieve(id).state is JobState.SUCCEEDED


def test_the_data_are_checked_as_for_the_same_trainer_here() -> None:
    from anytune.data.check.rules import RULES as rules

    methods: tuple[Any, ...] = ("sft", "dpo", "rft")
    differ = [r.code for r in rules.values() for m in methods if r.level("hf-jobs", m) != r.level("local", m)]
    assert differ == []


def test_an_account_without_credit_is_told_so(rig: HubRig) -> None:
    rig.stub.fail_next(CREATE, status=402, body={"error": "Pre-paid credit balance is insufficient"})
    with pytest.raises(QuotaError, match="insufficient"):
        rig.start()


def test_a_commit_that_came_second_is_surely_not_made(rig: HubRig) -> None:
    rig.stub.fail_next(f"POST {REPOSITORY}/commit/*", status=412, body={"error": "A commit has happened since"})
    with pytest.raises(UnavailableError):
        rig.provider.upload(rig.file())


def test_a_renewed_key_is_asked_for_after_a_refusal(rig: HubRig) -> None:
    id = rig.start()
    rig.stub.key = "hf_renewed"
    with pytest.raises(KeyRefusedError):
        rig.provider.retrieve(id)
    rig.key = "hf_renewed"
    assert rig.provider.retrieve(id).id == id


def test_offline_mode_is_heeded(rig: HubRig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(UsageError, match="HF_HUB_OFFLINE"):
        rig.start()
    assert rig.calls() == 0


def test_the_environment_says_neither_where_the_hub_is_nor_who_asks(
    rig: HubRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Trap() as trap:
        monkeypatch.setenv("HF_ENDPOINT", trap.origin)
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", trap.origin)
        monkeypatch.setenv("HF_TOKEN", "hf_of_somebody_else")
        rig.provider.upload(rig.file())
        rig.provider.retrieve(rig.start())
        assert trap.calls() == []
    assert {call.headers.get("authorization") for call in rig.stub.calls("/api/*")} == {f"Bearer {rig.key}"}
    assert not [call for call in rig.stub.calls() if "torch" in call.headers["user-agent"]]


def test_the_programs_own_calls_of_the_library_keep_their_client(rig: HubRig) -> None:
    rig.provider.upload(rig.file())
    with Trap() as trap:
        rig.stub.redirect_next("GET /api/whoami-v2", to=trap.origin)
        with pytest.raises(KeyError):  # it follows the redirect, as it does without us, and finds `{}` there
            huggingface_hub.HfApi(endpoint=rig.stub.origin, token=rig.key).whoami()["name"]
        assert len(trap.calls()) == 1


def test_a_client_that_the_program_sets_later_does_not_get_our_calls(rig: HubRig) -> None:
    import httpx2

    rig.provider.upload(rig.file())

    def refuse(request: Any) -> None:
        raise AssertionError(f"went by the program's own client: {request.url}")

    huggingface_hub.set_client_factory(lambda: httpx2.Client(event_hooks={"request": [refuse]}))
    try:
        rig.start()
    finally:
        from huggingface_hub.utils._http import default_client_factory

        huggingface_hub.set_client_factory(default_client_factory)


def library_errors() -> list[type[BaseException]]:
    kinds = [kind for kind in vars(huggingface_hub.errors).values() if isinstance(kind, type)]
    own = [kind for kind in kinds if kind.__module__ == "huggingface_hub.errors" and issubclass(kind, BaseException)]
    return sorted(own, key=lambda kind: kind.__name__)


NOT_RAISED = {
    "BucketBatchError": "we use no buckets",
    "CLIError": "of its command line",
    "CLIExtensionInstallError": "of its command line",
    "ConfirmationError": "of its command line",
    "DDUFCorruptedFileError": "we read no DDUF files",
    "DDUFError": "we read no DDUF files",
    "DDUFExportError": "we read no DDUF files",
    "DDUFInvalidEntryNameError": "we read no DDUF files",
    "DryRunError": "we make no dry runs",
    "FileDuplicationError": "we copy no files between repositories",
    "InferenceEndpointError": "we start no endpoints",
    "InferenceEndpointTimeoutError": "we start no endpoints",
    "SandboxCommandError": "we use no sandboxes",
    "SandboxError": "we use no sandboxes",
    "XetDownloadError": "we go around hf_xet",
}
SIX = (UnavailableError, errors.RateLimitedError, AmbiguousError, RejectedError, errors.CredentialError, UsageError)


def test_every_exception_of_the_library_ends_in_our_tree() -> None:
    kinds = library_errors()
    assert len(kinds) > 40
    unmapped = []
    for kind in kinds:
        known = told(kind.__new__(kind), act="a")
        if kind.__name__ not in NOT_RAISED and not isinstance(known, SIX):
            unmapped.append(kind.__name__)
    assert unmapped == []
    assert [name for name in NOT_RAISED if name not in {kind.__name__ for kind in kinds}] == []


def test_a_folder_of_this_machine_is_no_model_of_the_hub(rig: HubRig, tmp_path: Path) -> None:
    for model in (str(tmp_path), "no-owner", "./x"):
        assert "models of the Hub" in rig.provider.capabilities(model).problems[0]
    assert rig.provider.capabilities(MODEL).problems == ()


def test_a_machine_that_there_is_none_of_is_told_with_the_nearest(tmp_path: Path, stub: HubStub) -> None:
    (problem,) = HubRig(tmp_path, stub, flavor="a10g").provider.capabilities(MODEL).problems
    assert "a10g-small" in problem


def plan(rig: HubRig, **changes: Any) -> Any:
    spec = rig.spec(**changes)
    known = rig.provider.capabilities(spec.model)
    return planner.make(spec, report_of(rig.file()), known, policy=Policy(), today=known.as_of)


def test_the_plan_counts_with_the_whole_time_limit(tmp_path: Path, stub: HubStub) -> None:
    cost = plan(HubRig(tmp_path, stub, flavor="a100-large", hours=2.0)).cost
    assert [str(amount) for amount in (cost.low, cost.expected, cost.high)] == ["0.04", "5.00", "5.00"]
    assert cost.as_of is not None
    refused = plan(HubRig(tmp_path, stub), budget={"usd": "3"}).refused
    assert refused
    assert "up to $3.20" in refused[0]
    assert plan(HubRig(tmp_path, stub, hours=1.0), budget={"usd": "3"}).ok


@pytest.mark.parametrize("residency", ["eu", "us", "local"])
def test_no_residency_is_promised(rig: HubRig, residency: str) -> None:
    spec = rig.spec()
    data = {**spec.data.model_dump(mode="json", exclude_unset=True), "residency": residency}
    assert plan(rig, data=data).refused


def test_the_run_is_the_one_that_the_local_trainer_would_be_given(rig: HubRig) -> None:
    from anytune.local.provider import LocalProvider

    ours = rig.request()["run"]
    local = LocalProvider(rig.profile()).render(rig.spec(), job_id=JOB_ID, training_file="file-1", validation_file=None)
    differ = {key for key in {*ours, *local} if ours.get(key) != local.get(key)}
    assert differ == {"checkpoint_seconds", "event_seconds", "training"} | ({"offline"} if local["offline"] else set())
    assert {key for key in ours["training"] if ours["training"][key] != local["training"][key]} == {"max_length"}


def test_a_job_id_that_no_label_can_carry_is_told(rig: HubRig) -> None:
    for job_id in ("x" * 101, "a b", "-x"):
        with pytest.raises(UsageError):
            rig.start(job_id)
    assert rig.calls() == 0


def test_the_program_that_starts_the_job_takes_no_other_code_than_was_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = tmp_path / "code.zip"
    code.write_bytes(b"something else")
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", lambda *_, **__: str(code))
    monkeypatch.setenv("ANYTUNE_REPO", NAME)
    monkeypatch.setenv("ANYTUNE_CODE", f"code/{hashlib.sha256(b'the code').hexdigest()}.zip")
    with pytest.raises(SystemExit, match="not what it was named after"):
        exec(compile(requests.START, "start", "exec"), {})


def test_it_is_among_the_providers_without_its_library() -> None:
    from anytune import providers

    assert "hf-jobs" in providers.names()
    assert providers.BUILT_IN["hf-jobs"] == f"{HFJobsProvider.__module__}:{HFJobsProvider.__name__}"
