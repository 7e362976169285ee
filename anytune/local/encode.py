"""Examples as tokens: what the model reads, and which of it the model is taught to say.

Trained are the assistant's messages, each with the token that ends its turn, and nothing else. Where an answer stands
in the rendered text comes from the template's own `{% generation %}` marks; a template without them is rendered
message by message, and the difference between two renderings is the message. Records of plain text know no template:
of a prompt with its completion the completion is trained, of a text all, each with the token that ends it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Generic, NamedTuple, Protocol, Self, TypeVar

from jinja2 import TemplateError
from tokenizers import Tokenizer
from transformers.utils.chat_template_utils import render_jinja_template

from anytune.data.lines import Lines
from anytune.data.sniff import BOM
from anytune.errors import UsageError

Span = tuple[int, int]  # first character, and the one after the last
MARK = re.compile(r"{%-?\s*generation\b")
CHECK = "run anytune check on the file"
REFUSALS = (TemplateError, TypeError, KeyError, ValueError, RecursionError)  # what templates answer to odd messages


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

    @property
    def rows(self) -> tuple[Encoded, ...]:
        """Return the sequences that are computed for it."""
        return (self,)

    @property
    def teaches(self) -> bool:
        """Tell whether anything can be learnt from it."""
        return self.supervised > 0

    def cut(self, max_length: int) -> Encoded:
        """Return what training sees of it: its first `max_length` tokens."""
        return self if len(self) <= max_length else Encoded(self.ids[:max_length], self.trained[:max_length], self.line)


class Item(Protocol):
    """Be what is learnt from at a time: a chat, or a pair of answers; it is as long as its longest sequence."""

    def __len__(self) -> int: ...

    @property
    def rows(self) -> tuple[Encoded, ...]:
        """Return the sequences that are computed for it."""

    @property
    def supervised(self) -> int:
        """Return how many tokens are trained."""

    @property
    def teaches(self) -> bool:
        """Tell whether anything can be learnt from it."""

    def cut(self, max_length: int) -> Self:
        """Return what training sees of it."""


ItemT = TypeVar("ItemT", bound=Item)
Made = TypeVar("Made", bound=Item, covariant=True)


class Encoder(Protocol[Made]):
    """Turn records into what is learnt from; `teaching` names what a file must have, in an error."""

    teaching: str

    def example(self, record: dict[str, Any], *, where: str, line: int) -> Made:
        """Encode one record; `where` names it in errors."""


class Rendered(NamedTuple):
    """Be an example as text: where in it the answers stand, and where a prompt without a template ends."""

    text: str
    spans: list[Span]
    seam: int = 0


class ChatEncoder:
    """Turn examples into tokens with one model's tokenizer and chat template."""

    teaching = "answer"

    def __init__(self, tokenizer: Any, *, stop_ids: frozenset[int]) -> None:
        if not getattr(tokenizer, "is_fast", False):
            raise UsageError("the tokenizer keeps no character positions", fix="take a model with tokenizer.json")
        self.tokenizer = tokenizer
        self.stop_ids = stop_ids
        self.stops = tuple(filter(None, tokenizer.convert_ids_to_tokens(sorted(stop_ids))))
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
        return self._marks(self.rendered(record, where=where), where, line)

    def rendered(self, record: dict[str, Any], *, where: str) -> Rendered:
        """Write a record out as the text that the model reads."""
        if "messages" in record or not ("text" in record or {"prompt", "completion"} <= record.keys()):
            return self._chat(record, where)
        if "completion" in record and "prompt" in record:
            return self._plain(record["prompt"], record["completion"], where)
        return self._plain("", record["text"], where)

    def pieces(self, drawn: Rendered, *, where: str) -> tuple[list[int], list[Span]]:
        """Return the tokens of a text and the characters of each; a BOS that is added stands on none, (0, 0)."""
        try:
            ids, offsets = self._ids(drawn.text)
            if any(a < drawn.seam < b for a, b in offsets):
                return self._parted(drawn.text, drawn.seam) or (ids, offsets)
        except TypeError as error:
            raise UsageError(f"{where}: half a character (a lone surrogate) is no text", fix=CHECK) from error
        return ids, offsets

    def prompt(self, messages: Sequence[dict[str, Any]], tools: Any = None) -> list[int]:
        """Encode a chat up to where the model's answer begins."""
        told = plain({"messages": messages}, "the chat")
        try:
            return self._ids(self._render(told, tools, answer=True))[0]
        except REFUSALS as error:
            raise UsageError(f"the chat template refuses the messages: {error}") from error

    def raw(self, text: str) -> list[int]:
        """Encode a text as it is, with nothing before or after it."""
        ids: list[int] = self.core.encode(text, add_special_tokens=False).ids
        return ids

    def _chat(self, record: dict[str, Any], where: str) -> Rendered:
        """Put a chat through the template."""
        messages, tools = plain(record, where), record.get("tools")
        if not self.tokenizer.chat_template:
            raise UsageError(
                f"{where}: the model has no chat template",
                fix="take its chat variant, or give prompts with completions",
            )
        try:
            template = self.tokenizer.get_chat_template(tools=tools)
            if MARK.search(template):
                return self._marked(messages, tools, template, where)
            return self._unmarked(messages, tools, where)
        except REFUSALS as error:
            raise UsageError(f"{where}: the chat template refuses the messages: {error}") from error

    def _plain(self, prompt: Any, answer: Any, where: str) -> Rendered:
        """Put a text after its prompt, as they are, and the token that ends a text after both."""
        if not (isinstance(prompt, str) and isinstance(answer, str)):
            raise UsageError(f"{where}: prompt, completion and text must be strings", fix=CHECK)
        if not answer:
            raise UsageError(f"{where}: there is nothing to train in an empty text", fix="write the answer")
        end = self.tokenizer.eos_token or (self.stops or ("",))[0]
        text = prompt + answer + ("" if end and answer.endswith(end) else end)
        return Rendered(text, [(len(prompt), len(text))], seam=len(prompt))

    def _marked(self, messages: list[dict[str, Any]], tools: Any, template: str, where: str) -> Rendered:
        """Render with the template's marks; spans of messages of weight 0 are left out."""
        texts, spans = render_jinja_template(
            [messages],
            tools=tools,
            chat_template=template,
            return_assistant_tokens_mask=True,
            **self.tokenizer.special_tokens_map,
        )
        answers = [m for m in messages if m["role"] == "assistant"]
        if all(_is_trained(m) for m in answers):
            return Rendered(texts[0], list(spans[0]))
        if len(answers) != len(spans[0]):
            raise UsageError(f"{where}: the chat template merges assistant messages, so weight 0 cannot be honoured")
        kept = [span for m, span in zip(answers, spans[0], strict=True) if _is_trained(m)]
        return Rendered(texts[0], kept)

    def _unmarked(self, messages: list[dict[str, Any]], tools: Any, where: str) -> Rendered:
        """Find each answer as what a rendering gains by it; earlier text must not change with later messages."""
        text, spans = self._render(messages, tools, answer=False), []
        for at, message in enumerate(messages):
            if message["role"] != "assistant" or not _is_trained(message):
                continue
            before = self._render(messages[:at], tools, answer=True)
            after = self._render(messages[: at + 1], tools, answer=False)
            turn = self._turn(after[len(before) :])
            if not (after.startswith(before) and text.startswith(before + turn)):
                raise UsageError(
                    f"{where}: the chat template rewrites earlier messages, so what is trained cannot be told",
                    fix="give all answers but the last weight 0, or put {% generation %} marks into the template",
                )
            spans.append((len(before), len(before + turn)))
        return Rendered(text, spans)

    def _turn(self, answer: str) -> str:
        """Return an answer up to its end-of-turn token, without what a template puts after that."""
        rest, end = answer.rstrip(), len(answer)
        while stop := next(filter(rest.endswith, self.stops), None):
            end = len(rest)
            rest = rest.removesuffix(stop).rstrip()
        return answer[:end]

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

    def _parted(self, text: str, seam: int) -> tuple[list[int], list[Span]] | None:
        """Tokenise both sides of a seam by themselves: a token across it never comes up after the bare prompt.

        None if the tokenizer would put a space between them, as those do that put one before every text.
        """
        ids, offsets = self._ids(text[:seam])
        more = self.core.encode(text[seam:], add_special_tokens=False)
        whole = self.core.decode(self._ids(text)[0], skip_special_tokens=False)
        if self.core.decode([*ids, *more.ids], skip_special_tokens=False) != whole:
            return None
        return [*ids, *more.ids], [*offsets, *((a + seam, b + seam) for a, b in more.offsets)]

    def _marks(self, drawn: Rendered, where: str, line: int) -> Encoded:
        """Tokenise, mark the trained tokens, and check BOS and the end of each trained answer."""
        ids, offsets = self.pieces(drawn, where=where)
        trained = [False] * len(ids)
        for start, end in drawn.spans:
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


