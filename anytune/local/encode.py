"""Chats as tokens: what the model reads, and which of it the model is taught to say.

Trained are the assistant's messages, each with the token that ends its turn, and nothing else. Where an answer stands
in the rendered text comes from the template's own `{% generation %}` marks; a template without them is rendered
message by message, and the difference between two renderings is the message.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import TemplateError
from tokenizers import Tokenizer
from transformers.utils.chat_template_utils import render_jinja_template

from anytune.errors import UsageError

Span = tuple[int, int]  # first character, and the one after the last
MARK = re.compile(r"{%-?\s*generation\b")


@dataclass(frozen=True)
class Encoded:
    """Be one example: token ids, and for each whether it is trained; `line` is its line in the file."""

    ids: list[int]
    trained: list[bool]
    line: int

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def supervised(self) -> int:
        """Return how many tokens are trained; the first token of all has no context and never counts."""
        return sum(self.trained[1:])


class ChatEncoder:
    """Turn chats into tokens with one model's tokenizer and chat template."""

    def __init__(self, tokenizer: Any, *, stop_ids: frozenset[int]) -> None:
        if not getattr(tokenizer, "is_fast", False):
            raise UsageError("the tokenizer keeps no character positions", fix="take a model with tokenizer.json")
        self.tokenizer = tokenizer
        self.stop_ids = stop_ids
        self.core = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
        self.core.no_truncation()
        self.core.no_padding()
        # Post-processors add special tokens, which the template does here, and may trim spaces from the positions.
        self.core.post_processor = None
        probe = tokenizer("x")["input_ids"]
        self.bos: int | None = tokenizer.bos_token_id
        self.adds_bos = self.bos is not None and probe[:1] == [self.bos]

    def example(self, record: dict[str, Any], *, where: str, line: int) -> Encoded:
        """Encode one record; `where` names it in errors."""
        messages, tools = plain(record, where), record.get("tools")
        try:
            template = self.tokenizer.get_chat_template(tools=tools)
            if MARK.search(template):
                text, spans = self._marked(messages, tools, template, where)
            else:
                text, spans = self._unmarked(messages, tools, where)
        except (TemplateError, TypeError, KeyError) as error:
            raise UsageError(f"{where}: the chat template refuses the messages: {error}") from error
        return self._tokens(text, spans, where, line)

    def prompt(self, messages: Sequence[dict[str, Any]], tools: Any = None) -> list[int]:
        """Encode a chat up to where the model's answer begins."""
        return self._ids(self._render(plain({"messages": messages}, "the chat"), tools, answer=True))[0]

    def _marked(self, messages: list[dict[str, Any]], tools: Any, template: str, where: str) -> tuple[str, list[Span]]:
        """Render with the template's marks; spans of messages of weight 0 are left out."""
        texts, spans = render_jinja_template(
            [messages],
            tools=tools,
            chat_template=template,
            return_assistant_tokens_mask=True,
            **self.tokenizer.special_tokens_map,
        )
        answers = [m for m in messages if m["role"] == "assistant"]
        if all(m.get("weight", 1) for m in answers):
            return texts[0], list(spans[0])
        if len(answers) != len(spans[0]):
            raise UsageError(f"{where}: the chat template merges assistant messages, so weight 0 cannot be honoured")
        return texts[0], [span for m, span in zip(answers, spans[0], strict=True) if m.get("weight", 1)]

    def _unmarked(self, messages: list[dict[str, Any]], tools: Any, where: str) -> tuple[str, list[Span]]:
        """Find each answer as what a rendering gains by it; earlier text must not change with later messages."""
        text, spans = self._render(messages, tools, answer=False), []
        for at, message in enumerate(messages):
            if message["role"] != "assistant" or not message.get("weight", 1):
                continue
            before = self._render(messages[:at], tools, answer=True)
            after = self._render(messages[: at + 1], tools, answer=False)
            if not (text.startswith(after) and after.startswith(before)):
                raise UsageError(
                    f"{where}: the chat template rewrites earlier messages, so what is trained cannot be told",
                    fix="put {% generation %} marks into the template, or end each chat with its only answer",
                )
            spans.append((len(before), len(before) + self._turn_length(after[len(before) :])))
        return text, spans

    def _turn_length(self, turn: str) -> int:
        """Return the length of an answer up to its end-of-turn token, without the line break some templates add."""
        stops = [self.tokenizer.convert_ids_to_tokens(i) for i in self.stop_ids]
        stripped = turn.rstrip()
        return len(stripped) if stripped.endswith(tuple(s for s in stops if s)) else len(turn)

    def _render(self, messages: Sequence[dict[str, Any]], tools: Any, *, answer: bool) -> str:
        """Render a chat, open for an answer or not."""
        return str(
            self.tokenizer.apply_chat_template(
                list(messages), tools=tools, tokenize=False, add_generation_prompt=answer
            )
        )

    def _ids(self, text: str) -> tuple[list[int], list[Span]]:
        """Tokenise a rendered text, with a BOS before it if the tokenizer wants one and the template has none."""
        encoding = self.core.encode(text, add_special_tokens=False)
        ids, offsets = list(encoding.ids), list(encoding.offsets)
        if self.adds_bos and self.bos is not None and ids[:1] != [self.bos]:
            return [self.bos, *ids], [(0, 0), *offsets]
        return ids, offsets

    def _tokens(self, text: str, spans: list[Span], where: str, line: int) -> Encoded:
        """Tokenise, mark the trained tokens, and check BOS and the end of each trained answer."""
        ids, offsets = self._ids(text)
        trained = [False] * len(ids)
        for start, end in spans:
            inside = [i for i, (a, b) in enumerate(offsets) if a >= start and b <= end and b > a]
            if not inside:
                raise UsageError(f"{where}: an answer is empty", fix="write the answer, or give it weight 0")
            last = inside[-1]
            if ids[last] not in self.stop_ids and last + 1 < len(ids) and ids[last + 1] in self.stop_ids:
                inside.append(last + 1)  # marks that leave the end of the turn out would teach never to stop
            elif ids[last] not in self.stop_ids:
                raise UsageError(f"{where}: the chat template puts no end-of-turn token after the answer")
            for i in inside:
                trained[i] = True
        if self.bos is not None and self.bos not in self.stop_ids and ids.count(self.bos) != int(ids[0] == self.bos):
            raise UsageError(f"{where}: the token that opens a chat stands more than once in it")
        if not any(trained[1:]):
            raise UsageError(f"{where}: nothing in it is trained", fix="add an assistant message of weight 1")
        return Encoded(ids, trained, line)


