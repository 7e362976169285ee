"""Chats made at random, as each family's template takes them, and what of them is to be trained, found by brute force.

Nothing here uses the code under test. What a model is to say is told by what it is given: transformers renders and
tokenises the chat up to the answer, as it does for a model that answers, and the chat with the answer. What the second
has more, up to the first token that ends a turn, is the answer.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

TEMPLATES = Path(__file__).parent / "templates"
Answer = tuple[tuple[int, ...], tuple[int, ...]]  # what stands before it, and the tokens that are trained


@dataclass(frozen=True)
class Family:
    """Be one family's special tokens, and which messages its template takes; `calls` is how many stand together."""

    eos: str
    ends: tuple[str, ...]
    also: tuple[str, ...]
    borders: tuple[str, ...] = ()  # what an answer begins behind, where earlier messages are written anew
    bos: str | None = None
    system: bool = True
    calls: int = 0
    text_with_calls: bool = False
    reasoning: bool = False
    alternates: bool = False
    nulls: bool = False  # takes null for the text of a message with calls
    marks: bool = False
    pieces: bool = False  # its tokenizer is of SentencePiece's kind


QWEN: dict[str, Any] = {
    "eos": "<|im_end|>",
    "ends": ("<|im_end|>", "<|endoftext|>"),
    "also": ("<|im_start|>",),
    "calls": 3,
    "text_with_calls": True,
}
GEMMA: dict[str, Any] = {
    "eos": "<eos>",
    "ends": ("<eos>", "<end_of_turn>"),
    "also": ("<start_of_turn>",),
    "bos": "<bos>",
    "alternates": True,
    "pieces": True,
}
FAMILIES = {
    "llama3": Family(
        eos="<|eot_id|>",
        ends=("<|eot_id|>", "<|eom_id|>", "<|end_of_text|>"),
        also=("<|start_header_id|>", "<|end_header_id|>"),
        bos="<|begin_of_text|>",
        calls=1,
        nulls=True,
    ),
    "qwen2": Family(**QWEN, nulls=True),
    "qwen3": Family(**QWEN, reasoning=True, borders=("<|im_start|>assistant\n",)),
    "mistral": Family(
        eos="</s>",
        ends=("</s>",),
        also=("[INST]", "[/INST]", "[TOOL_CALLS]", "[TOOL_RESULTS]", "[/TOOL_RESULTS]"),
        borders=("[/INST]", "[/TOOL_RESULTS]"),
        bos="<s>",
        calls=3,
        alternates=True,
        nulls=True,
    ),
    "gemma2": Family(**GEMMA, system=False),
    "gemma3": Family(**GEMMA),
    "phi3": Family(
        eos="<|endoftext|>", ends=("<|end|>", "<|endoftext|>"), also=("<|user|>", "<|assistant|>", "<|system|>")
    ),
    "phi4": Family(eos="<|im_end|>", ends=("<|im_end|>", "<|endoftext|>"), also=("<|im_start|>", "<|im_sep|>")),
    "gptoss": Family(
        eos="<|return|>",
        ends=("<|return|>", "<|call|>", "<|endoftext|>"),
        also=("<|start|>", "<|message|>", "<|channel|>", "<|end|>"),
        borders=("<|start|>assistant",),
        calls=1,
        reasoning=True,
    ),
    "marked": Family(eos="<|im_end|>", ends=("<|im_end|>",), also=("<|im_start|>",), marks=True, nulls=True, calls=2),
}
PARTS = (
    "tide",
    " Brest",
    "5.9 m",
    "\n",
    "\n\n",
    "  ",
    "\t",
    "é",
    "文字",
    "👋🏽",
    "\u0301",
    "<b>",
    '"',
    "{}",
    "\\n",
    "’",
)
NEARLY = ("<|im_end", "<|end |>", "[ INST]", "<think", "assistant\n", "<|assistant", "</s", "<|", "|>")
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": name,
            "description": "Tell the tide.",
            "parameters": {
                "type": "object",
                "properties": {
                    "port": {"type": "string", "description": "Where."},
                    "hour": {"type": "integer"},
                    "units": {"type": "array", "items": {"type": "string"}},
                    "as": {"type": "string", "enum": ["m", "ft"]},
                },
                "required": ["port"],
            },
        },
    }
    for name in ("tide", "tide_table")
]