def _is_trained(message: dict[str, Any]) -> bool:
    return bool(message.get("weight") != 0)


def plain(record: dict[str, Any], where: str) -> list[dict[str, Any]]:
    """Return the messages as templates want them: arguments of tool calls as objects, not as JSON text."""
    messages = record.get("messages")
    if not isinstance(messages, (list, tuple)) or not all(isinstance(m, dict) and "role" in m for m in messages):
        raise UsageError(f"{where}: no list of messages", fix=CHECK)
    try:
        return [{**m, "tool_calls": [call(c) for c in m["tool_calls"]]} if m.get("tool_calls") else m for m in messages]
    except (TypeError, ValueError, AttributeError) as error:
        raise UsageError(f"{where}: a tool call cannot be read: {error}", fix=CHECK) from error


def call(tool_call: dict[str, Any]) -> dict[str, Any]:
    """Return one tool call with its arguments as an object."""
    function = dict(tool_call.get("function") or {})
    if isinstance(function.get("arguments"), str):
        function["arguments"] = json.loads(function["arguments"])
    return {**tool_call, "function": function}


@dataclass(frozen=True)
class EncodedFile(Generic[ItemT]):
    """Be a whole file: its examples, and what cutting at `max_length` cost."""

    examples: list[ItemT]
    truncated: int
    dropped: list[int]  # lines that teach nothing, such as those whose answer was cut off entirely
    answer_tokens: int
    answer_tokens_lost: int


