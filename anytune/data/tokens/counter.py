"""Count the tokens of texts: by the target's own tokenizer where it is at hand, else roughly, and say which."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence, Sized
from dataclasses import dataclass, replace
from functools import cache, lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from anytune.data.tokens.rough import Rough
from anytune.data.tokens.template import Frame, frame

if TYPE_CHECKING:
    from tokenizers import Tokenizer

# What is counted in one go, in characters: white space of about a million makes tiktoken panic (0.14), and
# repetitions of that length take more than their share of time.
_SLICE = 1 << 15
_SHORT, _MANY = 1 << 10, 1 << 12  # characters of the texts whose count is remembered, and how many: they come again
_FRAMED = 0.1  # how far off a count may be whose frame is estimated: chats of some 100 tokens, a few a message
_O200K = re.compile(r"(?:ft:)?(?:gpt-4o|gpt-4\.1|gpt-4\.5|gpt-5|gpt-oss|chatgpt-4o|o[1-9])")
_OLDER = re.compile(r"(?:ft:)?(?:gpt-3|gpt-4|davinci|babbage|curie|ada)")


@runtime_checkable
class Counter(Protocol):
    """Count the tokens of a text, which may hold anything, special tokens' names and lone surrogates included.

    `basis` says in words how; `exact` whether it is the model's own tokenizer, `error` (0 if so) how far a count may
    be off as a share of it. `per_message` and `per_record` are the tokens that the chat format adds, `per_text` what
    ends a record of plain text.
    """

    @property
    def name(self) -> str:
        """Name the tokenizer."""

    @property
    def basis(self) -> str:
        """Say how tokens are counted."""

    @property
    def exact(self) -> bool:
        """Tell whether it is the model's own tokenizer."""

    @property
    def error(self) -> float:
        """Return how far a count may be off, as a share of it."""

    @property
    def per_message(self) -> int:
        """Return how many tokens the chat format adds to a message, its end included."""

    @property
    def per_record(self) -> int:
        """Return how many tokens the chat format adds to a record."""

    @property
    def per_text(self) -> int:
        """Return how many tokens end a record that is no chat."""

    def count(self, text: str) -> int:
        """Return the number of tokens of a text."""

    def counting(self, texts: Sequence[str]) -> Callable[[str], int]:
        """Return a function that counts these texts as `count` does, made ready at the least cost."""


@dataclass(frozen=True)
class O200k:
    """Count with o200k_base, the vocabulary of OpenAI's models since gpt-4o, as bundled.

    A message is `<|im_start|>role<|im_sep|>content<|im_end|>`: four more tokens than its content. OpenAI's cookbook
    counts the same four (3, and the role), and 3 an example for a reply that is still to come; a comparison with
    OpenAI's bill (amitness.com, 2025-03) found four a message alone to be exact.
    """

    name: str = "o200k_base"
    basis: str = "counted with o200k_base"
    exact: bool = True
    error: float = 0.0
    per_message: int = 4
    per_record: int = 0
    per_text: int = 0

    def count(self, text: str) -> int:
        """Return the number of tokens; the names of special tokens count as the text they are written in."""
        from anytune.data.tokens.vocabulary import whole

        return _count(whole().encode_ordinary, text)

    def counting(self, texts: Sequence[str]) -> Callable[[str], int]:
        """Return a function that counts these texts with as much of the vocabulary as they need."""
        from anytune.data.tokens.vocabulary import enough

        return partial(_count, enough(texts).encode_ordinary)


@dataclass(frozen=True)
class Folder:
    """Count with the `tokenizer.json` of a model's folder.

    What the chat format adds is measured with the folder's chat template. Where that cannot be, it is five tokens a
    message, as of most templates (start, role, line feed, end, line feed), and one a record (the first of all).
    """

    path: Path
    name: str
    basis: str
    exact: bool = True
    error: float = 0.0
    per_message: int = 5
    per_record: int = 1
    per_text: int = 1

    def count(self, text: str) -> int:
        """Return the number of tokens, without those that begin and end a text."""
        return (_remembered if len(text) <= _SHORT else _counted)(self.path, text)

    def counting(self, texts: Sequence[str]) -> Callable[[str], int]:  # noqa: ARG002
        """Return `count`: the tokenizer is read whole."""
        return self.count


def counter_for(provider: str, model: str | None, *, folder: Path | None = None) -> Counter:
    """Return the best counter at hand for a provider's model; no network is used.

    `folder` is the model's folder where the caller knows it; else `model` may itself name one. A missing library or
    file gives a rough counter, whose basis says why.
    """
    place = folder or (Path(model).expanduser() if model else None)
    if place is not None and (place / "tokenizer.json").is_file():
        return _of_folder(place)
    bare = (model or "").rpartition("/")[2]
    if _O200K.match(bare) or (provider in ("openai", "azure") and not _OLDER.match(bare)):
        return _with_tiktoken()
    return Rough() if provider != "openai" else Rough(per_message=4, per_record=0, per_text=0)


def _with_tiktoken() -> Counter:
    try:
        import tiktoken  # noqa: F401
    except ImportError:
        return Rough(why="pip install 'anytune[tokens]' counts exactly", per_message=4, per_record=0, per_text=0)
    return O200k()


def _of_folder(folder: Path) -> Counter:
    path = (folder / "tokenizer.json").absolute()
    try:
        _tokenizer(path)
    except ImportError:
        return Rough(why="pip install 'anytune[local]' counts with the model's tokenizer")
    except Exception:  # the library raises bare exceptions, whatever is wrong with the file
        return Rough(why=f"{path.name} of {folder.name} cannot be read")
    basis = f"counted with the tokenizer of {folder.name}"
    framed = _frame(path)
    if framed is not None and framed.exact:
        return Folder(path, folder.name, basis, per_message=framed.per_message, per_record=framed.per_record)
    rough = Folder(path, folder.name, f"{basis}, what its chat template adds is estimated", exact=False, error=_FRAMED)
    return rough if framed is None else replace(rough, per_message=framed.per_message, per_record=framed.per_record)


def _counted(path: Path, text: str) -> int:
    encode = partial(_tokenizer(path).encode, add_special_tokens=False)
    return _count(encode, text if text.isascii() else text.encode(errors="replace").decode())


_remembered = lru_cache(_MANY)(_counted)


@cache
def _frame(path: Path) -> Frame | None:
    return frame(path.parent, _tokenizer(path))


@cache
def _tokenizer(path: Path) -> Tokenizer:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def _count(encode: Callable[[str], Sized], text: str) -> int:
    return len(encode(text)) if len(text) <= _SLICE else sum(len(encode(piece)) for piece in _slices(text))


def _slices(text: str) -> Iterator[str]:
    """Cut a long text, where possible before a space between two words, which no token spans."""
    at = 0
    while len(text) - at > _SLICE:
        border = text.rfind(" ", at + _SLICE // 2, at + _SLICE)
        end = border if border > 0 else at + _SLICE
        yield text[at:end]
        at = end
    yield text[at:]
