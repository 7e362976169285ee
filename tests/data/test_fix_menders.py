from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal, NamedTuple

import pytest

from anytune.data.check.rules import RULES
from anytune.data.fix import ASKED, fix
from anytune.data.fix.line import CHARACTER_MENDERS, LINE_MENDERS
from anytune.data.fix.table import FILE_CODES, MENDERS
from tests.data.samples import assistant, chat, user


def call(arguments: Any = "{}", name: str = "get_tide", number: int = 1) -> dict[str, Any]:
    return {"id": f"call_{number}", "type": "function", "function": {"name": name, "arguments": arguments}}


def calls(*made: Any) -> dict[str, Any]:
    return {"role": "assistant", "tool_calls": list(made or [call()])}


def answer(number: int = 1, **more: Any) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": f"call_{number}", "content": "5.9", **more}


def system(content: Any = "Be brief.") -> dict[str, Any]:
    return {"role": "system", "content": content}


def text(words: str = "Tide?") -> dict[str, Any]:
    return {"type": "text", "text": words}


FUNCTION = {"name": "get_tide", "parameters": {"type": "object"}}
TOOL = {"type": "function", "function": FUNCTION}
IMAGE: dict[str, Any] = {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}
ASKED_OF = {"messages": [user()]}
PAIR = {"input": ASKED_OF, "preferred_output": [assistant()], "non_preferred_output": [assistant("No idea.")]}


def tooled(*messages: Any, **more: Any) -> dict[str, Any]:
    return chat(user(), *(messages or [calls()]), tools=[TOOL], **more)


class Case(NamedTuple):
    before: Any
    after: Any
    method: Literal["sft", "dpo", "rft"] = "sft"
    providers: tuple[str, ...] = ("openai", "together", "local")


