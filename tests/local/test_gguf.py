"""A GGUF answers as the trainer's model does, or is not written: held against llama.cpp itself."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("gguf")
pytest.importorskip("xllamacpp")
pytestmark = pytest.mark.local

from anytune.errors import UsageError  # noqa: E402
from anytune.local.export import export  # noqa: E402
from anytune.local.provider import LocalProvider  # noqa: E402
from anytune.schema.job import RemoteJob  # noqa: E402
from tests.local.conftest import CONFIG, TINY  # noqa: E402

Finished = tuple[LocalProvider, RemoteJob]
# Longer than the windows below: what is wrong with positions or windows does not show at the first ones.
PROMPT = [1, *(3 + number * 37 % 297 for number in range(149))]
LLAMA3 = {
    "rope_type": "llama3", "rope_theta": 10000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}  # fmt: skip
GEMMA = {"head_dim": 16, "hidden_activation": "gelu_pytorch_tanh", "query_pre_attn_scalar": 16, "sliding_window": 32}
YARN = {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0, "original_max_position_embeddings": 64}
LINEAR = {"rope_type": "linear", "rope_theta": 1e6, "factor": 8.0}
NEAR_AND_FAR = {"full_attention": LINEAR, "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0}}
SEVEN = {**GEMMA, "num_hidden_layers": 7}
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("LlamaForCausalLM", {}),
    "llama 3": ("LlamaForCausalLM", {"rope_parameters": LLAMA3}),
    "llama with heads of its own size": ("LlamaForCausalLM", {"head_dim": 32, "tie_word_embeddings": False}),
    "mistral": ("MistralForCausalLM", {"sliding_window": None}),
    "qwen2": ("Qwen2ForCausalLM", {}),
    "qwen3": ("Qwen3ForCausalLM", {"head_dim": 32}),
    "gemma": ("GemmaForCausalLM", {"head_dim": 16}),
    "gemma2": ("Gemma2ForCausalLM", GEMMA),
    "gemma3": ("Gemma3ForCausalLM", {**SEVEN, "rope_parameters": NEAR_AND_FAR, "final_logit_softcapping": 5.0}),
    "phi3": ("Phi3ForCausalLM", {"sliding_window": None}),
    "phi3 that turns a part": (
        "Phi3ForCausalLM",
        {"sliding_window": None, "rope_parameters": {"rope_theta": 10000.0, "partial_rotary_factor": 0.75}},
    ),
    "llama with positions in a row": ("LlamaForCausalLM", {"rope_parameters": LINEAR}),
    "llama with biases": ("LlamaForCausalLM", {"attention_bias": True, "mlp_bias": True}),
    "qwen2 by yarn": ("Qwen2ForCausalLM", {"rope_parameters": YARN}),
}
OTHERWISE: dict[str, tuple[str, dict[str, Any]]] = {
    "attention_factor": ("Qwen2ForCausalLM", {"rope_parameters": {**YARN, "attention_factor": 1.0}}),
    "beta_fast": ("Qwen2ForCausalLM", {"rope_parameters": {**YARN, "beta_fast": 16.0}}),
    "rope_theta within windows": (
        "Gemma3ForCausalLM",
        {**SEVEN, "rope_parameters": {**NEAR_AND_FAR, "sliding_attention": LINEAR}},
    ),
    "order of layers": ("Gemma3ForCausalLM", {**SEVEN, "layer_types": ["full_attention"] * 7}),
    "query_pre_attn_scalar": ("Gemma2ForCausalLM", {**GEMMA, "query_pre_attn_scalar": 20}),
    "attention_bias": ("Qwen3ForCausalLM", {"head_dim": 32, "attention_bias": True}),
    "activation": ("LlamaForCausalLM", {"hidden_act": "gelu"}),
}
WINDOWS: dict[str, tuple[str, dict[str, Any]]] = {
    "mistral": ("MistralForCausalLM", {"sliding_window": 32}),
    "phi3": ("Phi3ForCausalLM", {"sliding_window": 32}),
    "qwen2": ("Qwen2ForCausalLM", {"use_sliding_window": True, "sliding_window": 32, "max_window_layers": 0}),
    "qwen3": (
        "Qwen3ForCausalLM",
        {"use_sliding_window": True, "sliding_window": 32, "max_window_layers": 0, "head_dim": 32},
    ),
}


def _random(folder: Path, name: str, changes: dict[str, Any]) -> Any:
    """Make a random model of a family with the demonstration model's tokenizer; return it."""
    import torch
    import transformers

    torch.set_num_threads(1)
    torch.manual_seed(0)
    made = getattr(transformers, name)
    net = made(made.config_class(**{**CONFIG, "initializer_range": 0.1, **changes})).eval()
    with torch.no_grad():  # norms and biases that would hide a mistake are all ones or zeros
        for parameter in net.parameters():
            if parameter.ndim == 1:
                parameter.add_(torch.rand_like(parameter) * 0.2)
    net.save_pretrained(folder)
    for file in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copy(TINY / file, folder)
    return net


