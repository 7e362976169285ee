"""A key is nowhere: not in what any verb prints, with tracebacks on, nor in anything that is written."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from anytune import cli
from anytune.config import Keys
from tests.cli.conftest import Said, Type
from tests.stubs.fireworks import FireworksStub
from tests.stubs.openai import OpenAIStub
from tests.stubs.together import TogetherStub
from tests.vault import Vault, open_vault

STUBS: dict[str, Any] = {"openai": OpenAIStub, "together": TogetherStub, "fireworks": FireworksStub}
MODELS = {"openai": "gpt-4.1-mini-2025-04-14", "together": "Qwen/Qwen3.5-9B", "fireworks": "qwen3p5-9b"}
MARK = "CANARY0123456789abcdef"  # stands in each key, right or wrong, and in nothing else
WRONG = f"sk-wrong-{MARK}"

# Every verb, with what it is asked; JOB stands for the job's id. Those of data and of this machine come along.
LINES = (
    "init other --provider {provider}",
    "check train.jsonl --for {provider}",
    "fix train.jsonl --for {provider} -y",
    "convert train.jsonl --to sharegpt --out shared.jsonl",
    "split train.jsonl --validation 0.5",
    "dedupe train.jsonl --out single.jsonl",
    "preview --help",
    "plan",
    "plan --all --json",
    "submit -y",
    "run -y --no-eval --json",
    "list --json",
    "show JOB --json",
    "spend --json",
    "watch JOB",
    "events JOB --json",
    "draw JOB --to tensorboard --out curves",
    "draw JOB --to mlflow --out runs",
    "draw JOB --to wandb --project sums",
    "audit JOB --json",
    "pause JOB",
    "checkpoints JOB",
    "cancel JOB",
    "resume JOB",
    "adopt {provider} nothing-there",
    "abandon JOB",
    "eval JOB --limit 1",
    "chat JOB --once Hello",
    "serve JOB",
    "serve --webhooks",
    "export JOB --to adapter --out weights",
    "push weights acme/sums -y --json",
    "export JOB --to axolotl --out handed",
    "import handed/config.yaml --out taken.yaml --json",
    "providers --json",
    "providers refresh --provider {provider} --json",
    "models --json",
    "doctor --json",
    "config show --json",
    "config schema",
    "keys",
    "keys --json",
    "keys add {provider} --json",
    "keys remove {provider}",
)
PLACES = [*((name, "environment") for name in STUBS), ("openai", "file"), ("openai", "keyring")]


@pytest.fixture(params=list(STUBS))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=["environment"])
def source(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def vault() -> Iterator[Vault]:
    with open_vault() as vault:
        yield vault


def put(key: str, name: str, source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave a provider's key in one place alone."""
    variable = f"{name.upper()}_API_KEY"
    for each in ("OPENAI_API_KEY", "TOGETHER_API_KEY", "FIREWORKS_API_KEY"):
        monkeypatch.delenv(each, raising=False)
    if source == "environment":
        monkeypatch.setenv(variable, key)
    else:
        Keys(Path(os.environ["ANYTUNE_HOME"]), {}).keep(variable, key, to=source)  # type: ignore[arg-type]


@pytest.fixture
def far_side(name: str, source: str, folder: Path, vault: Vault, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Serve a provider that takes a marked key, and stand in a folder with a job for it, tracebacks on."""
    with STUBS[name](key=f"key-{MARK}") as stub:
        (folder / "anytune.yaml").write_text(json.dumps({"profiles": {name: {"base_url": stub.base_url}}}))
        (folder / "finetune.yaml").write_text(
            f"name: sums\nprovider: {name}\nmodel: {MODELS[name]}\ndata: {{train: train.jsonl, test: test.jsonl}}\n"
        )
        monkeypatch.setenv("ANYTUNE_DEBUG", "1")
        monkeypatch.setenv("WANDB_API_KEY", f"wandb-{MARK}")
        monkeypatch.setenv("WANDB_MODE", "offline")  # where its library is here, nobody is to be told by a test
        put(stub.key, name, source, monkeypatch)
        monkeypatch.setattr("sys.stdin", io.StringIO(f"{stub.key}\n"))
        yield stub


def typed_all(anytune: Type, name: str) -> dict[str, Said]:
    said = {}
    for line in LINES:
        listed = json.loads(anytune("list", "--json").out)["jobs"]
        job = listed[0]["id"] if listed else "last"
        said[line] = anytune(*(part.format(provider=name) if part != "JOB" else job for part in line.split()))
    return said


def nowhere(said: dict[str, Said], folder: Path) -> None:
    for line, one in said.items():
        assert MARK not in one.out + one.err, line
    written = [
        path for root in (folder, Path(os.environ["ANYTUNE_HOME"])) for path in root.rglob("*") if path.is_file()
    ]
    assert written
    hold = [path for path in written if MARK.encode() in path.read_bytes()]
    assert [path for path in hold if path.name != "credentials"] == []
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in hold)


def test_every_verb_is_among_the_lines() -> None:
    verbs = {name for name, *_ in cli.COMMANDS} | {"providers", "config", "keys"}
    assert {line.split()[0] for line in LINES} == verbs


@pytest.mark.parametrize(("name", "source"), PLACES, indirect=True)
def test_no_verb_prints_or_writes_the_key(anytune: Type, folder: Path, name: str, far_side: Any) -> None:
    said = typed_all(anytune, name)
    assert far_side.calls("POST *"), "the key was used"
    assert said["run -y --no-eval --json"].code == 0
    nowhere(said, folder)


@pytest.mark.parametrize(("name", "source"), PLACES, indirect=True)
def test_a_wrong_key_is_not_shown_either(
    anytune: Type, folder: Path, name: str, source: str, far_side: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(WRONG, name, source, monkeypatch)
    said = typed_all(anytune, name)
    assert said["submit -y"].code == 6
    assert "Traceback" in said["submit -y"].err
    nowhere(said, folder)


@pytest.mark.parametrize("status", [400, 403, 404, 422])
def test_a_provider_that_repeats_the_key_in_its_answer_is_not_quoted_with_it(
    anytune: Type, folder: Path, name: str, far_side: Any, status: int
) -> None:
    body = {"error": {"message": f"Incorrect API key provided: {far_side.key}", "key": far_side.key}}
    far_side.fail_next("POST *", status=status, times=99, body=body)
    nowhere(
        {line: anytune(*line.split()) for line in ("submit -y", "show last", "list --json", "submit -y --json")}, folder
    )
