from __future__ import annotations

import json
import random
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anytune.data.dedupe import Deduped, Keep, Kind, dedupe
from anytune.data.near import jaccard, shingles
from anytune.data.prompt import said
from anytune.errors import RefusedError, UsageError
from tests.amount import examples
from tests.data.samples import assistant, chat, user, write
from tests.data.test_near import changed, text

KINDS: tuple[Kind, ...] = ("exact", "normalised", "prompt", "near")
SAME = b'{"messages":[{"content":"Tide?","role":"user"},{"role":"assistant","content":"5.9 \\u006d"}]}'


def done(tmp_path: Path, *records: Any, kind: Kind = "exact", **more: Any) -> tuple[Deduped, list[bytes]]:
    path, out = write(tmp_path / "a.jsonl", *records), tmp_path / "out.jsonl"
    made = dedupe(path, out, kind=kind, force=True, **more)
    return made, out.read_bytes().splitlines()


def planted() -> list[Any]:
    """Return chats with copies, near copies, chains of them, and equal prompts among them."""
    chance = random.Random(1)
    answers = [text(chance, 80) for _ in range(150)]
    answers += [changed(chance, answer, times=1) for answer in answers[:60]]
    answers += [changed(chance, answer, times=1) for answer in answers[150:190]]
    answers += answers[40:70] + [answer.upper() for answer in answers[160:170]]
    chance.shuffle(answers)
    records = [chat(user(f"Question {i % 200}"), assistant(answer)) for i, answer in enumerate(answers)]
    records += [*records[20:60], chat(user("QUESTION  7"), assistant(records[7]["messages"][1]["content"].upper()))]
    chance.shuffle(records)
    return records


def test_white_space_order_of_keys_and_escapes_make_no_other_record(tmp_path: Path) -> None:
    made, lines = done(tmp_path, chat(), chat(user("Other")), SAME, chat(user("TIDE?")))
    assert made.dropped == ((3, 1, 1.0),)
    assert (made.examples, made.kept, len(lines)) == (4, 3, 3)


def test_case_and_white_space_inside_strings_are_aside_when_normalised(tmp_path: Path) -> None:
    made, _ = done(
        tmp_path, chat(), chat(user(" tide?\n"), assistant("5.9  M")), chat(assistant("Tide?")), kind="normalised"
    )
    assert made.dropped == ((2, 1, 1.0),)


def test_made_up_ids_are_aside_when_normalised_but_not_which_call_they_name(tmp_path: Path) -> None:
    def asked(*names: str, answered: tuple[str, ...], **more: Any) -> dict[str, Any]:
        calls = [
            {"id": name, "type": "function", "function": {"name": f"tide_{n}", "arguments": "{}"}}
            for n, name in enumerate(names)
        ]
        answers = [{"role": "tool", "tool_call_id": name, "content": f"{n} m"} for n, name in enumerate(answered)]
        return chat(user(), assistant(None, tool_calls=calls), *answers, assistant(), **more)

    made, _ = done(
        tmp_path,
        asked("a", "b", answered=("a", "b")),
        asked("call_2", "call_1", answered=("call_2", "call_1"), id=7),
        asked("a", "b", answered=("b", "a")),
        {**chat(), "id": 1},
        {**chat(), "id": 2},
        {**chat(), "weight": 2},
        kind="normalised",
    )
    assert made.dropped == ((2, 1, 1.0), (5, 4, 1.0))


def test_the_same_prompt_goes_whatever_its_answer(tmp_path: Path) -> None:
    records = chat(user("Tide?"), assistant("a")), chat(user("Wind?")), chat(user("tide?"), assistant("b"))
    made, lines = done(tmp_path, *records, kind="prompt")
    assert made.dropped == ((3, 1, 1.0),)
    made, lines = done(tmp_path, *records, kind="prompt", keep="last")
    assert made.dropped == ((1, 3, 1.0),)
    assert json.loads(lines[1]) == records[2]


