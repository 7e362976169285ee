"""Open a GGUF with llama.cpp and hold it against the trainer's model: the same tokens, likelihoods and answers."""

from __future__ import annotations

import json
import math
import random
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
import xllamacpp
from safetensors.torch import save_file
from torch import Tensor

from anytune.errors import UsageError
from anytune.local.gguf import write

# How far the log-probability of any of the ten likeliest next tokens may lie from the trainer's. Measured on the
# demonstration model: 0.02 in 16 bits (most of it bfloat16's own), 0.05 in 8, 0.6 in 4; another model, or a matrix
# laid wrongly, is off by several units.
BOUNDS = {"f16": 0.1, "q8_0": 0.25, "q4_0": 2.0}
LIKELIEST = 10
TEXTS = 200
_SCRAPS = (
    "the", "quick", "Fox", "JUMPS", "over", "naïve", "café", "Größe", "Ελλάδα", "Привет", "мир", "日本語", "中文字",
    "한국어", "مرحبا", "שלום", "हिन्दी", "😀", "🇩🇪", "1", "42", "1234567", "3.14", "10,000", "0x1F", "don't", "I'LL",
    "it's", "\n", "\n\n", "\t", "  ", "    ", " ", "()", "{}", "[]", "==", "!=", "->", "::", "//", "#", "$x", "@a.b",
    "SELECT * FROM t;", "def f(x):", "<b>", "&amp;", "_under_score", "camelCase", "…", "—", "“quoted”", "½", "é",
)  # fmt: skip


class Reference(NamedTuple):
    """Be what the trainer's model says to some prompts.

    `prompts` are tokens, `chats` the questions they come from; `likelihoods` are log-probabilities of the next token,
    one row a prompt, `answers` the tokens of short greedy answers.
    """

    chats: Sequence[str]
    prompts: Sequence[list[int]]
    likelihoods: Tensor
    answers: Sequence[list[int]]


class Engine:
    """Hold a GGUF opened by llama.cpp, in this process."""

    def __init__(self, path: Path, *, context: int, letter: int, adapter: Path | None = None) -> None:
        """Open a file. `letter` is a token that is a whole character, and is written instead of the likeliest one.

        llama.cpp keeps back what ends within a character, its likelihoods with it; these are told before the bias.
        """
        given = xllamacpp.CommonParams()
        given.model.path = str(path)
        given.n_ctx, given.n_parallel, given.warmup, given.verbosity = context, 1, False, -1
        given.n_gpu_layers = 0
        given.cpuparams.n_threads = given.cpuparams_batch.n_threads = torch.get_num_threads()
        if adapter is not None:
            one = xllamacpp.CommonAdapterLoraInfo()
            one.path, one.scale = str(adapter), 1.0
            given.lora_adapters = [one]
        try:
            self._server = xllamacpp.Server(given)
            self._one = {"max_tokens": 1, "logit_bias": {str(letter): 100}, **_PLAIN}
        except RuntimeError as error:
            raise UsageError(f"llama.cpp cannot open {path.name}: {error}") from error

    def next(self, prompt: str | list[int]) -> tuple[int, dict[int, float]]:
        """Return how many tokens a prompt has, and the log-probabilities of the likeliest next ones."""
        return _read(self._server.handle_completions({"prompt": prompt, "logprobs": LIKELIEST, **self._one}))

    def next_in_chat(self, question: str) -> tuple[int, dict[int, float]]:
        """Return the same for a question that goes through the chat template in the file."""
        asked = {"messages": [{"role": "user", "content": question}], "logprobs": True, "top_logprobs": LIKELIEST}
        return _read(self._server.handle_chat_completions({**asked, **self._one}))

    def stops_at(self, token: int, prompt: list[int]) -> bool:
        """Tell whether an answer ends where it says this token."""
        asked = {"prompt": prompt, "max_tokens": 4, "logit_bias": {str(token): 100}, **_PLAIN}
        return bool(self._server.handle_completions(asked)["choices"][0]["finish_reason"] == "stop")

    def answer(self, prompt: list[int], length: int) -> list[int]:
        """Return the tokens of a greedy answer."""
        asked = {"prompt": prompt, "max_tokens": length, "logprobs": 1, **_PLAIN}
        return [token["id"] for token in _content(self._server.handle_completions(asked))]


_PLAIN = {"temperature": 0, "cache_prompt": False}


def _content(said: Mapping[str, Any]) -> list[dict[str, Any]]:
    if "choices" not in said:
        raise UsageError(f"llama.cpp did not answer: {said.get('message') or said}")
    found: list[dict[str, Any]] = (said["choices"][0].get("logprobs") or {}).get("content") or []
    return found


def _read(said: Mapping[str, Any]) -> tuple[int, dict[int, float]]:
    content = _content(said)
    likeliest = {token["id"]: token["logprob"] for token in content[0]["top_logprobs"]} if content else {}
    return said["usage"]["prompt_tokens"], likeliest