def plain(record: dict[str, Any], where: str) -> list[dict[str, Any]]:
    """Return the messages as templates want them: arguments of tool calls as objects, not as JSON text."""
    messages = record.get("messages")
    if not isinstance(messages, (list, tuple)) or not all(isinstance(m, dict) and "role" in m for m in messages):
        raise UsageError(f"{where}: no list of messages", fix="run anytune check on the file")
    return [{**m, "tool_calls": [call(c) for c in m["tool_calls"]]} if m.get("tool_calls") else m for m in messages]


def call(tool_call: dict[str, Any]) -> dict[str, Any]:
    """Return one tool call with its arguments as an object."""
    function = dict(tool_call.get("function") or {})
    if isinstance(function.get("arguments"), str):
        function["arguments"] = json.loads(function["arguments"])
    return {**tool_call, "function": function}


@dataclass(frozen=True)
class EncodedFile:
    """Be a whole file: its examples, and what cutting at `max_length` cost."""

    examples: list[Encoded]
    truncated: int
    dropped: list[int]  # lines whose answer was cut off entirely
    answer_tokens: int
    answer_tokens_lost: int


def encode_file(path: Path, encoder: ChatEncoder, *, name: str, max_length: int) -> EncodedFile:
    """Encode a JSONL file and cut each example at `max_length` tokens."""
    examples, dropped, truncated, total, lost = [], [], 0, 0, 0
    with path.open(encoding="utf-8-sig") as file:
        for line, text in enumerate(file, 1):
            if not text.strip():
                continue
            where = f"{name} file, line {line}"
            try:
                record = json.loads(text)
            except ValueError as error:
                raise UsageError(f"{where}: not JSON: {error}", fix="run anytune check on the file") from error
            example = encoder.example(record if isinstance(record, dict) else {}, where=where, line=line)
            total += example.supervised
            if len(example) > max_length:
                truncated += 1
                cut = Encoded(example.ids[:max_length], example.trained[:max_length], line)
                lost += example.supervised - cut.supervised
                example = cut
            if example.supervised:
                examples.append(example)
            else:
                dropped.append(line)
    if not examples:
        why = "is empty" if not dropped else f"has no answer within max_length {max_length}"
        raise UsageError(f"the {name} file {why}", fix="raise training.max_length" if dropped else None)
    return EncodedFile(examples, truncated, dropped, total, lost)
