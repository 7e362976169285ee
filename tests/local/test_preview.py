"""What a preview shows is what the trainer trains: on real turn syntaxes, on plain text, at the cut, in odd files."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("torch")
pytestmark = pytest.mark.local

from anytune import cli  # noqa: E402
from anytune.errors import RefusedError, UsageError  # noqa: E402
from anytune.local.processes import worker_answer  # noqa: E402
from tests.amount import examples  # noqa: E402
from tests.local.conftest import TINY, chat, pair, write_lines  # noqa: E402

TEMPLATES = Path(__file__).parent / "templates"
CHATML: dict[str, Any] = {"bos": None, "eos": "<|im_end|>", "ends": ("<|im_end|>",), "also": ("<|im_start|>",)}
TALK: list[dict[str, Any]] = [
    {"role": "user", "content": "Hello  there\n"},
    {"role": "assistant", "content": "Grüß dich\n\n👋"},
    {"role": "user", "content": "And now: <tags>?"},
    {"role": "assistant", "content": "Fine,\n- thanks"},
]
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
RECORDS = [
    *(chat(number) for number in range(9)),
    {"messages": [{"role": "user", "content": "a " * 50}, {"role": "assistant", "content": "b"}]},
    {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b " * 60}]},
    {"prompt": "Tide at Brest?", "completion": " 5.9 m"},
    {"text": "The tide is high."},
]


def tiny(template: str | None = None, **tokens: Any) -> Any:
    """Return the tiny model's encoder, with another template and the special tokens that go with it."""
    from anytune.local.encode import ChatEncoder
    from anytune.local.loading import open_tokenizer

    tokenizer = open_tokenizer(str(TINY))
    ends = tokens.get("ends", ("<|end|>",))
    if template is not None:
        tokenizer.chat_template = (TEMPLATES / f"{template}.jinja").read_text()
        special = [*ends, *tokens["also"], *filter(None, [tokens["bos"]])]
        tokenizer.add_special_tokens({"additional_special_tokens": special})
        tokenizer.bos_token, tokenizer.eos_token = tokens["bos"], tokens["eos"]
    return ChatEncoder(tokenizer, stop_ids=frozenset(tokenizer.convert_tokens_to_ids(list(ends))))


def answers(coder: Any, record: dict[str, Any]) -> list[tuple[int, str]]:
    """Return where each trained stretch begins, and its text."""
    example = coder.example(record, where="x", line=1)
    marked = enumerate(zip(example.ids, example.trained, strict=True))
    stretches = [[(at, token) for at, (token, _) in run] for on, run in groupby(marked, lambda m: m[1][1]) if on]
    return [(run[0][0], coder.tokenizer.decode([token for _, token in run])) for run in stretches]


def ask(path: Path, **options: Any) -> dict[str, Any]:
    from anytune.local.preview import Question, preview
    from anytune.local.records import Limit

    limit = Limit(options.pop("max_length", 512), options.pop("over_length", "truncate_right"))
    return preview(Question(file=path, model=str(TINY), limit=limit, **options))


def test_a_call_of_a_tool_is_trained_with_its_arguments() -> None:
    function = {"name": "tide", "arguments": '{"port": "Brest"}'}
    called = {"role": "assistant", "tool_calls": [{"id": "1", "type": "function", "function": function}]}
    talk = [TALK[0], called, {"role": "tool", "tool_call_id": "1", "content": "5.9"}, TALK[3]]
    said = [text for _, text in answers(tiny("chatml", **CHATML), {"messages": talk})]
    call = '<tool_call>\n{"name": "tide", "arguments": {"port": "Brest"}}\n</tool_call><|im_end|>'
    assert said == [call, "Fine,\n- thanks<|im_end|>"]


