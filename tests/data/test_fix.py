from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anytune.data.check.rules import RULES
from anytune.data.fix import ASKED, Fixed, fix, foresee
from anytune.data.fix.seen import Seen
from anytune.data.fix.values import Values
from anytune.data.lines import Lines
from anytune.errors import RefusedError, UsageError
from tests.amount import examples
from tests.data.samples import CHAT, assistant, chat, report, user, write

Method = Literal["sft", "dpo", "rft"]
# What no change to the records mends; the file is refused, or the error stays.
REFUSED = {
    "file-empty": "the file is empty",
    "file-blank": "only blank lines",
    "parquet": "parquet",
    "csv": "csv",
    "not-text": "not-text",
    "wrong-method": "wrong-method",
    "prompt-completion": "prompt-completion",
    "text-record": "text-record",
    "trl-preference": "trl-preference",
    "alpaca": "alpaca",
    "sharegpt": "no record would be left",  # its chats have no answers
}
UNMENDABLE = {"too-few-examples"}
PORTS = ("Brest", "Lorient", "Vannes", "Royan", "Calais", "Dieppe", "Honfleur", "Roscoff", "Paimpol", "Granville")
CHATS = [chat(user(f"Tide at {port}?"), assistant("5.9 m")) for port in PORTS]
RAW = b"".join(json.dumps(record).encode() + b"\n" for record in CHATS)


def method_of(code: str) -> Method:
    methods = RULES[code].methods
    return "sft" if "sft" in methods else methods[0]


def mended(raw: bytes, tmp_path: Path, *, agreed: frozenset[str] = frozenset(), **terms: Any) -> tuple[Fixed, bytes]:
    path, out = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    path.write_bytes(raw)
    found = fix(path, out=out, agreed=agreed, **terms)
    assert path.read_bytes() == raw
    return found, out.read_bytes() if found.out else raw


def done(found: Fixed) -> dict[str, int]:
    return {change.code: change.count for change in found.done}


def test_every_fault_is_mended_or_refused_aloud(tmp_path: Path) -> None:
    for path in sorted(CHAT.glob("*.jsonl")):
        (tmp_path / path.stem).mkdir()
        mended_or_refused(path, tmp_path / path.stem)


def mended_or_refused(path: Path, folder: Path) -> None:
    method, out = method_of(path.stem), folder / "b.jsonl"
    if path.stem in REFUSED:
        with pytest.raises(RefusedError) as refused:
            fix(path, out=out, method=method, agreed=ASKED)
        assert REFUSED[path.stem] in refused.value.message, path
        assert refused.value.fix, path
        assert not out.exists(), path
        return
    found = fix(path, out=out, method=method, agreed=ASKED)
    assert found.report is not None
    assert {issue.code for issue in found.report.files[0].errors} <= UNMENDABLE, path
    again = fix(found.out or path, out=folder / "c.jsonl", method=method, agreed=ASKED)
    assert (again.done, again.out) == ((), None), path
    assert not (folder / "c.jsonl").exists(), path


def test_what_is_nearly_wrong_is_not_touched(tmp_path: Path) -> None:
    for path in sorted((CHAT / "near").glob("*.jsonl")):
        provider = "together" if path.stem in ("sample-weight-invalid", "reasoning-not-text") else "openai"
        out = tmp_path / path.name
        found = fix(path, out=out, method=method_of(path.stem), providers=(provider,), agreed=ASKED)
        left = (found.out or path).read_bytes().replace(b"\r\n", b"\n")
        assert left == path.read_bytes().replace(b"\r\n", b"\n"), path


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_an_archive_is_unpacked(pack: Any, tmp_path: Path) -> None:
    found, raw = mended(pack(RAW), tmp_path)
    assert raw == RAW
    assert done(found) == {"compressed": 1}


@pytest.mark.parametrize("cut", [0.5, 0.99])
def test_half_an_archive_is_refused(cut: float, tmp_path: Path) -> None:
    packed = gzip.compress(RAW)
    with pytest.raises(RefusedError, match="archive is broken"):
        mended(packed[: int(cut * len(packed))], tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["a.jsonl"]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"])
def test_other_encodings_become_utf_8(encoding: str, tmp_path: Path) -> None:
    raw = json.dumps(chat(user("Marée 🌊"), assistant("5,9 m")), ensure_ascii=False).encode() + b"\n"
    found, new = mended(raw.decode().encode(encoding), tmp_path)
    assert new == raw
    assert done(found) == {"utf-16": 1}


def test_half_a_character_of_utf_16_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match="throughout"):
        mended(RAW.decode().encode("utf-16") + b"\x00", tmp_path)