def encode_file(path: Path, encoder: Encoder[ItemT], *, name: str, max_length: int) -> EncodedFile[ItemT]:
    """Encode a JSONL file and cut each example at `max_length` tokens."""
    examples: list[ItemT] = []
    dropped, truncated, total, lost = [], 0, 0, 0
    with path.open("rb") as file:
        for line, raw in filled(file):
            where = f"{name} file, line {line}"
            whole = encoder.example(decoded(raw, where), where=where, line=line)
            example = whole.cut(max_length)
            total += whole.supervised
            lost += whole.supervised - example.supervised
            truncated += example is not whole
            if example.teaches:
                examples.append(example)
            else:
                dropped.append(line)
    if not examples:
        why = "is empty" if not dropped else f"has no {encoder.teaching} within max_length {max_length}"
        raise UsageError(f"the {name} file {why}", fix="raise training.max_length" if dropped else None)
    return EncodedFile(examples, truncated, dropped, total, lost)


def filled(file: BinaryIO) -> Iterator[tuple[int, bytes | None]]:
    """Yield (number, line) of all lines that are not blank; one that is too long to be read is None."""
    for number, line in Lines(file):
        raw = line.removeprefix(BOM) if line is not None and number == 1 else line
        if raw is None or raw.strip():
            yield number, raw


def decoded(raw: bytes | None, where: str) -> dict[str, Any]:
    """Return the record that stands on a line; what is JSON but no object is an empty one."""
    if raw is None:
        raise UsageError(f"{where}: the line is too long", fix=CHECK)
    try:
        record = json.loads(raw.decode())
    except (ValueError, RecursionError) as error:
        what = f"{error.msg} at column {error.colno}" if isinstance(error, json.JSONDecodeError) else error
        raise UsageError(f"{where}: not JSON: {what}", fix=CHECK) from error
    return record if isinstance(record, dict) else {}