def test_a_template_that_forgets_has_a_text_for_each_answer(tmp_path: Path) -> None:
    from anytune.local.preview import Question, look
    from anytune.local.records import Limit

    coder = tiny("forgetful", **CHATML)
    path = write_lines(tmp_path / "t.jsonl", [{"messages": TALK}])
    with path.open("rb") as file:
        found = look(Question(file=path, model="x", limit=Limit(512, "drop"), first=1), coder, file, 1)
    shown = [("".join(e["texts"]), e["part"]) for e in found["examples"]]
    first, second = (
        "<think>\n\n</think>\n\nGrüß dich\n\n👋<|im_end|>\n",
        "<think>\n\n</think>\n\nFine,\n- thanks<|im_end|>\n",
    )
    assert [text.endswith(said) for (text, _), said in zip(shown, (first, second), strict=True)] == [True, True]
    assert [part for _, part in shown] == [{"number": 1, "of": 2}, {"number": 2, "of": 2}]
    assert second not in shown[0][0]
    assert found["file"]["encoded"] == 1
    item = coder.example({"messages": TALK}, where="x", line=1)
    assert [e["ids"] for e in found["examples"]] == [row.ids for row in item.rows]
    assert [sum(e["trained"]) for e in found["examples"]] == [row.supervised for row in item.rows]


@settings(max_examples=examples(60), deadline=None)
@given(prompt=TEXTS, completion=TEXTS.filter(bool))
def test_of_a_prompt_with_its_completion_the_completion_and_its_end_are_trained(prompt: str, completion: str) -> None:
    from anytune.local.preview import texts

    coder = ENCODERS.setdefault("tiny", tiny())
    record = {"prompt": prompt, "completion": completion}
    (drawn,) = coder.rendered(record, where="x")
    ids, offsets = coder.pieces(drawn, where="x")
    example = coder.example(record, where="x", line=1)
    assert "".join(texts(coder, drawn.text, ids, offsets)) == f"{prompt}{completion}<|end|>"
    trained = [token for token, mark in zip(example.ids, example.trained, strict=True) if mark]
    assert coder.tokenizer.decode(trained) == f"{completion}<|end|>"
    assert example.ids[: len(ids) - len(trained)] == coder.core.encode(prompt, add_special_tokens=False).ids


ENCODERS: dict[str, Any] = {}


