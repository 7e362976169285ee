from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anytune.data.check import check
from anytune.data.check.rules import COLUMNS
from anytune.data.check.rules.base import DataMethod
from anytune.data.dedupe import dedupe
from anytune.data.lines import Lines
from anytune.schema.data import DataReport, FileReport, Issue
from tests.amount import examples
from tests.data.samples import assistant, chat, report, user, write

PORTS = ("Brest", "Lorient", "Vannes", "Royan", "Calais", "Dieppe")
SYSTEM = {"role": "system", "content": "Answer in one line."}
TOOL = {"type": "function", "function": {"name": "get_tide", "parameters": {"type": "object", "properties": {}}}}
METHODS: tuple[DataMethod, ...] = ("sft", "dpo", "rft")
BETWEEN = {"duplicate-record", "duplicate-normalised", "answers-differ", "preferences-contradict", "length-outlier"}
SFT = {*BETWEEN - {"preferences-contradict"}, "key-sets-differ", "sample-weight-on-some"}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "train.jsonl"


def mixture(method: DataMethod, *, seed: int = 0) -> list[bytes]:
    """Return some hundred lines with every fault between records, and many others."""
    chance = random.Random(seed)
    make = {"sft": one_chat, "dpo": one_pair, "rft": one_task}[method]
    records = [json.dumps(make(chance)) for _ in range(150)]
    copies = [change(chance.choice(records)) for change in (str, str.lower, spread) for _ in range(9)]
    long = [json.dumps(chat(user(f"{n}?"), assistant("5.9 m, " * 2000))) for n in range(3)]
    broken = ["", "{", "[]", '{"messages": 1}', '{"messages": [], "messages": []}', '{"x": "Ã©"}', "\t", '{"a": NaN}']
    lines = [line.encode() for line in (*records, *copies, *long, *(broken * 4))]
    chance.shuffle(lines)
    return [json.dumps(make(chance)).encode(), *lines, b'{"messages": ["\xff"]}']


def one_chat(chance: random.Random) -> dict[str, Any]:
    asked, said = user(f"Tide at {chance.choice(PORTS)}, day {chance.randrange(30)}?"), f"{chance.randrange(3)} m"
    messages = [asked, assistant(said)] if chance.random() < 0.8 else [SYSTEM, asked, assistant(said)]
    more = chance.choice([{}] * 12 + [{"tools": [TOOL]}, {"weight": 1}, {"id": 1}, {"parallel_tool_calls": True}])
    return chat(*messages, **more)


def one_pair(chance: random.Random) -> dict[str, Any]:
    better, worse = (f"{height} m" for height in chance.choices(range(4), k=2))
    return {
        "input": chat(user(f"Tide at {chance.choice(PORTS)}, day {chance.randrange(9)}?")),
        "preferred_output": [assistant(better)],
        "non_preferred_output": [assistant(worse)],
    }


def one_task(chance: random.Random) -> dict[str, Any]:
    return {**chat(user(f"Tide at {chance.choice(PORTS)}, day {chance.randrange(20)}?")), "height": chance.randrange(2)}


def spread(line: str) -> str:
    return json.dumps(json.loads(line), indent=1).replace("\n", " ")


def checked(path: Path, method: DataMethod, **terms: Any) -> DataReport:
    return check([path], providers=COLUMNS, method=method, **terms)


def places(found: FileReport) -> list[tuple[str, int | None, str | None, str]]:
    """Return what is told of each issue but for bytes."""
    issues = (*found.errors, *found.warnings)
    return [(issue.code, issue.line, issue.path, said(issue)) for issue in issues]


def said(issue: Issue) -> str:
    return issue.message.partition(" bytes")[0] if issue.code != "length-outlier" else ""


def test_the_mixture_has_all_faults_between_records(path: Path) -> None:
    write(path, *mixture("sft"))
    assert set(checked(path, "sft").files[0].counts) >= SFT
    write(path, *mixture("dpo"))
    assert set(checked(path, "dpo").files[0].counts) >= BETWEEN - {"answers-differ"}
    write(path, *mixture("rft"))
    assert set(checked(path, "rft").files[0].counts) & BETWEEN == {
        "duplicate-record",
        "duplicate-normalised",
        "length-outlier",
    }