@pytest.mark.parametrize("family", FAMILIES)
def test_llama_cpp_computes_what_transformers_computes(family: str, tmp_path: Path) -> None:
    import torch

    from anytune.local.gguf import proof, write

    net = _random(tmp_path / "model", *FAMILIES[family])
    path = tmp_path / "model.gguf"
    write.model(tmp_path / "model", path, outtype="f16", name="random", bos=1, stops=[2])
    count, said = proof.Engine(path, context=256, letter=80).next(PROMPT)
    with torch.inference_mode():
        wanted = torch.log_softmax(net(input_ids=torch.tensor([PROMPT])).logits[0, -1].float(), dim=-1)
    assert count == len(PROMPT)
    assert len(said) == proof.LIKELIEST
    assert max(abs(value - float(wanted[token])) for token, value in said.items()) < 0.02


@pytest.mark.parametrize("setting", OTHERWISE)
def test_a_model_that_llama_cpp_would_compute_otherwise_is_refused_by_the_setting(setting: str, tmp_path: Path) -> None:
    from anytune.local.gguf import write

    _random(tmp_path / "model", *OTHERWISE[setting])
    with pytest.raises(UsageError, match=f"its {setting} is"):
        write.model(tmp_path / "model", tmp_path / "no.gguf", outtype="f16", name="x", bos=1, stops=[2])


@pytest.mark.parametrize("family", WINDOWS)
def test_a_window_that_llama_cpp_leaves_out_bounds_the_context(family: str, tmp_path: Path) -> None:
    from anytune.local.gguf import proof, write

    _random(tmp_path / "model", *WINDOWS[family])
    path = tmp_path / "model.gguf"
    write.model(tmp_path / "model", path, outtype="f16", name="random", bos=1, stops=[2])
    engine = proof.Engine(path, context=256, letter=80)
    assert engine.next(PROMPT[:30])[0] == 30
    with pytest.raises(UsageError, match="exceeds the available context"):
        engine.next(PROMPT)


def test_an_answer_ends_where_the_trainers_does(tmp_path: Path) -> None:
    from anytune.local.gguf import proof, write

    _random(tmp_path / "model", *FAMILIES["llama"])
    path = tmp_path / "model.gguf"
    write.model(tmp_path / "model", path, outtype="f16", name="random", bos=1, stops=[2, 50, 60])
    engine = proof.Engine(path, context=256, letter=80)
    assert [engine.stops_at(token, PROMPT) for token in (2, 50, 60, 70)] == [True, True, True, False]


def test_a_family_or_a_tokenizer_that_is_not_known_is_refused_by_name(tmp_path: Path) -> None:
    from anytune.local.gguf import write

    folder = tmp_path / "model"
    _random(folder, *FAMILIES["llama"])
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "mamba"}))
    with pytest.raises(UsageError, match="type mamba"):
        write.model(folder, tmp_path / "no.gguf", outtype="f16", name="x", bos=1, stops=[2])
    (folder / "config.json").write_text(json.dumps(config))
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    tokenizer["pre_tokenizer"] = {"type": "Whitespace"}
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    with pytest.raises(UsageError, match="cuts words in a way"):
        write.model(folder, tmp_path / "no.gguf", outtype="f16", name="x", bos=1, stops=[2])


