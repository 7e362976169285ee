from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any, Literal

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from anytune.data.check import BUILT_IN
from anytune.data.check.rules import COLUMNS
from anytune.data.fix import ASKED, Fixed, fix
from anytune.errors import RefusedError
from tests.amount import examples

Record = dict[str, Any]
Method = Literal["sft", "dpo", "rft"]
MANY = settings(max_examples=examples(25), deadline=None, suppress_health_check=[HealthCheck.too_slow])
UNMENDABLE = {"too-few-examples", "sample-weight-on-some"}  # what no change to single records mends

TEXT = st.sampled_from(["Tide?", "5.9 m", "", " ", "a\nb", "\u2028é🌊", "\x00", "\ud83c", "{}", '{"port": 1}', "None"])
ROLES = st.sampled_from(
    ["system", "user", "assistant", "tool", "developer", "function", "human", "GPT", " User ", "narrator", None, 7]
)
LEAF = st.one_of(st.none(), st.booleans(), st.sampled_from([0, 1, 0.0, 1.0, 0.5, -1, 2**70]), st.floats(), TEXT)
ODD = st.recursive(
    LEAF,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["type", "text", "name", "id", "function", "role", "x"]), inner, max_size=3),
    ),
    max_leaves=5,
)


def seldom(odd: st.SearchStrategy[Any], often: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.integers(0, 7).flatmap(lambda number: odd if number == 7 else often)


def objects(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Record]:
    """Draw objects with some of the fields, each of which is seldom something else."""
    return st.fixed_dictionaries({}, optional={key: seldom(ODD, value) for key, value in fields.items()})


FUNCTION = objects(
    name=st.sampled_from(["get_tide", "get tide", "get_wind"]),
    arguments=st.one_of(st.sampled_from(["{}", "", "{'a': 1}", '"{}"']), st.just({"port": "Brest"})),
    parameters=st.just({"type": "object"}),
    description=TEXT,
)
CALL = objects(id=st.sampled_from(["call_1", "call_2", 3]), type=st.just("function"), function=FUNCTION)
IMAGE = st.sampled_from([{"url": "https://example.org/a.png"}, "https://example.org/a.png", {"url": "file:///a"}])
PART = objects(type=st.sampled_from(["text", "image_url", "input_text", "refusal"]), text=TEXT, image_url=IMAGE)
MESSAGE = objects(
    role=ROLES,
    content=st.one_of(TEXT, st.lists(seldom(ODD, PART), max_size=3)),
    weight=st.sampled_from([0, 1, True, 1.0, "1", None]),
    name=TEXT,
    value=TEXT,
    mood=TEXT,
    reasoning=TEXT,
    tool_calls=st.lists(CALL, max_size=2),
    tool_call_id=st.sampled_from(["call_1", "call_2", 3]),
    function_call=FUNCTION,
)
SAID = st.builds(lambda role, content: {"role": role, "content": content}, ROLES, TEXT)
MESSAGES = st.lists(seldom(ODD, st.one_of(SAID, SAID, MESSAGE)), max_size=5)
TOOLS = st.lists(objects(type=st.just("function"), function=FUNCTION), max_size=2)
CHATS = objects(
    messages=MESSAGES,
    tools=TOOLS,
    functions=st.lists(FUNCTION, max_size=2),
    parallel_tool_calls=st.sampled_from([True, "no"]),
    weight=st.sampled_from([1, 0.5]),
    system=TEXT,
    id=TEXT,
)
PAIRS = objects(
    input=objects(messages=MESSAGES, tools=TOOLS),
    preferred_output=st.lists(SAID, min_size=1, max_size=1),
    non_preferred_output=st.one_of(SAID, st.lists(MESSAGE, max_size=2)),
    messages=MESSAGES,
)
GOOD = {
    "rft": {"messages": [{"role": "user", "content": "Tide?"}], "answer": "5.9 m"},
    "sft": {"messages": [{"role": "user", "content": "Tide?"}, {"role": "assistant", "content": "5.9 m"}]},
    "dpo": {
        "input": {"messages": [{"role": "user", "content": "Tide?"}]},
        "preferred_output": [{"role": "assistant", "content": "5.9 m"}],
        "non_preferred_output": [{"role": "assistant", "content": "No idea."}],
    },
}


@st.composite
def lines(draw: st.DrawFn, records: st.SearchStrategy[Any]) -> bytes:
    text = json.dumps(draw(seldom(ODD, records)), ensure_ascii=draw(st.booleans()))
    line = text.encode(errors="surrogatepass").replace(b"\n", b" ")
    if draw(st.integers(0, 5)) == 5:
        at = draw(st.integers(0, len(line)))
        piece = draw(st.sampled_from([b",", b'"', b"\xe9", b'"role": "user", ', b"\r", b"NaN", b"\t", b"{}"]))
        line = line[:at] + piece + line[at:]
    return line + draw(st.sampled_from([b"", b"\r", b" ", b","]))


@st.composite
def files(draw: st.DrawFn) -> tuple[bytes, Method]:
    """Draw a file with a good record first, so that it is a file of lines and something is left, and odd ones after."""
    method = draw(st.sampled_from(("sft", "sft", "dpo", "rft")))
    odd = st.lists(lines(PAIRS if method == "dpo" else CHATS), max_size=5)
    raw = b"\n".join([json.dumps(GOOD[method]).encode(), *draw(odd)])
    return (b"\xef\xbb\xbf" if draw(st.booleans()) else b"") + raw + draw(
        st.sampled_from([b"", b"\n", b"\n\n"])
    ), method


def fixed(raw: bytes, method: Method, agreed: frozenset[str], **terms: Any) -> tuple[Fixed, bytes] | None:
    """Mend bytes as a file; None if it was refused because most of it is in another format.

    What needed no mending is not written anew: then it is the bytes, with an end to their last line.
    """
    with tempfile.TemporaryDirectory() as folder:
        path, out = Path(folder, "a.jsonl"), Path(folder, "b.jsonl")
        path.write_bytes(raw)
        try:
            found = fix(path, out=out, method=method, agreed=agreed, **terms)
        except RefusedError:
            return None
        return found, out.read_bytes() if found.out else raw.removesuffix(b"\n") + b"\n"


PROVIDERS = st.one_of(st.just(BUILT_IN), st.just(COLUMNS), st.sampled_from(COLUMNS).map(lambda name: (name,)))
AGREED = st.one_of(st.just(ASKED), st.just(frozenset[str]()), st.frozensets(st.sampled_from(sorted(ASKED))))


@MANY
@given(files(), PROVIDERS)
def test_a_mended_file_has_no_error(file: tuple[bytes, Method], providers: tuple[str, ...]) -> None:
    found = fixed(*file, ASKED, providers=providers)
    if found is not None:
        report = found[0].report
        assert report is not None
        assert {issue.code for issue in report.files[0].errors} <= UNMENDABLE
        assert found[0].left == ()


CHATS_AMONG_PAIRS = [  # two chats of six records are few, and most of what is left once three are removed
    GOOD["dpo"],
    {},
    {},
    {"messages": [], "non_preferred_output": {"role": "system", "content": "x"}, "input": {}},
    {"preferred_output": [{"role": None, "content": "x"}], "messages": []},
    {"input": {}, "messages": []},
]


@MANY
@example(
    (b"\n".join(json.dumps(record).encode() for record in CHATS_AMONG_PAIRS), "dpo"),
    BUILT_IN,
    frozenset({"output-missing"}),
)
@example((json.dumps(GOOD["sft"]).encode() + b"\n,{}\n,{}\n{\r},", "sft"), BUILT_IN, frozenset())
@given(files(), PROVIDERS, AGREED)
def test_mending_twice_changes_nothing_more(
    file: tuple[bytes, Method], providers: tuple[str, ...], agreed: frozenset[str]
) -> None:
    once = fixed(*file, agreed, providers=providers)
    if once is not None:
        twice = fixed(once[1], file[1], agreed, providers=providers)
        assert twice is not None
        assert twice[0].done == ()
        assert twice[1] == once[1]


@MANY
@given(files(), AGREED)
def test_the_counts_add_up(file: tuple[bytes, Method], agreed: frozenset[str]) -> None:
    found = fixed(*file, agreed)
    if found is not None:
        told, raw = found
        assert told.records == told.written + told.removed
        assert told.written == raw.count(b"\n")
        gone = sum(
            change.count for change in told.done if change.what.startswith("remove a record that") or _out(change)
        )
        assert gone == told.removed


def _out(change: Any) -> bool:
    return bool(change.what == "remove the record")


def words(record: Any) -> set[str]:
    """Return the words of a chat's messages, in strings and in text parts."""
    found: list[str] = []
    messages = record.get("messages") if isinstance(record, dict) else None
    for message in messages if isinstance(messages, list) else ():
        content = message.get("content") if isinstance(message, dict) else None
        parts = content if isinstance(content, list) else [{"text": content}]
        texts = [part.get("text") if isinstance(part, dict) else part for part in parts]
        found += [word for text in texts if isinstance(text, str) for word in text.split()]
    return set(found)


def said(raw: bytes) -> list[set[str]]:
    """Return the words of each record of a file, in order."""
    return [words(json.loads(line)) for line in raw.split(b"\n") if line]


@MANY
@given(st.lists(CHATS, max_size=4))
def test_what_is_safe_loses_no_words_and_keeps_the_order(records: list[Record]) -> None:
    numbered = [
        {**record, "messages": [{"role": "user", "content": f"Port {number}?"}, *messages]}
        for number, record in enumerate(records)
        if isinstance(messages := record.get("messages", []), list)
    ]
    raw = b"".join(json.dumps(record).encode() + b"\n" for record in [GOOD["sft"], *numbered])
    found = fixed(raw, "sft", frozenset())
    assert found is not None
    before, after = said(raw), said(found[1])
    assert found[0].removed == 0
    assert len(before) == len(after)
    assert all(one <= other for one, other in zip(before, after, strict=True))
