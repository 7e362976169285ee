"""Where a private value stands: line, column, byte offset and JSON path lead to the value itself."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anytune.data.check.further import Wish
from anytune.data.privacy import redact, scan
from anytune.data.sniff import BOM
from anytune.schema.data import Issue, PrivacySample
from tests.amount import examples
from tests.data.samples import assistant, chat, report, user

EMAIL, CARD, KEY = "jane.roe@harbour.example", "4111 1111 1111 1111", "sk-Qm4Zt8VbX2nLp6RwYc9Kd3Ha"
FILLERS = ("Tide?", "", "é", "日本語 ", "😀", ' "so" \\ ', "\n\t", "naïve ", "a/b ", "\u2028")
STEP = re.compile(r"\.([A-Za-z_]\w*)|\[(\d+)\]|\[\"((?:[^\"\\]|\\.)*)\"\]")
MANY = settings(max_examples=examples(200), deadline=None)


def placed(path: Path, **terms: Any) -> list[Issue]:
    found = report(path, wish=Wish(private=frozenset({"email", "card", "key"})), **terms)
    return [issue for issue in found.warnings if issue.code == "personal-data"]


def text_at(path: Path, place: Issue | PrivacySample, written: bytes) -> bytes:
    """Return what stands at the offset, having made sure that line and column lead to the same byte."""
    whole = path.read_bytes()
    assert place.line is not None
    assert place.column is not None
    assert place.offset is not None
    lines = whole.removeprefix(BOM).split(b"\n")
    line = lines[place.line - 1]
    before = len(whole) - len(b"\n".join(lines[place.line - 1 :]))
    assert before + len(line.decode()[: place.column - 1].encode()) == place.offset
    return whole[place.offset : place.offset + len(written)]


def at(record: Any, path: str) -> Any:
    """Follow a path; the last step of one that leads to a key that holds a value is not in the record."""
    assert path.startswith("$")
    for name, index, quoted in STEP.findall(path):
        key = name or (json.loads(f'"{quoted}"') if quoted else "")
        if index:
            record = record[int(index)]
        elif key.startswith("<"):
            (key,) = (own for own in record if EMAIL in own or CARD in own or KEY in own)
            return key if isinstance(record[key], int) else record[key]
        else:
            record = record[key]
    return record


def escaped(text: str, seed: int) -> str:
    """Write the inside of a JSON string, some characters as escapes that need none."""
    chance = random.Random(seed)
    raw = chance.random() < 0.5
    return "".join(
        f"\\u{ord(c):04X}" if ord(c) < 128 and chance.random() < 0.2 else json.dumps(c, ensure_ascii=not raw)[1:-1]
        for c in text
    )


def record_with(place: str, text: str) -> dict[str, Any]:
    """Return a record with a text at a named place."""
    call = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": json.dumps({"to": [text]})}}
    answer = {"role": "tool", "tool_call_id": "c1", "content": text}
    tools = [{"type": "function", "function": {"name": "look", "description": text, "parameters": {}}}]
    return {
        "content": chat(user(), assistant(text)),
        "first": chat(user(text), assistant()),
        "part": chat(user([{"type": "text", "text": "Look"}, {"type": "text", "text": text}]), assistant()),
        "arguments": chat(user(), {"role": "assistant", "tool_calls": [call]}),
        "answer": chat(user(), {"role": "assistant", "tool_calls": [call]}, answer, assistant()),
        "tools": chat(tools=tools),
        "key": chat(user(), {**assistant(), text: 1}),
        "outer": chat(**{text: 1}),
        "deep": chat(**{"meta data": {"a": [[], [{"b": text}]]}}),
    }[place]


PLACES = ("content", "first", "part", "arguments", "answer", "tools", "key", "outer", "deep")


@MANY
@given(
    place=st.sampled_from(PLACES),
    value=st.sampled_from([("email", EMAIL), ("card", CARD), ("key", KEY)]),
    before=st.lists(st.sampled_from(FILLERS), max_size=4).map("".join),
    after=st.lists(st.sampled_from(FILLERS), max_size=2).map("".join),
    seed=st.integers(0, 10_000),
    above=st.integers(0, 3),
    mark=st.booleans(),
)
def test_the_place_of_a_value_is_where_it_is_written(
    tmp_path_factory: pytest.TempPathFactory,
    place: str,
    value: tuple[str, str],
    before: str,
    after: str,
    seed: int,
    above: int,
    mark: bool,
) -> None:
    kind, said = value
    record = record_with(place, f"{before} {said} {after}")
    line, written = line_of(record, said, seed)
    path = tmp_path_factory.mktemp("place") / "train.jsonl"
    plain = [json.dumps(chat(user(f"Tide {n}? é 😀")), ensure_ascii=False).encode() for n in range(above)]
    path.write_bytes((BOM if mark else b"") + b"\n".join([*plain, line, b""]))
    issues = placed(path)
    samples = [sample for sample in scan(path).samples if sample.kind == kind]
    assert {(i.line, i.column, i.offset, i.path) for i in issues if kind in i.message} == {
        (s.line, s.column, s.offset, s.path) for s in samples
    }
    assert len(samples) == line.count(written)
    for sample in samples:
        assert sample.line == above + 1
        assert text_at(path, sample, written) == written
        assert said in at(record, sample.path)


def line_of(record: Any, said: str, seed: int) -> tuple[bytes, bytes]:
    """Write a record with the value in a random spelling; return it with that spelling."""
    text = json.dumps(record, ensure_ascii=bool(seed % 2))
    spelling = escaped(said, seed)
    assert said in text
    return text.replace(said, spelling).encode(), spelling.encode()


def test_arguments_that_escape_the_value_twice_lead_to_the_outer_escape(tmp_path: Path) -> None:
    arguments = json.dumps({"to": EMAIL}).replace("@", "\\u0040")
    call = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": arguments}}
    path = tmp_path / "train.jsonl"
    path.write_text(json.dumps(chat(user(), {"role": "assistant", "tool_calls": [call]})) + "\n")
    (issue,) = placed(path)
    assert issue.path == "$.messages[1].tool_calls[0].function.arguments"
    assert text_at(path, issue, b"jane.roe\\\\u0040") == b"jane.roe\\\\u0040"


def test_a_line_that_is_no_json_has_the_place_too(tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    path.write_bytes(f"{json.dumps(chat())}\né write to {EMAIL}\n".encode() + b"\xff\xe2\x82 " + EMAIL.encode())
    first, second = placed(path)
    assert (first.line, first.column, first.path) == (2, 12, "$")
    assert text_at(path, first, EMAIL.encode()) == EMAIL.encode()
    assert (second.line, second.column) == (3, 4)  # what is no UTF-8 counts as it is shown
    assert path.read_bytes()[second.offset :] == EMAIL.encode()


def test_of_many_values_the_first_of_the_file_are_shown_whatever_their_kind(tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    said = [KEY.replace("Qm4Z", f"Q{n}4Z") if n % 2 else f"jane{n}@harbour.example" for n in range(30)]
    path.write_text("".join(json.dumps(chat(user(text), assistant(str(n)))) + "\n" for n, text in enumerate(said)))
    assert [issue.line for issue in placed(path)] == [*range(1, 21)]
    assert [issue.line for issue in placed(path, show=1_000)] == [*range(1, 31)]
    told = report(path, show=1_000, wish=Wish(private=frozenset({"email", "key"}))).privacy
    assert told is not None
    assert [sample.line for sample in told.samples] == [1, 3, 5, 7, 9, 2, 4, 6, 8, 10]


def test_a_redaction_places_what_it_replaced_in_the_file_that_it_read(tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    path.write_bytes(b"".join(json.dumps(chat(user(f"é {EMAIL}"))).encode() + b"\n" for _ in range(2)))
    done = redact(path, tmp_path / "out.jsonl")
    assert done.samples == scan(path).samples
