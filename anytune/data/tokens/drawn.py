"""Hold records drawn from a file, taken apart once for all who count them."""

from __future__ import annotations

from collections.abc import Sequence

from anytune.data.content import Content, content, decode, length_of, size_of

MOST_CHARACTERS = 4 << 20
_IMAGE = b'"image_url"'


class Drawn:
    """Be some lines of a file: their contents, in order, and what can be told of these without a tokenizer.

    `short` tells whether they are short enough to be counted whole, so many `characters` they are.
    `beyond_ascii` is a measure, from 0 to 1, of how much is written in other scripts than Latin; `images` tells whether
    some record has one.
    """

    def __init__(self, lines: Sequence[bytes]) -> None:
        self.parts = [content(decode(line)) for line in lines]
        self.sizes = [size_of(part) for part in self.parts]
        self.texts = [text for part in self.parts for turn in part.turns for text in turn.texts]
        self.characters = sum(map(len, self.texts))
        self.short = self.characters <= MOST_CHARACTERS
        self.beyond_ascii = _beyond_ascii(self.texts, self.characters)
        self.images = any(_IMAGE in line for line in lines)
        self._known = dict(zip(lines, self.parts, strict=True))

    def take_apart(self, line: bytes) -> Content:
        """Take a line of the file apart, unless it is among these."""
        return self._known.get(line) or content(decode(line))


def _beyond_ascii(texts: Sequence[str], characters: int) -> float:
    held = sum(map(length_of, texts))
    return min(1.0, 2 * (held - characters) / held) if held else 0.0