NULLS = {"tool_calls": None, "weight": None, "name": None, "function_call": None, "reasoning": None}
OLD_CALL = {"role": "assistant", "content": None, "function_call": {"name": "get_tide", "arguments": "{}"}}
NEW_CALL = {"role": "assistant", "content": None, "tool_calls": [call()]}
SAFE = {
    "roles of other formats": Case(
        chat({"role": "Human", "content": "Tide?"}, {"role": "gpt", "content": "5.9 m"}), chat()
    ),
    "roles in capitals": Case(chat(user(role=" USER "), assistant(role="Assistant")), chat()),
    "from and value": Case(chat({"from": "human", "value": "Tide?"}, {"from": "gpt", "value": "5.9 m"}), chat()),
    "conversations": Case(
        {"conversations": [{"from": "human", "value": "Tide?"}, {"from": "gpt", "value": "5.9 m"}]}, chat()
    ),
    "one message with from and value": Case(chat(user(), {"from": "gpt", "value": "5.9 m"}), chat()),
    "developer": Case(
        chat({**system(), "role": "developer"}, user(), assistant()), chat(system(), user(), assistant())
    ),
    "a system prompt beside the messages": Case(chat(system="Be brief."), chat(system(), user(), assistant())),
    "keys that hold null": Case(chat(user(), assistant(**NULLS), tools=None, parallel_tool_calls=None), chat()),
    "system in reinforcement": Case(
        {"messages": [system(), user()]}, {"messages": [system() | {"role": "developer"}, user()]}, "rft", ("openai",)
    ),
    "a detail of an image that there is not": Case(
        chat(user([{**IMAGE, "image_url": {**IMAGE["image_url"], "detail": "best"}}]), assistant([text()])),
        chat(user([IMAGE]), assistant([text()])),
        providers=("openai",),
    ),
    "unknown keys": Case(chat(user(mood="calm"), assistant(), id=7, source="log"), chat()),
    "weights of other kinds": Case(
        chat(user(), assistant(weight=True), user("2"), assistant("b", weight=0.0), user("3"), assistant(weight="1")),
        chat(user(), assistant(weight=1), user("2"), assistant("b", weight=0), user("3"), assistant(weight=1)),
    ),
    "a weight on the user": Case(chat(user(weight=1), assistant()), chat()),
    "a record's weight of 1": Case(chat(weight=1.0), chat()),
    "a record's weight as text": Case(chat(weight="0.5"), chat(weight=0.5), providers=("together",)),
    "a switch in words": Case(tooled(parallel_tool_calls="False"), tooled(parallel_tool_calls=False)),
    "messages as JSON text": Case({"messages": json.dumps(chat()["messages"])}, chat()),
    "a message that is null": Case(chat(user(), None, assistant()), chat()),
    "content that is a number": Case(chat(user(7), assistant()), chat(user("7"), assistant())),
    "content that is an object": Case(chat(user(), assistant({"m": 5.9})), chat(user(), assistant('{"m": 5.9}'))),
    "a system message that says nothing": Case(chat(system(" "), user(), assistant()), chat()),
    "a tool that answered null": Case(
        tooled(calls(), answer(content=None), assistant()), tooled(calls(), answer(content=""), assistant())
    ),
    "an empty list of parts beside a call": Case(tooled({**calls(), "content": []}), tooled()),
    "parts among strings": Case(
        chat(user([text("Tide"), text("here?")]), assistant()), chat(user("Tide\nhere?"), assistant())
    ),
    "strings beside an image": Case(
        chat(user([text(), IMAGE]), assistant()),
        chat(user([text(), IMAGE]), assistant([text("5.9 m")])),
        providers=("together",),
    ),
    "bare text among parts": Case(
        chat(user(["Tide?", None]), assistant([text()])), chat(user([text()]), assistant([text()]))
    ),
    "parts of the Responses API": Case(
        chat(user([{"type": "input_text", "text": "Tide?"}]), assistant([{"type": "output_text", "text": "5.9 m"}])),
        chat(user([text()]), assistant([text("5.9 m")])),
    ),
    "an image by its bare address": Case(
        chat(user([{"type": "image_url", "image_url": "https://example.org/a.png"}]), assistant([text()])),
        chat(user([IMAGE]), assistant([text()])),
        providers=("openai",),
    ),
    "an image whose type is spelt otherwise": Case(
        chat(
            user([{"type": "image_url", "image_url": {"url": "data:IMAGE/jpg;base64,/9j/4A=="}}]), assistant([text()])
        ),
        chat(
            user([{"type": "image_url", "image_url": {"url": "data:image/jpeg;base64,/9j/4A=="}}]), assistant([text()])
        ),
        providers=("together",),
    ),
    "a tool's answer in parts": Case(
        tooled(calls(), answer(content=[text("5.9")]), assistant()), tooled(calls(), answer(), assistant())
    ),
    "arguments as an object": Case(tooled(calls(call({"port": "Brest"}))), tooled(calls(call('{"port": "Brest"}')))),
    "arguments that are empty": Case(tooled(calls(call(""))), tooled()),
    "arguments encoded twice": Case(tooled(calls(call('"{}"'))), tooled()),
    "calls without frame": Case(tooled(calls({"name": "get_tide"})), tooled()),
    "calls without id": Case(
        tooled(calls({k: v for k, v in call().items() if k != "id"}), answer(7), assistant()),
        tooled(calls(call(number=7)), answer(7), assistant()),
    ),
    "calls with one id": Case(
        tooled(calls(call(), call('{"a": 1}')), answer(), answer(content="6"), assistant()),
        tooled(calls(call(), call('{"a": 1}', number=2)), answer(), answer(2, content="6"), assistant()),
    ),
    "calls without ids, which are answered in their order": Case(
        tooled(calls(*({**call(), "id": None} for _ in range(3))), answer(7), answer(8), answer(9), assistant()),
        tooled(calls(call(number=7), call(number=8), call(number=9)), answer(7), answer(8), answer(9), assistant()),
    ),
    "an empty list of calls": Case(chat(user(), assistant(tool_calls=[])), chat()),
    "answers without id": Case(
        tooled(calls(call(), call(number=2)), {"role": "tool", "content": "a"}, answer(2), assistant()),
        tooled(
            calls(call(), call(number=2)),
            {"role": "tool", "content": "a", "tool_call_id": "call_1"},
            answer(2),
            assistant(),
        ),
    ),
    "ids that are numbers": Case(
        tooled(calls({**call(), "id": 1}), answer(tool_call_id=1), assistant()),
        tooled(calls({**call(), "id": "1"}), answer(tool_call_id="1"), assistant()),
    ),
    "tools as a mapping": Case({**tooled(), "tools": {"get_tide": TOOL}}, tooled()),
    "tools as JSON text": Case({**tooled(), "tools": json.dumps([TOOL])}, tooled()),
    "tools without frame": Case({**tooled(), "tools": [FUNCTION]}, tooled()),
    "parameters as JSON text": Case(
        {**tooled(), "tools": [{"type": "function", "function": {**FUNCTION, "parameters": '{"type": "object"}'}}]},
        tooled(),
    ),
    "a tool declared twice": Case({**tooled(), "tools": [TOOL, TOOL]}, tooled()),
    "functions": Case(
        chat(
            user(),
            OLD_CALL,
            {"role": "function", "name": "get_tide", "content": "5.9"},
            assistant(),
            functions=[FUNCTION],
        ),
        chat(user(), NEW_CALL, answer(name="get_tide"), assistant(), tools=[TOOL]),
    ),
    "old names of outputs": Case(
        {"input": ASKED_OF, "preferred_completion": [assistant()], "non_preferred_completion": [assistant("No idea.")]},
        PAIR,
        "dpo",
    ),
    "outputs that are no lists": Case(
        {**PAIR, "preferred_output": "5.9 m", "non_preferred_output": assistant("No idea.")}, PAIR, "dpo"
    ),
    "an input that is text": Case({**PAIR, "input": "Tide?"}, PAIR, "dpo"),
    "messages beside the outputs": Case({**{k: v for k, v in PAIR.items() if k != "input"}, **ASKED_OF}, PAIR, "dpo"),
}
TURNS = (user("1"), assistant("2"), user("3"), assistant("4"))
ON_DEMAND = {
    "two users in a row": Case(chat(user("1"), user("2"), user("3"), assistant()), chat(user("1\n2\n3"), assistant())),
    "an answer and a call in a row": Case(tooled(assistant("Wait."), calls()), tooled({**calls(), "content": "Wait."})),
    "what follows the last answer": Case(chat(*TURNS, user("5"), user("6")), chat(*TURNS)),
    "late system messages": Case(
        chat(system("a"), user(), system("b"), assistant(), system("c")), chat(system("a\nb\nc"), user(), assistant())
    ),
    "an image": Case(
        chat(user([text(), IMAGE]), assistant([text("5.9 m")])), chat(user([text()]), assistant([text("5.9 m")]))
    ),
    "a weight of a record": Case(chat(weight=2.5), chat()),
    "a weight of a half": Case(chat(user(), assistant(weight=0.5)), chat()),
    "a refusal in parts": Case(
        chat(user([text()]), assistant([{"type": "refusal", "refusal": "No."}])),
        chat(user([text()]), assistant([text("No.")])),
        providers=("together",),
    ),
    "reasoning": Case(chat(user(), assistant(reasoning_content="Hm.")), chat()),
    "arguments as Python writes them": Case(tooled(calls(call("{'a': None}"))), tooled(calls(call('{"a": null}')))),
    "a name of a function": Case(
        {
            **tooled(calls(call(name="get tide"))),
            "tools": [{"type": "function", "function": {**FUNCTION, "name": "get tide"}}],
        },
        {**tooled(calls(call(name="get_tide"))), "tools": [TOOL]},
    ),
    "characters": Case(chat(user("Ti\0de\ud83c"), assistant()), chat(user("Tide\ufffd"), assistant())),
    "numbers beyond 64 bits": Case(
        {**tooled(), "tools": [{"type": "function", "function": {**FUNCTION, "parameters": {"maximum": 2**70}}}]},
        {**tooled(), "tools": [{"type": "function", "function": {**FUNCTION, "parameters": {"maximum": str(2**70)}}}]},
    ),
    "a role of an output": Case({**PAIR, "preferred_output": [user("5.9 m")]}, PAIR, "dpo"),
}
FIRST = {
    "sft": chat(user("first"), assistant()),
    "dpo": {**PAIR, "input": {"messages": [user("first")]}},
    "rft": {"messages": [user("first")]},
}
GOOD = json.dumps(chat()).encode()
RAW_LINES = {
    b"{'messages': [{'role': 'user', 'content': 'Tide?'}, {'role': 'assistant', 'content': '5.9 m'}]}": chat(),
    GOOD.replace(b"Tide", b"Ti\tde"): chat(user("Ti\tde?"), assistant()),
    GOOD + b" , ": chat(),
    json.dumps(GOOD.decode()).encode(): chat(),
    json.dumps(chat()["messages"]).encode(): chat(),
    GOOD.replace(b'"user"', b'"user", "role": "user"'): chat(),
}


