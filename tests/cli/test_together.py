"""Together from the command line: what is offered next is what can be done there."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Type
from tests.stubs.together import TogetherStub


def test_checkpoints_come_home_and_nothing_is_offered_that_cannot_be_done(
    anytune: Type, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "finetune.yaml").write_text(
        "name: s\nprovider: together\nmodel: Qwen/Qwen3.5-9B\ndata: {train: train.jsonl}\n"
    )
    with TogetherStub() as stub:
        stub.life = ("pending", "running", "completed")
        monkeypatch.setenv("TOGETHER_API_KEY", stub.key)
        (folder / "anytune.yaml").write_text(f"profiles: {{together: {{base_url: '{stub.base_url}'}}}}\n")
        assert anytune("submit", "-y").code == 0
        for remote_id in stub.jobs:
            for word in ("running", "completed"):
                stub.enter(stub.job(remote_id), word)
        shown = anytune("show", "--json").document
        assert [command.split()[1] for command in shown["next"]] == ["export"]
        listed = anytune("checkpoints", "--json").document
        assert [(each["step"], each["model"].partition(":")[2]) for each in listed["checkpoints"]] == [
            (1, "1"),
            (2, "2"),
        ]
        assert [command.split()[1] for command in listed["next"]] == ["export"]
        said = anytune("export", "--step", "1", "--to", "adapter", "--out", "early")
        assert said.code == 0, said.err
        assert (folder / "early" / "adapter_model.safetensors").exists()
        assert "step 1 as adapter" in anytune("export", "--step", "1", "--to", "merged", "--out", "other").err
