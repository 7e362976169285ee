"""Whether a run fits, on the command line: this machine, GPUs that are named, and what a program is told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from anytune.local.machine import Hardware
from anytune.local.memory import foresee
from tests.cli.conftest import Said, Type

LLAMA_8B = {
    "model_type": "llama", "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32,
    "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 128256, "tie_word_embeddings": False,
}  # fmt: skip


@pytest.fixture(autouse=True)
def model(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a local job on a model of which there is the configuration alone, on a machine with 64 GiB."""
    made = folder / "eight"
    made.mkdir()
    (made / "config.json").write_text(json.dumps(LLAMA_8B))
    (folder / "finetune.yaml").write_text(
        "name: sums\nprovider: local\nmodel: ./eight\ndata: {train: train.jsonl}\ntraining: {max_length: 1024}\n"
    )
    on(Hardware("cpu", "CPU", 8, 64 << 30, True), monkeypatch)
    return made


def on(machine: Hardware, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let plans think that they are made on this machine."""
    monkeypatch.setattr(foresee, "hardware", lambda *_: machine)


def reasons(said: Said) -> str:
    return " ".join(said.document["refused"])


def test_memory_is_told_from_the_configuration_alone(anytune: Type) -> None:
    said = anytune("plan")
    assert "GiB of 64.0 GiB free: fits" in said.out
    assert "passes of up to " in said.out
    assert "no weights (*.safetensors)" in said.out, "the plan is refused, the figures stand all the same"


def test_each_gpu_that_is_named_has_its_line(anytune: Type) -> None:
    said = anytune("plan", "--gpu", "rtx 4090", "--gpu", "H100")
    lines = [line for line in said.out.splitlines() if line.startswith(("RTX 4090", "H100"))]
    assert len(lines) == 2
    assert all(" fits " in line for line in lines)
    document = anytune("plan", "--gpu", "rtx 4090", "--gpu", "H100", "--json").document
    assert [one["device"] for one in document["machines"]] == ["RTX 4090", "H100"]
    for one in (document["resources"], *document["machines"]):
        assert one["memory_low"] < one["memory_expected"] < one["memory_high"]
        assert one["fits"] == "yes"
        assert one["how"] == "known"
        assert set(one["way"]) == {"dtype", "products", "unpack", "micro_tokens", "recompute", "shards"}


def test_a_gpu_that_is_too_small_is_told_with_what_would_fit(anytune: Type) -> None:
    line = ("plan", "--set", "training.lora=null", "--set", "training.quantize=null", "--gpu", "L4")
    said = anytune(*line)
    assert "does not fit" in said.out
    shown = " ".join(said.out.split())
    assert "L4: --set training.lora.rank=16 --set training.quantize=nf4 would fit, with" in shown
    (card,) = anytune(*line, "--json").document["machines"]
    assert card["fits"] == "no"
    assert card["instead"][0]["settings"] == {"training.lora": {"rank": 16}, "training.quantize": "nf4"}


def test_what_surely_does_not_fit_here_is_refused_with_settings_that_would(
    anytune: Type, monkeypatch: pytest.MonkeyPatch
) -> None:
    on(Hardware("cuda", "NVIDIA L4", 1, 22 << 30, True), monkeypatch)
    said = anytune("plan", "--set", "training.lora=null", "--set", "training.quantize=null", "--json")
    assert said.code == 3
    assert "GiB of memory, and 22.0 GiB are free (NVIDIA L4)" in reasons(said)
    assert "it would fit with --set training.lora.rank=16 --set training.quantize=nf4 (" in reasons(said)
    forced = anytune(
        "plan", "--set", "training.lora=null", "--set", "training.quantize=null", "--force", "--json"
    ).document
    assert "GiB of memory" not in " ".join(forced["refused"])
    assert any("GiB of memory" in warning for warning in forced["warnings"])


def test_several_gpus_hold_together_what_none_holds_alone(
    anytune: Type, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on(Hardware("cuda", "NVIDIA L4", 1, 6 << 30, True, 4), monkeypatch)
    alone = anytune("plan", "--json").document["resources"]
    assert (alone["fits"], alone["way"]["shards"]) == ("no", 1)
    (folder / "anytune.yaml").write_text("profiles: {local: {processes: 4}}\n")
    together = anytune("plan", "--json").document["resources"]
    assert together["way"]["shards"] == 4
    assert together["memory_expected"] < alone["memory_expected"] - (2 << 30)
    assert "that 4 processes share the work is reckoned, not measured" in together["basis"]
    assert "base dealt out over 4 processes" in anytune("plan").out
    (folder / "anytune.yaml").write_text("profiles: {local: {processes: 4, shard: false}}\n")
    assert anytune("plan", "--json").document["resources"]["way"]["shards"] == 1
    (folder / "anytune.yaml").write_text("profiles: {local: {processes: 4, shard: true}}\n")
    refused = anytune("plan", "--set", "training.quantize=null", "--json")
    assert refused.code != 0
    assert "the base cannot be dealt out over 4 processes: it is not in NF4" in refused.out + refused.err


def test_a_guess_is_called_one_and_refuses_nothing(anytune: Type, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (model / "config.json").write_text(json.dumps(LLAMA_8B | {"num_local_experts": 8, "num_experts_per_tok": 2}))
    on(Hardware("cuda", "NVIDIA L4", 1, 12 << 30, True), monkeypatch)
    found = anytune("plan", "--json").document
    assert found["resources"]["how"] == "guess"
    assert found["resources"]["fits"] == "no"
    assert "GiB" not in " ".join(found["refused"])
    assert any(
        "a guess for a mixture of 8 experts" in warning and "--exact" in warning for warning in found["warnings"]
    )
    assert any("a run may need" in warning for warning in found["warnings"])


def test_a_model_that_sizes_say_nothing_of_has_one_line_and_no_figures(anytune: Type, model: Path) -> None:
    (model / "config.json").write_text(json.dumps(LLAMA_8B | {"mamba_d_state": 16}))
    said = anytune("plan", "--gpu", "H100", "--json").document
    assert said["resources"] is None
    assert said["machines"] == []
    assert any(
        "memory and time cannot be told from sizes alone: it has recurrent layers" in w for w in said["warnings"]
    )


@pytest.mark.parametrize(
    ("line", "why", "what"),
    [
        (("--gpu", "RTX 4091"), "no GPU 'RTX 4091' is known", "did you mean RTX 4090"),
        (
            ("--gpu", "H100", "--provider", "together", "--model", "m"),
            "--gpu and --exact ask about",
            "--provider local",
        ),
        (("--gpu", "H100", "--all"), "--gpu and --exact ask about one plan", "leave out --all"),
    ],
)
def test_a_question_that_makes_no_sense_is_one_line(anytune: Type, line: tuple[str, ...], why: str, what: str) -> None:
    said = anytune("plan", *line)
    assert said.code == 2
    assert why in said.err
    assert what in said.err
    assert not said.out


@pytest.mark.local
def test_exact_takes_a_step_of_the_real_class_and_narrows_the_figures(anytune: Type, model: Path) -> None:
    pytest.importorskip("torch")
    small = LLAMA_8B | {"hidden_size": 256, "intermediate_size": 704, "num_hidden_layers": 2, "vocab_size": 1024}
    (model / "config.json").write_text(json.dumps(small | {"num_attention_heads": 4, "num_key_value_heads": 2}))
    plain = anytune("plan", "--json").document["resources"]
    said = anytune("plan", "--exact", "--json")
    assert "taking a step of the model without its weights" in said.err
    exact = said.document["resources"]
    assert (plain["how"], exact["how"]) == ("known", "exact")
    assert exact["memory_expected"] == pytest.approx(plain["memory_expected"], rel=0.05)
    assert exact["memory_high"] - exact["memory_low"] < plain["memory_high"] - plain["memory_low"]


@pytest.mark.local
def test_exact_knows_what_the_arithmetic_does_not(anytune: Type, model: Path) -> None:
    pytest.importorskip("torch")
    config = {
        "model_type": "lfm2", "hidden_size": 64, "num_hidden_layers": 2, "layer_types": ["conv", "full_attention"],
        "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 512, "intermediate_size": 128,
    }  # fmt: skip
    (model / "config.json").write_text(json.dumps(config))
    assert anytune("plan", "--json").document["resources"] is None
    said = anytune("plan", "--exact", "--json")
    assert said.code == 3, said.err  # there are no weights
    assert said.document["resources"]["how"] == "exact"


def test_exact_asks_for_the_packages_it_needs(anytune: Type, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    said = anytune("plan", "--exact")
    assert said.code == 2
    assert "anytune[local]" in said.err
