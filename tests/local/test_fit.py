"""The estimate: arithmetic on configurations, held against published figures and the real classes."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from anytune.errors import UsageError
from anytune.local.machine import Hardware, hardware
from anytune.local.memory import fit, gpu, ladder, pace
from anytune.local.memory.estimate import doubt, estimate, job_of
from anytune.local.memory.fit import Pass, Way
from anytune.local.memory.foresee import everywhere, here
from anytune.local.memory.ladder import Work
from anytune.local.memory.shape import Shape, read_shape
from anytune.local.settings import resolve
from anytune.schema.data import DataReport, FileReport, Tokens
from anytune.schema.plan import ResourceEstimate
from tests.local.conftest import CONFIG, TINY, chat, data_file, spec, write_lines

LLAMA_8B = {
    "model_type": "llama", "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32,
    "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 128256, "tie_word_embeddings": False,
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
LLAMA2_7B = MISTRAL_7B | {"intermediate_size": 11008, "num_key_value_heads": 32}


def card(gibibytes: int) -> Hardware:
    return Hardware("cuda", "GPU", 1, gibibytes << 30, True)


def shape(folder: Path, config: dict[str, Any]) -> Shape:
    (folder / "config.json").write_text(json.dumps(config))
    found = read_shape(folder)
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
    found = read_shape(TINY)
    assert found is not None
    assert found.parameters == 2_632_128
    assert found.adapter(16) == 331_776


def test_a_multi_modal_configuration_is_read_one_level_deeper(tmp_path: Path) -> None:
    assert shape(tmp_path, {"text_config": CONFIG}).hidden == 64


def training(**values: Any) -> dict[str, Any]:
    return resolve(spec("none", Path("t.jsonl"), batch_size=1, **values))


PUBLISHED = [  # config, rank, tokens in the one row, the GPU's memory in GB that was taken, or just enough
    *((LLAMA_8B, 32, tokens, gigabytes) for tokens, gigabytes in ((932, 12), (2551, 16), (5789, 24), (12264, 40))),
    *(
        (LLAMA2_7B, 8, tokens, gigabytes)
        for tokens, gigabytes in ((1024, 6), (2048, 7), (4096, 9), (8192, 12), (16384, 19), (32768, 32))
    ),
]


@pytest.mark.parametrize(("config", "rank", "tokens", "gigabytes"), PUBLISHED)
def test_published_peaks_of_others_are_met_within_a_tenth(
    tmp_path: Path, config: dict[str, Any], rank: int, tokens: int, gigabytes: int
) -> None:
    """QLoRA with FlashAttention 2 and checkpointing: unsloth.ai's table of context lengths, LLaMA-Factory's wiki.

    Those trainers keep embeddings and head in float32 (PEFT's preparation for k-bit training) and the logits of all
    tokens, at 12 bytes each, beside the 2 of the model's answer.
    """
    found = shape(tmp_path, config)
    asked = training(lora={"rank": rank})
    way = Way("bfloat16", "bfloat16", unpack=False, micro_tokens=tokens, recompute=True)
    phases = fit.phases_of(found, asked, way, Pass(tokens, 0))
    step = replace(phases, head=phases.head + 14 * found.vocabulary * tokens).step
    theirs = fit.Need(fit.still_bytes(found, asked, way) + 2 * found.other, step).peak("cuda") / 1e9
    assert theirs == pytest.approx(gigabytes, rel=0.1)


def test_qlora_of_8b_needs_far_less_than_full(tmp_path: Path) -> None:
    eight = shape(tmp_path, LLAMA_8B)
    work = Work(training(max_length=2048))
    way = ladder.chosen(eight, work, card(16))
    assert way.recompute
    assert not way.unpack
    assert fit.still_bytes(eight, training(), way) == pytest.approx(6.4e9, rel=0.1)
    assert fit.still_bytes(eight, training(lora=None), way) > 1.2e11


def test_where_memory_allows_nothing_is_computed_twice(tmp_path: Path) -> None:
    way = ladder.chosen(shape(tmp_path, LLAMA_8B), Work(training(max_length=2048)), card(80))
    assert way.unpack
    assert not way.recompute
    assert way.micro_tokens >= 2048


def test_bfloat16_is_taken_where_the_machine_has_it(tmp_path: Path) -> None:
    eight, tiny = shape(tmp_path, LLAMA_8B), read_shape(TINY)
    assert tiny is not None
    for brief, wide, small in ((True, "bfloat16", "float32"), (False, "float32", "float32")):
        machine = Hardware("cpu", "CPU", 2, 200 << 30, brief)
        way = ladder.chosen(eight, Work(training(max_length=512)), machine)
        assert (way.dtype, way.products) == (wide, wide)
        way = ladder.chosen(tiny, Work(training(max_length=512)), machine)  # its activations cost nothing
        assert (way.dtype, way.products) == (small, wide)


def test_all_logits_at_once_are_not_reckoned(tmp_path: Path) -> None:
    found = shape(tmp_path, LLAMA_8B)
    way = Way("bfloat16", "bfloat16", unpack=False, micro_tokens=8192, recompute=True)
    few, many = (fit.phases_of(found, training(), way, Pass(8192, n)).head for n in (256, 8192))
    assert many - few == 2 * 2 * found.hidden * (8192 - 256)  # the states and their slopes grow, the logits do not


def test_a_pair_of_the_longest_answers_fits_in_one_pass(tmp_path: Path) -> None:
    eight = shape(tmp_path, LLAMA_8B)
    one, two = (ladder.chosen(eight, Work(training(max_length=1024), rows), card(24)) for rows in (1, 2))
    assert two.micro_tokens >= 2 * 1024
    assert one.micro_tokens >= 1024


def test_a_longer_row_or_rank_never_needs_less(tmp_path: Path) -> None:
    eight = shape(tmp_path, LLAMA_8B)
    for recompute in (False, True):
        way = Way("bfloat16", "bfloat16", unpack=False, micro_tokens=1, recompute=recompute)
        peaks = [fit.need(eight, training(), way, Pass(n, n // 2)).peak("cuda") for n in range(64, 9000, 64)]
        assert peaks == sorted(peaks)
        ranks = [fit.need(eight, training(lora={"rank": r}), way, Pass(512, 64)).peak("cuda") for r in (1, 8, 64, 256)]
        assert ranks == sorted(ranks)


def test_what_does_not_fit_is_told_with_settings_that_do(tmp_path: Path) -> None:
    shape(tmp_path, LLAMA_8B)
    small = told(tmp_path, card(9), max_length=8192, longest=8000)
    assert small.fits == "no"
    (shorter,) = small.instead
    length = shorter.settings["training.max_length"]
    assert length < 8192
    assert shorter.memory_expected < 9 << 30
    assert shorter.flags == f"--set training.max_length={length}"
    assert told(tmp_path, card(9), max_length=length, longest=8000).fits == "yes"


def test_full_fine_tuning_that_does_not_fit_is_offered_adapters(tmp_path: Path) -> None:
    shape(tmp_path, LLAMA_8B)
    found = told(tmp_path, card(24), lora=None, quantize=None, max_length=1024)
    assert found.fits == "no"
    offered = found.instead[-1]
    assert offered.settings["training.quantize"] == "nf4"
    assert "--set training.lora.rank=16 --set training.quantize=nf4" in offered.flags


def test_a_card_too_small_for_the_weights_alone_has_no_settings(tmp_path: Path) -> None:
    shape(tmp_path, LLAMA_8B)
    found = told(tmp_path, card(3))
    assert (found.fits, found.instead) == ("no", ())


def told(model: Path, machine: Hardware, *, longest: int = 900, **values: Any) -> ResourceEstimate:
    """Estimate a thousand chats on a machine."""
    tokens = Tokens(low=1, expected=500_000, high=2, longest=longest, basis="guess")
    report = DataReport(files=(FileReport(path=Path("t"), examples=1000, tokens=tokens, file=data_file(ANY)),))
    job = job_of(str(model), training(**values), report, method="sft")
    assert job is not None
    found = estimate(job, machine)
    assert found is not None
    return found


ANY = Path(__file__)
MIXTURE = LLAMA_8B | {"model_type": "mixtral", "num_local_experts": 8, "num_experts_per_tok": 2}


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (LLAMA_8B, None),
        (MIXTURE, "a guess for a mixture of 8 experts (NF4 leaves them as they are)"),
        (LLAMA_8B | {"model_type": "newcomer"}, "a guess for a model of the kind newcomer"),
        (LLAMA_8B | {"mamba_d_state": 16}, "cannot be told from sizes alone: it has recurrent layers"),
        (LLAMA_8B | {"kv_lora_rank": 512}, "it has compressed keys"),
        (LLAMA_8B | {"layer_types": ["linear_attention", "full_attention"]}, "it has linear attention layers"),
        ({"model_type": "bert"}, "its config.json names other sizes than a decoder's"),
    ],
)
def test_what_is_not_known_is_said_and_never_passed_off(
    tmp_path: Path, config: dict[str, Any], said: str | None
) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config))
    found = doubt(str(tmp_path))
    if said is None:
        assert found is None
        return
    assert found is not None
    assert said in found
    assert "anytune plan --exact" in found


def test_a_guess_has_wide_bounds(tmp_path: Path) -> None:
    shape(tmp_path, MIXTURE)
    guess = told(tmp_path, card(80))
    shape(tmp_path, LLAMA_8B)
    known = told(tmp_path, card(80))
    assert (guess.how, known.how) == ("guess", "known")
    assert guess.memory_high / guess.memory_expected > 1.5 > known.memory_high / known.memory_expected


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("RTX 4090", "RTX 4090"), ("4090", "RTX 4090"), ("NVIDIA GeForce RTX 4090", "RTX 4090"), ("h100", "H100"),
        ("A100", "A100 80GB"), ("a100-40gb", "A100 40GB"), ("Tesla T4", "T4"), ("rtx 6000 ada", "RTX 6000 Ada"),
    ],
)  # fmt: skip
def test_a_gpu_is_known_as_people_call_it(name: str, meant: str) -> None:
    assert gpu.named(name).name == meant


def test_an_unheard_of_gpu_is_answered_with_the_nearest_names() -> None:
    with pytest.raises(UsageError, match="no GPU 'RTX 4091' is known") as error:
        gpu.named("RTX 4091")
    assert (error.value.fix or "").startswith("did you mean RTX 4090")
    with pytest.raises(UsageError) as error:
        gpu.named("abacus")
    assert "known are A10, " in (error.value.fix or "")


@pytest.mark.parametrize(
    ("said", "name"),
    [
        ("NVIDIA A100-SXM4-80GB", "A100 80GB"), ("NVIDIA H100 80GB HBM3", "H100"), ("NVIDIA L40S", "L40S"),
        ("NVIDIA GeForce RTX 3060", "RTX 3060"), ("NVIDIA H100 PCIe", "H100 PCIe"), ("NVIDIA TITAN Xp", None),
        ("NVIDIA A100 80GB PCIe", "A100 PCIe 80GB"), ("Tesla V100-SXM2-16GB", "V100 16GB"),
        ("NVIDIA RTX PRO 6000 Blackwell Max-Q Workstation Edition", "RTX PRO 6000 Max-Q"),
    ],
)  # fmt: skip
def test_a_gpu_is_known_by_what_its_driver_says(said: str, name: str | None) -> None:
    found = gpu.of_driver(said)
    assert (found.name if found else None) == name


def test_gpus_are_dated_and_sane() -> None:
    for one in gpu.table().values():
        assert 8 << 30 <= one.memory < 200 << 30
        assert 1e11 < one.bandwidth < 1e13
        assert 5e12 < one.rate < 5e15


def test_a_quicker_gpu_takes_less_time(tmp_path: Path) -> None:
    shape(tmp_path, LLAMA_8B)
    slow, quick = (told(tmp_path, gpu.named(name).alone()) for name in ("L40S", "H200"))
    assert quick.seconds_expected < slow.seconds_expected


def test_each_gpu_that_is_named_is_told_of_in_order(tmp_path: Path) -> None:
    shape(tmp_path, LLAMA_8B)
    tokens = Tokens(low=1, expected=500_000, high=2, longest=900, basis="guess")
    report = DataReport(files=(FileReport(path=Path("t"), examples=1000, tokens=tokens, file=data_file(ANY)),))
    found = everywhere(str(tmp_path), training(), report, method="sft", gpus=("T4", "H100"), exact=False)
    assert [one.device for one in found[1:] if one] == ["T4", "H100"]
    with pytest.raises(UsageError, match="no GPU 'X' is known"):
        everywhere(str(tmp_path), training(), DataReport(files=()), method="sft", gpus=("X",), exact=False)


@pytest.mark.parametrize("lora", ["auto", None])
def test_pairs_take_both_sequences_and_a_pass_of_the_base(tmp_path: Path, lora: Any) -> None:
    pairs, chats = (write_lines(tmp_path / f"{name}.jsonl", [{}]) for name in ("pairs", "chats"))

    def estimated(tokens: Tokens, **asked: Any) -> Any:
        report = DataReport(files=(FileReport(path=pairs, examples=2000, tokens=tokens, file=data_file(pairs)),))
        wanted = spec(TINY, chats, lora=lora, epochs=1, batch_size=50, max_length=512, **asked)
        found = here(str(TINY), resolve(wanted), report, method=wanted.method)
        assert found is not None
        return found

    def tokens(expected: int, **parts: int) -> Tokens:
        return Tokens(low=expected, expected=expected, high=expected, longest=90, basis="guess", **parts)

    pair = estimated(tokens(300_000, trained=100_000, masked=200_000), method="dpo")  # of both rows: 500,000
    both = estimated(tokens(500_000))
    again = (pair.seconds_expected - pace.START_SECONDS) / (both.seconds_expected - pace.START_SECONDS)
    assert again == pytest.approx(1.5 if lora else 4 / 3, rel=0.1)
    assert pair.basis.endswith("pairs, and the base asked once about each; beta 0.1")
    assert "pairs" not in both.basis


def test_an_estimate_names_its_basis_and_fits_this_machine(tmp_path: Path) -> None:
    data = write_lines(tmp_path / "t.jsonl", [chat(n) for n in range(400)])
    tokens = Tokens(low=20_000, expected=26_000, high=32_000, longest=90, basis="guess")
    report = DataReport(files=(FileReport(path=data, examples=400, tokens=tokens, file=data_file(data)),))
    found = here(str(TINY), resolve(spec(TINY, data, epochs=2)), report)
    assert found is not None
    assert found.seconds_low < found.seconds_expected < found.seconds_high
    assert found.memory_low < found.memory_expected <= found.memory_high
    assert found.memory_available == pytest.approx(hardware().memory, rel=0.2)
    assert "W assumed" in found.basis
    assert found.watt_hours > 0
    longer = here(str(TINY), resolve(spec(TINY, data, epochs=20)), report)
    assert longer is not None
    assert longer.seconds_expected > found.seconds_expected


def test_without_a_configuration_there_is_no_estimate(tmp_path: Path) -> None:
    assert here("no/such-model", training(), DataReport(files=())) is None


@pytest.mark.local
@pytest.mark.parametrize(
    ("kind", "sizes", "way", "quantize"),
    [
        ("llama", {}, {"unpack": False, "recompute": True}, "nf4"),
        ("llama", {}, {"unpack": False}, "int8"),
        ("phi3", {}, {"unpack": False, "recompute": True}, "int8"),
        ("qwen3", {"head_dim": 32}, {}, "nf4"),
        ("gemma3_text", {"head_dim": 32, "layer_types": ["full_attention"] * 3}, {}, "nf4"),
        ("phi3", {}, {"dtype": "float32"}, "nf4"),
        ("mistral", {"sliding_window": None}, {"dtype": "float32", "products": "float32"}, "nf4"),
        ("qwen2", {"vocab_size": 32000}, {"recompute": True}, "nf4"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_arithmetic_is_that_of_the_real_classes(
    tmp_path: Path, kind: str, sizes: dict[str, Any], way: dict[str, Any], quantize: str
) -> None:
    pytest.importorskip("torch")
    from transformers import AutoConfig

    from anytune.local.memory.exact import step_bytes

    plain = {"hidden_size": 256, "intermediate_size": 704, "num_hidden_layers": 3, "num_attention_heads": 8}
    config = {**plain, "num_key_value_heads": 4, "vocab_size": 4096, "pad_token_id": 0, **sizes}
    AutoConfig.for_model(kind, **config).save_pretrained(tmp_path)
    found = read_shape(tmp_path)
    assert found is not None
    chosen = Way(
        **{"dtype": "bfloat16", "products": "bfloat16", "unpack": True, "micro_tokens": 1024, "recompute": False} | way
    )  # type: ignore[arg-type]
    asked = training(lora={"rank": 8}, quantize=quantize)
    counted = step_bytes(tmp_path, asked, asdict(chosen), rows=4, length=256, supervised=400)
    need = fit.need(found, asked, chosen, Pass(1024, 400))
    assert counted["parameters"] == pytest.approx(found.parameters, rel=0.01)
    assert need.still == pytest.approx(counted["still"], rel=0.02)
    assert need.step == pytest.approx(counted["peak"] - counted["still"], rel=0.05)


@pytest.mark.local
def test_the_estimate_is_near_a_measured_run(finished: Any, base: Path, chats: Path) -> None:
    provider, _ = finished
    result = json.loads((provider.home / "runs" / "whole" / "result.json").read_text())
    per_epoch = result["trained_tokens"] // 2
    tokens = Tokens(low=per_epoch, expected=per_epoch, high=per_epoch, longest=60, basis="counted")
    report = DataReport(files=(FileReport(path=chats, examples=24, tokens=tokens, file=data_file(chats)),))
    found = provider.estimate(spec(base, chats), report)
    assert found is not None
    assert found.seconds_expected / 3 < result["process_cpu_seconds"] < found.seconds_expected * 3
    assert found.memory_expected == pytest.approx(result["peak_rss_bytes"], rel=0.25)  # the libraries are most of it
