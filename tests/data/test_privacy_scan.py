from __future__ import annotations

import importlib.util
import io
import json
import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from anytune.data.privacy import KINDS, find, redact, scan
from anytune.data.privacy.escape import Origins, layers, plain
from anytune.data.privacy.names import presidio
from anytune.data.privacy.scan import LONGEST, Looker
from anytune.errors import AnytuneError, MissingExtraError, RefusedError, UsageError
from anytune.ui import privacy
from tests.amount import examples
from tests.data.samples import ROOT, assistant, chat, user

FOUND = ROOT / "fixtures" / "privacy" / "found.jsonl"
HAS_RE2 = importlib.util.find_spec("re2") is not None
both = pytest.mark.parametrize(
    "engine", ["core", pytest.param("re2", marks=pytest.mark.skipif(not HAS_RE2, reason="[scan]"))]
)
MANY = settings(max_examples=examples(150), deadline=None)

VALUES = [json.loads(line)["messages"][0]["content"] for line in FOUND.read_text().splitlines()]
PARTS = st.sampled_from(
    [
        *VALUES,
        *(
            "AB 12 34 56 C",
            "call me on 555 0132",
            "07700 900123",
            "X1234567L",
            "529.982.247-25",
            "MT84MALT011000012345MTLCAST001S",
        ),
        *(
            "password = 'quayside9'",
            "secret is Qu4y!side",
            "::ffff:203.0.113.9",
            "2001:db8:1:2:3:4:5:6",
            "téléphone 0612345678",
        ),
        *(
            "1",
            "22",
            "4",
            "0",
            ".",
            "-",
            " ",
            "+",
            "@",
            ":",
            "::",
            "\n",
            "\\",
            '"',
            "/",
            "a",
            "Z",
            "é",
            "\u00a0",
            "\u2011",
            "日",
            "\x00",
        ),
        *(
            "\\n",
            "\\u0040",
            "token",
            "key=",
            "sk-",
            "eyJ",
            "<EMAIL_1>",
            "<PHONE_2>",
            "tel",
            "2023-10-15",
            "\ud800",
            "😀",
        ),
    ]
)
TEXT = st.lists(PARTS, max_size=9).map("".join)


def write(path: Path, *texts: str, ascii_only: bool = True) -> Path:
    lines = [json.dumps(chat(user(text), assistant()), ensure_ascii=ascii_only) + "\n" for text in texts]
    path.write_bytes("".join(lines).encode(errors="surrogatepass"))
    return path


def escaped(text: str, seed: int) -> str:
    """Write a string of JSON with some characters as escapes that need none."""
    chance = random.Random(seed)
    inside = "".join(
        f"\\u{ord(c):04x}" if ord(c) < 128 and chance.random() < 0.3 else json.dumps(c)[1:-1] for c in text
    )
    return f'"{inside}"'


@MANY
@given(TEXT, st.integers(0, 99))
def test_both_engines_and_every_way_to_write_a_string_find_the_same(text: str, seed: int) -> None:
    expected = Counter(f.kind for f in find(text))
    for written in (json.dumps(text), json.dumps(text, ensure_ascii=False), escaped(text, seed)):
        line = f'{{"text": {written}, "n": 1}}'.encode(errors="surrogatepass")
        for engine in ("core", "re2") if HAS_RE2 else ("core",):
            found = Looker(frozenset(KINDS), engine=engine).look(line)
            assert Counter(f.kind for _, findings in found for f in findings) == expected, (engine, written)


@MANY
@given(st.lists(TEXT, min_size=1, max_size=3), st.booleans())
def test_a_redacted_copy_holds_nothing_and_redacting_it_changes_nothing(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], ascii_only: bool
) -> None:
    folder = tmp_path_factory.mktemp("redact")
    before = write(folder / "in.jsonl", *texts, ascii_only=ascii_only)
    done = redact(before, folder / "out.jsonl")
    assert scan(folder / "out.jsonl").counts == {}
    redact(folder / "out.jsonl", folder / "again.jsonl")
    assert (folder / "again.jsonl").read_bytes() == (folder / "out.jsonl").read_bytes()
    for old, new in zip(
        before.read_bytes().split(b"\n"), (folder / "out.jsonl").read_bytes().split(b"\n"), strict=True
    ):
        if not Looker(frozenset(KINDS)).look(old):
            assert new == old
    assert sum(done.counts.values()) >= sum(scan(before).counts.values())