def mended(line: bytes, case: Case, tmp_path: Path, agreed: frozenset[str]) -> Any:
    path, out = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    first = json.dumps(FIRST[case.method])
    path.write_bytes(first.encode() + b"\n" + line + b"\n")
    found = fix(path, out=out, method=case.method, providers=case.providers, agreed=agreed)
    return [json.loads(one) for one in (out if found.out else path).read_bytes().splitlines()[1:]]


@pytest.mark.parametrize("name", SAFE)
def test_what_is_safe_is_mended_unasked(name: str, tmp_path: Path) -> None:
    case = SAFE[name]
    assert mended(json.dumps(case.before).encode(), case, tmp_path, frozenset()) == [case.after]


@pytest.mark.parametrize("name", ON_DEMAND)
def test_what_changes_meaning_is_mended_when_agreed(name: str, tmp_path: Path) -> None:
    case = ON_DEMAND[name]
    line = json.dumps(case.before).encode()
    assert mended(line, case, tmp_path, frozenset()) == [case.before]
    assert mended(line, case, tmp_path, ASKED) == [case.after]


@pytest.mark.parametrize("line", RAW_LINES, ids=range(len(RAW_LINES)))
def test_lines_that_can_mean_only_one_record_become_it(line: bytes, tmp_path: Path) -> None:
    assert mended(line, Case(None, None), tmp_path, frozenset()) == [RAW_LINES[line]]


def test_bytes_that_are_no_utf_8_are_read_as_windows_1252_when_agreed(tmp_path: Path) -> None:
    line = GOOD.replace(b"Tide", "Marée — 🌊".encode() + b" \x96 \xe9")
    assert mended(line, Case(None, None), tmp_path, ASKED) == [chat(user("Marée — 🌊 – é?"), assistant())]


def test_nothing_is_joined_that_differs_in_more_than_words(tmp_path: Path) -> None:
    record = chat(user(), assistant("a", weight=0), assistant("b"))
    assert mended(json.dumps(record).encode(), Case(None, None), tmp_path, ASKED) == [record]


def test_every_mender_is_of_a_rule_and_no_rule_of_the_file_has_one() -> None:
    codes = {mender.code for mender in (*LINE_MENDERS, *CHARACTER_MENDERS, *MENDERS)}
    assert codes <= RULES.keys() - FILE_CODES
    assert RULES.keys() >= FILE_CODES


def test_no_two_menders_of_a_code_say_the_same() -> None:
    said = [(mender.code, mender.what, mender.asks) for mender in MENDERS]
    assert len(said) == len(set(said))