@pytest.mark.parametrize("method", METHODS)
def test_the_order_of_the_file_does_not_matter(path: Path, method: DataMethod) -> None:
    lines = mixture(method)
    first = checked(write(path, *lines), method).files[0].counts
    for seed in range(3):
        rest = lines[1:]
        random.Random(seed).shuffle(rest)
        assert checked(write(path, lines[0], *rest), method).files[0].counts == first


@pytest.mark.parametrize("method", METHODS)
def test_line_ends_and_a_mark_at_the_start_do_not_matter(path: Path, method: DataMethod) -> None:
    lines = mixture(method)
    found = checked(write(path, *lines), method, show=1000).files[0]
    path.write_bytes(b"".join(line + b"\r\n" for line in lines))
    assert places(checked(path, method, show=1000).files[0]) == places(found)
    path.write_bytes(b"\xef\xbb\xbf" + b"".join(line + b"\n" for line in lines))
    marked = checked(path, method, show=1000, ignore=frozenset({"byte-order-mark"})).files[0]
    assert places(marked) == places(found)
    path.write_bytes(b"\n".join(lines))
    assert places(checked(path, method, show=1000).files[0]) == places(found)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("show", [1, 20, 1000])
def test_two_threads_tell_what_one_does(
    path: Path, method: DataMethod, show: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(path, *mixture(method))
    whole = checked(path, method, show=show, workers=1)
    for part in (300, 9_000):
        monkeypatch.setattr("anytune.data.check.parts.PART", part)
        assert checked(path, method, show=show, workers=2) == whole
    monkeypatch.setattr("anytune.data.check.parts.LARGE", 0)
    assert checked(path, method, show=show) == whole


@pytest.mark.parametrize("end", [b"\r\n", b"\n", b""])
def test_two_threads_read_marks_line_ends_and_blank_files_alike(
    path: Path, end: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("anytune.data.check.parts.PART", 300)
    for raw in (end.join(mixture("sft")), b"\xef\xbb\xbf" + end.join(mixture("sft")), end * 1000, b"", b"\xef\xbb\xbf"):
        path.write_bytes(raw)
        assert checked(path, "sft", workers=2) == checked(path, "sft", workers=1)


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("method", METHODS)
def test_what_waits_on_disk_is_compared_like_what_is_in_memory(
    path: Path, method: DataMethod, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(path, *mixture(method))
    monkeypatch.setattr("anytune.data.check.parts.PART", 5_000)
    monkeypatch.setitem(Lines.__init__.__kwdefaults__, "chunk", 500)
    whole = checked(path, method, workers=1)
    for most in (0, 100):
        monkeypatch.setattr("anytune.data.check.rows.MOST", most)
        monkeypatch.setattr("anytune.data.check.compare.MOST_KEYS", most + 7)
        assert checked(path, method, workers=workers) == whole


def test_nothing_is_left_behind_on_the_disk(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    aside = path.parent / "aside"
    aside.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(aside))
    monkeypatch.setattr("anytune.data.check.rows.MOST", 0)
    checked(write(path, *mixture("sft")), "sft")
    assert list(aside.iterdir()) == []


SPELLINGS = st.sampled_from(
    [
        str,
        str.upper,
        str.title,
        lambda text: f" {text}",
        lambda text: text.replace(" ", "\n \u00a0"),
        lambda text: text.replace(" ", ""),
    ]
)
WORDS = st.sampled_from(
    ["Tide", "at", "Brest", "Île", "d’Yeu", "ß", "🌊", "a\x1eb", '"', "\\", "a" * 70, "é" * 50, "?"]
)
UNSPELT = {"role", "id", "tool_call_id", "type", "name", "arguments", "tools"}
SENTENCES = st.lists(WORDS, min_size=1, max_size=4).map(" ".join)


@st.composite
def spelt(draw: st.DrawFn, pool: list[tuple[str, str]]) -> tuple[str, str]:
    """Draw a prompt and an answer of a few, both in any spelling."""
    asked, answer = draw(st.sampled_from(pool)), draw(st.sampled_from(pool))
    return draw(SPELLINGS)(asked[0]), draw(SPELLINGS)(answer[1])


@settings(max_examples=examples(60), deadline=None)
@given(st.data())
def test_no_twin_is_lost_that_a_plain_comparison_finds(data: st.DataObject) -> None:
    pool = data.draw(st.lists(st.tuples(SENTENCES, SENTENCES), min_size=1, max_size=4))
    talks = data.draw(st.lists(spelt(pool), min_size=10, max_size=25))
    expected = compared([json.dumps(chat(user(asked), assistant(answer))) for asked, answer in talks], talks)
    with TemporaryDirectory() as folder:
        records = [chat(user(asked), assistant(answer)) for asked, answer in talks]
        found = report(write(Path(folder) / "a.jsonl", *records)).counts
    assert {code: found[code] for code in found if code in BETWEEN} == dict(expected)


def compared(lines: list[str], talks: list[tuple[str, str]]) -> Counter[str]:
    """Compare records one by one, as the rules say."""
    counts: Counter[str] = Counter()
    exact: set[str] = set()
    answers: dict[str, set[str]] = {}
    for line, talk in zip(lines, talks, strict=True):
        asked, answer = (" ".join(text.lower().split()) for text in talk)
        given = answers.setdefault(asked, set())
        if line in exact:
            counts["duplicate-record"] += 1
        elif answer in given:
            counts["duplicate-normalised"] += 1
        elif given:
            counts["answers-differ"] += 1
        exact.add(line)
        given.add(answer)
    return counts


def calling(asked: str, names: list[str], *, answered: list[str]) -> dict[str, Any]:
    calls = [
        {"id": name, "type": "function", "function": {"name": "get_tide", "arguments": f'{{"port": "{place}"}}'}}
        for place, name in enumerate(names)
    ]
    answers = [{"role": "tool", "tool_call_id": name, "content": str(n)} for n, name in enumerate(answered)]
    return chat(user(asked), assistant(None, tool_calls=calls), *answers, assistant(), tools=[TOOL])


NAMES = st.sampled_from([["a", "b"], ["b", "a"], ["call_1", "call_2"]])
TWINS = st.one_of(
    st.builds(lambda a, b: chat(user(a), assistant(b)), SENTENCES, SENTENCES),
    st.builds(lambda asked, id: chat(user(asked), assistant(), id=id), SENTENCES, st.integers(1, 3)),
    st.builds(lambda asked, weight: chat(user(asked), assistant(weight=weight)), SENTENCES, st.integers(0, 1)),
    st.builds(lambda asked, a, b: calling(asked, a, answered=b), SENTENCES, NAMES, NAMES),
    st.builds(lambda asked, answer: {"prompt": asked, "completion": answer}, SENTENCES, SENTENCES),
)


@settings(max_examples=examples(60), deadline=None)
@given(st.lists(TWINS, min_size=1, max_size=4), st.data())
def test_check_tells_of_what_dedupe_leaves_out(pool: list[Any], data: st.DataObject) -> None:
    def spell(value: Any) -> Any:
        if isinstance(value, list):
            return [spell(one) for one in value]
        if isinstance(value, dict):
            return {key: one if key in UNSPELT else spell(one) for key, one in value.items()}
        return data.draw(SPELLINGS)(value) if isinstance(value, str) else value

    records = [spell(record) for record in data.draw(st.lists(st.sampled_from(pool), min_size=10, max_size=20))]
    with TemporaryDirectory() as folder:
        path = write(Path(folder) / "a.jsonl", *records)
        found = report(path, show=100)
        gone = dedupe(path, Path(folder) / "b.jsonl", kind="normalised").dropped
        twins = [i for i in (*found.errors, *found.warnings) if i.code in ("duplicate-record", "duplicate-normalised")]
    assert sorted(issue.line or 0 for issue in twins) == [line for line, _, _ in gone]
