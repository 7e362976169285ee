"""What the model reads and what it is taught: masks, BOS, end of turn, truncation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytestmark = pytest.mark.local

from anytune.errors import UsageError  # noqa: E402
from tests.local.conftest import TINY, chat, write_lines  # noqa: E402

BOS, END = 1, 2
UNMARKED = (
    "{{- bos_token }}{%- for m in messages %}{{- '<|' + m['role'] + '|>' + m['content'] + eos_token }}{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|assistant|>' }}{%- endif %}"
)
CHATML = (
    "{%- for m in messages %}{{- '<|' + m['role'] + '|>\n' + m['content'] + eos_token + '\n' }}{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|assistant|>\n' }}{%- endif %}"
)
FORGETFUL = (  # drops what is in brackets from all answers but the last, as templates of thinking models do
    "{%- for m in messages %}{{- '<|' + m['role'] + '|>' + (m['content'] if loop.last else m['content'][:2]) "
    "+ eos_token }}{%- endfor %}{%- if add_generation_prompt %}{{- '<|assistant|>' }}{%- endif %}"
)
TALK: list[dict[str, Any]] = [
    {"role": "system", "content": "Be kind."},
    {"role": "user", "content": "Hello  there"},
    {"role": "assistant", "content": " Grüß dich\n\n👋 "},
    {"role": "user", "content": "And?"},
    {"role": "assistant", "content": "  Fine.\n"},
]


def encoder(template: str | None = None) -> Any:
    from anytune.local.encode import ChatEncoder
    from anytune.local.loading import open_tokenizer

    tokenizer = open_tokenizer(str(TINY))
    if template is not None:
        tokenizer.chat_template = template
    return ChatEncoder(tokenizer, stop_ids=frozenset({END}))


def answers(coder: Any, messages: list[dict[str, Any]]) -> list[str]:
    """Return the trained stretches as text."""
    example = coder.example({"messages": messages}, where="x", line=1)
    runs: list[list[int]] = []
    for at, (token, trained) in enumerate(zip(example.ids, example.trained, strict=True)):
        if trained:
            if at == 0 or not example.trained[at - 1]:
                runs.append([])
            runs[-1].append(token)
    return [coder.tokenizer.decode(run) for run in runs]


@pytest.mark.parametrize("template", [None, UNMARKED, CHATML], ids=["marked", "unmarked", "chatml"])
def test_the_answers_and_their_ends_are_trained_and_nothing_else(template: str | None) -> None:
    assert answers(encoder(template), TALK) == [" Grüß dich\n\n👋 <|end|>", "  Fine.\n<|end|>"]


def test_a_template_without_marks_gives_the_same_as_one_with_marks() -> None:
    record = {"messages": TALK}
    assert encoder().example(record, where="x", line=1) == encoder(UNMARKED).example(record, where="x", line=1)


def test_bos_stands_once_and_first() -> None:
    ids = encoder().example({"messages": TALK}, where="x", line=1).ids
    assert ids[0] == BOS
    assert ids.count(BOS) == 1
    assert encoder().prompt(TALK[:2])[:1] == [BOS]


def test_bos_is_added_when_the_tokenizer_wants_one_and_the_template_has_none() -> None:
    coder = encoder(CHATML)
    coder.adds_bos = True
    example = coder.example({"messages": TALK}, where="x", line=1)
    assert example.ids[:1] == [BOS]
    assert len(example.trained) == len(example.ids)
    assert coder.prompt(TALK[:2])[0] == BOS


def test_a_second_bos_in_the_text_is_an_error() -> None:
    talk = [{"role": "user", "content": "<|bos|>"}, {"role": "assistant", "content": "x"}]
    with pytest.raises(UsageError, match="file f, line 3: the token that opens a chat"):
        encoder().example({"messages": talk}, where="file f, line 3", line=3)


@pytest.mark.parametrize("template", [None, UNMARKED], ids=["marked", "unmarked"])
def test_a_message_of_weight_0_is_not_trained(template: str | None) -> None:
    talk = [*TALK[:2], {**TALK[2], "weight": 0}, *TALK[3:]]
    assert answers(encoder(template), talk) == ["  Fine.\n<|end|>"]


def test_a_chat_that_trains_nothing_is_an_error_with_its_line() -> None:
    talk = [*TALK[:2], {**TALK[2], "weight": 0}]
    with pytest.raises(UsageError, match="line 4: nothing in it is trained"):
        encoder().example({"messages": talk}, where="line 4", line=4)


def test_an_end_outside_the_marks_is_trained_all_the_same() -> None:
    template = (
        "{%- for m in messages %}{{- '<|' + m['role'] + '|>' }}{%- generation %}{{- m['content'] }}"
        "{%- endgeneration %}{{- eos_token }}{%- endfor %}"
    )
    assert answers(encoder(template), [{"role": "assistant", "content": "Hi"}]) == ["Hi<|end|>"]


def test_a_template_that_never_ends_an_answer_is_an_error() -> None:
    with pytest.raises(UsageError, match="no end-of-turn token"):
        encoder("{%- for m in messages %}{{- m['content'] }}{%- endfor %}").example(
            {"messages": TALK}, where="x", line=1
        )


def test_a_template_that_rewrites_earlier_answers_has_a_text_for_each() -> None:
    rows = encoder(FORGETFUL).example({"messages": TALK}, where="x", line=1).rows
    coder, told = encoder(), [[t for t, mark in zip(row.ids, row.trained, strict=True) if mark] for row in rows]
    assert [coder.tokenizer.decode(ids) for ids in told] == [" Grüß dich\n\n👋 <|end|>", "  Fine.\n<|end|>"]


def test_of_a_chat_in_several_texts_those_without_an_answer_are_cut_off() -> None:
    item = encoder(FORGETFUL).example({"messages": TALK}, where="x", line=1)
    first, second = item.rows
    assert item.supervised == first.supervised + second.supervised
    assert item.cut(second.trained.index(True)).rows == (first.cut(second.trained.index(True)),)
    assert not item.cut(8).teaches
    assert item.cut(len(item)) is item


def test_a_prompt_is_the_beginning_of_the_example() -> None:
    coder = encoder()
    example, prompt = coder.example({"messages": TALK}, where="x", line=1), coder.prompt(TALK[:-1])
    assert example.ids[: len(prompt)] == prompt


def test_a_role_the_template_does_not_know_is_an_error_with_its_line() -> None:
    with pytest.raises(UsageError, match="line 2: the chat template refuses"):
        encoder().example({"messages": [{"role": "alien", "content": "x"}]}, where="line 2", line=2)


def test_cutting_at_max_length_is_counted(tmp_path: Path) -> None:
    from anytune.local.records import Limit, encode_file

    coder = encoder()
    long = {"messages": [{"role": "user", "content": "a " * 50}, {"role": "assistant", "content": "b"}]}
    tail = {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b " * 60}]}
    path = write_lines(tmp_path / "t.jsonl", [chat(0), long, tail])
    got = encode_file(path, coder, name="training", limit=Limit(40, "truncate_right"))
    assert (got.cut, got.left_out, got.idle, len(got.examples)) == (1, [2], [], 2)
    assert 0 < got.answer_tokens_lost < got.answer_tokens
    assert all(len(e) <= 40 for e in got.examples)
    with pytest.raises(UsageError, match="no answer within max_length 8"):
        encode_file(write_lines(tmp_path / "u.jsonl", [long]), coder, name="training", limit=Limit(8, "truncate_right"))


def test_a_line_that_is_no_json_is_an_error_with_its_number(tmp_path: Path) -> None:
    from anytune.local.records import Limit, encode_file

    path = write_lines(tmp_path / "t.jsonl", [chat(0)])
    path.write_text(path.read_text() + "\n{oops\n")
    with pytest.raises(UsageError, match="training file, line 3: not JSON"):
        encode_file(path, encoder(), name="training", limit=Limit(40, "truncate_right"))


def test_every_example_comes_once_an_epoch_in_an_order_of_its_own() -> None:
    from anytune.local.training.batches import steps_of_epoch

    lengths = [10 + n % 17 for n in range(103)]
    first, again, second = (steps_of_epoch(lengths, batch_size=8, seed=1, epoch=e) for e in (0, 0, 1))
    assert first == again != second
    assert sorted(i for step in first for i in step) == list(range(103))
    assert sorted(map(len, first)) == [7] + [8] * 12


def test_a_micro_batch_keeps_to_its_bounds_and_marks_what_predicts_what() -> None:
    from anytune.local.training.batches import micro_batches

    coder = encoder()
    examples = [coder.example(chat(n), where="x", line=n) for n in range(9)]
    batches = micro_batches(examples, most_tokens=120, most_examples=3)
    assert sum(b.ids.shape[0] for b in batches) == 9
    assert all(b.ids.shape[0] <= 3 and b.ids.numel() <= 120 for b in batches)
    assert sum(b.tokens for b in batches) == sum(map(len, examples))
    for b in batches:
        assert b.ids.flatten()[b.at + 1].tolist() == b.targets.tolist()
        assert sum(b.counts) == len(b.targets)
    assert sum(len(b.targets) for b in batches) == sum(e.supervised for e in examples)
