"""What a trainer made comes home through real sockets, whole or not at all."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from anytune.errors import NotFoundError, RejectedError, UnavailableError, UsageError
from anytune.providers.base import Profile
from anytune.providers.replicate import download as downloads
from anytune.providers.replicate.gateway import Gateway
from anytune.schema.model import TunedModel
from anytune.testing import no_key
from tests.providers._replicate import JOB_ID, MODEL, ReplicateRig, running
from tests.stubs._http import Call, Reply, StubServer, Trap
from tests.stubs.replicate import WEIGHTS, archive

DELIVERY = "GET /delivery/*"


@pytest.fixture
def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ReplicateRig]:
    with running(tmp_path, monkeypatch) as stub:
        yield ReplicateRig(tmp_path, stub)


def tuned(rig: ReplicateRig) -> TunedModel:
    """Start a training, let it end well, and name its model."""
    id = rig.start()
    rig.stub.finish(id)
    name = str(rig.provider.retrieve(id).model)
    return TunedModel(provider="replicate", base=MODEL, name=name, job_id=JOB_ID, remote_id=id)


def export(rig: ReplicateRig, model: TunedModel, *, to: str = "adapter") -> dict[str, Any]:
    return rig.provider.export(model, to=to, out=rig.folder / "out")


class Elsewhere(StubServer):
    """Be a storage of somebody else's."""

    content = b""

    def answer(self, call: Call) -> Reply:
        return Reply(200, self.content)


def left(rig: ReplicateRig) -> list[str]:
    return [path.name for path in rig.folder.iterdir() if "out" in path.name]


def test_all_files_come_with_a_manifest(rig: ReplicateRig) -> None:
    rig.stub.page = 1
    model = tuned(rig)
    rig.start("another-0123456789")
    manifest = export(rig, model)
    assert manifest["files"] == {name: hashlib.sha256(content).hexdigest() for name, content in WEIGHTS.items()}
    assert (manifest["model"], manifest["job_id"], manifest["base"]) == (model.name, JOB_ID, MODEL)
    for name, content in WEIGHTS.items():
        assert (rig.folder / "out" / name).read_bytes() == content
    assert left(rig) == ["out"]


def test_another_model_than_the_trainings_is_not_found(rig: ReplicateRig) -> None:
    model = tuned(rig)
    for other in ({"name": f"stub-user/other:{'0' * 64}"}, {"remote_id": None}):
        with pytest.raises(NotFoundError):
            export(rig, model.model_copy(update=other))
    assert rig.calls(DELIVERY) == 0


def test_weights_whose_address_is_gone_are_not_found(rig: ReplicateRig) -> None:
    model = tuned(rig)
    (job,) = rig.stub.jobs.values()
    job["output"]["weights"] = None
    with pytest.raises(NotFoundError):
        export(rig, model)


def test_the_key_goes_to_no_storage_of_somebody_elses(rig: ReplicateRig) -> None:
    with Elsewhere() as elsewhere:
        elsewhere.content = rig.stub.weights
        rig.stub.delivery = f"{elsewhere.origin}/weights.zip"
        export(rig, tuned(rig))
        (call,) = elsewhere.calls()
        assert "authorization" not in call.headers
        assert rig.key not in repr(call.headers)


def test_a_redirect_is_not_followed(rig: ReplicateRig) -> None:
    model = tuned(rig)
    with Trap() as trap:
        rig.stub.redirect_next(DELIVERY, to=trap.origin, status=302)
        with pytest.raises(RejectedError, match="not followed"):
            export(rig, model)
        assert trap.calls() == []


def test_an_address_that_is_not_reached_by_https_is_refused(rig: ReplicateRig) -> None:
    rig.stub.delivery = "http://replicate.delivery/weights.zip"
    with pytest.raises(RejectedError, match="not reached by https"):
        export(rig, tuned(rig))


