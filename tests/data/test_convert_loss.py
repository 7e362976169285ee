"""What a conversion loses, and how it says so."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from anytune.data.convert.partner import Half, Partners
from tests.data.samples import assistant, chat, user, write
from tests.data.test_convert import converted, make


def losses(tmp_path: Path, *records: Any, **terms: Any) -> tuple[list[tuple[str, str, str]], list[Any]]:
    """Return (code, path, what) of each loss, and what was written."""
    done, found = converted(write(tmp_path / "a.jsonl", *records), **terms)
    assert all(loss.why for loss in done.losses)
    return [(loss.code, loss.path, loss.what) for loss in done.losses], found


def codes(tmp_path: Path, *records: Any, **terms: Any) -> list[str]:
    return [code for code, _, _ in losses(tmp_path, *records, **terms)[0]]


def log(answer: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"request": {"messages": [user()]}, "response": answer, **more}


def test_instruction_and_input_are_joined_by_a_blank_line_and_stay_joined(tmp_path: Path) -> None:
    record = {"instruction": "Translate.", "input": "Haute mer", "output": "High water"}
    found, chats = losses(tmp_path, record)
    assert (found, chats[0]["messages"][0]) == ([], user("Translate.\n\nHaute mer"))
    found, out = losses(tmp_path, record, to="alpaca")
    assert (found, out) == ([], [{"instruction": "Translate.\n\nHaute mer", "input": "", "output": "High water"}])


def test_a_conversation_that_ends_with_a_question_is_not_dropped(tmp_path: Path) -> None:
    turns = [*make.LONG_TURNS, make.human("And?")]
    found, chats = losses(tmp_path, {"conversations": turns})
    assert (found, len(chats[0]["messages"])) == ([], 5)


def test_a_call_before_its_answer_gets_an_id_and_an_answer_without_one_is_left_out(tmp_path: Path) -> None:
    turns = [
        make.human("Tide?"),
        {"from": "function_call", "value": '[{"name": "f", "arguments": {}}, {"name": "g", "arguments": "{}"}]'},
        {"from": "observation", "value": "1"},
        {"from": "tool", "value": "2"},
        make.gpt("3"),
    ]
    found, chats = losses(tmp_path, {"conversations": turns}, {"conversations": [turns[0], turns[2]]})
    assert [message.get("tool_call_id") for message in chats[0]["messages"][2:4]] == ["call_1", "call_2"]
    assert found == [("answer-without-call", "$.conversations[1]", '"1"')]


def test_a_turn_that_nobody_speaks_is_left_out_with_its_place(tmp_path: Path) -> None:
    found, _ = losses(tmp_path, {"conversations": [make.human("a"), {"from": "wizard", "value": "b"}]})
    assert found == [("role-unknown", "$.conversations[1].from", '"wizard"')]


def test_keys_that_a_chat_has_no_place_for_are_named(tmp_path: Path) -> None:
    record = chat(user(emotion="calm"), assistant(audio=None, annotations=[]), id=7, source="web", note=None)
    found, chats = losses(tmp_path, record)
    assert found == [("key-dropped", "$.messages[0].emotion", '"calm"'), ("key-dropped", "$", "id, source")]
    assert chats == [chat()]


@pytest.mark.parametrize("layout", ["{}", "[{}]", '{{"data": [{}]}}'])
def test_a_key_that_stands_twice_is_named(tmp_path: Path, layout: str) -> None:
    record = '{"prompt": "a \\":", "completion": "b", "tools": [], "prompt": "c"}'
    path = tmp_path / "a.json"
    path.write_text(layout.format(record))
    done, chats = converted(path)
    assert [(loss.code, loss.path) for loss in done.losses] == [("key-repeated", "$.prompt")]
    assert chats == [chat(user("c"), assistant("b"))]


def test_a_record_for_a_grader_keeps_its_keys(tmp_path: Path) -> None:
    record = {"messages": [user()], "reference": {"metres": 5.9}}
    assert losses(tmp_path, record) == ([], [record])


def test_objects_as_arguments_become_text_in_their_order(tmp_path: Path) -> None:
    call = {"function": {"name": "f", "arguments": {"port": "Léon", "a": [1, 2.0]}}}
    found, chats = losses(tmp_path, chat(user(), {"role": "assistant", "tool_calls": [call]}))
    assert found == []
    (made,) = chats[0]["messages"][1]["tool_calls"]
    assert made == {
        "id": "call_1",
        "type": "function",
        "function": {"name": "f", "arguments": '{"port":"Léon","a":[1,2.0]}'},
    }


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ({"choices": []}, "no-answer"),
        ({"choices": [{"message": {"role": "assistant", "content": None}}]}, "no-answer"),
        ({"error": {"message": "overloaded"}}, "request-failed"),
        ({"status_code": 500, "body": make.completion()}, "request-failed"),
    ],
)
def test_an_exchange_without_an_answer_is_left_out(tmp_path: Path, answer: dict[str, Any], code: str) -> None:
    assert codes(tmp_path, log(answer)) == [code]


def test_a_cut_off_answer_and_further_choices_are_named(tmp_path: Path) -> None:
    choices = [{"message": assistant(), "finish_reason": "length"}, {"message": assistant("other")}]
    found, chats = losses(tmp_path, log({"choices": choices}))
    assert [(code, path) for code, path, _ in found] == [
        ("answer-cut-off", "$.response.choices[0].finish_reason"),
        ("choice-dropped", "$.response.choices[1]"),
    ]
    assert chats == [chat()]


def test_a_setting_of_a_request_is_named_wherever_the_request_stands(tmp_path: Path) -> None:
    answer = {"choices": [{"message": assistant()}]}
    flat = {"messages": [user()], "temperature": 0, "response": answer}
    both = {"messages": [user()], "temperature": 0, **answer}
    nested = {"request": {"body": {"messages": [user()], "temperature": 0}}, "response": {"body": answer}}
    found, chats = losses(tmp_path, flat, both, nested)
    assert [path for _, path, _ in found] == ["$.temperature", "$.temperature", "$.request.body.temperature"]
    assert chats == [chat()] * 3


def test_a_system_outside_of_the_messages_is_the_first_of_them(tmp_path: Path) -> None:
    record = {"inputs": {"system": make.SYSTEM, "messages": [user(make.ASKED)]}, "outputs": assistant(make.ANSWERED)}
    beside = {"system": make.SYSTEM, **make.SHORT}
    assert losses(tmp_path, record, beside) == ([], [make.PLAIN, make.PLAIN])


def test_what_stands_in_parts_and_calls_besides_is_named(tmp_path: Path) -> None:
    url = {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}, "caption": "Quay"}
    call = {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}", "parsed": {"a": 1}}}
    found, _ = losses(tmp_path, chat(user([url]), {"role": "assistant", "tool_calls": [call]}))
    assert [path for _, path, _ in found] == [
        "$.messages[0].content[0].caption",
        "$.messages[1].tool_calls[0].function.parsed",
    ]


def test_a_developer_becomes_a_system_in_a_log_and_is_named(tmp_path: Path) -> None:
    record = {"input": [{"role": "developer", "content": "Be brief."}, user()], "output": make.OUTPUT}
    found, chats = losses(tmp_path, record)
    assert found == [("role-renamed", "$.input[0].role", '"developer"')]
    assert chats[0]["messages"][0] == {"role": "system", "content": "Be brief."}


def test_items_of_the_service_are_dropped_by_name_and_calls_of_other_tools_leave_the_record_out(tmp_path: Path) -> None:
    search = {"type": "web_search_call", "id": "ws_1", "status": "completed"}
    foreign = {"type": "computer_call", "call_id": "c", "action": {}}
    found, chats = losses(
        tmp_path,
        {"input": make.ASKED, "output": [search, *make.OUTPUT], "tools": [{"type": "web_search"}]},
        {"input": "Tide?", "output": [foreign, *make.OUTPUT]},
    )
    assert [(code, what) for code, _, what in found] == [
        ("item-dropped", "web_search_call"),
        ("tool-dropped", "web_search"),
        ("item-unknown", '"computer_call"'),
    ]
    assert chats == [make.SHORT]


def test_blocks_that_a_chat_cannot_hold_are_named_with_their_place(tmp_path: Path) -> None:
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}}
    document = {"type": "document", "source": {"type": "text", "data": "x"}}
    said = [{"type": "text", "text": "One.", "cache_control": {"type": "ephemeral"}}, {"type": "text", "text": "Two."}]
    found, chats = losses(tmp_path, chat(user([document, image]), assistant(said)))
    assert found == [
        ("part-dropped", "$.messages[0].content[0]", "document"),
        ("key-dropped", "$.messages[1].content[0].cache_control", "an object"),
        ("parts-joined", "$.messages[1].content", "a list of 2"),
    ]
    url = {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}}
    assert chats == [chat(user([url]), assistant("One.Two."))]


def test_an_answer_of_a_tool_comes_before_the_text_beside_it(tmp_path: Path) -> None:
    use = {"type": "tool_use", "id": "t", "name": "f", "input": {}}
    result = {"type": "tool_result", "tool_use_id": "t", "content": None, "is_error": True}
    asked = user([{"type": "text", "text": "There."}, result])
    found, chats = losses(tmp_path, chat(user(), assistant([use]), asked, assistant()))
    assert [code for code, _, _ in found] == ["order-changed", "key-dropped"]
    assert [message["role"] for message in chats[0]["messages"]] == ["user", "assistant", "tool", "user", "assistant"]


def test_a_prompt_that_is_not_said_is_what_both_answers_begin_with(tmp_path: Path) -> None:
    found, made = losses(tmp_path, {"chosen": "The sea is blue.", "rejected": "The sea is bold."})
    assert found == [("prompt-guessed", "$.chosen", '"The sea is"')]
    assert made[0]["input"]["messages"] == [user("The sea is")]
    assert made[0]["preferred_output"] == [assistant(" blue.")]
    assert codes(tmp_path, {"chosen": "Blue.", "rejected": "Bold."}) == ["no-prompt"]


def test_what_is_judged_finds_its_other_half_wherever_it_stands(tmp_path: Path) -> None:
    records = [make.kto(f"good {i}", True, f"Q{i}") for i in range(9)] + [
        make.kto(f"bad {i}", False, [user(f"Q{i}")]) for i in reversed(range(8))
    ]
    done, made = converted(write(tmp_path / "a.jsonl", *records))
    assert [pair["input"]["messages"][0]["content"] for pair in made] == [f"Q{i}" for i in reversed(range(8))]
    assert all(pair["preferred_output"][0]["content"].startswith("good") for pair in made)
    assert (done.joined, done.counts, done.losses[0].line) == (8, {"unpaired": 1}, 9)


def test_only_so_many_halves_wait() -> None:
    partners: Partners[int] = Partners(most=2)
    halves = [Half("kto", bytes([i]), True, {"i": i}) for i in range(4)]
    lost = [partners.hold(half, i) for i, half in enumerate(halves)]
    assert [held and held.owner for held in lost] == [None, None, 0, 1]
    other = partners.take(halves[3]._replace(first=False))
    assert other is not None
    assert (other.owner, partners.value(other)) == (3, {"i": 3})
    assert [held.owner for held in partners.rest()] == [2]


def test_lines_of_a_batch_without_their_other_half_are_named(tmp_path: Path) -> None:
    request, _, answer, _ = make.LINES["openai-batch"]
    assert codes(tmp_path, request, answer) == ["no-answer", "request-missing"]


def test_chats_and_pairs_do_not_go_into_one_file(tmp_path: Path) -> None:
    found, made = losses(tmp_path, make.PAIR, make.SHORT)
    assert ([code for code, _, _ in found], made) == (["mixed-kinds"], [make.PAIR])


@pytest.mark.parametrize(
    ("record", "to", "code"),
    [
        (make.TOOLS, "alpaca", "holds-tools"),
        (make.PAIR, "prompt-completion", "two-answers"),
        (make.LONG, "prompt-completion", "turns-do-not-fit"),
        (make.PLAIN, "prompt-completion", "system-joined"),
        (make.THOUGHT, "sharegpt", "reasoning-dropped"),
        (make.SHORT, "text", "no-text"),
        (make.TEXT, "sharegpt", "turns-do-not-fit"),
        (chat(user(), assistant(weight=0), user(), assistant()), "alpaca", "weight-dropped"),
        (chat(user([{"type": "text", "text": "a"}]), assistant()), "alpaca", "holds-parts"),
        (chat(user(), user(), assistant()), "alpaca", "turns-do-not-fit"),
        (chat({"role": "developer", "content": "a"}, user(), assistant()), "alpaca", "role-renamed"),
        (chat({"role": "system", "content": ""}, user(), assistant()), "alpaca", "changed"),
    ],
)
def test_what_the_other_format_cannot_hold_is_named(tmp_path: Path, record: Any, to: str, code: str) -> None:
    assert codes(tmp_path, record, to=to) == [code]


def test_ids_of_calls_that_cannot_be_made_up_again_are_named(tmp_path: Path) -> None:
    call = {"id": "x9", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    answer = {"role": "tool", "tool_call_id": "x9", "content": "1"}
    record = chat(user(), {"role": "assistant", "tool_calls": [call]}, answer, assistant())
    found, _ = losses(tmp_path, record, to="sharegpt")
    assert [(code, path) for code, path, _ in found] == [
        ("call-id-dropped", "$.messages[1].tool_calls[0].id"),
        ("call-id-dropped", "$.messages[2].tool_call_id"),
    ]


def test_two_answers_in_a_row_that_sharegpt_makes_one_are_named(tmp_path: Path) -> None:
    calls = {"role": "assistant", "tool_calls": [make.CALL]}
    assert codes(tmp_path, chat(user(), assistant(), calls), to="sharegpt") == ["changed"]


def test_pairs_go_out_as_sharegpt_and_alpaca_and_come_back(tmp_path: Path) -> None:
    for to in ("sharegpt", "alpaca", "trl"):
        found, made = losses(tmp_path, make.PAIR, make.LATER_PAIR, to=to)
        assert found == []
        assert losses(tmp_path, *made) == ([], [make.PAIR, make.LATER_PAIR])


@pytest.mark.long
def test_memory_does_not_grow_with_an_array(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    record = b'{"prompt":"' + b"a" * 2000 + b'","completion":"b"}'
    path.write_bytes(b"[" + (record + b",") * 12_000 + record + b"]")
    code = (
        "import resource, sys\nfrom anytune.data.convert import convert\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "assert convert(sys.argv[1]).written == 12001\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    grown = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True).stdout
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, KiB elsewhere
    assert int(grown) * unit < path.stat().st_size / 2, grown
