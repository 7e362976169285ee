from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anytune.data.check import scan
from tests.amount import examples
from tests.data.records import JSON, MANY, SLOW

ALPHABET = st.sampled_from(
    [*list('{}[]:,"\\ 0123456789.-+eEtrufalsnN\x00\t/bd'), "é", "\\u00e9", '"a":', "[1,", "true"]
)


def is_json(line: bytes) -> bool:
    try:
        msgspec.json.decode(line)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return False
    return True


@settings(max_examples=examples(600), deadline=None, suppress_health_check=SLOW)
@given(st.lists(ALPHABET, max_size=12).map("".join))
def test_the_walk_minds_exactly_what_the_parser_minds(text: str) -> None:
    line = text.encode()
    found, _ = scan.faults(line)
    minds = {fault.code for fault in found} - {"duplicate-key", "nul-character"}
    if "number-out-of-range" not in minds:
        assert bool(minds) == (not is_json(line))


@MANY
@given(JSON.map(lambda value: json.dumps(value, allow_nan=True, indent=1).replace("\n", " ")))
def test_whole_values_have_no_broken_json(text: str) -> None:
    found, ended = scan.faults(text.encode())
    assert "invalid-json" not in {fault.code for fault in found}
    assert not ended


def paths(value: Any, path: tuple[str | int, ...] = ()) -> dict[tuple[str | int, ...], Any]:
    found = {path: value}
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        found |= paths(inner, (*path, key))
    return found


@MANY
@given(JSON.filter(lambda value: "nan" not in repr(value)))
def test_every_path_leads_to_its_value(value: Any) -> None:
    line = json.dumps(value, ensure_ascii=False).encode(errors="surrogatepass")
    wanted = paths(value)
    places = scan.places(line, wanted.keys())
    assert places.keys() == wanted.keys()
    for path, held in wanted.items():
        assert line[places[path].value :].startswith(
            json.dumps(held, ensure_ascii=False).encode(errors="surrogatepass")
        )
        key = places[path].key
        if key is not None:
            assert line[key:].startswith(json.dumps(path[-1], ensure_ascii=False).encode(errors="surrogatepass"))


@pytest.mark.parametrize(
    ("line", "offset", "says"),
    [
        (b'{"a": 1', 7, "missing"),
        (b'{"a" 1}', 5, "colon"),
        (b"{'a': 1}", 1, "double quotes"),
        (b'{"a": True}', 6, "Python"),
        (b'{"a": 1,}', 8, "comma before"),
        (b'{"a": "b}', 9, "not closed"),
        (b'{"a": "\t"}', 7, "control character"),
        (b'{"a": "\\x"}', 7, "escape"),
        (b'{"a": 1} {"a": 2}', 9, "more text"),
        (b'{"a": 01}', 6, "does not have"),
        (b'{"a": 1} {"a": 2}', 9, "another object"),
        (b'{"a":', 5, "too early"),
        (b'\xef\xbb\xbf{"a": 1}', 0, "U+FEFF"),
        (b'{"a": \xc2\xa01}', 6, "U+00A0"),
    ],
)
def test_broken_json_is_named_and_found(line: bytes, offset: int, says: str) -> None:
    found, ended = scan.faults(line)
    assert [(fault.code, fault.offset) for fault in found] == [("invalid-json", offset)]
    assert says in str(found[0].value)
    assert ended


@pytest.mark.parametrize(
    ("line", "path"),
    [
        (b'{"messages": [{"role": "user", "content": "a\xff"}]}', ("messages", 0, "content")),
        (b'{"messages": [{"role": "user", "content": "\xff"}]}', ("messages", 0, "content")),
        (b'{"messages": [{"role": "user", "c\xff": "a"}]}', ("messages", 0)),
        (b'{"messages": [{"\xc3\xa9": 1, "content": ["a", "\xff"]}]}', ("messages", 0, "content", 1)),
        (b'{"messages": [\xff{"role": "user"}]}', ("messages", 0)),
        (b'{"messages": []\xff}', ()),
        (b'{"a": "\xc3\xa9"} \xff', ()),
        (b"\xff", ()),
        (b'{"a\xfe": {"b": "\xff"}}', ("a\ufffd", "b")),
    ],
)
def test_a_byte_stands_in_a_value_or_between_two(line: bytes, path: tuple[str | int, ...]) -> None:
    assert scan.path_at(line, line.rindex(b"\xff")) == path


@pytest.mark.parametrize("number", [b"01", b"1.", b"1.5.2", b"0x1F", b"1_000", b"1e", b"nullx", b"true1"])
def test_a_value_that_begins_well_and_goes_on_badly_is_the_one_at_fault(number: bytes) -> None:
    line = b'{"messages": [{"role": "user", "weight": %b}]}' % number
    (found,), ended = scan.faults(line)
    assert (found.code, found.path, ended) == ("invalid-json", ("messages", 0, "weight"), True)
    assert found.offset == line.index(number)


@MANY
@given(JSON.filter(lambda value: "nan" not in repr(value)))
def test_every_text_is_found_by_a_byte_in_it(value: Any) -> None:
    line = json.dumps({"a": [value], "b": 0}, ensure_ascii=False).encode(errors="surrogatepass")
    texts = {path: held for path, held in paths({"a": [value], "b": 0}).items() if isinstance(held, str)}
    for path, place in scan.places(line, texts.keys()).items():
        inside = place.value + 1
        assert scan.path_at(line[:inside] + b"\xff" + line[inside:], inside) == path