def test_a_download_that_is_cut_off_is_gone_on_with(rig: ReplicateRig) -> None:
    model = tuned(rig)
    rig.stub.break_next(DELIVERY)
    with pytest.raises(UnavailableError, match="cut off"):
        export(rig, model)
    assert not (rig.folder / "out").exists()
    export(rig, model)
    assert rig.stub.calls(DELIVERY)[-1].headers["range"].startswith("bytes=")
    assert left(rig) == ["out"]


def test_a_tar_is_unpacked_too(rig: ReplicateRig) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as handle:
        for name, content in WEIGHTS.items():
            member = tarfile.TarInfo(f"output/{name}")
            member.size = len(content)
            handle.addfile(member, io.BytesIO(content))
    rig.stub.weights = packed.getvalue()
    assert set(export(rig, tuned(rig))["files"]) == set(WEIGHTS)


def test_half_an_archive_is_refused(rig: ReplicateRig) -> None:
    model = tuned(rig)
    rig.stub.cut_next(DELIVERY)
    with pytest.raises(RejectedError, match="damaged"):
        export(rig, model)
    assert left(rig) == []


@pytest.mark.parametrize("status", [401, 403, 404])
def test_an_address_that_has_expired_may_be_tried_again(rig: ReplicateRig, status: int) -> None:
    model = tuned(rig)
    rig.stub.fail_next(DELIVERY, status=status)
    with pytest.raises(UnavailableError, match="does not give the file out"):
        export(rig, model)


def test_weights_in_a_pickle_are_not_taken(rig: ReplicateRig) -> None:
    rig.stub.weights = archive({"adapter_config.json": b"{}", "adapter_model.bin": b"\x80\x04"})
    with pytest.raises(RejectedError, match=r"pickle \(adapter_model\.bin\)"):
        export(rig, tuned(rig))
    assert left(rig) == []


def test_what_is_no_archive_is_refused(rig: ReplicateRig) -> None:
    rig.stub.weights = b"a tensor, perhaps"
    with pytest.raises(RejectedError):
        export(rig, tuned(rig))


def test_a_manifest_of_theirs_does_not_stand_for_ours(rig: ReplicateRig) -> None:
    rig.stub.weights = archive({**WEIGHTS, "manifest.json": b"{}", "log.bin": b"x"})
    manifest = export(rig, tuned(rig))
    assert manifest["left_out"] == ["log.bin", "manifest.json"]
    assert "manifest.json" not in manifest["files"]


def test_a_folder_with_something_in_it_is_left_alone(rig: ReplicateRig) -> None:
    (rig.folder / "out").mkdir()
    (rig.folder / "out" / "mine.txt").write_text("mine")
    with pytest.raises(RejectedError, match="not empty"):
        export(rig, tuned(rig))


def test_only_what_the_trainer_made_can_be_had(rig: ReplicateRig) -> None:
    with pytest.raises(RejectedError, match="hands out what the trainer made"):
        export(rig, tuned(rig), to="merged")


def test_a_folder_that_cannot_be_written_is_named(rig: ReplicateRig) -> None:
    model = tuned(rig)
    (rig.folder / "file").write_text("")
    with pytest.raises(UsageError, match="file"):
        rig.provider.export(model, to="adapter", out=rig.folder / "file" / "out")


@pytest.mark.parametrize(
    ("address", "theirs"),
    [
        ("https://replicate.delivery/x.zip", True),
        ("https://pbxt.replicate.delivery/x.zip", True),
        ("https://api.replicate.com/v1/files/x", True),
        ("http://replicate.delivery/x.zip", False),
        ("https://notreplicate.delivery/x.zip", False),
        ("https://replicate.delivery.example/x.zip", False),
        ("https://api.replicate.com:8443/x", False),
        ("https://elsewhere.example/replicate.delivery/x.zip", False),
    ],
)
def test_the_key_is_for_the_api_and_the_vendors_own_storage(address: str, theirs: bool) -> None:
    gateway = Gateway(Profile(name="replicate", home=Path(), key=no_key))
    assert downloads.is_theirs(httpx.URL(address), gateway) is theirs