def test_a_mark_and_other_line_ends_and_blank_lines_go(tmp_path: Path) -> None:
    found, new = mended(b"\xef\xbb\xbf" + RAW.replace(b"\n", b"\r\n\r\n"), tmp_path)
    assert new == RAW
    assert done(found) == {"byte-order-mark": 1, "line-end": 10, "blank-line": 10}


def test_carriage_returns_alone_end_lines(tmp_path: Path) -> None:
    assert mended(RAW.replace(b"\n", b"\r"), tmp_path)[1] == RAW
    late = RAW + b"\r".join(json.dumps(chat(user(f"{n}?"), assistant())).encode() for n in range(3))
    found, new = mended(late, tmp_path)
    assert new.count(b"\n") == found.records == 13


def test_records_that_stand_on_one_line_are_put_apart(tmp_path: Path) -> None:
    found, new = mended(RAW.replace(b"}\n{", b"}, {") + b"\n", tmp_path)
    assert new == RAW
    assert found.removed == 0


@pytest.mark.parametrize("indent", [None, 0, 2, "\t"])
def test_an_array_becomes_lines(indent: Any, tmp_path: Path) -> None:
    found, new = mended(json.dumps(CHATS, indent=indent).encode(), tmp_path)
    assert [json.loads(line) for line in new.splitlines()] == CHATS
    assert done(found) == {"json-array": 1}


def test_pretty_printed_records_become_lines(tmp_path: Path) -> None:
    odd = [*CHATS, chat(user('"}]{[\\'), assistant("a\nb\\\\"))]
    found, new = mended(b"\n".join(json.dumps(record, indent=2).encode() for record in odd), tmp_path)
    assert [json.loads(line) for line in new.splitlines()] == odd
    assert done(found) == {"pretty-printed": 1}


def test_a_value_that_is_never_closed_is_refused(tmp_path: Path) -> None:
    raw = json.dumps(CHATS, indent=2).encode()
    with pytest.raises(RefusedError, match="never closed"):
        mended(raw[:-200], tmp_path)


JSON = st.recursive(
    st.one_of(st.integers(), st.text(max_size=4), st.sampled_from(['\\"', "}{", "\\", "]["])),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=3)),
    max_leaves=6,
)


@settings(max_examples=examples(60), deadline=None)
@given(
    st.lists(st.dictionaries(st.text(max_size=3), JSON, max_size=3), max_size=4),
    st.sampled_from([None, 0, 1]),
    st.booleans(),
    st.integers(1, 9),
)
def test_values_do_not_hang_on_the_borders_of_chunks(values: Any, indent: Any, in_array: bool, chunk: int) -> None:
    texts = [json.dumps(value, indent=indent) for value in values]
    raw = json.dumps(values, indent=indent) if in_array else "\n".join(texts)
    cut = list(Values(io.BytesIO(raw.encode()), in_array=in_array, chunk=chunk))
    assert [json.loads(line or b"") for _, line in cut] == values
    assert all(b"\n" not in (line or b"") for _, line in cut)
    assert cut == list(Values(io.BytesIO(raw.encode()), in_array=in_array))


def test_only_what_a_chosen_provider_minds_is_changed(tmp_path: Path) -> None:
    raw = json.dumps(chat(user([{"type": "text", "text": "Tide?"}]), assistant())).encode() + b"\n"
    assert mended(raw, tmp_path, providers=("openai",))[1] == raw
    assert mended(raw, tmp_path, providers=("together",))[1] != raw


def test_records_that_need_nothing_keep_their_bytes(tmp_path: Path) -> None:
    odd = b'{"messages" :[{"content":"Tide\\u003f", "role": "user"},{"role":"assistant","content":"5.90 m"}]}\n'
    wrong = json.dumps(chat(user(role="human"), assistant())).encode() + b"\n"
    new = mended(odd + wrong, tmp_path)[1]
    assert new.startswith(odd)
    assert json.loads(new.splitlines()[1]) == chat()


