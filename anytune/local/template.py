"""Chats as text, by a model's own template: what the model is given, and what of it are its answers.

A template with `{% generation %}` marks says itself where its answers stand. Of any other, an answer is what the chat
up to it gains by it, over what the model is given when it is to answer. Templates of thinking models and of Mistral
write earlier messages anew as a chat goes on; then not all answers of a chat stand in one text as they will be given,
and each of those has a text of its own.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import date
from itertools import takewhile
from typing import Any, NamedTuple

from jinja2 import TemplateError
from transformers.utils.chat_template_utils import render_jinja_template

from anytune.errors import UsageError
from anytune.local.messages import Message, is_trained, lost, silent, ways

Span = tuple[int, int]  # first character, and the one after the last
MARK = re.compile(r"{%-?\s*generation\b")
TODAY = re.compile(r"strftime_now\(\s*(['\"])(.*?)\1\s*\)")
REFUSALS = (TemplateError, TypeError, KeyError, ValueError, RecursionError)  # what templates answer to odd messages
OTHERWISE = "the chat template opens an answer otherwise than it writes one down, so what is trained cannot be told"
PUT_MARKS = "put {% generation %} marks into the template, or take a model whose template writes what it opens"


class Rendered(NamedTuple):
    """Be an example as text: where in it the answers stand, each from the place where the prompt for it ends."""

    text: str
    spans: list[Span]


class ChatTemplate:
    """Write chats as one model's template does, always with the same date; `stops` are the tokens that end a turn."""

    def __init__(self, tokenizer: Any, stops: Sequence[str], today: date) -> None:
        self.tokenizer = tokenizer
        self.stops = tuple(stops)
        self.today = today

    def rows(self, messages: list[Message], tools: Any, where: str) -> list[Rendered]:
        """Return the texts of a chat that between them hold each answer to be trained just once."""
        if any(is_trained(message) and silent(message) for message in messages):
            raise UsageError(
                f"{where}: an answer has no text and no calls", fix="write the answer, or give it weight 0"
            )
        try:
            template = self._template(tools)
            write = self._marked if MARK.search(template) else self._unmarked
            return self._first_way(messages, lambda told: write(told, tools, template, where), where)
        except REFUSALS as error:
            raise UsageError(f"{where}: the chat template refuses the messages: {error}") from error

    def prompt(self, messages: list[Message], tools: Any) -> str:
        """Return a chat as the model is given it when it is to answer."""
        try:
            template = self._template(tools)
            return self._first_way(messages, lambda told: self._render(told, tools, template, answer=True), "the chat")
        except REFUSALS as error:
            raise UsageError(f"the chat template refuses the messages: {error}") from error

    def _template(self, tools: Any) -> str:
        """Return the text of the template, with the date written into it: a run over midnight has but one."""
        found = self.tokenizer.get_chat_template(tools=tools)
        return TODAY.sub(lambda match: json.dumps(self.today.strftime(match[2]), ensure_ascii=False), found)

    def _first_way(self, messages: list[Message], write: Callable[[list[Message]], Any], where: str) -> Any:
        """Return what is written in the first way to tell the messages that the template takes without a loss."""
        found: list[Exception] = []
        for told in ways(messages):
            try:
                return write(told)
            except (*REFUSALS, _Lost) as error:
                found.append(error)
        if (loss := next((error for error in found if isinstance(error, _Lost)), None)) is not None:
            fix = "take it out of the record, or take a model whose template knows it"
            raise UsageError(f"{where}: the chat template leaves out {loss}", fix=fix) from loss
        raise found[0]

    def _marked(self, messages: list[Message], tools: Any, template: str, where: str) -> list[Rendered]:
        """Render with the template's marks; spans of messages of weight 0 are left out."""
        texts, spans = render_jinja_template(
            [messages],
            tools=tools,
            chat_template=template,
            return_assistant_tokens_mask=True,
            **self.tokenizer.special_tokens_map,
        )
        text, found = texts[0], list(spans[0])
        answers = [m for m in messages if m["role"] == "assistant"]
        if not all(is_trained(m) for m in answers):
            if len(answers) != len(found):
                raise UsageError(
                    f"{where}: the chat template merges assistant messages, so weight 0 cannot be honoured"
                )
            found = [span for m, span in zip(answers, found, strict=True) if is_trained(m)]
        marked = "".join(text[start:end] for start, end in found)
        for message in filter(is_trained, messages):
            _require(message, marked)
        _require_tools(tools, text)
        return [Rendered(text, found)]

    def _unmarked(self, messages: list[Message], tools: Any, template: str, where: str) -> list[Rendered]:
        """Find each answer as what the chat up to it gains by it, the last one first; few texts hold them all."""
        whole = Rendered(self._render(messages, tools, template, answer=False), [])
        rows = [whole]
        for at in reversed(range(len(messages))):
            if not is_trained(messages[at]):
                continue
            given, turn, closed = self._answer(messages[: at + 1], tools, template, where)
            _require(messages[at], turn)
            said = given + turn
            row = next((row for row in rows if row.text.startswith(said)), None)
            if row is None:
                row = Rendered(closed, [])
                rows.append(row)
            row.spans.insert(0, (len(given), len(said)))
            _require_tools(tools, row.text)
        return [row for row in reversed(rows) if row.spans] or [whole]

    def _answer(self, messages: list[Message], tools: Any, template: str, where: str) -> tuple[str, str, str]:
        """Return what the model is given before the last message, that message, and both with what comes after."""
        given = self._render(messages[:-1], tools, template, answer=True)
        closed = self._render(messages, tools, template, answer=False)
        if closed.startswith(given):
            return given, self._turn(closed[len(given) :], where), closed
        gained = self._tail(messages, tools, template, given, closed)
        if gained is None:
            raise UsageError(f"{where}: {OTHERWISE}", fix=PUT_MARKS)
        return given, self._turn(gained, where), given + gained

    def _tail(self, messages: list[Message], tools: Any, template: str, given: str, closed: str) -> str | None:
        """Return the last message as it stands at the end of a text in which those before it are written anew.

        With other words in the message before it, all stays the same from where that message ends: its end, what opens
        the answer, and the answer. The first two are the end of what the model is given.
        """
        if len(messages) < 2 or not isinstance(words := messages[-2].get("content"), str):
            return None
        other = {**messages[-2], "content": f"\ue000{words}\ue000"}
        changed = self._render([*messages[:-2], other, messages[-1]], tools, template, answer=False)
        same = closed[len(closed) - alike(reversed(closed), reversed(changed)) :]
        opening = given[alike(given, self._render(messages[:-1], tools, template, answer=False)) :]
        most = min(len(same), len(given))
        known = next((k for k in range(most, 0, -1) if given.endswith(same[:k])), 0)
        return same[known:] if known and same[:known].endswith(opening) else None

    def _turn(self, answer: str, where: str) -> str:
        """Return an answer up to its end-of-turn token, without what a template puts after that."""
        rest, end = answer.rstrip(), len(answer)
        while stop := next(filter(rest.endswith, self.stops), None):
            end = len(rest)
            rest = rest.removesuffix(stop).rstrip()
        if stop := next((stop for stop in self.stops if stop in rest), None):
            raise UsageError(
                f"{where}: an answer holds {stop}, which would end it there", fix="take it out of the text"
            )
        return answer[:end]

    def _render(self, messages: Sequence[Message], tools: Any, template: str, *, answer: bool) -> str:
        """Render a chat, open for an answer or not."""
        return str(
            self.tokenizer.apply_chat_template(
                list(messages), tools=tools, chat_template=template, tokenize=False, add_generation_prompt=answer
            )
        )


def alike(one: Iterable[str], other: Iterable[str]) -> int:
    """Return how many characters two texts begin with alike."""
    return sum(1 for _ in takewhile(lambda both: both[0] == both[1], zip(one, other, strict=False)))


class _Lost(Exception):
    """Be told that a template leaves out a part of what is said."""


def _require(message: Message, turn: str) -> None:
    """Raise `_Lost` unless an answer is in the text that was made of it."""
    if (what := lost(message, turn)) is not None:
        raise _Lost(what)


def _require_tools(tools: Any, text: str) -> None:
    """Raise `_Lost` unless a text names the tools."""
    if not all(name in text for name in _names(tools)):
        raise _Lost("the tools")


def _names(tools: Any) -> Iterator[str]:
    for tool in tools if isinstance(tools, list) else ():
        function = tool.get("function") if isinstance(tool, dict) else None
        if isinstance(function, dict) and isinstance(function.get("name"), str):
            yield function["name"]
