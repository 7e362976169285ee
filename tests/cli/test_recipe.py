"""`export --to` another trainer and `import`, as they are typed."""

from __future__ import annotations

import json
from pathlib import Path

from tests.cli.conftest import Type


def test_a_job_file_goes_out_and_comes_back(anytune: Type, folder: Path) -> None:
    said = anytune("export", "finetune.yaml", "--to", "trl")
    assert said.code == 0, said.err
    assert "wrote trl-job: config.yaml, data/train.jsonl" in said.out
    assert "translated as warmup_steps" in said.out
    assert "next: cd trl-job && trl sft --config config.yaml" in said.err
    back = anytune("import", "trl-job/config.yaml", "--out", "back.yaml")
    assert back.code == 0, back.err
    assert "a config of TRL" in back.out
    assert "passed over" in back.out
    assert "wrote back.yaml" in back.out
    assert "next: anytune plan back.yaml --all" in back.err
    assert anytune("import", "trl-job/config.yaml", "--out", "back.yaml").code == 2
    assert anytune("import", "trl-job/config.yaml", "--out", "back.yaml", "--force").code == 0


def test_what_is_lost_is_said_and_is_not_ok(anytune: Type, folder: Path) -> None:
    (folder / "theirs.yml").write_text(
        "base_model: org/base\ndatasets: [{path: gone.jsonl, type: alpaca}]\ngptq: true\n"
    )
    said = anytune("import", "theirs.yml", "--out", "taken.yaml", "--json")
    document = json.loads(said.out)
    assert said.code == 0
    assert document["ok"] is False
    refused = {setting["path"] for setting in document["settings"] if setting["outcome"] == "refused"}
    assert {"gptq", "data.train"} <= refused
    assert "# Not taken over:" in (folder / "taken.yaml").read_text()


def test_a_trainer_that_cannot_do_it_is_an_exit_code_of_3(anytune: Type, folder: Path) -> None:
    (folder / "cosine.yaml").write_text((folder / "finetune.yaml").read_text() + "training: {scheduler: cosine}\n")
    said = anytune("export", "cosine.yaml", "--to", "unsloth", "--out", "there")
    assert said.code == 3
    assert "training.scheduler = cosine: its rate always goes down in a straight line" in said.err
    assert not (folder / "there").exists()
