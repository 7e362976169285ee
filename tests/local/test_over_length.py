"""What becomes of examples that are longer than max_length: by policy, told, and with the answer whole."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

import pytest

pytest.importorskip("torch")
pytestmark = pytest.mark.local

from anytune.errors import UsageError  # noqa: E402
from anytune.schema.training import OverLength  # noqa: E402
from tests.local.conftest import TINY, chat, pair, write_lines  # noqa: E402
from tests.local.talks import FAMILIES, Maker, wanted, worded  # noqa: E402
from tests.local.test_encode import BOS, FORGETFUL, encoder  # noqa: E402
from tests.local.test_masks import coder as of_family  # noqa: E402

CALLING = (
    "{%- for m in messages %}{{- '<|' + m['role'] + '|>' + m['content'] }}"
    "{%- for c in m['tool_calls'] or [] %}{{- c['function']['name'] + (c['function']['arguments'] | tojson) }}"
    "{%- endfor %}{{- eos_token }}{%- endfor %}{%- if add_generation_prompt %}{{- '<|assistant|>' }}{%- endif %}"
)
SYSTEM = {"role": "system", "content": "Be brief."}
ANSWER = {"role": "assistant", "content": "It is high."}


def talk(*words: int, last: dict[str, Any] = ANSWER) -> list[dict[str, Any]]:
    """Return a chat of one round for each number, whose question has so many words."""
    rounds = [
        [{"role": "user", "content": f"q{n} " + "a " * many}, {"role": "assistant", "content": f"r{n}"}]
        for n, many in enumerate(words)
    ]
    return [SYSTEM, *[message for both in rounds for message in both][:-1], last]


def seen(coder: Any, record: dict[str, Any], most: int, policy: OverLength = "truncate_left") -> Any:
    from anytune.local.records import Limit, read

    return read(coder, record, Limit(most, policy), where="x", line=1)


def text(coder: Any, row: Any) -> str:
    return str(coder.tokenizer.decode(row.ids))


def trained(coder: Any, row: Any) -> str:
    return str(coder.tokenizer.decode([t for t, mark in zip(row.ids, row.trained, strict=True) if mark]))


def test_whole_rounds_go_from_the_left_and_the_instructions_and_the_answer_stay() -> None:
    coder = encoder()
    record = {"messages": talk(20, 20, 20)}
    whole = coder.example(record, where="x", line=1)
    for most in range(len(coder.example({"messages": talk(20)}, where="x", line=1)), len(whole)):
        kept = seen(coder, record, most).kept
        said = text(coder, kept)
        assert len(kept) <= most
        assert (kept.ids[0], kept.ids.count(BOS)) == (BOS, 1)
        assert said.startswith("<|bos|><|system|>Be brief.<|end|><|user|>q")
        assert said.endswith("<|assistant|>It is high.<|end|>")
        assert all(f"q{n} " + "a " * 20 in said for n in range(3) if f"q{n}" in said)
    assert trained(coder, seen(coder, record, len(whole) - 1).kept) == "r1<|end|>It is high.<|end|>"
    assert seen(coder, record, len(whole)).kept == whole


def test_where_one_message_is_too_long_its_beginning_goes_as_little_as_must_be() -> None:
    coder = encoder()
    record = {"messages": talk(3, 90)}
    short = coder.example({"messages": talk(0)}, where="x", line=1)
    for most in (len(short) + 5, len(short) + 30):
        said = seen(coder, record, most).kept
        assert most - 2 <= len(said) <= most
        assert text(coder, said).startswith("<|bos|><|system|>Be brief.<|end|><|user|>")
        assert "q" not in text(coder, said)
        assert trained(coder, said) == "It is high.<|end|>"


def test_an_answer_that_leaves_no_room_is_left_out_and_never_cut() -> None:
    record = {"messages": talk(3, last={"role": "assistant", "content": "b " * 60})}
    assert seen(encoder(), record, 40).kept is None
    assert seen(encoder(), {"text": "a " * 60}, 40).kept is None


def test_what_stands_behind_the_last_trained_answer_goes_first() -> None:
    coder = encoder()
    more = [{"role": "user", "content": "a " * 60}, {"role": "assistant", "content": "c " * 60, "weight": 0}]
    kept = seen(coder, {"messages": [*talk(3, 3), *more]}, 80).kept
    assert kept == coder.example({"messages": talk(3, 3)}, where="x", line=1)


def test_of_a_long_way_to_an_answer_the_question_and_the_last_step_stay() -> None:
    from anytune.local.shorten import rounds, steps

    def step(number: int) -> list[dict[str, Any]]:
        return [
            {"role": "assistant", "tool_calls": [{"id": f"{number}"}]},
            {"role": "tool", "content": f"{number}"},
        ]

    question = {"role": "user", "content": "now?"}
    asked = [SYSTEM, {"role": "user", "content": "before?"}, ANSWER, question, *step(1), *step(2), *step(3)]
    assert rounds(asked) == [[SYSTEM, question, *step(1), *step(2), *step(3)]]
    assert steps(asked) == [[SYSTEM, question, *step(2), *step(3)], [SYSTEM, question, *step(3)]]


def test_what_the_assistant_says_before_a_tool_is_never_cut() -> None:
    def looked_up(said: str, found: str) -> dict[str, Any]:
        call = {"id": "1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
        step = [
            {"role": "assistant", "content": said, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "1", "content": found},
        ]
        return {"messages": [{"role": "user", "content": "How high?"}, *step, ANSWER]}

    coder = encoder(CALLING)
    said = "First I look. " + "think " * 50
    whole = coder.example(looked_up(said, ""), where="x", line=1)
    short = coder.example(looked_up("", "ok"), where="x", line=1)
    assert seen(coder, looked_up(said, "ok"), len(short) + 10).kept is None
    kept = seen(coder, looked_up(said, "begin " + "a " * 40 + "end"), len(whole) + 6).kept
    assert trained(coder, kept).startswith("First I look. think")
    assert "end" in text(coder, kept)
    assert "begin" not in text(coder, kept)


def test_of_a_chat_in_several_texts_all_are_of_the_same_shorter_chat() -> None:
    coder = encoder(FORGETFUL)
    record = {"messages": talk(20, 20, 20)}
    whole = coder.example(record, where="x", line=1)
    kept = seen(coder, record, len(whole) - 1).kept
    assert [trained(coder, row) for row in kept.rows] == ["r1<|end|>", "It is high.<|end|>"]
    assert not any("q0" in text(coder, row) for row in kept.rows)


def test_a_prompt_loses_its_beginning_and_its_completion_stays() -> None:
    coder = encoder()
    kept = seen(coder, {"prompt": "begin " + "a " * 60 + "end:", "completion": " yes"}, 30).kept
    assert len(kept) == 30
    assert text(coder, kept).endswith("end: yes<|end|>")
    assert trained(coder, kept) == " yes<|end|>"


def test_both_sides_of_a_pair_are_cut_alike() -> None:
    from anytune.local.training.pair import PairEncoder

    coder = encoder()
    record = pair(1) | {"input": {"messages": [*talk(20, 20)[:-1]]}}
    whole = PairEncoder(coder).example(record, where="x", line=1)
    kept = seen(PairEncoder(coder), record, len(whole) - 1).kept
    asked = [row.ids[: row.trained.index(True)] for row in kept.rows]
    assert asked[0] == asked[1]
    assert "q1" in coder.tokenizer.decode(asked[0])
    assert "q0" not in coder.tokenizer.decode(asked[0])
    assert [row.supervised for row in kept.rows] == [row.supervised for row in whole.rows]


def test_a_question_keeps_room_for_its_answer() -> None:
    from anytune.local.training.task import TaskEncoder

    class Any_:
        def require(self, item: Any, *, where: str) -> None:
            """Take every record."""

    coder = TaskEncoder(encoder(), Any_(), room=30)  # type: ignore[arg-type]
    record = {"messages": talk(20, 20)[:-1], "sum": 4}
    kept = seen(coder, record, 90).kept
    assert len(kept) <= 60
    assert kept.item == {"sum": 4}
    assert [message["content"][:2] for message in kept.messages] == ["Be", "q1"]
    assert seen(coder, record, 90, "drop").kept is None


def test_longer_examples_are_refused_dropped_or_cut_and_counted(tmp_path: Path) -> None:
    from anytune.local.records import Limit, encode_file

    coder = encoder()
    lines = [chat(0), {"messages": talk(60)}, {"messages": talk(0, last={"role": "assistant", "content": "b " * 60})}]
    path = write_lines(tmp_path / "t.jsonl", lines)
    lengths = [len(coder.example(line, where="x", line=1)) for line in lines]
    limit = {policy: Limit(50, policy) for policy in get_args(OverLength)}
    with pytest.raises(UsageError) as refused:
        encode_file(path, coder, name="training", limit=limit["refuse"])
    assert refused.value.message == (
        f"the training file has 2 examples longer than max_length 50: line 2 ({lengths[1]} tokens), "
        f"line 3 ({lengths[2]} tokens)"
    )
    assert "training.over_length: drop, or truncate_left" in str(refused.value.fix)
    drop, left, right = (
        encode_file(path, coder, name="training", limit=limit[policy])
        for policy in ("drop", "truncate_left", "truncate_right")
    )
    assert [len(got.over) for got in (drop, left, right)] == [2, 2, 2]
    assert (drop.left_out, drop.tokens_left_out, drop.cut) == ([2, 3], sum(lengths[1:]), 0)
    assert (left.left_out, left.tokens_left_out, left.cut) == ([3], lengths[2], 1)
    assert left.tokens_cut == lengths[1] - len(left.examples[1])
    assert (right.left_out, right.cut, right.tokens_cut) == ([2], 1, lengths[2] - 50)


def test_a_preview_shows_what_is_left_as_the_trainer_has_it(tmp_path: Path) -> None:
    from anytune.local.preview import Question, preview
    from anytune.local.records import Limit, encode_file

    path = write_lines(tmp_path / "t.jsonl", [{"messages": talk(30, 30)}, chat(0), {"text": "a " * 99}])
    limit = Limit(60, "truncate_left")
    found = preview(Question(file=path, model=str(TINY), limit=limit, first=3))
    trainer = encode_file(path, encoder(), name="training", limit=limit)
    shown = [(one["ids"], sum(one["trained"])) for one in found["examples"][:2]]
    assert shown == [(example.ids, example.supervised) for example in trainer.examples]
    assert "q0" not in "".join(found["examples"][0]["texts"])
    first, _, third = (one["over"] for one in found["examples"])
    assert (first["left_out"], third["left_out"]) == (False, True)
    assert first["tokens_lost"] == trainer.tokens_cut
    over = found["file"]["over"]
    assert (over["lines"], over["left_out_lines"]) == ([1, 3], trainer.left_out)
    assert over["tokens_lost"] == trainer.tokens_cut + trainer.tokens_left_out
    assert found["faults"]["examples"] == 0
    refused = preview(Question(file=path, model=str(TINY), limit=Limit(60, "refuse")))
    assert [kind["lines"] for kind in refused["faults"]["kinds"]] == [[1, 3]]


def as_written(record: dict[str, Any]) -> dict[str, Any]:
    """Return a record with the arguments of calls as JSON text, as data files have them."""
    made = []
    for message in record["messages"]:
        calls = [
            call | {"function": call["function"] | {"arguments": json.dumps(call["function"]["arguments"])}}
            for call in message.get("tool_calls", ())
        ]
        made.append({**message, "content": message.get("content"), **({"tool_calls": calls} if calls else {})})
    return {**record, "messages": made}


@pytest.mark.parametrize("family", FAMILIES)
def test_in_each_familys_syntax_a_shorter_chat_is_trained_as_brute_force_has_it(family: str) -> None:
    """The answer that stays is the one there was, whole, and each mask is that of the shorter chat by itself."""
    make, coder = Maker(FAMILIES[family], seed=2), of_family(family)
    cut = 0
    for _ in range(12):
        record = make.record()
        whole = coder.example(record, where="x", line=1)
        last = wanted(coder.tokenizer, record, FAMILIES[family])[-1][1]
        for most in (len(whole) - 1, len(whole) * 2 // 3, len(whole) // 2, len(last) + 4):
            found = seen(coder, record, most)
            if found.kept is None or not found.is_over:
                continue
            cut += 1
            assert len(found.kept) <= most
            reference = wanted(coder.tokenizer, as_written(found.changed), FAMILIES[family])
            assert worded(found.kept.rows, coder.stop_ids) == sorted(reference)
            assert reference[-1][1] == last
            instructions = [m["content"] for m in record["messages"] if m["role"] == "system"]
            assert [m["content"] for m in found.changed["messages"] if m["role"] == "system"] == instructions
    assert cut > 12
