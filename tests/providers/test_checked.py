"""A file with a mark before it reads like one that has it."""

from __future__ import annotations

import io

import pytest

from anytune.providers.checked import Marked

BOM = b"\xef\xbb\xbf"


@pytest.mark.parametrize("content", [b"", b"a", b"abcdefgh", BOM, BOM + b"abc"])
def test_it_is_the_file_with_one_mark(content: bytes) -> None:
    whole = content if content.startswith(BOM) else BOM + content
    marked = Marked(io.BytesIO(content))
    assert marked.read() == whole
    assert marked.seek(0, io.SEEK_END) == len(whole) == marked.added + len(content)
    for start in range(len(whole) + 1):
        for length in (1, 2, 5):
            assert marked.seek(start) == marked.tell() == start
            assert marked.read(length) in (whole[start : start + length], whole[start:3])  # short at the mark's end
            assert marked.seek(1, io.SEEK_CUR) == marked.tell()


def test_pieces_put_together_are_the_whole() -> None:
    marked = Marked(io.BytesIO(b"0123456789"))
    assert b"".join(iter(lambda: marked.read(4), b"")) == BOM + b"0123456789"
