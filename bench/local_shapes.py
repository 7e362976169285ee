"""The shapes of `bench/local.py`: a model and chats, written to a folder, that both trainers then read.

`sql` are the short chats of the example on the demonstration's model. `lengths` and `prompt` are made up for a Llama of
40 million random weights with 32,000 words: chats whose lengths are spread as those of real ones are (log-normal, 130
tokens on average), and chats of some 80 tokens that all begin with the same system prompt of 300. Words are drawn by
Zipf's law, so that there is something to learn.
"""

from __future__ import annotations

import json
import math
import random
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
WORDS = 32000
TEMPLATE = (
    "{% for message in messages %}<|{{ message['role'] }}|> {% if message['role'] == 'assistant' %}"
    "{% generation %}{{ message['content'] }} <|end|> {% endgeneration %}{% else %}"
    "{{ message['content'] }} <|end|> {% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|> {% endif %}"
)
SPECIAL = ["<|pad|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>"]
SIZES = {
    "hidden_size": 512,
    "intermediate_size": 1408,
    "num_hidden_layers": 8,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "vocab_size": WORDS,
    "tie_word_embeddings": True,
    "max_position_embeddings": 2048,
}


@dataclass(frozen=True)
class Shape:
    """Be one shape: how many examples a round takes, tokens of the system prompt, and the goals of the issue.

    The goals are how many times as quick as TRL's defaults, as its best settings, and the share of its memory.
    """

    examples: int
    prompt: int
    quicker: float
    quicker_than_best: float
    memory: float | None
    length: int = 1024


SHAPES = {
    "sql": Shape(64, 0, 2.5, 1.5, None, length=512),
    "lengths": Shape(24, 0, 7.0, 1.5, 0.3),
    "prompt": Shape(16, 300, 8.0, 1.5, 0.3),
}


def write(name: str, folder: Path) -> tuple[Path, Path]:
    """Write model and data of a shape, unless they are there, and return where they are."""
    if name == "sql":
        return ROOT / "fixtures/tiny-base", ROOT / "examples/english-to-sql/train.jsonl"
    model, data = folder / "model", folder / f"{name}.jsonl"
    if not (model / "config.json").exists():
        write_model(model)
    draw = random.Random(name)
    chats = [chat(SHAPES[name].prompt, draw, opening=random.Random(1)) for _ in range(SHAPES[name].examples)]
    data.write_text("".join(json.dumps(one) + "\n" for one in chats), encoding="utf-8")
    return model, data


def chat(prompt: int, draw: random.Random, *, opening: random.Random) -> dict[str, Any]:
    """Return one chat: a third of what is not the common prompt is the answer."""
    length = 80 if prompt else 130
    spread = 0.3 if prompt else 0.8
    tokens = min(900, max(12, round(draw.lognormvariate(math.log(length) - spread**2 / 2, spread))))
    answer = max(4, tokens // 3)
    said = [{"role": "system", "content": words(opening, prompt)}] if prompt else []
    said.append({"role": "user", "content": words(draw, tokens - answer - 4)})
    return {"messages": [*said, {"role": "assistant", "content": words(draw, answer)}]}


def words(draw: random.Random, count: int) -> str:
    """Draw so many words, the frequent ones more often."""
    top = WORDS - len(SPECIAL)
    return " ".join(f"w{int(top ** draw.random())}" for _ in range(max(1, count)))


def write_model(folder: Path) -> None:
    """Write a Llama of random weights and a tokenizer of whole words."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    torch.manual_seed(0)
    aside = folder.with_name("model.part")
    shutil.rmtree(aside, ignore_errors=True)
    vocabulary = {word: at for at, word in enumerate(SPECIAL + [f"w{n}" for n in range(1, WORDS - len(SPECIAL) + 1)])}
    core = Tokenizer(models.WordLevel(vocabulary, unk_token=SPECIAL[0]))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, pad_token=SPECIAL[0], eos_token=SPECIAL[1])
    tokenizer.add_special_tokens({"additional_special_tokens": SPECIAL[2:]})
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(aside)
    config = LlamaConfig(**SIZES, pad_token_id=0, eos_token_id=1, bos_token_id=None)
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(aside)
    aside.rename(folder)
