"""Using a tuned model: answers, exports."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytestmark = pytest.mark.local

from anytune.errors import ProviderError, RejectedError  # noqa: E402
from anytune.local.ask import ChildGenerator  # noqa: E402
from anytune.local.provider import LocalProvider  # noqa: E402
from anytune.schema.job import RemoteJob  # noqa: E402
from anytune.schema.model import TunedModel  # noqa: E402
from tests.local.conftest import chat  # noqa: E402

Finished = tuple[LocalProvider, RemoteJob]
QUESTIONS = [chat(n)["messages"][:-1] for n in range(7)]


def tuned(finished: Finished, base: Path) -> TunedModel:
    job = finished[1]
    return TunedModel(provider="local", base=str(base), name=str(job.model), path=job.model, job_id=job.id)


def test_answers_of_a_child_are_those_of_peft_one_by_one(finished: Finished, base: Path) -> None:
    import torch
    from peft import PeftModel

    from anytune.local.encode import ChatEncoder
    from anytune.local.export import greedy
    from anytune.local.loading import open_base, open_tokenizer

    model = tuned(finished, base)
    child = finished[0].generator(base=str(base), tuned=model)
    got = list(child.answer(QUESTIONS, max_new_tokens=16))
    given_up = child.answer(QUESTIONS, max_new_tokens=16)
    next(given_up)
    assert list(child.answer(QUESTIONS[2:4], max_new_tokens=16)) == got[2:4]
    child.close()
    tokenizer = open_tokenizer(str(base))
    coder = ChatEncoder(tokenizer, stop_ids=frozenset({2}))
    net = open_base(str(base), quantize="nf4", dtype="float32")
    net = PeftModel.from_pretrained(net, str(model.path)).eval()
    with torch.no_grad():
        ids = greedy(net, [coder.prompt(q) for q in QUESTIONS], frozenset({2}))
    assert got == [tokenizer.decode(i, skip_special_tokens=True) for i in ids]


def test_base_and_tuned_speakers_differ_by_the_adapter_alone(finished: Finished, base: Path) -> None:
    from anytune.local.generate import open_speaker

    alone = open_speaker(str(base), None, "nf4")
    with_adapter = open_speaker(str(base), Path(str(finished[1].model)), None)
    assert list(alone.answer(QUESTIONS, max_new_tokens=16)) != list(with_adapter.answer(QUESTIONS, max_new_tokens=16))
    same = [
        name
        for (name, a), (_, b) in zip(alone.net.named_parameters(), with_adapter.net.named_parameters(), strict=True)
        if a.equal(b)
    ]
    assert {name.rpartition(".")[0].rpartition(".")[2] for name in same} >= {"embed_tokens", "norm"}
    assert not any("proj" in name for name in same)


def test_a_dead_child_says_its_last_words() -> None:
    child = ChildGenerator(["sh", "-c", "echo first >&2; echo the last words >&2; exit 3"], {})
    with pytest.raises(ProviderError, match="the last words"):
        list(child.answer([[{"role": "user", "content": "x"}]], max_new_tokens=4))
    child.close()


def test_a_merged_model_opens_as_any_other_and_is_proven(finished: Finished, base: Path, tmp_path: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    manifest = finished[0].export(tuned(finished, base), to="merged", out=tmp_path / "merged")
    assert manifest["check"]["logits_relative_error"] <= manifest["check"]["bound"]
    assert "unpacked from NF4" in manifest["merged_onto"]
    assert {"model.safetensors", "config.json", "tokenizer.json", "chat_template.jinja"} <= manifest["files"].keys()
    net = AutoModelForCausalLM.from_pretrained(tmp_path / "merged")
    assert net.dtype == torch.bfloat16
    assert not hasattr(net.config, "quantization_config")
    assert AutoTokenizer.from_pretrained(tmp_path / "merged").chat_template
    with pytest.raises(RejectedError, match="not empty"):
        finished[0].export(tuned(finished, base), to="merged", out=tmp_path / "merged")


def test_an_adapter_is_handed_out_with_its_hashes(finished: Finished, base: Path, tmp_path: Path) -> None:
    from anytune.local.export import export
    from anytune.local.training.checkpoint import sha256

    manifest = export(Path(str(finished[1].model)), "adapter", tmp_path / "out")
    assert (tmp_path / "out" / "adapter_config.json").is_file()
    assert manifest["files"]["adapter_model.safetensors"] == sha256(tmp_path / "out" / "adapter_model.safetensors")
    assert manifest["base"] == str(base)


KILLED = """
import sys
from pathlib import Path
from anytune.local.provider import LocalProvider
from anytune.providers.base import Profile
from anytune.schema.model import TunedModel
provider = LocalProvider(Profile(name="local", home=Path(sys.argv[1]), key=lambda: ""))
provider.export(TunedModel.model_validate_json(sys.argv[2]), to="merged", out=Path(sys.argv[3]))
"""


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="there is no /proc to find the worker by")
def test_who_is_killed_while_it_exports_leaves_no_worker_that_writes_on(
    finished: Finished, base: Path, tmp_path: Path
) -> None:
    model, out = tuned(finished, base), tmp_path / "merged"
    asks = subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path), model.model_dump_json(), str(out)])
    until = time.monotonic() + 60
    while not (begun := writing(out)) and time.monotonic() < until:
        time.sleep(0.01)
    assert begun
    asks.kill()
    asks.wait()
    while writing(out) and time.monotonic() < until:
        time.sleep(0.01)
    assert not writing(out)
    assert not out.exists()
    assert finished[0].export(model, to="merged", out=out)["check"]["logits_relative_error"] <= 0.03


def writing(out: Path) -> bool:
    """Tell whether a worker that was asked to write there lives."""
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            line = (process / "cmdline").read_bytes().split(b"\0")
            if b"anytune.local.worker" in line and str(out).encode() in line:
                return True
    return False


def test_a_merge_that_answers_otherwise_is_no_export(
    finished: Finished, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from anytune.errors import UsageError
    from anytune.local import export

    monkeypatch.setattr(export, "add_adapter", lambda net, _: net.model.layers[0].mlp.down_proj.weight.zero_())
    with pytest.raises(UsageError, match="logits are off"):
        export.export(Path(str(finished[1].model)), "merged", tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_base_that_changed_since_training_is_refused(finished: Finished, base: Path, tmp_path: Path) -> None:
    import json

    from anytune.errors import UsageError
    from anytune.local.artifact import read_origin

    folder = tmp_path / "model"
    shutil.copytree(str(finished[1].model), folder)
    origin = json.loads((folder / "anytune.json").read_text())
    (folder / "anytune.json").write_text(json.dumps(origin | {"base_fingerprint": "other"}))
    with pytest.raises(UsageError, match="have changed"):
        read_origin(folder)


def test_other_forms_are_refused(finished: Finished, base: Path, tmp_path: Path) -> None:
    with pytest.raises(RejectedError, match="gguf"):
        finished[0].export(tuned(finished, base), to="onnx", out=tmp_path / "x")
