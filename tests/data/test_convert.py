from __future__ import annotations

import gzip
import io
import json
import os
import tempfile
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anytune.commands.convert import From, To
from anytune.data.convert import SOURCES, TARGETS, Conversion, convert
from anytune.data.convert.loss import DETAILS, LEFT_OUT
from anytune.data.convert.pull import BrokenError, Pull
from anytune.errors import RefusedError, UsageError
from anytune.ui.convert import then
from tests.amount import examples
from tests.data.samples import ROOT, assistant, chat, report, script, user, write

FOLDER = ROOT / "fixtures" / "convert"
make = script(FOLDER / "make.py")


def held(done: Conversion) -> list[Any]:
    return [] if done.out is None else [json.loads(line) for line in done.out.read_text("utf-8").split("\n")[:-1]]


def converted(path: Path, **terms: Any) -> tuple[Conversion, list[Any]]:
    done = convert(path, out=path.parent / "new" / "out.jsonl", force=True, **terms)
    assert done.read == done.written + done.left_out + done.joined
    return done, held(done)


def from_text(tmp_path: Path, name: str, text: str | bytes, **terms: Any) -> tuple[Conversion, list[Any]]:
    path = tmp_path / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return converted(path, **terms)


@pytest.mark.parametrize("name", make.STORIES)
def test_a_story_is_the_same_whatever_format_it_came_in(name: str, tmp_path: Path) -> None:
    if name.endswith(".parquet"):
        pytest.importorskip("pyarrow")
    done = convert(FOLDER / name, out=tmp_path / "out.jsonl")
    assert held(done) == make.STORIES[name]
    assert set(done.counts) <= {"key-dropped", "text-without-prompt", "unpaired"}
    assert done.ok == ("unpaired" not in done.counts)


@pytest.mark.parametrize("name", make.STORIES)
def test_what_was_converted_passes_the_check(name: str, tmp_path: Path) -> None:
    if name.endswith(".parquet"):
        pytest.importorskip("pyarrow")
    done = convert(FOLDER / name, out=tmp_path / "out.jsonl")
    assert done.out is not None
    found = report(done.out, method="dpo" if done.kind == "pair" else "sft")
    assert {issue.code for issue in found.errors} <= {"too-few-examples"}


def test_the_fixtures_are_what_their_script_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pyarrow")
    monkeypatch.setattr(make, "HERE", tmp_path)
    make.main()
    for path in tmp_path.iterdir():
        if path.suffix not in (".parquet", ".gz"):
            assert path.read_bytes() == (FOLDER / path.name).read_bytes(), path.name
    assert {path.name for path in tmp_path.iterdir()} == set(make.STORIES)


def test_the_formats_of_the_command_are_those_of_the_library() -> None:
    assert set(get_args(To)) == set(TARGETS)
    assert set(get_args(From)) == set(SOURCES)
    page = (ROOT / "docs" / "how-to" / "convert.md").read_text("utf-8")
    assert [name for name in (*SOURCES, *TARGETS, *LEFT_OUT, *DETAILS) if f"`{name}`" not in page] == []


def test_a_mix_of_formats_is_read_record_by_record_and_counted(tmp_path: Path) -> None:
    records = [make.LINES[name][0] for name in ("alpaca", "chat", "anthropic", "alpaca", "prompt-completion")]
    done, chats = converted(write(tmp_path / "a.jsonl", *records))
    assert {met.format: met.records for met in done.formats} == {
        "alpaca": 2,
        "chat": 1,
        "anthropic": 1,
        "prompt-completion": 1,
    }
    assert len(chats) == 5


