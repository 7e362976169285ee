"""The right tokens: in each family's turn syntax, exactly what the model has to say is trained."""

from __future__ import annotations

from datetime import date
from functools import cache
from typing import Any

import pytest

pytest.importorskip("torch")
pytestmark = pytest.mark.local

from anytune.errors import UsageError  # noqa: E402
from tests.local.talks import FAMILIES, TEMPLATES, TOOLS, Maker, tokenizer_of, wanted, worded  # noqa: E402

CHATS = 12  # of each family; bench/masks.py compares 2,000
ASKED = {"role": "user", "content": "Tide?"}
CALL = {"id": "call_Zb4Lq0", "type": "function", "function": {"name": "tide", "arguments": '{"port": "Brest"}'}}


@cache
def coder(family: str) -> Any:
    """Return the encoder of a small tokenizer with a family's template."""
    from anytune.local.encode import ChatEncoder

    tokenizer = tokenizer_of(family)
    return ChatEncoder(tokenizer, stop_ids=frozenset(tokenizer.convert_tokens_to_ids(list(FAMILIES[family].ends))))


def trained(family: str, record: dict[str, Any]) -> list[tuple[str, str]]:
    """Return each trained answer with what stands before it, as text."""
    read = coder(family).tokenizer.decode
    rows = coder(family).example(record, where="line 7", line=7).rows
    return [(read(before), read(said)) for before, said in worded(rows, coder(family).stop_ids)]


def said(family: str, *messages: dict[str, Any], tools: Any = None) -> list[str]:
    """Return what is trained of a chat."""
    return [text for _, text in trained(family, {"messages": list(messages), "tools": tools})]


def refusal(family: str, *messages: dict[str, Any], tools: Any = None) -> str:
    with pytest.raises(UsageError) as raised:
        coder(family).example({"messages": list(messages), "tools": tools}, where="line 7", line=7)
    assert raised.value.fix or "refuses the messages" in raised.value.message
    assert raised.value.message.startswith("line 7: ")
    assert "\n" not in raised.value.message
    return raised.value.message


