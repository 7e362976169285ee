"""A tokenizer as GGUF holds it: the tokens with their types, the merges or scores, and how llama.cpp cuts words."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gguf import GGUFWriter, TokenType

from anytune.errors import UsageError

_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_HEAD = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
_TAIL = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
# The patterns by which a tokenizer cuts words, in the order it does so, and llama.cpp's name for such a one.
CUTS: dict[tuple[str, ...], str] = {
    (_GPT2,): "gpt-2",
    ("digits", _GPT2): "smollm",
    (_HEAD + r"\p{N}{1,3}" + _TAIL,): "llama-bpe",
    (_HEAD + r"\p{N}" + _TAIL,): "qwen2",
}
Config = Mapping[str, Any]


def write(writer: GGUFWriter, folder: Path, size: int, *, bos: int | None, stops: Sequence[int]) -> str:
    """Write the tokenizer of a model folder with `size` tokens; return how it cuts words.

    Raises `UsageError` for a tokenizer that llama.cpp has no like of.
    """
    tokenizer = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    model = tokenizer["model"]
    if model.get("type") != "BPE":
        raise UsageError(f"its tokenizer is of the kind {model.get('type')}, which is not written as GGUF here")
    added = {token["id"]: token for token in tokenizer["added_tokens"]}
    tokens = _tokens(model["vocab"], added, size)
    writer.add_tokenizer_model("llama" if model.get("byte_fallback") else "gpt2")
    writer.add_token_list([text for text, _ in tokens])
    writer.add_token_types([kind for _, kind in tokens])
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"]]
    if model.get("byte_fallback"):
        cut = _sentences(writer, tokenizer, [text for text, _ in tokens], merges)
    else:
        cut = _cut(tokenizer)
        writer.add_tokenizer_pre(cut)
        writer.add_token_merges(merges)
    _special(writer, folder, bos=bos, stops=stops)
    return cut


def _tokens(vocab: Mapping[str, int], added: Mapping[int, Any], size: int) -> list[tuple[str, TokenType]]:
    """Return text and type of each token by its id; ids that no token has are filled up."""
    texts = {number: text for text, number in vocab.items()}
    found = []
    for number in range(size):
        if number in added:
            special = added[number]["special"]
            found.append((added[number]["content"], TokenType.CONTROL if special else TokenType.USER_DEFINED))
        elif number in texts:
            text = texts[number]
            is_byte = len(text) == 6 and text.startswith("<0x") and text.endswith(">")
            found.append((text, TokenType.BYTE if is_byte else TokenType.NORMAL))
        else:
            found.append((f"[PAD{number}]", TokenType.UNUSED))
    return found


def _sentences(writer: GGUFWriter, tokenizer: Config, tokens: Sequence[str], merges: Sequence[str]) -> str:
    """Write the scores by which llama.cpp merges as SentencePiece does: the sooner, the higher."""
    rank = {merge.replace(" ", "", 1): number for number, merge in reversed(list(enumerate(merges)))}
    writer.add_token_scores([-float(rank.get(text, len(merges))) for text in tokens])
    writer.add_add_space_prefix("Prepend" in json.dumps(tokenizer.get("normalizer")))
    writer.add_tokenizer_pre("default")
    return "default"


def _cut(tokenizer: Config) -> str:
    """Return llama.cpp's name for the way in which a tokenizer cuts words before it merges."""
    before = tokenizer.get("pre_tokenizer") or {}
    steps = before.get("pretokenizers", [before])
    patterns = tuple(pattern for step in steps if (pattern := _pattern(step)))
    name = CUTS.get(patterns)
    if name is None:
        raise UsageError(
            "its tokenizer cuts words in a way that is not known here",
            fix="export it as merged, and convert it with llama.cpp's convert_hf_to_gguf.py",
        )
    return name


def _pattern(step: Config) -> str | None:
    kind = step.get("type")
    if kind == "Split":
        return str(step["pattern"].get("Regex") or step["pattern"].get("String"))
    if kind == "Digits" and step.get("individual_digits"):
        return "digits"
    if kind == "ByteLevel":
        return _GPT2 if step.get("use_regex", True) else None
    return f"{kind}?"


def _special(writer: GGUFWriter, folder: Path, *, bos: int | None, stops: Sequence[int]) -> None:
    """Write what begins a text and what ends an answer, and the chat template."""
    if bos is not None:
        writer.add_bos_token_id(bos)
    writer.add_add_bos_token(False)  # the chat template writes it where it belongs
    for add, stop in zip(
        (writer.add_eos_token_id, writer.add_eot_token_id, writer.add_eom_token_id), stops, strict=False
    ):
        add(stop)
    template = folder / "chat_template.jinja"
    if template.is_file():
        writer.add_chat_template(template.read_text(encoding="utf-8"))
