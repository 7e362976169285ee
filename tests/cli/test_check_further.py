"""What `check` looks at beyond the rules (tokens, limits, leaks, likeness, private data), and what plans make of it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.cli.conftest import Said, Type

PORTS = ["Brest", "Lorient", "Vannes", "Royan", "Calais", "Dieppe", "Honfleur", "Roscoff", "Paimpol", "Granville"]
WORDS = "the tide at the old harbour of this town is high early in the morning and low again after noon says the table"
BASE = Path(__file__).parents[2] / "fixtures" / "tiny-base"


def chat(asked: str, answer: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": asked}, {"role": "assistant", "content": answer}]}


CHATS = [chat(f"{WORDS} of {port}. Is it so?", f"See the table of {port}.") for port in PORTS]


def write(path: Path, *records: dict[str, Any]) -> None:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))


def counts(said: Said) -> dict[str, int]:
    found: dict[str, int] = said.document["files"][0]["counts"]
    return found


def test_tokens_are_counted_by_the_target_and_are_exact_for_a_small_file(anytune: Type, folder: Path) -> None:
    write(folder / "chats.jsonl", *CHATS)
    (file,) = anytune("check", "chats.jsonl", "--for", "openai", "--json").document["files"]
    tokens = file["tokens"]
    assert "o200k" in tokens["basis"]
    assert tokens["low"] == tokens["expected"] == tokens["high"]
    (exact,) = anytune("check", "chats.jsonl", "--for", "openai", "--exact", "--json").document["files"]
    assert exact["tokens"]["expected"] == tokens["expected"]


def test_an_exact_count_needs_to_know_how_to_count(anytune: Type, folder: Path) -> None:
    said = anytune("check", "train.jsonl", "--exact")
    assert said.code == 2
    assert "--model" in said.err


def test_an_exact_count_is_refused_where_there_is_no_tokenizer(
    anytune: Type, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tiktoken", None)
    write(folder / "chats.jsonl", *CHATS)
    said = anytune("check", "chats.jsonl", "--for", "openai", "--exact")
    assert said.code == 2
    assert "anytune[tokens]" in said.err


def test_the_longest_example_is_counted_though_no_sample_holds_it(anytune: Type, folder: Path) -> None:
    dense = chat("Which?", "7 } " * 400)
    many = [chat(f"{WORDS} {n}?", f"{n} is {PORTS[n % 10]}.") for n in range(1_500)]
    for place in (0, 700, 1_500):
        write(folder / "chats.jsonl", *many[:place], dense, *many[place:])
        found = [
            anytune("check", "chats.jsonl", "--for", "openai", "--json", *how).document["files"][0]["tokens"]
            for how in ([], ["--exact"], ["--max-length", "500"])
        ]
        assert found[0]["method"] == "sampled"
        assert len({tokens["longest"] for tokens in found}) == 1


@pytest.mark.parametrize(
    "line",
    [
        b'{"id": "2", "conversations": [{"from": "human", "value": "Tide?"}, {"from": "gpt", "value": "High."}]}\n',
        b'{"messages": [{"role": "user", "content": "Mar\xe9e?"}]}\n',
    ],
)
@pytest.mark.parametrize("how", [(), ("--for", "openai"), ("--for", "openai", "--exact")])
def test_no_tokens_are_told_of_records_that_are_no_chats(
    anytune: Type, folder: Path, line: bytes, how: tuple[str, ...]
) -> None:
    (folder / "chats.jsonl").write_bytes(line * 40)
    said = anytune("check", "chats.jsonl", *how, "--json")
    assert said.document["files"][0]["tokens"] is None
    assert " tokens" not in anytune("check", "chats.jsonl", *how).out


def test_texts_and_prompts_with_completions_have_tokens(anytune: Type, folder: Path) -> None:
    write(folder / "texts.jsonl", *({"text": f"{WORDS} of {port}"} for port in PORTS))
    (file,) = anytune("check", "texts.jsonl", "--json").document["files"]
    assert file["tokens"]["expected"] > 100


@pytest.mark.local
def test_a_count_for_this_machine_is_what_its_preview_shows(anytune: Type, folder: Path) -> None:
    pytest.importorskip("transformers")
    system = {"role": "system", "content": "You run a ferry."}
    write(folder / "chats.jsonl", *CHATS, {"messages": [system, *CHATS[0]["messages"]]})
    (file,) = anytune("check", "chats.jsonl", "--model", str(BASE), "--for", "local", "--json").document["files"]
    shown = anytune("preview", "chats.jsonl", "--model", str(BASE), "--json").document["file"]
    assert file["tokens"]["expected"] == shown["tokens"]["total"]
    assert file["tokens"]["longest"] == shown["tokens"]["largest"]


def test_the_share_of_an_answer_over_the_limit_is_told(anytune: Type, folder: Path) -> None:
    long = chat("Which ports?", " ".join(PORTS * 40))
    lost = chat(" ".join(PORTS * 40), "Brest.")
    write(folder / "chats.jsonl", *CHATS, long, lost)
    said = anytune("check", "chats.jsonl", "--for", "openai", "--max-length", "300", "--json")
    assert said.code == 0
    (file,) = said.document["files"]
    assert file["counts"] == {"answer-cut-off": 1, "over-limit": 1}
    assert [(issue["code"], issue["line"]) for issue in file["warnings"]] == [
        ("over-limit", 11),
        ("answer-cut-off", 12),
    ]
    assert "of the answer" in file["warnings"][0]["message"]
    assert file["tokens"]["over_limit"] == 2


def test_a_local_run_refuses_an_answer_that_is_cut_off_whole(anytune: Type, folder: Path) -> None:
    write(folder / "chats.jsonl", *CHATS, chat(" ".join(PORTS * 90), "Brest."))
    asked = ("check", "chats.jsonl", "--for", "local", "--model", str(BASE), "--max-length", "200")
    said = anytune(*asked, "--over-length", "truncate_right")
    assert said.code == 3
    assert "answer-cut-off" in said.out
    fates = {
        "drop": "so it is left out",
        "truncate_left": "so the oldest before the answer is cut off",
        "refuse": "so a run is refused",
    }
    for policy, fate in fates.items():
        said = anytune(*asked, "--over-length", policy, "--json")
        assert counts(said) == {"over-limit": 1}
        assert fate in said.document["files"][0]["warnings"][0]["message"]
    assert "so it is left out" in anytune(*asked).out


@pytest.mark.parametrize("how", [[], ["--exact"]], ids=["sampled", "exact"])
def test_answers_cut_off_whole_are_told_behind_many_that_are_cut_in_part(
    anytune: Type, folder: Path, how: list[str]
) -> None:
    parts = [chat(f"Which ports, {number}?", " ".join(PORTS * 40)) for number in range(25)]
    write(folder / "chats.jsonl", *CHATS, *parts, chat(" ".join(PORTS * 90), "Brest."))
    cut = ("--model", str(BASE), "--max-length", "200", "--over-length", "truncate_right")
    said = anytune("check", "chats.jsonl", "--for", "local", *cut, "--json", *how)
    assert said.code == 3
    (file,) = said.document["files"]
    assert [(issue["code"], issue["line"]) for issue in file["errors"]] == [("answer-cut-off", 36)]
    assert file["counts"]["over-limit"] == 25


def test_what_stands_in_the_held_out_file_is_told(anytune: Type, folder: Path) -> None:
    write(folder / "train.jsonl", *CHATS)
    near = chat(f"{WORDS} of {PORTS[2]}. Is it so indeed?", f"See the table of {PORTS[2]}.")
    longer = {"messages": [*CHATS[3]["messages"], *chat("And now?", "No.")["messages"]]}
    write(folder / "test.jsonl", CHATS[0], chat(CHATS[1]["messages"][0]["content"].upper(), "No."), near, longer)
    said = anytune("check", "train.jsonl", "--against", "test.jsonl", "--json")
    assert said.code == 3
    assert counts(said) == {"leak": 1, "leak-prompt": 1, "leak-turn": 1}
    (leak,) = said.document["files"][0]["errors"]
    assert leak["line"] == 1
    assert "line 1 of test.jsonl" in leak["message"]
    assert said.document["next"] == ["anytune check train.jsonl --against test.jsonl"]


def test_near_leaks_and_near_duplicates_are_told_on_request(anytune: Type, folder: Path) -> None:
    pytest.importorskip("rensa")
    own = [chat(f"{port} {port} {WORDS} {place * 7}", f"{port}!") for place, port in enumerate(PORTS)]
    write(folder / "train.jsonl", *own, chat(own[3]["messages"][0]["content"] + " really", "Royan!"))
    said = anytune("check", "train.jsonl", "--near", "--json")
    assert counts(said).get("near-duplicate", 0) >= 1
    assert "near-duplicate" not in counts(anytune("check", "train.jsonl", "--json"))


def test_private_data_are_counted_and_never_shown(anytune: Type, folder: Path) -> None:
    write(folder / "chats.jsonl", *CHATS, chat("Write to jeanne.martin@example.org", "My card is 4111 1111 1111 1111."))
    said = anytune("check", "chats.jsonl", "--privacy", "--json")
    assert said.code == 0
    assert said.document["files"][0]["privacy"]["counts"] == {"card": 1, "email": 1}
    assert counts(said) == {"personal-data": 2}
    assert "jeanne" not in said.out
    assert "4111" not in said.out
    places = {(issue["line"], issue["path"]) for issue in said.document["files"][0]["warnings"]}
    assert places == {(11, "$.messages[0].content"), (11, "$.messages[1].content")}
    told = anytune("check", "chats.jsonl", "--privacy").out
    assert "1 card, such as …11 (19 characters); 1 email, such as j…g (25 characters)" in " ".join(told.split())


def with_presidio(monkeypatch: pytest.MonkeyPatch, *models: str) -> list[str]:
    """Put a stand-in of Presidio, which knows one name, and of these spaCy models; return what it is asked for."""
    asked: list[str] = []

    class Engine:
        def __init__(self, **given: Any) -> None:
            asked.append(f"{given['nlp_engine']['models'][0]['model_name']} for {given['supported_languages'][0]}")

        def analyze(self, text: str, language: str, entities: list[str]) -> list[Any]:
            assert (language, entities) == ("fr", ["PERSON"])
            at = text.find("Jeanne Martin")
            return [SimpleNamespace(entity_type="PERSON", start=at, end=at + 13, score=0.9)] if at >= 0 else []

    def provider(nlp_configuration: dict[str, Any]) -> SimpleNamespace:
        return SimpleNamespace(create_engine=lambda: nlp_configuration)

    fakes = {
        "spacy": SimpleNamespace(util=SimpleNamespace(get_installed_models=lambda: list(models))),
        "presidio_analyzer": SimpleNamespace(AnalyzerEngine=Engine),
        "presidio_analyzer.nlp_engine": SimpleNamespace(NlpEngineProvider=provider),
    }
    for name, fake in fakes.items():
        monkeypatch.setitem(sys.modules, name, fake)
    return asked


def test_names_of_people_are_found_and_taken_out_where_their_language_is_said(
    anytune: Type, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = with_presidio(monkeypatch, "en_core_web_lg", "fr_core_news_sm", "fr_core_news_lg")
    write(folder / "chats.jsonl", *CHATS, chat("Is Jeanne Martin in?", "Write to jeanne@example.org"))
    said = anytune("check", "chats.jsonl", "--names", "fr", "--json")
    assert said.code == 0
    assert said.document["files"][0]["privacy"]["counts"] == {"email": 1, "name": 1}
    assert "Martin" not in said.out
    assert anytune("check", "chats.jsonl", "--names", "fr", "--redact", "copy.jsonl").code == 0
    assert "Is <NAME_1> in?" in (folder / "copy.jsonl").read_text()
    assert asked == ["fr_core_news_lg for fr"] * 2


def test_names_without_presidio_or_a_model_say_what_to_install(
    anytune: Type, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(folder / "chats.jsonl", *CHATS)
    with_presidio(monkeypatch, "en_core_web_lg")
    said = anytune("check", "chats.jsonl", "--names", "de", "--redact", "copy.jsonl")
    assert said.code == 2
    assert "spaCy model for the language de" in said.err
    assert "python -m spacy download de_core_news_md" in said.err
    monkeypatch.setitem(sys.modules, "presidio_analyzer", None)
    said = anytune("check", "chats.jsonl", "--names", "de", "--redact", "copy.jsonl")
    assert said.code == 2
    assert "presidio-analyzer is not installed" in said.err
    assert "pip install 'anytune[names]'" in said.err
    assert not (folder / "copy.jsonl").exists()


def test_a_line_that_was_not_looked_through_is_told(anytune: Type, folder: Path) -> None:
    write(folder / "chats.jsonl", *CHATS, chat("Tide?", "word " * 1_400_000))
    assert counts(anytune("check", "chats.jsonl", "--privacy", "--json"))["not-scanned"] == 1


def test_a_redacted_copy_holds_placeholders_and_nothing_private(anytune: Type, folder: Path) -> None:
    write(folder / "chats.jsonl", *CHATS, chat("Write to jeanne.martin@example.org", "Done."))
    said = anytune("check", "chats.jsonl", "--redact", "copy.jsonl")
    assert "next: anytune check copy.jsonl --privacy" in said.err
    assert said.code == 0
    assert "<EMAIL_1>" in (folder / "copy.jsonl").read_text()
    assert counts(anytune("check", "copy.jsonl", "--privacy", "--json")) == {}
    assert anytune("check", "chats.jsonl", "--redact", "copy.jsonl").code == 2


def test_a_project_passes_over_a_rule(anytune: Type, folder: Path) -> None:
    write(folder / "chats.jsonl", *CHATS, CHATS[0])
    assert counts(anytune("check", "chats.jsonl", "--json")) == {"duplicate-record": 1}
    (folder / "anytune.yaml").write_text("check: {ignore: [duplicate-record]}\n")
    assert counts(anytune("check", "chats.jsonl", "--json")) == {}
    (folder / "anytune.yaml").write_text("check: {ignore: [duplicate-recod]}\n")
    said = anytune("check", "chats.jsonl")
    assert said.code == 2
    assert "duplicate-record" in said.err


@pytest.mark.parametrize("where", ["anytune.yaml", "finetune.yaml"])
def test_private_data_keep_a_hosted_plan_back(anytune: Type, folder: Path, where: str) -> None:
    write(folder / "train.jsonl", *CHATS, chat("Write to jeanne.martin@example.org", "Done."))
    job = "name: x\nprovider: openai\nmodel: gpt-4.1-mini-2025-04-14\ndata: {train: train.jsonl}\n"
    if where == "anytune.yaml":
        (folder / where).write_text("policy: {privacy: {block: [email]}}\n")
    else:
        job = job.replace("{train: train.jsonl}", "{train: train.jsonl, privacy: {block: [email]}}")
    (folder / "finetune.yaml").write_text(job)
    said = anytune("plan", "--json")
    assert said.code == 3
    (reason,) = said.document["refused"]
    assert "email" in reason
    assert "local" in reason


def test_a_kind_of_private_data_that_there_is_not_is_a_mistake(anytune: Type, folder: Path) -> None:
    (folder / "anytune.yaml").write_text("policy: {privacy: {block: [emails]}}\n")
    assert anytune("plan").code == 2


def test_sarif_names_each_rule_and_the_byte(anytune: Type, folder: Path) -> None:
    write(folder / "chats.jsonl", *CHATS, chat("Tide?", 7))  # type: ignore[arg-type]
    (run,) = anytune("check", "chats.jsonl", "--format", "sarif").document["runs"]
    (rule,) = run["tool"]["driver"]["rules"]
    assert rule["help"]["text"]
    region = run["results"][0]["locations"][0]["physicalLocation"]["region"]
    raw = (folder / "chats.jsonl").read_bytes()
    assert raw[region["byteOffset"] :].startswith(b"7}")
    assert raw.splitlines()[region["startLine"] - 1][region["startColumn"] - 1 :].startswith(b"7}")