@MANY
@given(st.text(st.sampled_from(list('\\"/bfnrtu0041dDc8eE😀é\ud83d'))))
def test_each_character_knows_where_it_was_escaped(raw: str) -> None:
    text, offsets = plain(raw), Origins(raw)
    assert (offsets[0], offsets[len(text)]) == (0, len(raw))
    assert all(plain(raw[offsets[n] : offsets[n + 1]]) == c for n, c in enumerate(text))
    assert layers(raw)[0] == raw


@MANY
@given(st.text())
def test_undoing_escapes_is_what_json_does(text: str) -> None:
    assert plain(json.dumps(text)[1:-1]) == text


@both
def test_each_value_is_told_by_line_and_path_and_never_shown(engine: str, tmp_path: Path) -> None:
    record = {
        "messages": [user([{"type": "text", "text": "jane@harbour.example"}])],
        "jane@harbour.example": {"a": "203.0.113.7"},
    }
    path = tmp_path / "train.jsonl"
    path.write_text("\n" + json.dumps(record) + "\n")
    report = scan(path, engine=engine)
    assert report.engine == engine
    assert (report.records, report.records_with, report.bytes) == (1, 1, path.stat().st_size)
    assert [(s.kind, s.line, s.path) for s in report.samples] == [
        ("email", 2, "$.messages[0].content[0].text"),
        ("email", 2, '$["<email>"]'),
        ("ip", 2, '$["<email>"].a'),
    ]
    assert report.samples[0].masked == "j…e (20 characters)"
    assert "harbour" not in report.model_dump_json()


