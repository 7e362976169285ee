"""What counts as a token, and that the bundled vocabulary is tiktoken's."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from anytune.data.tokens import Counter, Size, counter_for, measure, size
from anytune.data.tokens.vocabulary import PACKED, PIECES, SPECIAL, enough, pack, part, unpack, whole
from tests.data.samples import ROOT, assistant, chat, script, user

pytest.importorskip("tiktoken")
TINY = ROOT / "fixtures" / "tiny-base"
MAKE = script(ROOT / "fixtures" / "vocabulary" / "make.py")
CALL = {"id": "call_1", "type": "function", "function": {"name": "get_tide", "arguments": '{"port": "Brest"}'}}
TOOL = {"type": "function", "function": {"name": "get_tide", "parameters": {"type": "object"}}}


@pytest.fixture(scope="module")
def counter() -> Counter:
    return counter_for("openai", "gpt-4.1-mini-2025-04-14")


def test_the_bundled_vocabulary_is_the_one_that_tiktoken_downloads() -> None:
    published = MAKE.published(unpack(PACKED.read_bytes()))
    assert hashlib.sha256(published).hexdigest() == MAKE.SHA256


def test_texts_are_cut_into_pieces_as_tiktoken_cuts_them(monkeypatch: pytest.MonkeyPatch) -> None:
    from tiktoken_ext import openai_public

    expected: list[str] = []

    def no_download(*_: Any, expected_hash: str) -> dict[bytes, int]:
        expected.append(expected_hash)
        return {}

    monkeypatch.setattr(openai_public, "load_tiktoken_bpe", no_download)
    theirs = openai_public.o200k_base()
    assert (theirs["pat_str"], theirs["special_tokens"], expected) == (PIECES, SPECIAL, [MAKE.SHA256])


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("", []),
        ("!", [0]),  # the first of all ranks
        ("hello world", [24912, 2375]),
        ("<|endoftext|>", [27, 91, 419, 1440, 919, 91, 29]),  # < | endo ... >: its parts, never 199999
        ("1234", [7633, 19]),  # digits by threes
    ],
)
def test_known_texts_have_known_tokens(text: str, tokens: list[int]) -> None:
    known = unpack(PACKED.read_bytes())
    assert b"".join(known[token] for token in tokens) == text.encode()
    assert whole().encode_ordinary(text) == tokens


def test_a_packed_vocabulary_unpacks_to_itself() -> None:
    tokens = [bytes([byte]) for byte in range(256)] + [b"in", b"  ", b" t h", "ü".encode()]
    assert unpack(pack(tokens)) == tokens
    with pytest.raises(ValueError, match="not a vocabulary"):
        pack([*tokens, b"a\xff"])


def test_a_file_that_is_not_the_vocabulary_is_not_packed(tmp_path: Path) -> None:
    (tmp_path / "raw").write_bytes(b"IQ== 0\n")
    with pytest.raises(ValueError, match="not o200k_base"):
        MAKE.make(tmp_path / "raw", tmp_path / "packed")
    assert not (tmp_path / "packed").exists()


ODD = "  a\n\n\t b\u00a0\u3000 \u3000c 中文字 Паром 😀👩‍🚀 x\ud83d\ude00y \ud800 </div>\r\n     end   "


@settings(max_examples=5, deadline=None, phases=(Phase.explicit, Phase.generate))
@given(st.lists(st.text(max_size=200), min_size=1, max_size=4))
def test_a_part_of_the_vocabulary_counts_its_texts_as_the_whole_does(texts: list[str]) -> None:
    texts = [*texts, ODD]
    small = part(texts)
    assert len(small._mergeable_ranks) < 100_000
    for text in texts:
        assert small.encode_ordinary(text) == whole().encode_ordinary(text)


def test_a_part_of_the_vocabulary_counts_programs_as_the_whole_does() -> None:
    texts = [path.read_text() for path in sorted((ROOT / "anytune" / "data").glob("*.py"))]
    small = part(texts)
    assert [small.encode_ordinary(text) for text in texts] == [whole().encode_ordinary(text) for text in texts]


def test_the_part_that_was_built_last_does_for_texts_of_which_it_has_all_and_grows_for_others() -> None:
    first, more = ["The ferry leaves at seven.", ODD], ["Der Dampfer fährt um acht.", "seven ferry"]
    whole.cache_clear()
    one = enough(first)
    assert enough(first[:1]) is one
    both = enough(more)
    assert both is not one
    assert enough(first) is both
    assert [both.encode_ordinary(t) for t in (*first, *more)] == [whole().encode_ordinary(t) for t in (*first, *more)]
    assert enough(more) is whole()


@pytest.mark.parametrize("text", [" " * 1_200_000, " \t" * 700_000, "A" * 300_000, "\ud83d" * 50_000, "a\x00" * 9])
def test_a_text_that_makes_tiktoken_panic_is_counted(counter: Counter, text: str) -> None:
    assert 0 < counter.count(text) <= len(text.encode(errors="surrogatepass"))


def test_a_long_text_counts_as_the_sum_of_its_words(counter: Counter) -> None:
    text = "The ferry leaves the harbour at seven. " * 5_000
    assert counter.count(text) == len(whole().encode_ordinary(text))


def test_a_message_costs_four_tokens_more_than_its_content(counter: Counter) -> None:
    counted = measure(chat(user("hello world"), assistant("hello world")), counter)
    assert counted[:3] == (12, 3, 12)
    assert (counted.answer_start, counted.answer_end) == (9, 12)


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (chat(user("ab"), assistant("cde")), Size(2, 5, 3)),
        (chat(user("ab"), assistant("cde", weight=0), assistant("é", weight=1)), Size(3, 7, 2)),
        (chat(user([{"type": "text", "text": "ab"}, {"type": "image_url", "image_url": {"url": "x"}}])), Size(1, 2, 0)),
        (chat(user("a"), {"role": "assistant", "tool_calls": [CALL]}), Size(2, 1 + 8 + 17, 25)),
        (chat(user("a"), assistant(None, refusal="no")), Size(2, 3, 2)),
        (chat(user("a"), assistant("b", reasoning_content="cc")), Size(2, 4, 3)),
        (chat(user("a"), tools=[TOOL]), Size(1, 1 + len(json.dumps([TOOL], separators=(",", ":"))), 0)),
        (
            {
                "input": chat(user("ab"), assistant("z"), user("c")),
                "preferred_output": [assistant("dd")],
                "non_preferred_output": [assistant("e")],
            },
            Size(5, 7, 3),
        ),
        ({"prompt": "ab", "completion": "c"}, Size(0, 3, 1)),
        ({"text": "abc"}, Size(0, 3, 3)),
        ({"messages": [1, None, {"role": []}], "tools": {"a": float("nan")}}, Size(1, len('{"a":null}'), 0)),
        (["no record"], Size(0, 0, 0)),
    ],
)
def test_what_counts_is_what_the_model_reads(record: Any, expected: Size, counter: Counter) -> None:
    assert size(record) == expected
    counted = measure(record, counter)
    assert (counted.trained > 0) == (expected.trained_bytes > 0)
    assert counted.trained <= counted.tokens


def test_a_pair_counts_both_outputs_but_each_stands_in_a_sequence_of_its_own(counter: Counter) -> None:
    record = {
        "input": chat(user("hello world")),
        "preferred_output": [assistant("hello world")],
        "non_preferred_output": [assistant("hello")],
    }
    counted = measure(record, counter)
    assert counted == (6 + 6 + 5, 3 + 2, 6 + 6, 9, 12)


def test_the_share_of_an_answer_that_is_cut_off(counter: Counter) -> None:
    counted = measure(chat(user("hello world"), assistant(" hello" * 9)), counter)
    assert (counted.answer_start, counted.answer_end) == (9, 19)
    assert [counted.lost(limit) for limit in (19, 18, 9, 3)] == [0.0, 0.1, 1.0, 1.0]


def test_a_folder_with_a_tokenizer_counts_with_it() -> None:
    pytest.importorskip("tokenizers")
    from tokenizers import Tokenizer

    counter = counter_for("local", str(TINY))
    text = "How many boats are there?\ud800"
    expected = Tokenizer.from_file(str(TINY / "tokenizer.json")).encode(text.replace("\ud800", "?")).ids
    assert counter.exact
    assert counter.count(text) == len(expected)
    assert counter.basis == "counted with the tokenizer of tiny-base"


def test_a_broken_tokenizer_is_said_and_the_count_is_rough(tmp_path: Path) -> None:
    pytest.importorskip("tokenizers")
    (tmp_path / "tokenizer.json").write_text("{}")
    counter = counter_for("local", str(tmp_path))
    assert not counter.exact
    assert "tokenizer.json" in counter.basis


def test_without_tiktoken_the_count_is_rough_and_says_what_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tiktoken", None)
    counter = counter_for("openai", "gpt-4.1")
    assert counter.name == "rough"
    assert "anytune[tokens]" in counter.basis


@pytest.mark.parametrize(
    ("provider", "model", "name"),
    [
        ("openai", "gpt-4.1-mini-2025-04-14", "o200k_base"),
        ("openai", "ft:gpt-4o-mini-2024-07-18:org:name:id", "o200k_base"),
        ("openai", None, "o200k_base"),
        ("openai", "gpt-3.5-turbo-0125", "rough"),
        ("azure", "gpt-4.1-2025-04-14", "o200k_base"),
        ("together", "openai/gpt-oss-20b", "o200k_base"),
        ("together", "Qwen/Qwen3.5-9B", "rough"),
        ("azure", "gpt-35-turbo", "rough"),
    ],
)
def test_each_model_is_counted_by_its_own_tokenizer(provider: str, model: str | None, name: str) -> None:
    assert counter_for(provider, model).name == name


@pytest.mark.parametrize(
    "text",
    [
        "Passengers who want to take a bicycle should tell the office a day ahead, as there is little room.",
        "Wer ein Fahrrad mitnehmen möchte, sollte dem Büro einen Tag vorher Bescheid geben.",
        "Если ветер слишком сильный, рейс отменяется, а плата возвращается без лишних вопросов.",
        "如果风太大,航班将被取消,票款会全额退还,不会再问其他问题。",
        "自転車を持って行きたい乗客は、前日までに事務所に知らせてください。",
        "바람이 너무 강하면 운항이 취소되고 요금은 다른 질문 없이 환불됩니다.",
        "إذا كانت الرياح قوية جدا تلغى الرحلة ويعاد ثمن التذكرة دون أي أسئلة أخرى.",
        '{"port": "Brest", "height": 5.9, "unit": "m", "tags": ["high", "spring"], "ok": true}',
    ],
)
def test_the_rough_count_is_off_by_no_more_than_it_says(counter: Counter, text: str) -> None:
    rough = counter_for("together", "some/model")
    allowed = 0.25 if text.isascii() else 0.5
    assert rough.count(text) == pytest.approx(counter.count(text), rel=allowed)
    assert "rough" in rough.basis


def copy_of_tiny(folder: Path, template: str | None) -> Path:
    folder.mkdir()
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).write_bytes((TINY / name).read_bytes())
    if template is not None:
        (folder / "chat_template.jinja").write_text(template)
    return folder


@pytest.mark.local
def test_what_a_models_own_template_adds_is_what_the_trainer_reads() -> None:
    pytest.importorskip("transformers")
    from transformers import AutoTokenizer

    from anytune.local.encode import ChatEncoder

    counter = counter_for("local", str(TINY))
    tokenizer = AutoTokenizer.from_pretrained(str(TINY))
    encoder = ChatEncoder(tokenizer, stop_ids=frozenset({tokenizer.eos_token_id}))
    system = {"role": "system", "content": "You run a ferry."}
    for record in (
        chat(user("How many boats?"), assistant("Seven.")),
        chat(system, user("How many boats?"), assistant("Seven.")),
        chat(user("Any?"), assistant("Yes."), user("How many, and where?"), assistant("Seven, here.")),
        {"text": "Seven boats."},
    ):
        encoded, counted = encoder.example(record, where="here", line=1), measure(record, counter)
        assert counted.tokens == len(encoded)
        assert counted.trained == encoded.supervised or "text" in record


def test_the_template_of_a_model_is_measured() -> None:
    pytest.importorskip("tokenizers")
    pytest.importorskip("jinja2")
    counter = counter_for("local", str(TINY))
    assert (counter.per_message, counter.per_record, counter.exact) == (2, 1, True)


@pytest.mark.parametrize(
    "template",
    [
        None,
        "{{ raise_exception('no chats') }}",
        "{% for message in messages %}",
        "{{ ''.__class__.__mro__ }}{{ messages.append(1) }}",
        "{% if messages[0].role != 'system' %}{{ 'Be kind.' + eos_token }}{% endif %}"
        "{% for m in messages %}{{ bos_token + m.content + eos_token }}{% endfor %}",
    ],
)
def test_a_template_that_cannot_be_measured_makes_the_count_an_estimate(tmp_path: Path, template: str | None) -> None:
    pytest.importorskip("tokenizers")
    counter = counter_for("local", str(copy_of_tiny(tmp_path / "model", template)))
    assert not counter.exact
    assert counter.error > 0
    assert "estimated" in counter.basis


def test_without_jinja2_what_the_template_adds_is_estimated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tokenizers")
    folder = copy_of_tiny(tmp_path / "model", (TINY / "chat_template.jinja").read_text())
    monkeypatch.setitem(sys.modules, "jinja2", None)
    counter = counter_for("local", str(folder))
    assert (counter.per_message, counter.per_record, counter.exact) == (5, 1, False)