def test_words_that_llama_cpp_would_cut_otherwise_are_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tokenizers import Tokenizer

    from anytune.local.gguf import proof, vocabulary

    core = Tokenizer.from_file(str(TINY / "tokenizer.json"))

    def encode(text: str) -> list[int]:
        found: list[int] = core.encode(text, add_special_tokens=False).ids
        return found

    assert proof.tokens(TINY, encode, tmp_path / "right")["texts_with_the_same_tokens"] == proof.TEXTS
    monkeypatch.setattr(vocabulary, "CUTS", dict.fromkeys(vocabulary.CUTS, "default"))
    with pytest.raises(UsageError, match="into other tokens than the trainer"):
        proof.tokens(TINY, encode, tmp_path / "wrong")


def test_a_tokenizer_that_merges_as_sentencepiece_does_gives_the_same_tokens(tmp_path: Path) -> None:
    from tokenizers import Tokenizer, models, normalizers, trainers

    from anytune.local.gguf import proof

    core = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    core.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    special = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    core.train_from_iterator(proof._SCRAPS[:8] * 9, trainers.BpeTrainer(vocab_size=400, special_tokens=special))
    stored = json.loads(core.to_str())
    stored["added_tokens"] = [token for token in stored["added_tokens"] if not token["content"].startswith("<0x")]
    (tmp_path / "model").mkdir()
    (tmp_path / "model/tokenizer.json").write_text(json.dumps(stored))
    (tmp_path / "model/config.json").write_text(json.dumps({"vocab_size": core.get_vocab_size()}))
    again = Tokenizer.from_str(json.dumps(stored))
    found = proof.tokens(tmp_path / "model", lambda text: again.encode(text).ids, tmp_path / "scratch")
    assert found["texts_with_the_same_tokens"] == proof.TEXTS


@pytest.mark.parametrize("to", ["gguf", "gguf-q8_0", "gguf-q4_0", "gguf-lora", "ollama-q8_0"])
def test_an_export_is_proven_to_answer_as_the_tuned_model(to: str, finished: Finished, tmp_path: Path) -> None:
    manifest = export(Path(str(finished[1].model)), to, tmp_path / "out")
    check = manifest["check"]
    assert check["texts_with_the_same_tokens"] == 200
    assert check["log_probability_off_at_most"] <= check["bound"]
    files = {"gguf-lora": {"adapter.gguf"}, "ollama-q8_0": {"model.gguf", "Modelfile"}}.get(to, {"model.gguf"})
    assert {path.name for path in (tmp_path / "out").iterdir()} == {*files, "manifest.json"}


def test_a_file_that_answers_otherwise_is_no_export(
    finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from anytune.local.gguf import family

    monkeypatch.setattr(family, "interleaved", lambda weight, _: weight)
    with pytest.raises(UsageError, match=r"is off by .* in its log-probability"):
        export(Path(str(finished[1].model)), "gguf", tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_a_modelfile_says_what_the_chat_template_says(finished: Finished, tmp_path: Path) -> None:
    export(Path(str(finished[1].model)), "ollama", tmp_path / "out")
    text = (tmp_path / "out/Modelfile").read_text()
    assert text.startswith("FROM ./model.gguf\nTEMPLATE")
    assert "<|user|>" in text
    assert 'PARAMETER stop "<|end|>"' in text


def test_a_template_that_does_more_than_to_put_texts_around_messages_has_none_in_ollama() -> None:
    from anytune.local import loading, ollama
    from anytune.local.encode import ChatEncoder

    tokenizer = loading.open_tokenizer(str(TINY))
    encoder = ChatEncoder(tokenizer, stop_ids=frozenset({2}))
    assert ollama.affixes(encoder).answer[1].startswith("<|end|>")
    tokenizer.chat_template = "{% for m in messages %}{{ m.content | upper }}{% endfor %}"
    with pytest.raises(UsageError, match="Ollama has no template"):
        ollama.affixes(encoder)


def test_a_script_for_vllm_takes_a_rank_that_it_knows(finished: Finished, tmp_path: Path) -> None:
    manifest = export(Path(str(finished[1].model)), "vllm", tmp_path / "out")
    script = (tmp_path / "out/serve.sh").read_text()
    assert "--enable-lora --max-lora-rank 16" in script
    assert manifest["model"] in script