def test_the_format_is_said_with_the_keys_that_tell_it(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", {"question": "Tide?", "answer": "5.9 m"})
    (met,) = converted(path)[0].formats
    assert (met.format, met.by, met.sure) == ("question-answer", ("question", "answer"), "likely")
    (met,) = converted(path, source="question-answer")[0].formats
    assert (met.by, met.sure) == ((), "given")


def test_a_format_that_is_named_holds_for_every_record(tmp_path: Path) -> None:
    done, _ = converted(write(tmp_path / "a.jsonl", *make.LINES["chat"], {"text": "Tide."}), source="text")
    assert done.counts == {"format-mismatch": 3, "text-without-prompt": 1}
    assert done.losses[0].what == "text wanted"


def test_every_broken_line_is_named_with_its_line_and_the_others_are_written(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", make.SHORT, b"{broken", b"", b"[1]", b"\xff\xfe", {"zzz": 1}, make.SHORT)
    done, chats = converted(path)
    assert chats == [make.SHORT, make.SHORT]
    assert [(loss.code, loss.line, loss.record) for loss in done.losses] == [
        ("not-json", 2, 2),
        ("not-an-object", 4, 3),
        ("not-utf-8", 5, 4),
        ("format-unknown", 6, 5),
    ]
    assert all(loss.left_out for loss in done.losses)
    assert not done.ok


def test_losses_are_kept_up_to_a_bound_and_counted_beyond_it(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", *({**make.SHORT, "id": i} for i in range(30)))
    done = converted(path, show=4)[0]
    assert (len(done.losses), done.counts, done.ok) == (4, {"key-dropped": 30}, True)
    assert done.losses[3].path == "$.id"


def test_nothing_is_written_over_and_a_new_name_is_found(tmp_path: Path) -> None:
    path = write(tmp_path / "chats.jsonl", make.SHORT)
    done = convert(path)
    assert done.out == tmp_path / "chats.prepared.jsonl"
    with pytest.raises(UsageError, match="exists"):
        convert(path)
    assert convert(path, force=True).ok
    with pytest.raises(UsageError, match="onto itself"):
        convert(path, out=path, force=True)
    assert path.read_bytes() == write(tmp_path / "b", make.SHORT).read_bytes()


def test_a_packed_file_gets_the_name_of_what_is_in_it(tmp_path: Path) -> None:
    path = tmp_path / "chats.json.gz"
    path.write_bytes(gzip.compress(json.dumps([make.SHORT]).encode()))
    done = convert(path)
    assert (done.out, done.container) == (tmp_path / "chats.prepared.jsonl", "json-array, gzip")


def test_a_file_without_a_record_to_write_leaves_no_file(tmp_path: Path) -> None:
    done = convert(write(tmp_path / "a.jsonl", {"zzz": 1}), out=tmp_path / "new.jsonl")
    assert (done.out, done.written, done.ok) == (None, 0, False)
    assert [path.name for path in tmp_path.iterdir()] == ["a.jsonl"]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.json", b'[{"messages": [], }', "a.json:1: it breaks off here"),
        ("a.json", b'[\n{"text": "a"},\n{"text": "b"', "a.json:3: it breaks off here"),
        ("a.json", b'[{"text": "a"}] x', "something follows"),
        ("a.json", b'{"data": [\n{"text": "\xff"}]}', "not UTF-8"),
        ("a.json", b"[" * 100_000, "nested too deeply"),
        ("a.json", b'[{"a": ' + b"1" * 5000 + b"}]", "number is too long"),
        ("a.csv", b"prompt,completion\n\x81,b\n", "not UTF-8"),
        ("a.gz", gzip.compress(b'{"text": "a"}\n' * 9999)[:-20], "breaks off"),
    ],
)
def test_a_file_that_breaks_off_is_refused_whole(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(RefusedError, match=said):
        convert(path, out=tmp_path / "new.jsonl")
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl", b"PK\x03\x04"),
        ("a.jsonl", '{"text": "a"}'.encode("utf-16")),
        ("a.csv", b"prompt,prompt\na,b\n"),
        ("a.csv", b""),
        ("a.gz", b"\x1f\x8b\x08"),
        ("a.parquet", b"PAR1 but not really"),
    ],
)
def test_a_file_that_is_something_else_is_refused(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(RefusedError):
        convert(path)
    with pytest.raises(RefusedError):
        convert(tmp_path / "none.jsonl")
    with pytest.raises(UsageError, match="no format"):
        convert(path, to="yaml")


def test_an_array_is_read_in_pieces_whatever_their_size() -> None:
    records = [{"text": 'a "b" \\ é 漢 \U0001f30a', "n": [1, 2.5, None, True, {}]}, {"text": ""}, {"x": -12e3}]
    for text in (json.dumps(records), json.dumps(records, indent=2, ensure_ascii=False)):
        for size in (1, 2, 3, 7, 1000):
            pull = Pull(io.BytesIO(b"\xef\xbb\xbf" + text.encode()), chunk=size)
            assert pull.value() == records
            assert pull.peek() == ""


def test_a_fault_in_an_array_is_found_without_reading_the_rest() -> None:
    stream = io.BytesIO(b'{"a": tru, "b": 1}' + b" " * 5_000_000)
    with pytest.raises(BrokenError):
        Pull(stream, chunk=1000).value()
    assert stream.tell() < 3000


def test_lines_of_an_array_are_counted(tmp_path: Path) -> None:
    text = '[\n{"text": "a"},\n\n{"zzz": 1}, {"yyy":\n 2},\n3\n]\n'
    done, _ = from_text(tmp_path, "a.json", text)
    assert [(loss.line, loss.record) for loss in done.losses if loss.left_out] == [(4, 2), (4, 3), (6, 4)]


def test_what_stands_around_the_records_is_named(tmp_path: Path) -> None:
    text = json.dumps({"object": "list", "data": [make.SHORT], "has_more": False, "next": "x"})
    done, chats = from_text(tmp_path, "a.json", text)
    assert chats == [make.SHORT]
    assert [(loss.code, loss.what) for loss in done.losses] == [("key-dropped", "object, has_more, next")]


def test_a_table_keeps_line_breaks_quotes_and_numbers_as_text(tmp_path: Path) -> None:
    done, chats = from_text(tmp_path, "a.csv", 'prompt,completion\r\n"a\r\nb, ""c""",007\r\n,\r\nx,y,z\r\n')
    assert chats == [chat(user('a\r\nb, "c"'), assistant("007"))]
    assert [(loss.code, loss.line) for loss in done.losses] == [("column-mismatch", 5)]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_of_a_table_is_found(tmp_path: Path, delimiter: str) -> None:
    text = make.table(delimiter, ["instruction", "input", "output"], ["a, b; c", "d|e", "f\tg"])
    _, chats = from_text(tmp_path, "a.csv", text)
    assert chats == [chat(user("a, b; c\n\nd|e"), assistant("f\tg"))]


def test_messages_in_a_table_may_be_written_as_python_shows_them(tmp_path: Path) -> None:
    text = make.table(",", ["messages"], [repr(make.SHORT["messages"])])
    assert from_text(tmp_path, "a.csv", text)[1] == [make.SHORT]


def test_the_columns_of_a_table_may_be_written_large(tmp_path: Path) -> None:
    assert from_text(tmp_path, "a.csv", "Question,ANSWER \nTide?,5.9 m\n")[1] == [chat()]


def test_a_line_may_be_the_list_of_messages_itself(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", make.SHORT["messages"], make.PLAIN["messages"])
    assert converted(path)[1] == [make.SHORT, make.PLAIN]


def test_an_answer_that_is_json_stays_an_answer(tmp_path: Path) -> None:
    record = {"prompt": "List the ports.", "completion": '[{"port": "Brest"}]'}
    assert converted(write(tmp_path / "a.jsonl", record))[1][0]["messages"][1]["content"] == '[{"port": "Brest"}]'


def test_chatml_text_is_cut_at_systems_blank_lines_and_ends(tmp_path: Path) -> None:
    one, two = make.chatml(make.PLAIN), make.chatml(make.SHORT)
    _, chats = from_text(tmp_path, "a.txt", one + one + two.rstrip("\n") + "<|endoftext|>\n" + "\n" + two)
    joined = make.PLAIN["messages"] + make.SHORT["messages"]
    assert chats == [make.PLAIN, {"messages": joined}, make.SHORT]


def test_plain_text_becomes_one_record_a_line(tmp_path: Path) -> None:
    assert from_text(tmp_path, "a.txt", "One.\n\nTwo.\n", to="text")[1] == [{"text": "One."}, {"text": "Two."}]


def test_half_characters_and_nan_are_left_out(tmp_path: Path) -> None:
    odd = ['{"prompt": "\\ud83d", "completion": "a"}', '{"text": NaN}', '{"text": 1e400}', '{"text": -Infinity}']
    done, _ = from_text(tmp_path, "a.json", f"[{', '.join(odd)}]")
    assert (done.left_out, done.counts["not-encodable"]) == (4, 1)


def test_blanks_of_plain_text_stay(tmp_path: Path) -> None:
    assert from_text(tmp_path, "a.txt", "  def f():\r\n\treturn 1 \n", to="text")[1] == [
        {"text": "  def f():"},
        {"text": "\treturn 1 "},
    ]


@pytest.mark.parametrize("to", TARGETS)
@pytest.mark.parametrize("beside", [{"input": "x"}, {"text": "x"}, {"input": {"messages": 3}}, {"preferred_output": 1}])
def test_a_key_for_a_grader_does_not_make_a_chat_something_else(tmp_path: Path, to: str, beside: Any) -> None:
    path = write(tmp_path / "a.jsonl", {"messages": [user("q")], **beside})
    done, made = converted(path, to=to)
    if to in ("chat", "trl"):
        assert made == [{"messages": [user("q")], **beside}]
    elif to == "sharegpt":
        assert done.counts == {"key-dropped": 1}
    else:
        assert done.left_out == 1


def test_lines_that_are_not_utf8_are_named_as_such_with_what_mends_them(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes('{"prompt": "Café?", "completion": "Ja"}\n'.encode("cp1252") * 40)
    done = convert(path)
    assert done.counts == {"not-utf-8": 40}
    assert [command.split()[:2] for command, _ in then(done)] == [["anytune", "fix"]]
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("packed", [False, True])
def test_a_table_that_is_not_utf8_is_read_as_cp1252_and_the_account_says_so(tmp_path: Path, packed: bool) -> None:
    content = "prompt,completion\nCafé?,5 €\n".encode("cp1252")
    name, content = ("a.csv.gz", gzip.compress(content)) if packed else ("a.csv", content)
    done, made = from_text(tmp_path, name, content)
    assert done.container.endswith("read as cp1252, since it is not UTF-8")
    assert made == [chat(user("Café?"), assistant("5 €"))]


@pytest.mark.parametrize("place", ["pipe", "folder", "missing"])
def test_what_is_no_regular_file_is_refused_at_once(tmp_path: Path, place: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    with pytest.raises(RefusedError) as caught:
        convert(tmp_path / place)
    fixes = {"missing": "mend the path", "folder": "name the files in it"}
    assert caught.value.fix == fixes.get(place, "save what it holds as a file, and name that")


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.sampled_from(["", "q", "user", "assistant", "[1]", "{}"]),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(["role", "content", "messages", "from", "value", "type", "text"]), inner, max_size=3
        )
    ),
    max_leaves=6,
)
MESSAGES = st.lists(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["user", "assistant", "tool", "system"]) | VALUES, "content": st.just("q") | VALUES},
        optional=dict.fromkeys(("name", "weight", "tool_calls", "function_call", "reasoning"), VALUES),
    ),
    min_size=1,
    max_size=3,
)
KEYS = (
    *("messages", "input", "prompt", "completion", "text", "tools", "weight", "preferred_output", "output", "system"),
    *("non_preferred_output", "chosen", "rejected", "label", "instruction", "history", "conversations", "response"),
)
RECORDS = st.fixed_dictionaries({}, optional=dict.fromkeys(KEYS, MESSAGES | VALUES))


@settings(max_examples=examples(20), deadline=None)
@given(st.lists(RECORDS, min_size=3, max_size=8))
def test_no_record_crashes_a_conversion(records: list[Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder) / "a.jsonl", *records, {"messages": [user("q"), assistant("a")]})
        for to in TARGETS:
            converted(path, to=to)


def test_a_tools_answer_keeps_its_name(tmp_path: Path) -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    answer = {"role": "tool", "tool_call_id": "c", "content": "5", "name": "f"}
    record = chat(user("q"), {"role": "assistant", "tool_calls": [call]}, answer, assistant("a"))
    assert converted(write(tmp_path / "a.jsonl", record))[1] == [record]