@pytest.mark.parametrize("keep", ["first", "last"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_line_that_goes_has_a_twin_that_stays(tmp_path: Path, kind: Kind, keep: Keep) -> None:
    records = planted()
    made, lines = done(tmp_path, *records, kind=kind, keep=keep)
    gone = {line for line, _, _ in made.dropped}
    assert len(gone) == len(made.dropped) >= 30
    assert [json.loads(line) for line in lines] == [r for i, r in enumerate(records, 1) if i not in gone]
    for line, twin, similarity in made.dropped:
        assert twin not in gone
        assert kind == "near" or (line > twin) == (keep == "first")
        if kind == "near":
            one, other = (frozenset(shingles(said(json.dumps(records[i - 1]).encode()))) for i in (line, twin))
            assert similarity == jaccard(one, other) >= 0.8


@pytest.mark.parametrize("keep", ["first", "last"])
@pytest.mark.parametrize("kind", KINDS)
def test_to_dedupe_twice_changes_nothing_more(tmp_path: Path, kind: Kind, keep: Keep) -> None:
    _, lines = done(tmp_path, *planted(), kind=kind, keep=keep)
    again, same = done(tmp_path, *lines, kind=kind, keep=keep)
    assert again.dropped == ()
    assert same == lines


def test_each_kind_leaves_out_what_the_stricter_one_does(tmp_path: Path) -> None:
    records = planted()
    exact, normalised, near = (done(tmp_path, *records, kind=kind)[0].kept for kind in ("exact", "normalised", "near"))
    assert exact >= normalised >= near


RECORDS = st.sampled_from(
    (chat(), SAME, chat(user("Wind?")), chat(user("WIND?")), {"text": "a"}, {"text": "A "}, b"{broken", b"[1]", b"")
)


@given(
    st.lists(RECORDS, min_size=1, max_size=12).filter(any),
    st.sampled_from([b"\n", b"\r\n"]),
    st.booleans(),
    st.booleans(),
)
@settings(max_examples=examples(60), deadline=None)
def test_every_other_line_stays_byte_for_byte(records: list[Any], end: bytes, mark: bool, ended: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path, out = write(Path(folder) / "a.jsonl", *records), Path(folder) / "b.jsonl"
        whole = path.read_bytes().replace(b"\n", end)
        path.write_bytes((b"\xef\xbb\xbf" if mark else b"") + (whole if ended else whole.removesuffix(end)))
        made = dedupe(path, out)
        gone = {line for line, _, _ in made.dropped}
        lines = path.read_bytes().splitlines(keepends=True)
        assert out.read_bytes() == b"".join(line for i, line in enumerate(lines, 1) if i not in gone)
        values = [json.dumps(r) if not isinstance(r, bytes) else r for r in records if r]
        values = [json.dumps(chat()) if value == SAME else value for value in values]
        assert made.kept == len(set(values))
        assert made.examples == len(values)


def test_a_chain_of_near_ones_does_not_lose_its_ends(tmp_path: Path) -> None:
    words = text(random.Random(2), 100).split()
    chain = [{"text": " ".join(words[start : start + 85])} for start in (0, 7, 14)]
    made, _ = done(tmp_path, *chain, kind="near")
    assert [(line, twin) for line, twin, _ in made.dropped] == [(2, 1)]


def test_nothing_is_overwritten_unasked(tmp_path: Path) -> None:
    path, out = write(tmp_path / "a.jsonl", chat()), tmp_path / "b.jsonl"
    out.write_text("mine")
    with pytest.raises(UsageError, match="exists"):
        dedupe(path, out)
    with pytest.raises(UsageError, match="different names"):
        dedupe(path, path, force=True)
    assert out.read_text() == "mine"
    assert dedupe(path, out, force=True).kept == 1


@pytest.mark.parametrize("content", [b"\x1f\x8b\x08\x00", b'[\n{"messages": []},\n{}\n]\n', b"PAR1"])
def test_a_file_that_is_no_json_lines_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(content)
    with pytest.raises(RefusedError, match="not one JSON object a line"):
        dedupe(path, tmp_path / "b.jsonl")
    assert list(tmp_path.iterdir()) == [path]


def test_an_unheard_of_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="fuzzy"):
        dedupe(write(tmp_path / "a.jsonl", chat()), tmp_path / "b.jsonl", kind="fuzzy")  # type: ignore[arg-type]


def test_a_record_nested_too_deep_stands_for_itself(tmp_path: Path) -> None:
    deep = b'{"text": ' + b"[" * 5000 + b"]" * 5000 + b"}"
    for kind in KINDS:
        assert done(tmp_path, deep, chat(), deep, kind=kind)[0].dropped == ((3, 1, 1.0),)