def test_mended_records_are_written_in_the_manner_of_the_file(tmp_path: Path) -> None:
    record = chat(user("Marée ?", role="human"), assistant())
    wanted = chat(user("Marée ?"), assistant())
    for manner in ({}, {"separators": (",", ":")}, {"ensure_ascii": False}):
        before, after = (json.dumps(one, **manner).encode() + b"\n" for one in (record, wanted))
        assert mended(before, tmp_path)[1] == after


def test_equal_records_are_kept_once_whatever_the_order_of_their_keys(tmp_path: Path) -> None:
    turned = json.dumps({"messages": [dict(reversed(m.items())) for m in CHATS[0]["messages"]]}).encode() + b"\n"
    found, new = mended(RAW + turned, tmp_path)
    assert new == RAW
    assert (found.records, found.written, found.removed) == (11, 10, 1)
    assert found.done[0].lines == (11,)


def test_what_changes_meaning_waits_for_agreement(tmp_path: Path) -> None:
    raw = RAW + b'{"messages": []}\n' + json.dumps(chat(user(), user("And?"), assistant())).encode() + b"\n"
    found, new = mended(raw, tmp_path)
    assert new == raw
    assert {change.code: change.lines for change in found.left} == {"messages-empty": (11,), "user-repeated": (12,)}
    assert not found.ok
    found, new = mended(raw, tmp_path, agreed=frozenset({"messages-empty"}))
    assert (done(found), found.ok, found.removed) == ({"messages-empty": 1}, True, 1)
    assert [change.code for change in found.left] == ["user-repeated"]


def test_a_record_in_doubt_is_left_whole(tmp_path: Path) -> None:
    raw = RAW + b'{"messages": [{"role": "human", "role": "user", "content": "?", "mood": 1}]}\n'
    assert mended(raw, tmp_path)[1] == raw


def test_a_foreseen_mending_writes_nothing(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", *CHATS, chat(user(role="human"), assistant()))
    found = foresee(path)
    assert done(found) == {"role-unknown": 1}
    assert (found.out, found.report, found.ok) == (None, None, True)
    assert list(tmp_path.iterdir()) == [path]


def test_a_line_too_long_to_read_is_removed_only_when_agreed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(Lines.__init__.__kwdefaults__, "longest", 200)
    raw = RAW + json.dumps(chat(user("?" * 500), assistant())).encode() + b"\n"
    with pytest.raises(RefusedError, match="line 11"):
        mended(raw, tmp_path)
    found, new = mended(raw, tmp_path, agreed=ASKED)
    assert (new, done(found)) == (RAW, {"line-too-large": 1})


def test_a_file_is_never_written_over_itself(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", *CHATS)
    link = tmp_path / "b.jsonl"
    link.symlink_to(path)
    for out in (path, link):
        with pytest.raises(UsageError, match="itself"):
            fix(path, out=out)
    assert path.read_bytes() == RAW


@pytest.mark.parametrize("name", ["missing.jsonl", "a\0b", "."])
def test_what_is_no_file_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(RefusedError):
        fix(tmp_path / name, out=tmp_path / "b.jsonl")
    assert list(tmp_path.iterdir()) == []


def test_many_faults_on_one_line_take_no_time(tmp_path: Path) -> None:
    record = {**chat(), **{f"key {number}": number for number in range(20_000)}}
    found, new = mended(json.dumps(record).encode() + b"\n", tmp_path)
    assert json.loads(new) == chat()
    assert done(found) == {"record-key-unknown": 20_000}
    assert len(found.done[0].names) == 20


def test_nesting_without_end_is_no_crash(tmp_path: Path) -> None:
    deep = b'{"messages": ' + b"[" * 5_000 + b"]" * 5_000 + b"}\n"
    found, new = mended(RAW + deep, tmp_path, agreed=ASKED)
    assert (new, done(found)) == (RAW, {"nested-too-deep": 1})


def test_what_was_seen_is_remembered_beyond_the_first_table() -> None:
    seen = Seen()
    names = [str(number).encode() for number in range(10_000)]
    assert all(seen.add(name) for name in names)
    assert not any(seen.add(name) for name in names)


def test_the_check_of_the_new_file_is_part_of_the_report(tmp_path: Path) -> None:
    found, _ = mended(RAW.split(b"\n")[0] + b"\r\n", tmp_path)
    assert found.report is not None
    assert set(found.report.files[0].counts) == set(report(tmp_path / "b.jsonl").counts) == UNMENDABLE
