"""Examples as tokens: what the model reads, and which of it the model is taught to say.

Trained are the assistant's messages, each with the token that ends its turn, and nothing else; where they stand in the
text, the model's template says (`template.py`). Records of plain text know no template: of a prompt with its completion
the completion is trained, of a text all, each with the token that ends it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from functools import partial
from typing import Any, Protocol, Self, TypeVar, runtime_checkable

from tokenizers import Tokenizer

from anytune.errors import UsageError
from anytune.local import shorten
from anytune.local.messages import CHECK, is_trained, plain
from anytune.local.template import ChatTemplate, Rendered, Span

HALF = "half a character (a lone surrogate) is no text"


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


@dataclass(frozen=True)
class Turns:
    """Be a chat whose answers stand in several texts, since its template writes earlier messages anew as it goes on."""

    rows: tuple[Encoded, ...]
    line: int

    def __len__(self) -> int:
        return max(map(len, self.rows), default=0)

    @property
    def supervised(self) -> int:
        """Return how many tokens of all answers are trained."""
        return sum(row.supervised for row in self.rows)

    @property
    def teaches(self) -> bool:
        """Tell whether anything can be learnt from it."""
        return self.supervised > 0

    def cut(self, max_length: int) -> Turns:
        """Return what training sees of it: of each text its first `max_length` tokens, and none without an answer."""
        if len(self) <= max_length:
            return self
        return Turns(tuple(row for row in (row.cut(max_length) for row in self.rows) if row.teaches), self.line)


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


@runtime_checkable
class Cuts(Protocol):
    """Be what can be cut off at its end."""

    def cut(self, max_length: int) -> Self:
        """Return the first `max_length` tokens of each of its sequences."""


ItemT = TypeVar("ItemT", bound=Item)
Made = TypeVar("Made", bound=Item, covariant=True)


class Encoder(Protocol[Made]):
    """Turn records into what is learnt from; `teaching` names what a file must have, in an error.

    `room` are the tokens that must be left behind an example.
    """

    teaching: str
    room: int

    def example(self, record: dict[str, Any], *, where: str, line: int) -> Made:
        """Encode one record; `where` names it in errors."""

    def shortened(self, record: dict[str, Any], most: int, *, where: str) -> dict[str, Any] | None:
        """Return a record of `most` tokens at most, without the oldest before its answer; None if there is none."""


class ChatEncoder:
    """Turn examples into tokens with one model's tokenizer and chat template."""

    teaching, room = "answer", 0

    def __init__(self, tokenizer: Any, *, stop_ids: frozenset[int], today: date | None = None) -> None:
        if not getattr(tokenizer, "is_fast", False):
            raise UsageError("the tokenizer keeps no character positions", fix="take a model with tokenizer.json")
        self.tokenizer = tokenizer
        self.stop_ids = stop_ids
        self.stops = tuple(filter(None, tokenizer.convert_ids_to_tokens(sorted(stop_ids))))
        self.template = ChatTemplate(tokenizer, self.stops, today or date.today())
        self.core = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
        self.core.no_truncation()
        self.core.no_padding()
        # Post-processors add special tokens, which the template does here, and may trim spaces from the positions.
        self.core.post_processor = None
        probe = tokenizer("x")["input_ids"]
        self.bos: int | None = tokenizer.bos_token_id
        self.adds_bos = self.bos is not None and probe[:1] == [self.bos]

    def example(self, record: dict[str, Any], *, where: str, line: int) -> Encoded | Turns:
        """Encode one record; `where` names it in errors."""
        rows = self.encoded(record, where=where, line=line)
        return rows[0] if len(rows) == 1 else Turns(tuple(rows), line)

    def shortened(self, record: dict[str, Any], most: int, *, where: str) -> dict[str, Any] | None:
        """Return a record of `most` tokens at most, without the oldest before the last answer that is trained."""
        encode = partial(self.example, where=where, line=0)
        if not is_chat(record):
            asked = [{"role": "user", "content": record.get("prompt", "")}]
            return shorten.longest(
                asked, lambda cut: {**record, "prompt": cut[0]["content"]}, encode, self.starts, most=most
            )
        messages = plain(record, where)
        last = max(at for at, message in enumerate(messages) if is_trained(message))
        return shorten.longest(
            messages[:last],
            lambda cut: {**record, "messages": [*cut, messages[last]]},
            encode,
            self.starts,
            most=most,
        )

    def encoded(self, record: dict[str, Any], *, where: str, line: int) -> list[Encoded]:
        """Encode each text of a record: all but chats that change as they go on have one."""
        return [self._marks(drawn, where, line) for drawn in self.rendered(record, where=where)]

    def rendered(self, record: dict[str, Any], *, where: str) -> list[Rendered]:
        """Write a record out as the text that the model reads, or as several."""
        if is_chat(record):
            return self._chat(record, where)
        if "completion" in record and "prompt" in record:
            return [self._plain(record["prompt"], record["completion"], where)]
        return [self._plain("", record["text"], where)]

    def pieces(self, drawn: Rendered, *, where: str) -> tuple[list[int], list[Span]]:
        """Return the tokens of a text and the characters of each; a BOS that is added stands on none, (0, 0)."""
        try:
            ids, offsets = self._ids(drawn.text)
            if len(drawn.spans) == 1 and crossed(offsets, seam := drawn.spans[0][0]):
                return self._parted(drawn.text, seam) or (ids, offsets)
        except TypeError as error:
            raise UsageError(f"{where}: {HALF}", fix=CHECK) from error
        return ids, offsets

    def prompt(self, messages: Sequence[dict[str, Any]], tools: Any = None) -> list[int]:
        """Encode a chat up to where the model's answer begins."""
        text = self.template.prompt(plain({"messages": messages}, "the chat"), tools)
        try:
            return self._ids(text)[0]
        except TypeError as error:
            raise UsageError(HALF) from error

    def raw(self, text: str) -> list[int]:
        """Encode a text as it is, with nothing before or after it."""
        ids: list[int] = self.core.encode(text, add_special_tokens=False).ids
        return ids

    def starts(self, text: str) -> list[int]:
        """Return at which characters the tokens of a text begin."""
        return [start for start, _ in self.core.encode(text, add_special_tokens=False).offsets]

    def _chat(self, record: dict[str, Any], where: str) -> list[Rendered]:
        """Put a chat through the template."""
        messages = plain(record, where)
        if not self.tokenizer.chat_template:
            raise UsageError(
                f"{where}: the model has no chat template",
                fix="take its chat variant, or give prompts with completions",
            )
        rows = self.template.rows(messages, record.get("tools"), where)
        return [one for row in rows for one in self._apart(row, where)]

    def _plain(self, prompt: Any, answer: Any, where: str) -> Rendered:
        """Put a text after its prompt, as they are, and the token that ends a text after both."""
        if not (isinstance(prompt, str) and isinstance(answer, str)):
            raise UsageError(f"{where}: prompt, completion and text must be strings", fix=CHECK)
        if not answer:
            raise UsageError(f"{where}: there is nothing to train in an empty text", fix="write the answer")
        end = self.tokenizer.eos_token or (self.stops or ("",))[0]
        text = prompt + answer + ("" if end and answer.endswith(end) else end)
        return Rendered(text, [(len(prompt), len(text))])

    def _ids(self, text: str) -> tuple[list[int], list[Span]]:
        """Tokenise a rendered text, with a BOS before it if the tokenizer wants one and the template has none."""
        encoding = self.core.encode(text, add_special_tokens=False)
        ids, offsets = list(encoding.ids), list(encoding.offsets)
        if self.adds_bos and self.bos is not None and ids[:1] != [self.bos]:
            return [self.bos, *ids], [(0, 0), *offsets]
        return ids, offsets

    def _apart(self, row: Rendered, where: str) -> list[Rendered]:
        """Give an answer a text of its own where a token reaches into it; those after it are given that token."""
        if len(row.spans) < 2:
            return [row]
        _, offsets = self.pieces(row, where=where)
        alone = [span for span in row.spans if crossed(offsets, span[0])]
        rest = [span for span in row.spans if span not in alone]
        rows = [Rendered(row.text[: self._closed(row.text, span[1])], [span]) for span in alone]
        return [*rows, Rendered(row.text, rest)] if rest else rows

    def _closed(self, text: str, end: int) -> int:
        """Return where the token stands that ends a turn, also where marks leave it out."""
        if text[:end].endswith(self.stops):
            return end
        found = [(text.find(stop, end), stop) for stop in self.stops]
        return min((at + len(stop) for at, stop in found if at >= 0), default=len(text))

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
            why = f"{where}: the token that opens a chat stands more than once in it"
            raise UsageError(why, fix=f"take {self.tokenizer.bos_token} out of the text")
        if not any(trained[1:]):
            raise UsageError(f"{where}: nothing in it is trained", fix="add an assistant message of weight 1")
        return Encoded(ids, trained, line)


def is_chat(record: dict[str, Any]) -> bool:
    """Tell whether a record is put through the chat template; a text, or a prompt with its completion, is not."""
    return "messages" in record or not ("text" in record or {"prompt", "completion"} <= record.keys())


def crossed(offsets: Sequence[Span], seam: int) -> bool:
    """Tell whether a token stands on both sides of a place in the text."""
    return any(start < seam < end for start, end in offsets)