class Maker:
    """Make chats of one family; the same seed makes the same chats."""

    def __init__(self, family: Family, seed: int) -> None:
        self.family = family
        self.draw = random.Random(seed)

    def text(self, *, own: bool = False) -> str:
        """Return some text; of what others say, it may hold the template's own tokens."""
        special = NEARLY if own else (*NEARLY, *self.family.also, *self.family.ends)
        drawn = [
            self.draw.choice(PARTS if self.draw.random() < 0.8 else special) for _ in range(self.draw.randrange(9))
        ]
        text = "".join(drawn)
        if own and any(special in text for special in (*self.family.also, *self.family.ends)):
            return self.text(own=True)
        return f"{self.draw.choice(('', ' ', chr(10), chr(10) * 2))}x{text}" if not text.strip() or own else text

    def answer(self) -> dict[str, Any]:
        """Return an answer in words, with what was thought before it where the family thinks."""
        made: dict[str, Any] = {"role": "assistant", "content": self.text(own=True)}
        if self.family.reasoning and self.draw.random() < 0.5:
            made["reasoning"] = self.text(own=True)
        return made

    def calling(self, tool: bool) -> list[dict[str, Any]]:
        """Return calls of tools, and what the tools answer."""
        made = []
        for _ in range(self.draw.randrange(3) if tool else 0):
            calls = [
                {
                    "id": "".join(self.draw.choices("abcXYZ019", k=9)),
                    "type": "function",
                    "function": {
                        "name": self.draw.choice(TOOLS)["function"]["name"],
                        "arguments": json.dumps({"port": self.text(own=True), "hour": self.draw.randrange(24)}),
                    },
                }
                for _ in range(self.draw.randint(1, self.family.calls))
            ]
            first: dict[str, Any] = {"role": "assistant", "content": None, "tool_calls": calls}
            chance = self.draw.random()
            if chance < 0.3 and self.family.text_with_calls:
                first["content"] = self.text(own=True)
            elif chance < 0.6 and self.family.reasoning:
                first["reasoning"] = self.text(own=True)
            made += [first, *({"role": "tool", "tool_call_id": call["id"], "content": self.text()} for call in calls)]
        return made

    def record(self) -> dict[str, Any]:
        """Return one chat of which something is trained."""
        draw, family = self.draw, self.family
        tools = bool(family.calls) and draw.random() < 0.5
        messages = [{"role": "system", "content": self.text()}] if family.system and draw.random() < 0.5 else []
        for _ in range(draw.randint(1, 4)):
            messages += [{"role": "user", "content": self.text()}, *self.calling(tools), self.answer()]
            if not family.alternates and draw.random() < 0.15:
                messages.append(self.answer())
        answers = [m for m in messages if m["role"] == "assistant"]
        for message in answers:
            if draw.random() < 0.25:
                message["weight"] = draw.choice((0, 1))
        if all(m.get("weight") == 0 for m in answers):
            del answers[-1]["weight"]
        if not family.alternates and draw.random() < 0.1:
            messages.append({"role": "user", "content": self.text()})
        return {"messages": messages, **({"tools": TOOLS} if tools else {})}