def answer(content: Any = "5.9 m", **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": content, **more}


def called(content: Any = None, **more: Any) -> list[dict[str, Any]]:
    """Return a call of a tool and what comes back."""
    result = {"role": "tool", "tool_call_id": CALL["id"], "content": "5.9"}
    return [answer(content, tool_calls=[CALL], **more), result]


@pytest.mark.parametrize("family", FAMILIES)
def test_masks_are_those_that_brute_force_finds(family: str) -> None:
    make = Maker(FAMILIES[family], seed=1)
    for _ in range(CHATS):
        record = make.record()
        rows = coder(family).example(record, where="x", line=1).rows
        assert worded(rows, coder(family).stop_ids) == sorted(wanted(coder(family).tokenizer, record, FAMILIES[family]))


@pytest.mark.parametrize("family", [name for name, of in FAMILIES.items() if not of.borders])
def test_a_chat_whose_template_keeps_to_what_it_wrote_is_one_text(family: str) -> None:
    talk = [ASKED, answer("One."), ASKED, answer("Two.")]
    assert len(coder(family).example({"messages": talk}, where="x", line=1).rows) == 1


def test_each_answer_of_a_thinking_model_stands_behind_what_it_will_be_given() -> None:
    talk = [ASKED, answer("One.", reasoning="Hm."), ASKED, answer("Two.")]
    first, second = trained("qwen3", {"messages": talk})
    assert first[1] == "<think>\nHm.\n</think>\n\nOne.<|im_end|>"
    assert second[1] == "<think>\n\n</think>\n\nTwo.<|im_end|>"
    assert "Hm." not in second[0]
    assert "One." in second[0]


def test_of_gpt_oss_each_last_answer_ends_with_the_token_that_ends_it() -> None:
    thought, final = said("gptoss", ASKED, answer("One.", thinking="Hm."), ASKED, answer("Two."))
    assert thought.startswith("<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>final<|message|>")
    assert thought.endswith("One.<|return|>")
    assert final == "<|channel|>final<|message|>Two.<|return|>"


def test_a_system_message_that_mistral_keeps_for_the_last_question_is_read_before_each_answer() -> None:
    told = trained("mistral", {"messages": [{"role": "system", "content": "Be kind."}, *[ASKED, answer()] * 2]})
    assert [before.count("Be kind.") for before, _ in told] == [1, 1]


def test_ids_of_calls_are_made_as_long_as_mistral_has_them() -> None:
    (call, _) = said("mistral", ASKED, *called(), answer(), tools=TOOLS)
    assert CALL["id"] not in call
    assert call.startswith('[TOOL_CALLS][{"name": "tide", "arguments": {"port": "Brest"}, "id": "')


@pytest.mark.parametrize("family", ["llama3", "qwen2", "qwen3", "mistral", "gptoss"])
@pytest.mark.parametrize("nothing", [None, ""], ids=["null", "empty"])
def test_a_message_that_only_calls_may_have_no_text(family: str, nothing: str | None) -> None:
    call, words = said(family, ASKED, *called(nothing), answer(), tools=TOOLS)
    assert '{"port": "Brest"}' in call
    assert "5.9 m" in words


def test_arguments_are_text_for_a_template_that_would_write_them_as_python() -> None:
    tokenizer = coder("qwen2").tokenizer
    before = tokenizer.chat_template
    tokenizer.chat_template = before.replace(
        " + call.function.arguments | tojson + '}", "}}{{ call.function.arguments }}{{ '}"
    )
    try:
        call, _ = said("qwen2", ASKED, *called(), answer(), tools=TOOLS)
    finally:
        tokenizer.chat_template = before
    assert '"arguments": {"port": "Brest"}}' in call


@pytest.mark.parametrize(
    ("family", "talk", "tools", "told"),
    [
        ("phi3", [ASKED, *called(), answer()], None, "leaves out a call of a tool"),
        ("phi3", [ASKED, answer()], TOOLS, "leaves out the tools"),
        ("llama3", [ASKED, *called("I look it up."), answer()], TOOLS, "leaves out the text of an answer"),
        ("llama3", [ASKED, answer(reasoning="Hm.")], None, "leaves out the reasoning"),
        (
            "gptoss",
            [ASKED, answer(None, tool_calls=[CALL, CALL | {"function": TOOLS[1]["function"]}])],
            TOOLS,
            "a call",
        ),
        ("llama3", [ASKED, answer(None, tool_calls=[CALL] * 2)], TOOLS, "refuses the messages: one call at a time"),
        ("gemma2", [{"role": "system", "content": "x"}, ASKED, answer()], None, "refuses the messages: no system"),
        ("gemma3", [ASKED, ASKED, answer()], None, "refuses the messages: roles must alternate"),
        ("mistral", [ASKED, answer(), answer()], None, "refuses the messages: roles must alternate"),
        ("qwen2", [ASKED, answer("a<|im_end|>b")], None, "an answer holds <|im_end|>, which would end it there"),
        (
            "qwen2",
            [ASKED, answer([{"type": "image_url", "image_url": {"url": "x"}}])],
            None,
            "a part of type image_url",
        ),
        ("gemma2", [ASKED, answer(None)], None, "an answer has no text and no calls"),
        ("qwen2", [ASKED, answer(weight=0)], None, "nothing in it is trained"),
        ("llama3", [{"role": "user", "content": "<|begin_of_text|>"}, answer()], None, "stands more than once"),
    ],
)
def test_what_would_be_lost_or_learnt_wrongly_is_one_line(family: str, talk: Any, tools: Any, told: str) -> None:
    assert told in refusal(family, *talk, tools=tools)


def test_a_prompt_that_opens_what_an_answer_is_written_without_is_told() -> None:
    tokenizer = coder("phi4").tokenizer
    before = tokenizer.chat_template
    tokenizer.chat_template = (TEMPLATES / "deepseek_r1.jinja").read_text()
    try:
        assert "opens an answer otherwise than it writes one down" in refusal("phi4", ASKED, answer("x<|im_end|>"))
    finally:
        tokenizer.chat_template = before


def test_text_in_parts_is_one_text() -> None:
    parts = [{"type": "text", "text": "5.9"}, {"type": "text", "text": " m"}]
    assert said("llama3", {"role": "user", "content": parts}, answer(parts)) == ["5.9 m<|eot_id|>"]


def test_an_end_that_the_data_already_has_is_trained_once() -> None:
    assert said("qwen2", ASKED, answer("5.9 m<|im_end|>")) == ["5.9 m<|im_end|>"]


def test_a_template_with_a_date_writes_the_same_one_all_through_a_run() -> None:
    from anytune.local.encode import ChatEncoder

    coded = ChatEncoder(coder("llama3").tokenizer, stop_ids=coder("llama3").stop_ids, today=date(2031, 2, 3))
    ids = coded.example({"messages": [ASKED, answer()]}, where="x", line=1).ids
    assert "Today Date: 03 Feb 2031" in coded.tokenizer.decode(ids)
    assert coded.prompt([ASKED]) == ids[: len(coded.prompt([ASKED]))]


@pytest.mark.parametrize("start", ["\n", "\n\nx", "\n \n"])
def test_no_token_reaches_from_the_prompt_into_an_answer(start: str) -> None:
    """The line break that opens an answer and those that it begins with are one token to the tokenizer."""
    coded = coder("phi3")
    ids = coded.example({"messages": [ASKED, answer(f"{start}x")]}, where="x", line=1).ids
    prompt = coded.prompt([ASKED])
    assert coded.raw("\n\n") != coded.raw("\n") * 2, "the tokenizer has a token of two line breaks"
    assert ids[: len(prompt)] == prompt
