"""An exported model is brought to the Hub on request: once, whole, private unless asked otherwise, and if it may be."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Said, Type
from tests.providers._hub import running
from tests.stubs.hub import HubStub

TO = "acme/sums"
WEIGHTS = bytes(range(256)) * 64


class Far:
    """Be a finished job, what was exported of it, and the Hub."""

    def __init__(self, stub: HubStub, folder: Path, anytune: Type) -> None:
        self.stub, self.folder, self._anytune = stub, folder, anytune
        self.policy()
        said = anytune("run", "-y", "--json")
        assert said.code == 0, said.err
        self.job_id = said.document["job"]["id"]
        self.export()

    def policy(self, **told: object) -> None:
        profiles = {"hf-jobs": {"base_url": self.stub.base_url}}
        (self.folder / "anytune.yaml").write_text(json.dumps({"profiles": profiles, **told}))

    def export(self, **more: bytes) -> None:
        out = self.folder / "tuned-model"
        out.mkdir(exist_ok=True)
        files = {"adapter_model.safetensors": WEIGHTS, "adapter_config.json": b'{"r": 8}\n', **more}
        for name, content in files.items():
            (out / name).write_bytes(content)
        hashes = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
        told = {"kind": "adapter", "base": "fake-1", "job_id": self.job_id, "files": hashes}
        (out / "manifest.json").write_text(json.dumps(told))

    def pushed(self, *more: str, to: str = TO) -> Said:
        return self._anytune("push", "tuned-model", to, *more)

    @property
    def there(self) -> Any:
        return self.stub.shelf.repositories.get(f"models/{TO}")

    def sent(self) -> list[str]:
        return [call.route for call in self.stub.journal if call.method in ("POST", "PUT")]


@pytest.fixture
def far(tmp_path: Path, folder: Path, anytune: Type, monkeypatch: pytest.MonkeyPatch) -> Iterator[Far]:
    with running(tmp_path, monkeypatch) as stub:
        monkeypatch.setenv("HF_TOKEN", stub.key)
        yield Far(stub, folder, anytune)


def test_all_files_of_an_export_come_into_a_private_repository_in_one_commit(far: Far) -> None:
    said = far.pushed("-y")
    assert said.code == 0, said.err
    assert said.out.startswith(f"pushed 2 files of {far.job_id} to {TO}")
    assert far.there.private
    assert far.there.files == {"adapter_model.safetensors": WEIGHTS, "adapter_config.json": b'{"r": 8}\n'}
    assert len(far.there.commits) == 1


def test_what_lies_there_already_is_not_sent_again(far: Far) -> None:
    far.pushed("-y")
    before = len(far.sent())
    assert far.pushed("-y", "--json").document["sent"] == []
    assert len(far.there.commits) == 1
    assert not [route for route in far.sent()[before:] if "commit" in route or route.startswith("PUT")]
    far.export(**{"tokenizer.json": b"{}"})
    assert far.pushed("-y", "--json").document["sent"] == ["tokenizer.json"]


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_commit_whose_answer_is_lost_is_brought_to_its_end(far: Far, when: str) -> None:
    far.stub.drop_next(f"POST /api/models/{TO}/commit/main", when=when)
    assert far.pushed("-y").code == 0
    assert set(far.there.files) == {"adapter_model.safetensors", "adapter_config.json"}
    assert len([route for route in far.sent() if route.startswith("PUT")]) == 1, "the weights were sent again"


def test_where_everybody_can_read_is_asked_for_by_name(far: Far) -> None:
    assert far.pushed("-y", "--public").code == 0
    assert not far.there.private
    said = far.pushed("-y")
    assert said.code == 3
    assert "can be read by others; nothing was sent" in said.err
    assert "--public" in said.err


def test_nobody_there_to_agree_means_that_nothing_is_sent(far: Far) -> None:
    said = far.pushed()
    assert said.code == 2
    assert "nobody is here to agree" in said.err
    assert f"anytune push tuned-model {TO} -y" in said.err
    assert far.stub.journal == []


@pytest.mark.parametrize(
    ("policy", "why"),
    [
        ({"policy": {"residency": "local"}}, "is local: the data may not leave this machine"),
        ({"policy": {"residency": "eu"}}, "where hf-jobs keeps the data is unknown"),
        ({"policy": {"providers": ["fake"]}}, "allows only fake"),
        ({"policy": {"privacy": {"block": ["card"]}}}, "was not looked through for private data"),
    ],
)
def test_what_the_rules_keep_here_is_refused_and_written_down(
    far: Far, anytune: Type, policy: dict[str, object], why: str
) -> None:
    far.policy(**policy)
    said = far.pushed("-y")
    assert said.code == 3
    assert why in " ".join(said.err.split())
    assert far.stub.journal == []
    last = anytune("audit", far.job_id, "--json").document["decisions"][-1]
    assert (last["act"], last["provider"], last["answer"]) == ("push", "hf-jobs", "refused")


def test_a_push_is_written_down_before_anything_is_sent(far: Far, anytune: Type) -> None:
    far.stub.fail_next("POST /api/repos/create", status=403)
    assert far.pushed("-y").code != 0
    last = anytune("audit", far.job_id, "--json").document["decisions"][-1]
    assert (last["act"], last["answer"]) == ("push", "allowed")


def test_a_file_that_was_changed_since_the_export_is_named(far: Far) -> None:
    (far.folder / "tuned-model" / "adapter_model.safetensors").write_bytes(b"other")
    said = far.pushed("-y")
    assert said.code == 3
    assert "adapter_model.safetensors changed since the export; nothing was sent" in said.err
    assert far.stub.journal == []


def test_bad_input_is_one_line(far: Far, anytune: Type, monkeypatch: pytest.MonkeyPatch) -> None:
    other = anytune("push", ".", TO, "-y")
    assert (other.code, "is no folder that anytune export has written" in other.err) == (2, True)
    named = far.pushed("-y", to="sums")
    assert (named.code, "OWNER/NAME" in named.err) == (2, True)
    manifest = far.folder / "tuned-model" / "manifest.json"
    told = json.loads(manifest.read_text())
    (manifest.parent / "linked").symlink_to(far.folder)
    (manifest.parent / "link.json").symlink_to(far.folder / "anytune.yaml")
    for name in ("../finetune.yaml", "/etc/hostname", "gone.bin", "linked/anytune.yaml", "link.json"):
        manifest.write_text(json.dumps({**told, "files": {name: "0" * 64}}))
        said = far.pushed("-y")
        assert (said.code, "which is no file in that folder" in said.err) == (2, True)
    manifest.write_text(json.dumps({**told, "job_id": "unknown-0123456789"}))
    assert far.pushed("-y").code == 2
    far.export()
    monkeypatch.delenv("HF_TOKEN")
    keyless = far.pushed("-y")
    assert (keyless.code, "HF_TOKEN" in keyless.err) == (6, True)
    assert far.stub.journal == []