@cache
def tokenizer_of(name: str) -> Any:
    """Return a small tokenizer with a family's template and special tokens.

    As those of the real families, it has tokens that reach over several line breaks and spaces, and bytes for what it
    does not know.
    """
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    family, texts = FAMILIES[name], [word * 3 + other * 2 for word in PARTS for other in (*PARTS, *NEARLY)]
    special = [*family.ends, *family.also, *filter(None, [family.bos])]
    if family.pieces:
        core = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
        core.normalizer = normalizers.Replace(" ", "▁")
        core.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
        core.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
        first, letters = ["<unk>", *(f"<0x{byte:02X}>" for byte in range(256))], []
        texts = [text for text in texts if text.isascii()]
    else:
        core = Tokenizer(models.BPE())
        words = Regex(r"\s*[\r\n]+|\s+(?!\S)|\s+| ?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*")
        level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        core.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(words, "isolated"), level])
        core.decoder = decoders.ByteLevel()
        first, letters = [], pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=900, special_tokens=first, initial_alphabet=letters, show_progress=False, min_frequency=1
    )
    core.train_from_iterator(texts, trainer)
    core.add_special_tokens([AddedToken(token, normalized=False) for token in special])
    made = PreTrainedTokenizerFast(tokenizer_object=core, bos_token=family.bos, eos_token=family.eos)
    made.chat_template = (TEMPLATES / f"{name}.jinja").read_text()
    return made


def as_templates_want(record: dict[str, Any], family: Family) -> list[dict[str, Any]]:
    """Return the messages of a record in the one way that this family's template takes."""
    made = []
    for message in record["messages"]:
        one = {key: value for key, value in message.items() if key not in ("weight", "reasoning")}
        if one["content"] is None and not family.nulls:
            one["content"] = ""
        if "reasoning" in message:
            one["reasoning_content"] = one["thinking"] = message["reasoning"]
        if "tool_calls" in one:
            functions = [(call, json.loads(call["function"]["arguments"])) for call in one["tool_calls"]]
            one["tool_calls"] = [call | {"function": call["function"] | {"arguments": a}} for call, a in functions]
        made.append(one)
    return made


def wanted(tokenizer: Any, record: dict[str, Any], family: Family) -> list[Answer]:
    """Return each answer that is to be trained, with all that stands before it."""
    messages, tools = as_templates_want(record, family), record.get("tools")
    ends = set(tokenizer.convert_tokens_to_ids(list(family.ends)))

    def drawn(until: int, *, open_: bool) -> str:
        made = tokenizer.apply_chat_template(messages[:until], tools=tools, tokenize=False, add_generation_prompt=open_)
        assert isinstance(made, str)
        return made

    found = []
    for at, message in enumerate(record["messages"]):
        if message["role"] == "assistant" and message.get("weight") != 0:
            given, whole = drawn(at, open_=True), drawn(at + 1, open_=False)
            said = whole[len(given) :] if whole.startswith(given) else answer(whole, message, family)
            before = tokenizer(given, add_special_tokens=False)["input_ids"]
            after = tokenizer(given + said, add_special_tokens=False)["input_ids"]
            if after[: len(before)] != before:  # a token across the border: a model that answers never reads it
                after = before + tokenizer(said, add_special_tokens=False)["input_ids"]
            last = next(i for i in range(len(before), len(after)) if after[i] in ends)
            found.append((tuple(before), tuple(after[len(before) : last + 1])))
    return found


def answer(whole: str, message: dict[str, Any], family: Family) -> str:
    """Return the last message of a text, by what a family's answers begin behind; thoughts have that, too."""
    thoughts = family.eos == "<|return|>" and (
        "reasoning" in message or (bool(message["content"]) and "tool_calls" in message)
    )
    for border in family.borders if thoughts else ():
        whole = whole[: whole.rindex(border)] + whole[whole.rindex(border) :].replace(border, "\0", 1)
    at = max(whole.rindex(border) + len(border) for border in family.borders if border in whole)
    return whole[at:].replace("\0", *family.borders[:1])


def worded(rows: Any, ends: frozenset[int]) -> list[Answer]:
    """Return each trained stretch of some encoded texts with all that stands before it; a token of `ends` ends one."""
    found = []
    for row in rows:
        start = None
        for at, token in enumerate(row.ids):
            if row.trained[at] and start is None:
                start = at
            if start is not None and (token in ends or row.trained[at + 1 : at + 2] != [True]):
                found.append((tuple(row.ids[:start]), tuple(row.ids[start : at + 1])))
                start = None
    return sorted(found)
