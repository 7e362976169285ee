"""Adapters of other kinds than plain LoRA: what was trained is what PEFT, an export and the next job make of it."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.local

from anytune.errors import RefusedError  # noqa: E402
from anytune.local.provider import LocalProvider  # noqa: E402
from anytune.local.runs import Run  # noqa: E402
from anytune.schema.training import Lora  # noqa: E402
from tests.local.conftest import chat, data_file, new_provider, request, spec, wait  # noqa: E402
from tests.local.test_life import begin, folder, result, run_now  # noqa: E402

KINDS = [{"use_rslora": True}]
Trained = tuple[LocalProvider, Run, dict[str, Any]]


@pytest.fixture(scope="module", params=KINDS, ids=lambda kind: "+".join(kind))
def trained(
    request: pytest.FixtureRequest, base: Path, chats: Path, tmp_path_factory: pytest.TempPathFactory
) -> Trained:
    """Train an adapter of each kind."""
    provider = new_provider(tmp_path_factory.mktemp("home"))
    run = folder(provider, asked(provider, base, chats, "whole", request.param))
    assert run_now(provider, run)["state"] == "succeeded"
    return provider, run, request.param


def asked(provider: LocalProvider, base: Path, chats: Path, job_id: str, kind: dict[str, Any]) -> dict[str, Any]:
    return request(provider, base, chats, job_id, lora=Lora(rank=8, **kind)) | {"event_seconds": 0}


def prompts(base: Path) -> list[list[int]]:
    from anytune.local.encode import ChatEncoder
    from anytune.local.loading import open_tokenizer

    coder = ChatEncoder(open_tokenizer(str(base)), stop_ids=frozenset({2}))
    return [coder.example(chat(n), where="x", line=n).ids for n in range(4)]


def test_peft_computes_with_the_adapter_what_was_trained_and_what_is_merged(trained: Trained, base: Path) -> None:
    from peft import PeftModel

    from anytune.local.export import logits
    from anytune.local.generate import add_adapter
    from anytune.local.loading import open_base

    _, run, kind = trained
    config = json.loads((run.path / "model/adapter_config.json").read_text())
    assert {name: config[name] for name in kind} == kind
    wanted = logits(
        PeftModel.from_pretrained(open_base(str(base), quantize="nf4", dtype="float32"), run.path / "model").eval(),
        prompts(base),
    )
    net = open_base(str(base), quantize="nf4", dtype="float32")
    plain = logits(net, prompts(base))
    add_adapter(net, run.path / "model")
    torch.testing.assert_close(logits(net, prompts(base)), wanted, rtol=1e-4, atol=1e-4)
    assert (wanted - plain).norm() > 0.01 * plain.norm()


def test_every_export_is_proven(trained: Trained, tmp_path: Path) -> None:
    pytest.importorskip("xllamacpp")
    from anytune.local.export import export

    for to in ("merged", "gguf", "gguf-lora"):
        check = export(trained[1].path / "model", to, tmp_path / to)["check"]
        if to != "merged":
            assert check["log_probability_off_at_most"] <= check["bound"]


def test_a_run_that_was_killed_ends_with_the_same_weights(
    trained: Trained, base: Path, chats: Path, tmp_path: Path
) -> None:
    provider = new_provider(tmp_path)
    run = folder(provider, asked(provider, base, chats, "killed", trained[2]))
    child = begin(provider, run)
    wait(provider, "killed", lambda _: any("step 4 of" in event.message for event in provider.events("killed")))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert run.result() is None
    assert run_now(provider, run)["adapter_sha256"] == result(trained[1])["adapter_sha256"]


def test_a_job_goes_on_with_an_adapter_of_its_kind_and_is_refused_another(
    trained: Trained, base: Path, chats: Path
) -> None:
    provider, run, kind = trained
    again = spec(base, chats, learning_rate=1e-6, epochs=1).model_copy(update={"from_checkpoint": "whole"})
    file = provider.upload(data_file(chats))
    body = provider.render(again, job_id="next", training_file=file, validation_file=file)
    assert {name: body["training"]["lora"][name] for name in kind} == kind
    got = run_now(provider, folder(provider, body))
    assert got["valid_loss"] == pytest.approx(result(run)["valid_loss"], rel=1e-3)
    name = next(iter(kind))
    other = spec(base, chats, lora=Lora(**{name: False})).model_copy(update={"from_checkpoint": "whole"})
    with pytest.raises(RefusedError, match=f"its {name} is True, and training.lora.{name} is False"):
        provider.render(other, job_id="other", training_file=file, validation_file=file)
