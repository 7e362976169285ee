"""Adapters on frozen weights of 8 bits: the same numbers packed or not, in training, after a kill, and in exports."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.local

from anytune.local.provider import LocalProvider  # noqa: E402
from anytune.local.runs import Run  # noqa: E402
from anytune.schema.model import TunedModel  # noqa: E402
from tests.local.conftest import TINY, new_provider, request  # noqa: E402
from tests.local.test_life import folder, result, run_now  # noqa: E402
from tests.local.test_recipe import LORA, examples, gradients  # noqa: E402

Trained = tuple[LocalProvider, Run]


@pytest.fixture(scope="module")
def trained(base: Path, chats: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """Train an adapter on a base of 8 bits."""
    provider = new_provider(tmp_path_factory.mktemp("home"))
    run = folder(provider, request(provider, base, chats, "eight", quantize="int8"))
    assert run_now(provider, run)["state"] == "succeeded"
    return provider, run


def adapted(base: Path, *, unpack: bool, dtype: str = "float32", dropout: float = 0.0, recompute: bool = False) -> Any:
    """Return base and random adapters."""
    from anytune.local.loading import open_base
    from anytune.local.training.adapters import prepare

    net = open_base(str(base), quantize="int8", dtype=dtype, unpack=unpack)
    machine = {"recompute": recompute, "products": dtype}
    net = prepare(net, str(base), {"lora": LORA | {"dropout": dropout}}, machine)
    torch.manual_seed(3)
    for name, parameter in sorted(net.named_parameters()):
        if "lora_" in name:
            torch.nn.init.normal_(parameter, std=0.05)
    return net.train()


def losses(net: Any, base: Path) -> Any:
    """Return the mean loss of some chats, in nats a token."""
    from anytune.local.training.batches import micro_batches
    from anytune.local.training.head import HeadFilter

    head, batch = HeadFilter(net), examples(base)
    parts = list(micro_batches(batch, most_tokens=4096, most_examples=None))
    return sum(head.loss(net, part) for part in parts) / sum(e.supervised for e in batch)


def test_the_values_are_those_of_bitsandbytes_and_near_the_weights(base: Path) -> None:
    from bitsandbytes.functional import int8_vectorwise_dequant, int8_vectorwise_quant
    from transformers import AutoModelForCausalLM

    from anytune.local.int8 import Int8Linear
    from anytune.local.loading import open_base

    packed = open_base(str(base), quantize="int8", dtype="float32", unpack=False)
    dense = dict(open_base(str(base), quantize="int8", dtype="float32").named_modules())
    plain = dict(AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32).named_modules())
    layers = {name: layer for name, layer in packed.named_modules() if isinstance(layer, Int8Linear)}
    assert len(layers) == 14
    for name, layer in layers.items():
        weight = plain[name].weight.detach()
        numbers, largest, _ = int8_vectorwise_quant(weight.half())
        torch.testing.assert_close(layer.unpacked(), int8_vectorwise_dequant(numbers, largest), rtol=1e-5, atol=1e-8)
        assert torch.equal(layer.unpacked(), dense[name].weight)
        step = weight.abs().amax(1, keepdim=True) / 127
        assert ((layer.unpacked() - weight).abs() <= 0.51 * step + 1e-6).all()
    assert type(packed.get_output_embeddings()) is torch.nn.Linear


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize(("dropout", "recompute"), [(0.0, False), (0.0, True), (0.3, False)])
def test_packed_weights_give_the_very_gradients_of_unpacked_ones(
    base: Path, dtype: str, dropout: float, recompute: bool
) -> None:
    found = []
    for unpack in (True, False):
        net = adapted(base, unpack=unpack, dtype=dtype, dropout=dropout, recompute=recompute)
        torch.manual_seed(5)
        losses(net, base).backward()
        found.append(gradients(net))
    one, other = found
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_weights_of_8_bits_move_what_is_said_less_than_those_of_4() -> None:
    from anytune.local.export import logits, relative_error
    from anytune.local.loading import open_base

    prompts = [example.ids for example in examples(TINY)]
    plain, eight, four = (
        logits(open_base(str(TINY), quantize=kind, dtype="float32"), prompts) for kind in (None, "int8", "nf4")
    )
    assert relative_error(plain, eight) < 0.03
    assert relative_error(plain, eight) < relative_error(plain, four) / 4


def test_training_ends_where_it_does_with_other_weights(trained: Trained, base: Path, chats: Path) -> None:
    provider, run = trained
    ended = {"int8": result(run)["valid_loss"]}
    for kind in ("nf4", None):
        other = folder(provider, request(provider, base, chats, f"as-{kind}", quantize=kind))
        ended[str(kind)] = run_now(provider, other)["valid_loss"]
    assert ended["int8"] == pytest.approx(ended["None"], rel=0.02)
    assert ended["int8"] == pytest.approx(ended["nf4"], rel=0.05)


def test_a_run_that_is_begun_anew_with_packed_weights_ends_with_the_same(
    trained: Trained, base: Path, chats: Path, tmp_path: Path
) -> None:
    provider = new_provider(tmp_path)
    run = folder(provider, request(provider, base, chats, "again", quantize="int8"))
    machine = json.loads((trained[1].path / "machine.json").read_text())
    assert machine["unpack"]
    (run.path / "machine.json").write_text(json.dumps(machine | {"unpack": False}))
    assert run_now(provider, run)["adapter_sha256"] == result(trained[1])["adapter_sha256"]


def test_a_run_that_was_killed_ends_with_the_same_weights(
    trained: Trained, base: Path, chats: Path, tmp_path: Path
) -> None:
    import os
    import signal

    from tests.local.conftest import wait
    from tests.local.test_life import begin

    provider = new_provider(tmp_path)
    run = folder(provider, request(provider, base, chats, "killed", quantize="int8") | {"event_seconds": 0})
    child = begin(provider, run)
    wait(provider, "killed", lambda _: any("step 2 of" in event.message for event in provider.events("killed")))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert run_now(provider, run)["adapter_sha256"] == result(trained[1])["adapter_sha256"]


def test_what_comes_out_is_on_the_unpacked_base_and_proven(trained: Trained, tmp_path: Path) -> None:
    pytest.importorskip("xllamacpp")
    from anytune.local.export import export

    merged = export(trained[1].path / "model", "merged", tmp_path / "merged")
    assert merged["merged_onto"] == "base unpacked from int8 with a scale for each row"
    assert merged["check"]["logits_relative_error"] <= merged["check"]["bound"]
    check = export(trained[1].path / "model", "gguf-lora", tmp_path / "lora")["check"]
    assert check["log_probability_off_at_most"] <= check["bound"]


@pytest.mark.engine
def test_it_can_be_asked(trained: Trained, base: Path) -> None:
    provider, run = trained
    tuned = TunedModel(provider="local", name="eight", job_id="eight", base=str(base), path=str(run.path / "model"))
    asked: Any = [[{"role": "user", "content": "Hello!"}]]
    with closing(provider.generator(base=str(base), tuned=tuned)) as generator:
        assert len(list(generator.answer(asked, max_new_tokens=4))) == 1
    with closing(provider.generator(base=str(base), tuned=None, beside=tuned)) as generator:
        assert len(list(generator.answer(asked, max_new_tokens=4))) == 1


def test_the_base_is_compared_as_it_stands_under_the_model(
    trained: Trained, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the comparison would be of two ways to quantise, too."""
    provider, run = trained
    tuned = TunedModel(provider="local", name="eight", job_id="eight", base=str(base), path=str(run.path / "model"))
    asked: list[list[str]] = []
    monkeypatch.setattr("anytune.local.speakers.ChildGenerator", lambda command, _: asked.append(command))
    for beside in (tuned, None):
        provider.generator(base=str(base), tuned=None, beside=beside)
    assert [command[-2:] for command in asked] == [["--quantize", "int8"], ["--quantize", "nf4"]]