@pytest.mark.parametrize(("spaced", "said"), [("always", "▁is</s>"), ("never", "de▁is</s>")])
def test_no_space_comes_between_a_prompt_and_its_completion(spaced: str, said: str) -> None:
    """Of tokenizers that put a space before every text, the token across the seam is read, not trained."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    from anytune.local.encode import ChatEncoder

    core = Tokenizer(models.BPE(unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=spaced)
    core.decoder = decoders.Metaspace(prepend_scheme=spaced)
    special = ["<unk>", "</s>"]
    core.train_from_iterator(["the tide is high"] * 9, trainers.BpeTrainer(vocab_size=99, special_tokens=special))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, eos_token="</s>", unk_token="<unk>")
    coder = ChatEncoder(tokenizer, stop_ids=frozenset({1}))
    example = coder.example({"prompt": "the ti", "completion": "de is"}, where="x", line=1)
    trained = [token for token, mark in zip(example.ids, example.trained, strict=True) if mark]
    assert "".join(tokenizer.convert_ids_to_tokens(trained)) == said


def test_of_a_text_all_is_trained_and_its_end() -> None:
    assert answers(tiny(), {"text": "The tide."}) == [(0, "The tide.<|end|>")]


def test_a_text_begins_with_a_bos_where_the_tokenizer_wants_one() -> None:
    coder = tiny()
    coder.adds_bos = True
    example = coder.example({"prompt": "A", "completion": "B"}, where="x", line=1)
    assert example.ids[0] == coder.bos
    assert example.trained == [False, False, True, True]


@pytest.mark.parametrize(
    ("record", "said"),
    [
        ({"prompt": "a", "completion": ""}, "nothing to train"),
        ({"text": ""}, "nothing to train"),
        ({"text": 5}, "must be strings"),
        ({"prompt": [{"role": "user", "content": "a"}], "completion": "b"}, "must be strings"),
        ({"text": "\ud800"}, "lone surrogate"),
        ({"prompt": "a"}, "no list of messages"),
        ({"messages": [{"role": "assistant", "tool_calls": [7]}]}, "a tool call cannot be read"),
        ({"messages": [{"role": "user", "content": ["a"]}]}, "refuses the messages"),
        ({"messages": []}, "nothing in it is trained"),
    ],
)
def test_a_record_that_cannot_be_trained_is_an_error_with_its_line(record: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=f"^line 3: .*{said}"):
        tiny().example(record, where="line 3", line=3)


def test_line_numbers_are_those_of_check(tmp_path: Path) -> None:
    from anytune.local.records import Limit, encode_file

    path = tmp_path / "t.jsonl"
    text = json.dumps(chat(0), ensure_ascii=False).replace("Be brief", "Be\u2028brief\u0085")
    path.write_bytes(b"\xef\xbb\xbf" + f"{text}\r\n \r\n{text}\n{{oops".encode())
    with pytest.raises(UsageError, match=r"training file, line 4: not JSON: .* at column 2"):
        encode_file(path, tiny(), name="training", limit=Limit(99, "truncate_right"))
    path.write_bytes(text.encode() + b"\n\xff\n")
    with pytest.raises(UsageError, match="training file, line 2: not JSON: 'utf-8'"):
        encode_file(path, tiny(), name="training", limit=Limit(99, "truncate_right"))


def test_a_preview_counts_what_the_trainer_counts(tmp_path: Path) -> None:
    from anytune.local.records import Limit, encode_file

    path = write_lines(tmp_path / "t.jsonl", RECORDS)
    trainer = encode_file(path, tiny(), name="training", limit=Limit(40, "truncate_right"))
    found = ask(path, max_length=40, first=99)
    kept = [(e["ids"][:40], sum(e["trained"][:40])) for e in found["examples"] if e["fault"] is None]
    assert kept == [(e.ids, e.supervised) for e in trainer.examples]
    assert [kind["lines"] for kind in found["faults"]["kinds"]] == [trainer.left_out]
    assert found["file"]["over"]["examples"] == len(trainer.over) == trainer.cut + len(trainer.left_out)
    assert found["file"]["trained_lost"] == trainer.answer_tokens_lost
    assert found["file"]["trained"]["total"] == trainer.answer_tokens


@pytest.mark.parametrize("method", [None, "dpo"])
def test_of_a_pair_both_sequences_are_those_that_the_trainer_compares(tmp_path: Path, method: str | None) -> None:
    from anytune.local.records import Limit, encode_file
    from anytune.local.training.pair import PairEncoder

    path = write_lines(tmp_path / "p.jsonl", [pair(n) for n in range(6)])
    found = ask(path, first=6, method=method, max_length=64)
    trainer = encode_file(path, PairEncoder(tiny()), name="training", limit=Limit(64, "truncate_right"))
    shown = [(e["ids"][:64], sum(e["trained"][:64])) for e in found["examples"]]
    assert shown == [(row.ids, row.supervised) for item in trainer.examples for row in item.rows]
    assert [(e["line"], e["side"]) for e in found["examples"][:3]] == [
        (1, "preferred_output"),
        (1, "non_preferred_output"),
        (2, "preferred_output"),
    ]
    file = found["file"]
    assert (file["encoded"], file["pairs"], file["bos"]) == (6, 6, 6)
    assert file["over"]["examples"] == trainer.cut > 0
    assert file["trained_lost"] == trainer.answer_tokens_lost


def test_faults_of_pairs_are_told(tmp_path: Path) -> None:
    def said(preferred: str, other: str) -> dict[str, Any]:
        sides = {"preferred_output": preferred, "non_preferred_output": other}
        return pair(1) | {side: [{"role": "assistant", "content": text}] for side, text in sides.items()}

    lines = [said("a", "a"), said("a " * 80 + "b", "a " * 80 + "c"), said("a", ""), chat(1)]
    found = ask(write_lines(tmp_path / "p.jsonl", lines), method="dpo", max_length=64)
    assert [(kind["message"], kind["lines"]) for kind in found["faults"]["kinds"]] == [
        ("both answers are the same, so nothing in it is trained", [1]),
        (
            "a whole answer, or all in which the two differ, lies behind max_length 64, so nothing in it is trained",
            [2],
        ),
        ("no pair: input.messages is missing", [4]),
    ]
    (refused,) = ask(write_lines(tmp_path / "q.jsonl", [pair(1)]), method="sft")["faults"]["kinds"]
    assert "no list of messages" in refused["message"]


def test_the_tokens_that_end_a_turn_are_the_trainers(base: Path, tmp_path: Path) -> None:
    from anytune.local import loading, preview

    model = shutil.copytree(base, tmp_path / "model")
    config = json.loads((model / "config.json").read_text())
    tokenizer = loading.open_tokenizer(str(model))
    for eos in (2, [2, 5], None):
        (model / "config.json").write_text(json.dumps(config | {"eos_token_id": eos}))
        net = loading.open_base(str(model), quantize=None, dtype="float32")
        assert preview.stop_tokens(str(model), tokenizer) == loading.stop_tokens(net, tokenizer)


def test_faults_are_told_by_kind_with_their_lines(tmp_path: Path) -> None:
    silent = {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b", "weight": 0}]}
    path = write_lines(tmp_path / "t.jsonl", [chat(0), silent, chat(1), silent])
    path.write_bytes(path.read_bytes() + b"{oops\n")
    found = ask(path, lines=(4, 2))
    assert [(kind["message"], kind["lines"]) for kind in found["faults"]["kinds"]] == [
        ("nothing in it is trained", [2, 4]),
        ("not JSON: Expecting property name enclosed in double quotes at column 2", [5]),
    ]
    assert [example["line"] for example in found["examples"]] == [4, 2]
    assert "".join(found["examples"][0]["texts"]) == "<|bos|><|user|>a<|end|><|assistant|>b<|end|>"
    assert not any(found["examples"][0]["trained"])
    assert (found["file"]["counted"], found["file"]["encoded"]) == (5, 2)


def test_a_sample_is_the_same_each_time_and_what_is_shown_need_not_be_in_it(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "t.jsonl", [chat(number) for number in range(50)])
    found = ask(path, first=4, sample=5)
    assert found == ask(path, first=4, sample=5)
    assert (found["file"]["examples"], found["file"]["counted"], len(found["examples"])) == (50, 5, 4)


def test_a_file_without_what_was_asked_for_is_an_error(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "t.jsonl", [chat(0)])
    with pytest.raises(UsageError, match=r"t\.jsonl has no example on line 2"):
        ask(path, lines=(1, 2))
    with pytest.raises(RefusedError, match="there is no such file"):
        ask(tmp_path / "none.jsonl")
    path.write_text(json.dumps([chat(0)], indent=1))
    with pytest.raises(RefusedError, match="is json-array, not JSON lines"):
        ask(path)
    path.write_bytes(b"\n \n")
    with pytest.raises(RefusedError, match="only blank lines"):
        ask(path)


def test_a_worker_answers_without_torch_and_tells_errors_as_values(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "t.jsonl", RECORDS)
    words = ["preview", "--model", str(TINY), "--file", str(path), "--max-length", "40"]
    words += ["--over-length", "truncate_right"]
    code = f"import sys; from anytune.local.worker import main; main({words}); print(sys.modules['torch'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    document, torch = done.stdout.splitlines()
    assert torch == "None"
    assert json.loads(document) == ask(path, max_length=40)
    words[2] = str(tmp_path)
    error = worker_answer(*words)["error"]
    assert error["exit_code"] == 2
    assert "cannot be opened" in error["message"]


def test_a_job_file_brings_its_data_its_model_and_its_length(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_lines(tmp_path / "t.jsonl", RECORDS)
    job = tmp_path / "job.yaml"
    job.write_text(
        "name: x\nprovider: openai\nmodel: gpt-4.1\ndata: {train: t.jsonl}\n"
        "training: {max_length: 40, over_length: truncate_right}\n"
        f"models: {{local: {TINY}}}\n"
    )
    assert cli.call(["preview", str(job), "--json"]) == 3
    document = json.loads(capsys.readouterr().out)
    assert (document["model"], document["max_length"], document["ok"]) == (str(TINY), 40, False)
    assert [kind["lines"] for kind in document["faults"]["kinds"]] == [[10]]
    assert cli.call(["preview", str(job), "--max-length", "200", "--lines", "11", "--json"]) == 0
    (shown,) = json.loads(capsys.readouterr().out)["examples"]
    assert [span["trained"] for span in shown["spans"]] == [False, True]
    assert shown["spans"][1]["text"] == "b " * 60 + "<|end|>"
