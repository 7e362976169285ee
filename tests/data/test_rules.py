from __future__ import annotations

from pathlib import Path

import pytest

from anytune.data.check import check
from anytune.data.check.rules import COLUMNS, RULES, SECTIONS, Rule, minded
from tests.data.samples import CHAT, ROOT, chat, report, script, user, write

MADE_BY_TESTS = {
    "file-missing",
    "not-a-file",
    "file-unreadable",
    "extension-not-jsonl",
    "file-too-large",
    "line-too-large",
}
# A fixture breaks its own rule only; where that cannot be, the others stand here.
COMPANIONS = {
    "file-blank": {"blank-line"},
    "mixed-formats": {"prompt-completion"},
    "sample-weight-invalid": {"sample-weight"},
    "messages-missing": {"record-key-unknown"},
    "tool-content-parts": {"parts-and-strings"},
    "image-not-from-user": {"image-part"},
    "image-url-invalid": {"image-part"},
    "images-too-many": {"image-part"},
}
WITH_FIXTURE = sorted(RULES.keys() - MADE_BY_TESTS)


def counts(path: Path, code: str) -> set[str]:
    method = RULES[code].method or "sft"
    return set(report(path, method=method).counts)


@pytest.mark.parametrize("code", WITH_FIXTURE)
def test_every_rule_has_a_fixture_that_breaks_it_alone(code: str) -> None:
    assert counts(CHAT / f"{code}.jsonl", code) == {code} | COMPANIONS.get(code, set())


@pytest.mark.parametrize("code", WITH_FIXTURE)
def test_every_rule_has_a_fixture_that_nearly_breaks_it(code: str) -> None:
    found = counts(CHAT / "near" / f"{code}.jsonl", code)
    assert found <= {"sample-weight", "image-part"} - {code}


def test_no_fixture_stands_for_a_rule_that_is_gone() -> None:
    assert {path.stem for path in CHAT.glob("*.jsonl")} == set(WITH_FIXTURE)
    assert {path.stem for path in (CHAT / "near").glob("*.jsonl")} == set(WITH_FIXTURE)


def test_the_fixtures_are_what_their_script_makes() -> None:
    for code, (breaks, nearly) in script(CHAT / "make.py").fixtures().items():
        assert (CHAT / f"{code}.jsonl").read_bytes() == breaks
        assert (CHAT / "near" / f"{code}.jsonl").read_bytes() == nearly


def test_the_page_of_rules_is_up_to_date() -> None:
    page = script(ROOT / "docs" / "make_rules.py")
    assert page.PAGE.read_text(encoding="utf-8") == page.render()


def test_every_rule_has_a_line_on_the_page() -> None:
    page = (ROOT / "docs" / "reference" / "rules.md").read_text(encoding="utf-8")
    assert [code for code in RULES if f"| `{code}`" not in page] == []


def test_no_code_stands_twice_and_every_code_is_kebab_case() -> None:
    assert sum(len(rules) for rules in SECTIONS.values()) == len(RULES)
    assert all(code.replace("-", "").isalnum() and code == code.lower() for code in RULES)


def test_every_rule_is_minded_by_somebody() -> None:
    for rule in RULES.values():
        assert len(rule.levels) == len(COLUMNS)
        assert set(rule.levels) <= set("EW-")
        assert set(rule.levels) != {"-"}


def test_the_highest_level_counts_and_names_those_who_hold_it() -> None:
    assert minded(COLUMNS)["byte-order-mark"] == ("error", ("openai", "together"))
    assert minded(("local",))["byte-order-mark"] == ("warning", ("local",))
    assert "too-few-examples" not in minded(("together", "local"))


def test_a_provider_without_a_column_minds_what_all_mind() -> None:
    assert Rule("a", "EEE", "", why="", fix="").level("elsewhere") == "error"
    assert Rule("a", "EEW", "", why="", fix="").level("elsewhere") == "warning"
    assert Rule("a", "EE-", "", why="", fix="").level("elsewhere") is None


def test_an_issue_is_told_only_to_a_provider_that_minds(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", chat(user("One"), user("Two"), {"role": "assistant", "content": "5.9 m"}))
    assert "user-repeated" not in report(path, providers=("openai",)).counts
    assert "user-repeated" in report(path, providers=("local",)).counts
    assert check([path], providers=("local",)).ok
