"""Know chats by their frames: what their lines hold beside the texts of the messages.

Once a line has been looked at closely, all others in the same frame have the same faults, as long as their texts are
as sound: so a block of chats is put together anew from frames that are known and from its own texts, and where that
gives its very bytes, nothing in it is new. The tiers are held together by tests/data/test_tiers.py.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from itertools import accumulate, chain, compress, pairwise
from operator import add
from typing import Annotated, Any, NamedTuple

import msgspec

from anytune.data.check.seen import Seen, asked_in, key_of, keys_of

NOT_A_CHAT = (msgspec.MsgspecError, ValueError, RecursionError)
NOT_TEXTS = (*NOT_A_CHAT, TypeError)  # which a message without content is
_MOST_FRAMES = 256
_MOST_ALIKE = 6  # frames that are tried for one line
_LONGEST = 8_192  # bytes of a frame
_LONGEST_TEXT = 1_000_000


class _Message(msgspec.Struct, gc=False):
    content: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    weight: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class _Chat(msgspec.Struct, gc=False):
    messages: list[_Message]
    tools: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


_decode_chat = msgspec.json.Decoder(_Chat).decode
_decode_chats = msgspec.json.Decoder(_Chat).decode_lines
_decode = msgspec.json.Decoder().decode
_decode_texts = msgspec.json.Decoder(list[Annotated[str, msgspec.Meta(min_length=1)]]).decode
_decode_any_texts = msgspec.json.Decoder(list[str | None]).decode


class Frame(NamedTuple):
    """Be what stands before and after the text of each message, and what was found in a line like that.

    `codes` are the codes of its faults that count. `first` and `last` are the places of the texts that its prompt
    begins and ends with.
    """

    before: tuple[bytes, ...]
    after: tuple[bytes, ...]
    codes: tuple[str, ...]
    first: int
    last: int


class Found(NamedTuple):
    """Be lines whose frames are known: their places, keys and frames, messages and bytes of text taken together."""

    places: list[int]
    keys: list[int]
    frames: list[Frame]
    messages: int
    content: int


class _Chats(NamedTuple):
    """Be the chats of some lines; `marks` tell of a chat all that its frame is looked up by."""

    places: list[int]
    talks: list[list[_Message]]
    raws: list[Any]
    texts: list[Any]
    marks: list[Hashable]
    wide: list[str]


class Frames:
    """Remember frames, those of the same number of messages together: the ones met last are tried first."""

    def __init__(self) -> None:
        self._known: dict[Hashable, list[Frame]] = {}
        self._number = 0

    def learn(self, line: bytes, record: dict[str, Any] | None, seen: Seen, codes: tuple[str, ...]) -> None:
        """Remember the frame of a line that was looked at, if all that hangs on its texts is known."""
        if self._number >= _MOST_FRAMES or len(line) > _LONGEST_TEXT:
            return
        self._number += 1
        chats = _read(line, [line])
        pieces = _pieces(line, chats.raws) if chats.places else None
        if pieces is None or sum(map(len, pieces)) > _LONGEST or _are_odd(chats.texts, chats.wide):
            return
        messages = (record or _decode(line))["messages"]
        asked = asked_in(messages)
        texts = [text for text in chats.texts if text is not None]
        if not asked or seen.key != key_of([chats.texts[place] for place in asked]):
            return
        if len(messages) != seen.messages or sum(len(text.encode()) for text in texts) != seen.content:
            return
        after = (*[b""] * (len(pieces) - 2), pieces[-1] + b"\n")
        frame = Frame(tuple(pieces[:-1]), after, codes, asked[0], asked[-1])
        alike = self._known.setdefault(chats.marks[0], [])
        if frame in alike:
            return
        alike.insert(0, frame)
        if len(alike) > _MOST_ALIKE:
            alike.pop()

    def find(self, text: bytes, lines: list[bytes], told: Callable[[tuple[str, ...]], bool]) -> Found | None:
        """Find the lines of a block, whose bytes are `text`, that stand in known frames; None: each may be new.

        Lines whose faults have not been `told` are left out.
        """
        if not self._known:
            return None
        chats = _read(text, lines)
        known = self._known
        if not known.keys() >= set(chats.marks):
            chats = _only(chats, [mark in known for mark in chats.marks])
        frames = [known[mark][0] for mark in chats.marks]
        own = lines if len(chats.places) == len(lines) else [lines[place] for place in chats.places]
        if _built(frames, chats.raws) != b"\n".join([*own, b""]):
            found = [self._frame(*each) for each in zip(own, chats.talks, chats.marks, strict=True)]
            chats = _only(chats, [frame is not None for frame in found])
            frames = [frame for frame in found if frame is not None]
        untold = {codes for codes in {frame.codes for frame in frames} if not told(codes)}
        if untold:
            chats = _only(chats, [frame.codes not in untold for frame in frames])
            frames = [frame for frame in frames if frame.codes not in untold]
        return _described(chats, frames) if frames else None

    def _frame(self, line: bytes, talk: list[_Message], mark: Hashable) -> Frame | None:
        """Return the frame that a line stands in, None if it is not known."""
        raws: list[Any] = [message.content for message in talk]
        for place, frame in enumerate(alike := self._known[mark]):
            if b"".join(chain.from_iterable(zip(frame.before, raws, frame.after, strict=True)))[:-1] == line:
                if place:
                    alike.insert(0, alike.pop(place))
                return frame
        return None


def _read(text: bytes, lines: list[bytes]) -> _Chats:
    """Read the chats of a block that have no tools and are sound JSON."""
    records = _records(text, lines)
    places = [place for place, record in enumerate(records) if record and record.tools is msgspec.UNSET]
    talks = [records[place].messages for place in places]
    try:
        raws, texts, complete = _texts(talks)
    except NOT_TEXTS:
        fits = [*map(_has_texts, talks)]
        places, talks = ([*compress(each, fits)] for each in (places, talks))
        raws, texts, complete = _texts(talks)
    chats = _Chats(places, talks, raws, texts, [*map(len, talks)], _beyond_ascii(texts))
    weights = [message.weight for message in chain.from_iterable(talks)]
    if weights.count(msgspec.UNSET) < len(weights):
        _mark(chats, [(at, bytes(weight)) for at, weight in enumerate(weights) if weight is not msgspec.UNSET])
    if not complete or any(map(str.isspace, texts)):
        _mark(chats, [(at, text and "") for at, text in enumerate(texts) if not text or text.isspace()])
    if _are_odd(texts, chats.wide) or not all(talks):
        fits = [
            bool(talk) and not _are_odd(own, _beyond_ascii(own)) for talk, own in zip(talks, _apart(chats), strict=True)
        ]
        return _only(chats, fits)
    return chats


def _records(text: bytes, lines: list[bytes]) -> list[Any]:
    """Return the record of each line, None where it is not a chat."""
    try:
        records = _decode_chats(text)
        if len(records) == len(lines):
            return records
    except NOT_A_CHAT:
        pass
    return [*map(_record, lines)]


def _record(line: bytes) -> _Chat | None:
    try:
        return _decode_chat(line)
    except NOT_A_CHAT:
        return None


def _texts(talks: list[list[_Message]]) -> tuple[list[Any], list[Any], bool]:
    """Return all texts as they are written and decoded, null for those that are missing, and whether all are there."""
    raws: list[Any] = [message.content for talk in talks for message in talk]
    told = b"[%b]" % b",".join(raws)
    try:
        return raws, _decode_texts(told), True
    except msgspec.ValidationError:
        return raws, _decode_any_texts(told), False


def _has_texts(talk: list[_Message]) -> bool:
    try:
        _texts([talk])
    except NOT_TEXTS:
        return False
    return True


def _mark(chats: _Chats, found: list[tuple[int, Any]]) -> None:
    """Add to the marks of chats what was found at some of their messages."""
    ends = [*accumulate(map(len, chats.talks))]
    for at, what in found:
        place = bisect_right(ends, at)
        chats.marks[place] = (chats.marks[place], at - ends[place], what)


def _are_odd(texts: list[Any], wide: list[str]) -> bool:
    """Tell whether a text may be garbled (as `is_suspect` does, without a call for each), or holds NUL."""
    for text in wide:
        if "\0" in text or "Â" in text or "Ã" in text or "\ufffd" in text or ("â" in text and "€" in text):
            return True
    return "\0" in "".join([text for text in texts if text and text.isascii()])


def _beyond_ascii(texts: list[Any]) -> list[str]:
    return [text for text in texts if text and not text.isascii()]


def _apart(chats: _Chats) -> list[list[Any]]:
    ends = [*accumulate(map(len, chats.talks), initial=0)]
    return [chats.texts[start:end] for start, end in pairwise(ends)]


def _only(chats: _Chats, fits: list[bool]) -> _Chats:
    """Return only those chats that fit."""
    wanted = [*chain.from_iterable([fit] * len(talk) for fit, talk in zip(fits, chats.talks, strict=True))]
    raws, texts = ([*compress(each, wanted)] for each in (chats.raws, chats.texts))
    places, talks = [*compress(chats.places, fits)], [*compress(chats.talks, fits)]
    return _Chats(places, talks, raws, texts, [*compress(chats.marks, fits)], _beyond_ascii(texts))


def _built(frames: list[Frame], raws: list[Any]) -> bytes:
    """Return the bytes of lines, put together from frames and texts."""
    pieces: list[Any] = [b""] * (3 * len(raws))
    pieces[0::3] = chain.from_iterable([frame.before for frame in frames])
    pieces[1::3] = raws
    pieces[2::3] = chain.from_iterable([frame.after for frame in frames])
    return b"".join(pieces)


def _pieces(line: bytes, raws: Sequence[msgspec.Raw]) -> list[bytes] | None:
    """Return what stands before, between and after the texts of a line."""
    pieces: list[bytes] = []
    start = 0
    for raw in raws:
        end = line.find(raw, start)
        if end < 0:
            return None
        pieces.append(line[start:end])
        start = end + len(raw)
    return [*pieces, line[start:]]


def _described(chats: _Chats, frames: list[Frame]) -> Found:
    """Count what lines say, and find the keys of their prompts."""
    texts = chats.texts
    starts = [*accumulate(map(len, chats.talks), initial=0)][:-1]
    firsts = [*map(add, starts, [frame.first for frame in frames])]
    lasts = [*map(add, starts, [frame.last for frame in frames])]
    narrow = sum(map(len, filter(None, texts))) - sum(map(len, chats.wide))
    content = narrow + sum(map(len, map(str.encode, chats.wide)))
    return Found(chats.places, keys_of(texts, firsts, lasts), frames, len(texts), content)


def counted(frames: list[Frame]) -> Counter[tuple[str, ...]]:
    """Count how often each set of faults was met."""
    return Counter([frame.codes for frame in frames])