def hold(
    path: Path, wanted: Reference, *, outtype: str, stops: frozenset[int], letter: int, adapter: Path | None = None
) -> dict[str, Any]:
    """Compare a file's answers with the trainer's; return the figures, raise `UsageError` at the first that is off."""
    bound, worst, same = BOUNDS[outtype], 0.0, 0
    longest = max(map(len, wanted.prompts)) + max(map(len, wanted.answers)) + 64
    engine = Engine(path, context=longest, letter=letter, adapter=adapter)
    for row, (chat, prompt) in enumerate(zip(wanted.chats, wanted.prompts, strict=True)):
        count, by_template = engine.next_in_chat(chat)
        _, likeliest = engine.next(prompt)
        if count != len(prompt) or _apart(by_template, likeliest) > 1e-3:
            raise UsageError(f"llama.cpp puts {chat!r} into other tokens than the trainer: {count}, not {len(prompt)}")
        for token, said in likeliest.items():
            off = abs(said - float(wanted.likelihoods[row, token]))
            worst = max(worst, off)
            if not off <= bound:
                raise UsageError(f"after {chat!r} the token {token} is off by {off:.2f} in its log-probability")
        for stop in stops:
            if not engine.stops_at(stop, prompt):
                raise UsageError(f"llama.cpp does not end an answer at the token {stop}, at which the trainer does")
        answer = engine.answer(prompt, len(wanted.answers[row]))
        same += answer == [token for token in wanted.answers[row] if token not in stops]
    return {
        "log_probability_off_at_most": round(worst, 4),
        "bound": bound,
        "same_greedy_answers": f"{same} of {len(wanted.prompts)}",
        "opened_by": f"llama.cpp in xllamacpp {xllamacpp.__version__}",
    }


def _apart(one: Mapping[int, float], other: Mapping[int, float]) -> float:
    return max((abs(said - other.get(token, math.inf)) for token, said in one.items()), default=math.inf)


def tokens(folder: Path, encode: Any, scratch: Path) -> dict[str, Any]:
    """Show that llama.cpp cuts texts into the trainer's tokens; raise `UsageError` with the first that it does not.

    It does not say which tokens a text becomes. So both, the text and the trainer's tokens of it, are put into a small
    random model of the same vocabulary: where their number and the likelihoods after them agree, they are the same.
    """
    with _small(folder, scratch) as path:
        engine = Engine(path, context=512, letter=encode("a")[0])
        for text in _texts():
            ids = encode(text)
            count, said = engine.next(text)
            if count != len(ids) or _apart(said, engine.next(ids)[1]) > 1e-4:
                raise UsageError(
                    f"llama.cpp puts {text!r} into other tokens than the trainer",
                    fix="export it as merged, and convert it with llama.cpp's convert_hf_to_gguf.py",
                )
    return {"texts_with_the_same_tokens": TEXTS}


def _texts() -> Iterator[str]:
    chance = random.Random(0)  # the same texts each time
    for _ in range(TEXTS):
        parts = chance.choices(_SCRAPS, k=chance.randint(1, 12))
        yield chance.choice(("", " ")).join(parts)


@contextmanager
def _small(folder: Path, scratch: Path) -> Iterator[Path]:
    """Give a GGUF of a random model of one layer with this folder's tokenizer, as long as it is needed."""
    made = scratch / "small"
    made.mkdir(parents=True)
    for name in ("tokenizer.json", "chat_template.jinja"):
        if (folder / name).is_file():
            shutil.copy(folder / name, made)
    size, wide = int(write.text_config(folder)["vocab_size"]), 32
    layer = "model.layers.0"
    square = [f"{layer}.self_attn.{name}_proj.weight" for name in "qkvo"]
    square += [f"{layer}.mlp.{name}_proj.weight" for name in ("gate", "up", "down")]
    norms = [f"{layer}.input_layernorm.weight", f"{layer}.post_attention_layernorm.weight", "model.norm.weight"]
    chance = torch.Generator().manual_seed(0)
    weights = {name: torch.randn(wide, wide, generator=chance) / wide**0.5 for name in square}
    weights |= {name: torch.ones(wide) for name in norms}
    weights |= {n: torch.randn(size, wide, generator=chance) for n in ("model.embed_tokens.weight", "lm_head.weight")}
    save_file(weights, made / "model.safetensors")
    (made / "config.json").write_text(json.dumps({**_SMALL, "vocab_size": size, "hidden_size": wide}))
    path = scratch / "small.gguf"
    write.model(made, path, outtype="f16", name="small", bos=None, stops=[])
    yield path
    shutil.rmtree(made)
    path.unlink()


_SMALL = {
    "model_type": "llama",
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 1,
    "num_key_value_heads": 1,
    "max_position_embeddings": 512,
    "rms_norm_eps": 1e-6,
}