@both
def test_escapes_and_broken_lines_hide_nothing(engine: str, tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    path.write_bytes(
        b'{"text": "jane\\u0040harbour.example"}\n'
        b'{"text": "first\\njane@harbour.example"}\n'
        b'{"arguments": "{\\"to\\": \\"jane\\\\u0040harbour.example\\"}"}\n'
        b"{'text': 'jane\\u0040harbour.example'\n"
        b'{"jane@harbour.example": 1, "jane@harbour.example": 2}\n'
        b'{"text": "\xff jane@harbour.example"}\n'
        b'{"paid_with": 4111111111111111}\n'
    )
    assert scan(path, engine=engine).counts == {"email": 7, "card": 1}
    redact(path, tmp_path / "out.jsonl")
    assert (tmp_path / "out.jsonl").read_bytes() == (
        b'{"text": "<EMAIL_1>"}\n'
        b'{"text": "first\\n<EMAIL_1>"}\n'
        b'{"arguments": "{\\"to\\": \\"<EMAIL_1>\\"}"}\n'
        b"{'text': '<EMAIL_1>'\n"
        b'{"<EMAIL_1>": 1, "<EMAIL_1>": 2}\n'
        b'{"text": "\xff <EMAIL_1>"}\n'
        b'{"paid_with": "<CARD_1>"}\n'
    )


def test_a_value_keeps_its_placeholder_through_a_chat(tmp_path: Path) -> None:
    record = chat(
        user("I am jane@harbour.example, card 4111 1111 1111 1111; he is john@harbour.example, not <EMAIL_1>."),
        assistant("Noted: Jane@harbour.example, 4111-1111-1111-1111.", name="é", weight=1),
    )
    path = tmp_path / "train.jsonl"
    path.write_text(json.dumps(record, indent=None, separators=(" , ", ":")))
    redact(path, tmp_path / "out.jsonl")
    written = (tmp_path / "out.jsonl").read_text()
    first, second = (message["content"] for message in json.loads(written)["messages"])
    assert first == "I am <EMAIL_2>, card <CARD_1>; he is <EMAIL_3>, not <EMAIL_1>."
    assert second == "Noted: <EMAIL_2>, <CARD_1>."
    assert '"name":"\\u00e9" , "weight":1}' in written


def test_only_the_chosen_kinds_are_touched(tmp_path: Path) -> None:
    path = write(tmp_path / "train.jsonl", "jane@harbour.example at 203.0.113.7")
    assert redact(path, tmp_path / "out.jsonl", kinds=["ip"]).counts == {"ip": 1}
    assert scan(tmp_path / "out.jsonl").counts == {"email": 1}


@pytest.mark.parametrize("end", ["", "\n", "\r\n", "\n\n"])
def test_untouched_files_are_copied_byte_for_byte(end: str, tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    path.write_bytes(f'\ufeff{{"text" : "\\u00e9"}}\r\n\n  \nno json{end}'.encode())
    redact(path, tmp_path / "out.jsonl")
    assert (tmp_path / "out.jsonl").read_bytes() == path.read_bytes()


@pytest.mark.parametrize(
    "unit",
    [
        "1 ",
        "12-",
        "@",
        "a@b.co ",
        "a.",
        "sk-",
        "eyJ",
        "password=",
        "http://a:",
        "-----BEGIN PRIVATE KEY-----",
        "\\\\u0040",
    ],
)
def test_no_text_takes_more_than_its_share_of_time(unit: str, tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    path.write_text(f'{{"text": "{unit * (100_000 // len(unit))}"}}')
    before = time.process_time()
    scan(path)
    assert time.process_time() - before < 2


def test_no_file_is_written_over_unasked(tmp_path: Path) -> None:
    path = write(tmp_path / "train.jsonl", "jane@harbour.example")
    other = write(tmp_path / "other.jsonl", "kept")
    for out in (path, other, tmp_path):
        with pytest.raises(UsageError, match="exists"):
            redact(path, out)
    with pytest.raises(UsageError):
        redact(path, path, force=True)
    redact(path, other, force=True)
    assert "<EMAIL_1>" in other.read_text()


@pytest.mark.parametrize("head", [b"\x1f\x8b\x08\x00", b"PAR1", b"PK\x03\x04", "\ufeff{}".encode("utf-16")])
def test_a_file_that_cannot_be_seen_into_is_not_called_clear(head: bytes, tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    path.write_bytes(head)
    with pytest.raises(RefusedError, match="cannot be seen"):
        scan(path)
    with pytest.raises(RefusedError):
        redact(path, tmp_path / "out.jsonl")
    assert not (tmp_path / "out.jsonl").exists()


def test_a_missing_file_engine_or_package_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RefusedError, match="there is no such file"):
        scan(tmp_path / "none.jsonl")
    with pytest.raises(RefusedError, match="directory"):
        scan(tmp_path)
    path = write(tmp_path / "train.jsonl", "jane@harbour.example")
    with pytest.raises(UsageError, match="engine"):
        scan(path, engine="fast")
    monkeypatch.setitem(sys.modules, "re2", None)
    assert scan(path).engine == "core"
    with pytest.raises(MissingExtraError) as caught:
        scan(path, engine="re2")
    assert caught.value.fix == "pip install 'anytune[scan]'"


class Persons:
    """Know one name, as presidio_analyzer.AnalyzerEngine would, and take placeholders for names."""

    def analyze(self, text: str, language: str, entities: list[str] | None = None, **_: Any) -> list[Any]:
        assert language == "en"
        names = [("Jane Doe", 0.85), ("May", 0.2), ("<NAME_1>", 0.9)]
        return [
            SimpleNamespace(entity_type="PERSON", start=text.index(name), end=text.index(name) + len(name), score=score)
            for name, score in names
            if name in text
        ]


def test_names_are_found_by_the_adapter_that_was_asked_for(tmp_path: Path) -> None:
    path = write(tmp_path / "train.jsonl", "I am Jane Doe, jane@harbour.example, since May.")
    names = presidio(Persons())
    assert scan(path, names=names).counts == {"email": 1, "name": 1}
    redact(path, tmp_path / "out.jsonl", names=names)
    assert "I am <NAME_1>, <EMAIL_1>, since May." in (tmp_path / "out.jsonl").read_text()


@both
def test_names_alone_are_found_in_every_line(engine: str, tmp_path: Path) -> None:
    path = write(tmp_path / "train.jsonl", "I am Jane Doe, jane@harbour.example.", "No one.", "Jane Doe?")
    for kinds in ([], ["name"]):
        report = scan(path, engine=engine, kinds=kinds, names=presidio(Persons()))
        assert (report.counts, report.records_with) == ({"name": 2}, 2)
        assert [sample.line for sample in report.samples] == [1, 3]


def test_without_presidio_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "presidio_analyzer", None)
    monkeypatch.setitem(sys.modules, "spacy", None)
    with pytest.raises(MissingExtraError) as caught:
        presidio()
    assert caught.value.fix == "pip install 'anytune[names]'"


def test_the_report_is_shown_without_a_value() -> None:
    console = Console(file=io.StringIO(), width=100)
    privacy.show(scan(FOUND), on=console)
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert "15 private values" in shown
    assert "line 3" in shown
    assert "$.messages[0].content" in shown
    assert "4111" not in shown
    assert "harbour" not in shown


@both
def test_engines_agree_beside_other_scripts_and_underscores(engine: str, tmp_path: Path) -> None:
    texts = ["我的卡号是4111111111111111吗", "_4111111111111111_", "é203.0.113.7é", "电话phone 5550132"]
    path = write(tmp_path / "train.jsonl", *texts, ascii_only=False)
    assert scan(path, engine=engine).counts == {"card": 2, "ip": 1, "phone": 1}
    assert scan(write(path, *texts), engine=engine).counts == {"card": 2, "ip": 1, "phone": 1}


def test_values_in_a_long_text_are_found_once_wherever_its_parts_meet(tmp_path: Path) -> None:
    for before in range((1 << 17) - 24, (1 << 17) + 2, 3):
        text = "." * before + " jane@harbour.example " + "." * (1 << 17)
        assert [(f.kind, text[f.start : f.end]) for f in find(text)] == [("email", "jane@harbour.example")]
    key = f"-----BEGIN PRIVATE KEY-----\n{'aB3d' * 4000}\n-----END PRIVATE KEY-----"
    text = "." * ((1 << 17) - 9) + key + "." * (1 << 16)
    assert [text[f.start : f.end] for f in find(text)] == [key]


@pytest.mark.parametrize("unit", ["1", "a.b@"])
def test_a_line_beyond_measure_is_told_as_unread_and_costs_little(unit: str, tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    path.write_text(unit * (LONGEST // len(unit) + 1) + '\n{"text": "jane@harbour.example"}\n')
    before = time.process_time()
    report = scan(path)
    assert time.process_time() - before < 1
    assert (report.unread, report.records, report.counts) == (1, 2, {"email": 1})
    with pytest.raises(RefusedError, match=r"jsonl:1: the line is too long"):
        redact(path, tmp_path / "out.jsonl")
    assert not (tmp_path / "out.jsonl").exists()


@both
def test_many_lines_in_one_go_are_looked_at_as_each_alone(engine: str, tmp_path: Path) -> None:
    chance = random.Random(1)
    texts = [
        *VALUES,
        "plain words",
        "jane\u2011doe",
        "call me on\u00a0555\u202f0132",
        "password = 'quayside9'",
        "12\u5143 3456",
        "",
    ]
    lines = [
        json.dumps({"text": chance.choice(texts), "number": n % 9}, ensure_ascii=n % 3 > 0).encode()
        for n in range(9_000)
    ]
    lines[5], lines[7], lines[11] = b"", b" \t", b"\xff no json, jane@harbour.example"
    path = tmp_path / "train.jsonl"
    path.write_bytes(b"\n".join(lines))
    report, looker = scan(path, engine=engine), Looker(frozenset(KINDS), engine=engine)
    alone = {line: [finding.kind for _, findings in looker.look(line) for finding in findings] for line in set(lines)}
    each = [alone[line] for line in lines]
    assert report.bytes > 3 * (1 << 17)
    assert (report.records, report.records_with) == (8_998, sum(map(bool, each)))
    assert report.counts == Counter(kind for kinds in each for kind in kinds)
    for sample in report.samples:
        assert sample.kind in each[sample.line - 1]
    with path.open("rb") as stream:
        sums = Counter(kind for _, found in looker.look_through(stream.read()) for _, fs in found for kind, _, _ in fs)
    assert sums == report.counts


@both
def test_a_web_token_of_short_parts_is_not_screened_out(engine: str) -> None:
    line = json.dumps({"text": "eyJhbGciOiJub25lIn0.eyJhIjoxfQ.abcd"}).encode()
    assert [f.kind for _, found in Looker(frozenset(KINDS), engine=engine).look(line) for f in found] == ["jwt"]


@pytest.mark.long
def test_memory_does_not_grow_with_a_run_of_digits(tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    path.write_text(json.dumps({"text": "1" * 2_000_000}))
    code = (
        "import sys, tracemalloc; from anytune.data.privacy import scan; tracemalloc.start(); scan(sys.argv[1]);"
        "print(tracemalloc.get_traced_memory()[1])"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 100 << 20


def test_a_copy_that_cannot_be_written_is_named_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "train.jsonl", "jane@harbour.example")
    with pytest.raises(AnytuneError, match=r"train\.jsonl/out\.jsonl cannot be written"):
        redact(path, path / "out.jsonl")

    def refused(**_: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.mkstemp", refused)
    with pytest.raises(AnytuneError, match=r"out\.jsonl cannot be written: Permission denied") as caught:
        redact(path, tmp_path / "out.jsonl")
    assert "can be written" in (caught.value.fix or "")
