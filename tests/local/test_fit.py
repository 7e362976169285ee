"""The estimate: arithmetic on configurations, checked against published sizes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from anytune.local import fit
from anytune.local.machine import Hardware, hardware
from anytune.local.settings import resolve
from anytune.schema.data import DataReport, FileReport, Tokens
from tests.local.conftest import CONFIG, TINY, chat, data_file, spec, write_lines

LLAMA_8B = {
    "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32, "num_attention_heads": 32,
    "num_key_value_heads": 8, "vocab_size": 128256, "tie_word_embeddings": False,
}  # fmt: skip
MISTRAL_7B = LLAMA_8B | {"vocab_size": 32000}
QWEN3_06B = {
    "hidden_size": 1024, "intermediate_size": 3072, "num_hidden_layers": 28, "num_attention_heads": 16, "head_dim": 128,
    "num_key_value_heads": 8, "vocab_size": 151936, "tie_word_embeddings": True,
}  # fmt: skip
GEMMA_2B = {
    "model_type": "gemma", "hidden_size": 2048, "intermediate_size": 16384, "num_hidden_layers": 18, "head_dim": 256,
    "num_attention_heads": 8, "num_key_value_heads": 1, "vocab_size": 256000,
}  # fmt: skip
GPU = Hardware("cuda", "GPU", 1, 80 << 30, True)


def shape(folder: Path, config: dict[str, Any]) -> fit.Shape:
    (folder / "config.json").write_text(json.dumps(config))
    found = fit.read_shape(folder)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("config", "billions"),
    [(LLAMA_8B, 8.03), (MISTRAL_7B, 7.24), (QWEN3_06B, 0.596), (GEMMA_2B, 2.51)],
    ids=["Llama 3 8B", "Mistral 7B", "Qwen3 0.6B", "Gemma 2B"],
)
def test_parameters_are_counted_as_published(tmp_path: Path, config: dict[str, Any], billions: float) -> None:
    assert shape(tmp_path, config).parameters / 1e9 == pytest.approx(billions, rel=0.005)


def test_the_demonstration_model_is_counted_exactly() -> None:
    found = fit.read_shape(TINY)
    assert found is not None
    assert found.parameters == 2_632_128
    assert found.adapter(16) == 331_776


def test_a_multi_modal_configuration_is_read_one_level_deeper(tmp_path: Path) -> None:
    assert shape(tmp_path, {"text_config": CONFIG}).hidden == 64


def training(**values: Any) -> dict[str, Any]:
    return resolve(spec("none", Path("t.jsonl"), batch_size=1, **values))


def test_qlora_of_8b_needs_what_was_measured_and_far_less_than_full(tmp_path: Path) -> None:
    eight = shape(tmp_path, LLAMA_8B)
    small = Hardware("cuda", "GPU", 1, 16 << 30, True)
    plan = fit.layout(eight, training(max_length=2048), small)
    assert plan.recompute
    assert not plan.unpack
    assert 6e9 < plan.bytes < 16e9
    assert fit.static_bytes(eight, training(), 2, unpack=False) == pytest.approx(6.3e9, rel=0.1)
    assert fit.static_bytes(eight, training(lora=None), 2, unpack=False) > 1.2e11


def test_where_memory_allows_nothing_is_computed_twice(tmp_path: Path) -> None:
    plan = fit.layout(shape(tmp_path, LLAMA_8B), training(max_length=2048), GPU)
    assert plan.unpack
    assert not plan.recompute
    assert plan.micro_tokens >= 2048


def test_a_pair_of_the_longest_answers_fits_in_one_pass(tmp_path: Path) -> None:
    eight = shape(tmp_path, LLAMA_8B)
    small = Hardware("cuda", "GPU", 1, 24 << 30, True)
    one, two = (fit.layout(eight, training(max_length=2048), small, rows=rows) for rows in (1, 2))
    assert two.micro_tokens >= 2 * 2048
    assert one.bytes <= two.bytes


@pytest.mark.parametrize("lora", ["auto", None])
def test_pairs_take_both_sequences_and_a_pass_of_the_base(tmp_path: Path, lora: Any) -> None:
    pairs, chats = (write_lines(tmp_path / f"{name}.jsonl", [{}]) for name in ("pairs", "chats"))

    def estimated(tokens: Tokens, **asked: Any) -> Any:
        report = DataReport(files=(FileReport(path=pairs, examples=2000, tokens=tokens, file=data_file(pairs)),))
        wanted = spec(TINY, chats, lora=lora, epochs=1, batch_size=50, max_length=512, **asked)
        found = fit.estimate(str(TINY), resolve(wanted), report, method=wanted.method)
        assert found is not None
        return found

    def tokens(expected: int, **parts: int) -> Tokens:
        return Tokens(low=expected, expected=expected, high=expected, longest=90, basis="guess", **parts)

    pair = estimated(tokens(300_000, trained=100_000, masked=200_000), method="dpo")  # of both rows: 500,000
    both = estimated(tokens(500_000))
    again = (pair.seconds_expected - fit.START_SECONDS) / (both.seconds_expected - fit.START_SECONDS)
    assert again == pytest.approx(1.5 if lora else 4 / 3, rel=0.1)
    assert pair.basis.endswith("pairs, and the base asked once about each; beta 0.1")
    assert "pairs" not in both.basis


def test_an_estimate_names_its_basis_and_fits_this_machine(tmp_path: Path) -> None:
    data = write_lines(tmp_path / "t.jsonl", [chat(n) for n in range(400)])
    tokens = Tokens(low=20_000, expected=26_000, high=32_000, longest=90, basis="guess")
    report = DataReport(files=(FileReport(path=data, examples=400, tokens=tokens, file=data_file(data)),))
    found = fit.estimate(str(TINY), resolve(spec(TINY, data, epochs=2)), report)
    assert found is not None
    assert found.seconds_low < found.seconds_expected < found.seconds_high
    assert found.memory_low < found.memory_expected <= found.memory_high
    assert found.memory_available == pytest.approx(hardware().memory, rel=0.2)
    assert "W assumed" in found.basis
    assert found.watt_hours > 0
    longer = fit.estimate(str(TINY), resolve(spec(TINY, data, epochs=20)), report)
    assert longer is not None
    assert longer.seconds_expected > found.seconds_expected


def test_without_a_configuration_there_is_no_estimate(tmp_path: Path) -> None:
    assert fit.estimate("no/such-model", training(), DataReport(files=())) is None


@pytest.mark.local
def test_the_estimate_is_within_threefold_of_a_measured_run(finished: Any, base: Path, chats: Path) -> None:
    provider, _ = finished
    result = json.loads((provider.home / "runs" / "whole" / "result.json").read_text())
    per_epoch = result["trained_tokens"] // 2
    tokens = Tokens(low=per_epoch, expected=per_epoch, high=per_epoch, longest=60, basis="counted")
    report = DataReport(files=(FileReport(path=chats, examples=24, tokens=tokens, file=data_file(chats)),))
    found = provider.estimate(spec(base, chats), report)
    assert found is not None
    assert found.seconds_expected / 3 < result["process_cpu_seconds"] < found.seconds_expected * 3
    assert found.memory_expected / 3 < result["peak_rss_bytes"] < found.memory_expected * 3
