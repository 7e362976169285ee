"""Hold the vocabulary o200k_base, so that counting needs no network.

It is the vocabulary of OpenAI's tiktoken (an MIT-licensed project), published as `o200k_base.tiktoken`;
`fixtures/vocabulary/make.py` packs that file into `o200k_base.zlib`, which lies beside this module. Packed are the 256
single bytes in the order of their ranks, and after them all other tokens, likewise in order, each with 0xFF before it;
0xFE stands before it instead if a space stands within the token. Neither byte is ever part of UTF-8. zlib unpacks
that in 0.01 s of CPU time; xz would save 0.2 MB and take 0.035 s.

To build the encoding of all 200,000 tokens takes 0.2 s and 65 MB. A text can only ever need tokens that stand in it, so
for a sample of about 1 MB a part of the vocabulary does: the counts are the same, in less than half of the time and a
quarter of the memory. The part is kept: it does for further texts of which it has all.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from functools import cache
from itertools import compress
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from tiktoken import Encoding

PACKED = Path(__file__).with_name("o200k_base.zlib")
TOKENS = 199_998
SPECIAL = {"<|endoftext|>": 199_999, "<|endofprompt|>": 200_018}
_SINGLE = 256
_BEFORE_TOKEN, _BEFORE_SPACED = b"\xff", b"\xfe"
_WINDOW = 4
_FIRST, _LAST = itemgetter(slice(_WINDOW)), itemgetter(slice(-_WINDOW, None))
# Of different words, in bytes, and of the windows that all texts so far have; with more, the whole is quicker.
_MOST_WORDS, _MOST_WINDOWS = 1 << 21, 1 << 18
_UPPER = r"\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}"
_LOWER = r"\p{Ll}\p{Lm}\p{Lo}\p{M}"
_START = r"[^\r\n\p{L}\p{N}]?"
_SHORTENED = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
# How o200k_base cuts a text into the pieces within which tokens are merged.
PIECES = "|".join(
    (
        f"{_START}[{_UPPER}]*[{_LOWER}]+{_SHORTENED}",
        f"{_START}[{_UPPER}]+[{_LOWER}]*{_SHORTENED}",
        r"\p{N}{1,3}",
        r" ?[^\s\p{L}\p{N}]+[\r\n/]*",
        r"\s*[\r\n]+",
        r"\s+(?!\S)",
        r"\s+",
    )
)


@cache
def whole() -> Encoding:
    """Build tiktoken's encoding from all ranks, once a process."""
    return _encoding({token: rank for rank, token in enumerate(unpack(PACKED.read_bytes()))})


class _Part(NamedTuple):
    """Be an encoding for all texts that have no other windows than these; `texts` are the last for which it did."""

    windows: set[bytes]
    encoding: Encoding
    texts: set[str]


_kept: list[_Part] = []  # the last part that was built


def enough(texts: Sequence[str]) -> Encoding:
    """Return an encoding for these texts: one that is there already, if it does, or one for the earlier ones, too."""
    if whole.cache_info().currsize:
        return whole()
    if _kept and _kept[0].texts.issuperset(texts):  # to look at them again would cost half of what counting them does
        return _kept[0].encoding
    windows, known = _windows(texts), _kept[0].windows if _kept else set[bytes]()
    if windows is None or len(windows | known) > _MOST_WINDOWS:
        _kept.clear()
        return whole()
    if not windows <= known:
        _kept[:] = [_Part(windows | known, _of_windows(windows | known), set(texts))]
    return _kept[0].encoding


def part(texts: Sequence[str]) -> Encoding:
    """Build an encoding with which these texts, and parts of them, have the same tokens as with the whole one."""
    windows = _windows(texts)
    return whole() if windows is None else _of_windows(windows)


def _windows(texts: Sequence[str]) -> set[bytes] | None:
    """Return all runs of two to four bytes within the words of texts, None for too many words."""
    words: set[str] = set()
    for text in set(texts):
        words.update(text.split(" "))
    joined = _utf8(f" {' '.join(words)}")
    if len(joined) > _MOST_WORDS:
        return None
    windows = {joined[at : at + _WINDOW] for at in range(len(joined))}
    windows = windows.union(*({window[:length] for window in windows} for length in range(2, _WINDOW)))
    return {window for window in windows if len(window) > 1 and window.find(b" ", 1) < 0}  # not where words meet


def _of_windows(windows: set[bytes]) -> Encoding:
    return _encoding(_within(windows, _plain()))


@cache
def _plain() -> bytes:
    return zlib.decompress(PACKED.read_bytes())


def pack(tokens: Sequence[bytes]) -> bytes:
    """Pack tokens that stand in the order of their ranks."""
    several = tokens[_SINGLE:]
    if any(len(token) != 1 for token in tokens[:_SINGLE]) or any({0xFE, 0xFF} & {*token} for token in several):
        raise ValueError("not a vocabulary of single bytes followed by pieces of UTF-8")
    marked = ((_BEFORE_SPACED if b" " in token[1:] else _BEFORE_TOKEN) + token for token in several)
    return zlib.compress(b"".join((*tokens[:_SINGLE], *marked)), 9)


def unpack(packed: bytes) -> list[bytes]:
    """Return the tokens in the order of their ranks."""
    plain = zlib.decompress(packed)
    return _singles(plain) + plain[_SINGLE + 1 :].replace(_BEFORE_SPACED, _BEFORE_TOKEN).split(_BEFORE_TOKEN)


def _within(windows: set[bytes], plain: bytes) -> dict[bytes, int]:
    """Return the ranks of the tokens that may stand in a text with these windows.

    A token stands in the text only if its first and its last four bytes do, or all of it if it is shorter. Words are
    what stands between spaces, so a token with a space in it, other than at its start, cannot be told and is kept, as
    are single bytes.
    """
    ranks = {token: rank for rank, token in enumerate(_singles(plain))}
    rank = _SINGLE
    first, *others = plain[_SINGLE:].split(_BEFORE_SPACED)
    for run in (first[1:], *others) if first else others:
        tokens = run.split(_BEFORE_TOKEN)
        ends = list(map(windows.__contains__, map(_LAST, tokens)))
        likely = zip(compress(tokens, ends), compress(range(rank, rank + len(tokens)), ends), strict=True)
        ranks.update((token, at) for token, at in likely if _FIRST(token) in windows)
        ranks[tokens[0]] = rank
        rank += len(tokens)
    return ranks


def _utf8(text: str) -> bytes:
    """Encode a text; lone surrogates become what tiktoken makes of them."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()


def _singles(plain: bytes) -> list[bytes]:
    return [plain[at : at + 1] for at in range(_SINGLE)]


def _encoding(ranks: dict[bytes, int]) -> Encoding:
    from tiktoken import Encoding

    return Encoding("o200k_base", pat_str=PIECES, mergeable_ranks=ranks, special_tokens=SPECIAL)
