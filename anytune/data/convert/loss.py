"""The reasons why something of a record is lost, and how the readers and writers tell them."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, NamedTuple

from anytune.data.path import Path
from anytune.data.quote import Plain, quote

LEFT_OUT = {
    "not-json": "it is no JSON",
    "not-utf-8": "it is not UTF-8; anytune fix tells what it is, and mends it",
    "line-too-large": "the line is too long to be read",
    "not-an-object": "a record is a JSON object",
    "column-mismatch": "the row has more cells than the header has columns",
    "format-unknown": "no known format has such keys; name one with --from, or rename the keys",
    "format-mismatch": "it does not have what the format needs",
    "message-invalid": "a message cannot be read",
    "role-unknown": "nobody knows who speaks",
    "content-unknown": "what is said is neither text nor a part that a chat can hold",
    "call-invalid": "a tool call has a name and arguments",
    "answer-without-call": "a tool answers, but no call is open",
    "item-unknown": "a chat has no such item, and the rest would make no sense without it",
    "no-answer": "there is nothing to learn from: it holds no answer",
    "no-prompt": "the two answers have no beginning in common, so nothing is known of the prompt",
    "request-failed": "the service answered with an error",
    "request-missing": "an answer without its request; put both files into one",
    "output-not-one": "each side of a pair is one message of the assistant",
    "unpaired": "no completion of the other label stands near enough with the same prompt",
    "chatml-broken": "there is text outside of the messages",
    "mixed-kinds": "a file holds chats or pairs, not both, and the first record was of the other kind",
    "nested-too-deep": "it is nested too deeply",
    "not-encodable": "it holds what JSON in UTF-8 cannot: half a character, NaN or a foreign value",
    "holds-tools": "the new format has no place for tools and calls",
    "holds-parts": "the new format has no place for images and parts",
    "turns-do-not-fit": "the new format holds no such order of turns",
    "two-answers": "the new format holds one answer, not a better and a worse one",
    "no-text": "only plain text becomes plain text",
}
DETAILS = {
    "key-dropped": "a chat has no place for it",
    "key-repeated": "the key stands twice in one object; the last is kept",
    "part-dropped": "a chat cannot hold such a part",
    "item-dropped": "a chat cannot hold such an item",
    "tool-dropped": "only functions can be declared",
    "choice-dropped": "one answer is kept, the first",
    "parts-joined": "several pieces of text became one",
    "order-changed": "text comes before calls in a message, and answers of tools before the user's text",
    "role-renamed": "it became a system message: no hosted trainer takes its role in examples",
    "value-as-text": "content is text",
    "answer-cut-off": "the answer ended at the limit of tokens or at a filter, which a chat cannot say",
    "prompt-guessed": "the prompt is what both answers begin with",
    "text-without-prompt": "plain text became an answer to nothing; --to text keeps it as it is",
    "reasoning-dropped": "the new format has no place for reasoning",
    "weight-dropped": "the new format has no place for weights: what was masked is now trained",
    "call-id-dropped": "the new format has no ids of calls; they are made up again when it is read",
    "system-joined": "the system message now begins the prompt",
    "changed": "read back, it is not the same",
}
WHY = {**LEFT_OUT, **DETAILS}
_NOTHING: tuple[Any, ...] = (None, "", [], {})
_KEYS_NAMED = 8
_KEY_LENGTH = 30


class Note(NamedTuple):
    """Be one loss of a record whose place in the file is not yet known."""

    code: str
    path: Path
    what: object


class UnfitError(Exception):
    """Leave a record out."""

    def __init__(self, code: str, path: Path = (), what: object = None) -> None:
        super().__init__(code)
        self.note = Note(code, path, what)


class Notes:
    """Collect what one record loses."""

    def __init__(self) -> None:
        self.found: list[Note] = []

    def lost(self, code: str, path: Path = (), what: object = None) -> None:
        """Note one loss."""
        self.found.append(Note(code, path, what))

    def settled(self) -> tuple[Note, ...]:
        """Return the losses without the values that they point at, for a record that has to wait."""
        return tuple(n._replace(what=None if n.what is None else Plain(quote(n.what))) for n in self.found)

    def rest(self, holder: dict[str, Any], known: Collection[str], path: Path = ()) -> None:
        """Note the keys of an object that nobody reads; null and what is empty says nothing."""
        dropped = [key for key, value in holder.items() if key not in known and value not in _NOTHING]
        if len(dropped) == 1:
            self.lost("key-dropped", (*path, dropped[0]), holder[dropped[0]])
        elif dropped:
            self.lost("key-dropped", path, named(dropped))


def lacks(*keys: str) -> UnfitError:
    """Make the error for a record without the keys that its format has."""
    return UnfitError("format-mismatch", (), Plain(f"{', '.join(keys)} wanted"))


def named(keys: list[str]) -> Plain:
    """Name keys in a row, the first few only."""
    shown = [key[:_KEY_LENGTH] if key.isprintable() else "\N{REPLACEMENT CHARACTER}" for key in keys[:_KEYS_NAMED]]
    return Plain(", ".join([*shown, *(["…"] if len(keys) > _KEYS_NAMED else [])]))
