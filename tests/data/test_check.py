from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from anytune.data.check import MOST_BYTES, check
from anytune.data.lines import LONGEST
from anytune.errors import UsageError
from anytune.schema.data import Issue
from tests.data.samples import assistant, chat, report, user, write

GOOD = [chat(user(f"Question {i}"), assistant(f"Answer {i}")) for i in range(10)]


def only(path: Path, code: str, **terms: object) -> Issue:
    found = report(path, **terms)
    issues = [issue for issue in (*found.errors, *found.warnings) if issue.code == code]
    assert len(issues) == 1, found
    return issues[0]


def test_good_files_are_good(tmp_path: Path) -> None:
    found = report(write(tmp_path / "a.jsonl", *GOOD))
    assert found.counts == {}
    assert found.examples == 10
    assert found.file is not None
    assert found.file.bytes == (tmp_path / "a.jsonl").stat().st_size
    assert found.file.role == "train"


def test_a_missing_file_is_an_issue_and_the_other_files_are_checked(tmp_path: Path) -> None:
    good = write(tmp_path / "a.jsonl", *GOOD)
    found = check([tmp_path / "none.jsonl", good, good / "below.jsonl"])
    assert [list(file.counts) for file in found.files] == [["file-missing"], [], ["file-missing"]]
    assert not found.ok
    assert found.files[0].file is None


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    assert report(tmp_path).counts == {"not-a-file": 1}


def test_what_the_system_does_not_open_is_an_issue(tmp_path: Path) -> None:
    assert report(tmp_path / ("x" * 300)).counts == {"file-unreadable": 1}
    assert report(Path("a\0b")).counts == {"file-missing": 1}


def test_another_extension_is_a_warning(tmp_path: Path) -> None:
    assert report(write(tmp_path / "a.json", *GOOD)).counts == {"extension-not-jsonl": 1}
    assert report(write(tmp_path / "a.JSONL", *GOOD)).counts == {"extension-not-jsonl": 1}


def test_a_line_without_end_and_a_file_without_measure_are_told(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", *GOOD)
    with path.open("r+b") as file:
        file.truncate(max(MOST_BYTES["azure"], LONGEST) + 2)  # the least of all limits: zeros take time, too
    found = check([path], providers=("azure",)).files[0]
    assert found.counts == {"file-too-large": 1, "line-too-large": 1}
    assert [issue.line for issue in found.errors] == [None, 11]


def test_a_mapping_says_the_roles(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", *GOOD[:2])
    found = check({"train": path, "validation": path, "test": path})
    assert [list(file.counts) for file in found.files] == [["too-few-examples"], [], []]
    test = found.role("test")
    assert test is not None
    assert test.path == path


def test_every_fault_of_a_file_is_told_in_one_run(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", b"{", chat(user(7), assistant()), b"[]", chat({"role": "human"}), *GOOD)
    found = report(path)
    assert [(issue.line, issue.code) for issue in found.errors] == [
        (1, "invalid-json"),
        (2, "content-type"),
        (3, "not-an-object"),
        (4, "content-missing"),
        (4, "role-unknown"),
    ]


def test_line_column_and_path_lead_to_the_spot(tmp_path: Path) -> None:
    line = '{"messages": [{"role": "user", "content": "Marée 🌊"}, {"role": "assistant", "content": "5", "weight": 2}]}'
    path = write(tmp_path / "a.jsonl", *GOOD, line.encode())
    issue = only(path, "weight-invalid")
    assert (issue.line, issue.column, issue.path) == (11, line.index("2}") + 1, "$.messages[1].weight")
    assert issue.providers == ("openai", "together", "fireworks", "local")


def test_an_unknown_key_is_shown_at_the_key(tmp_path: Path) -> None:
    line = json.dumps({**GOOD[0], "an id": 7})
    issue = only(write(tmp_path / "a.jsonl", line.encode()), "record-key-unknown")
    assert issue.column == line.index('"an id"') + 1
    assert issue.path == '$["an id"]'


def test_an_old_call_without_text_beside_it_is_looked_at(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", chat(user(), {"role": "assistant", "function_call": "get_tide"}))
    assert only(path, "functions-invalid").path == "$.messages[1].function_call"


def test_a_turn_as_sharegpt_writes_it_is_shown_at_the_turn(tmp_path: Path) -> None:
    turns = {"messages": [{"from": "human", "value": "Tide?"}, {"from": "gpt", "value": "5.9 m"}]}
    issue = only(write(tmp_path / "a.jsonl", turns), "sharegpt")
    assert (issue.line, issue.path) == (1, "$.messages[0]")


def test_weights_on_some_records_are_shown_where_they_begin(tmp_path: Path) -> None:
    weighted = [{**record, "weight": 1} for record in GOOD]
    for records in ([*GOOD[:6], *weighted[6:]], [*weighted[:6], *GOOD[6:]]):
        path = write(tmp_path / "a.jsonl", *records)
        issue = only(path, "sample-weight-on-some", providers=("fireworks",))
        assert (issue.line, issue.path) == (7, "$")


def test_a_number_of_very_many_digits_is_shown_where_it_stands(tmp_path: Path) -> None:
    line = json.dumps(chat(user(), assistant(weight=7))).replace("7", "7" * 5000).encode()
    issue = only(write(tmp_path / "a.jsonl", line), "number-out-of-range")
    assert issue.path == "$.messages[1].weight"


def test_broken_json_is_shown_where_it_breaks(tmp_path: Path) -> None:
    line = '{"messages": [{"role": "user", "content": "é"} {"role": "assistant"}]}'
    issue = only(write(tmp_path / "a.jsonl", line.encode()), "invalid-json")
    assert issue.column == line.index("} {") + 3
    assert issue.path == "$.messages"
    assert "comma" in issue.message


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_line_ends_and_odd_separators_do_not_move_line_numbers(tmp_path: Path, end: bytes) -> None:
    odd = json.dumps(chat(user("a\u2028b\x85c\u2029d\x0be\x0cf"), assistant("1")), ensure_ascii=False).encode()
    path = tmp_path / "a.jsonl"
    path.write_bytes(end.join([odd, json.dumps(GOOD[0]).encode(), b"", b"nonsense", b""]))
    found = report(path, providers=("fireworks",), ignore=frozenset({"too-few-examples"}))
    assert found.counts == {"blank-line": 1, "invalid-json": 1}
    assert [issue.line for issue in (*found.warnings, *found.errors)] == [3, 4]
    assert found.examples == 3


BROKEN = (
    b'{"messages": [{"role": "user", "content": "cut o',
    b'{"messages": [{"role": "user", "content": "a\\',
    b'{"messages": [',
    b'{"messages":',
    b'{"messages": [1 2]}',
    b'{"messages": []} {}',
    b'{"messages": [],',
    b'{"messages": [NaN',
    b"nonsense",
    b'"',
    b'{"messages": "\xff',
)


@pytest.mark.parametrize("line", BROKEN)
def test_broken_json_is_told_in_the_same_words_whatever_ends_its_line(tmp_path: Path, line: bytes) -> None:
    def told(end: bytes) -> list[Issue]:
        path = tmp_path / "a.jsonl"
        path.write_bytes(line + end + json.dumps(GOOD[0]).encode() + end)
        found = report(path, ignore=frozenset({"too-few-examples"}))
        return [*found.errors, *found.warnings]

    assert told(b"\r\n") == told(b"\n") != []


def test_a_mark_at_the_start_moves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(chat(user(1), assistant())).encode())
    issue = only(path, "content-type")
    assert (issue.line, issue.column) == (1, 43)


def test_a_printed_report_has_a_line_for_each_fault(tmp_path: Path) -> None:
    good, bad = write(tmp_path / "a.jsonl", *GOOD), write(tmp_path / "b.jsonl", *GOOD, chat(user(), assistant(7)))
    found = check([good, bad])
    assert [issue.code for issue in found.errors] == ["content-type"]
    assert found.warnings == ()
    said, faults, where = str(found).splitlines()
    assert said == f"{good}: 10 examples, no faults"
    assert faults == f"{bad}: 11 examples, 1 fault"
    assert where.startswith(f"{bad}:11:86: error content-type at $.messages[1].content: content is 7, ")
    assert where.endswith("; write a string")


def test_only_the_first_of_a_kind_are_shown_but_all_are_counted(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", *(chat(user(i), assistant()) for i in range(50)))
    found = report(path, show=3)
    assert found.counts == {"content-type": 50}
    assert [issue.line for issue in found.errors] == [1, 2, 3]


def test_an_ignored_rule_is_neither_shown_nor_counted(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", GOOD[0])
    assert report(path, ignore=frozenset({"too-few-examples"})).counts == {}


def test_ignoring_what_is_no_rule_is_a_mistake() -> None:
    with pytest.raises(UsageError, match="blank-lines") as raised:
        check([], ignore=frozenset({"blank-lines"}))
    assert raised.value.fix == "did you mean blank-line?"


@pytest.mark.parametrize(
    ("role", "meant"),
    [
        ("human", "user"),
        ("gpt", "assistant"),
        ("Assistant", "assistant"),
        ("asistant", "assistant"),
        ("bot", "assistant"),
    ],
)
def test_a_wrong_role_gets_the_right_one_named(tmp_path: Path, role: str, meant: str) -> None:
    path = write(tmp_path / "a.jsonl", chat({"role": role, "content": "x"}))
    assert only(path, "role-unknown").fix == f'write "{meant}"'


def test_an_old_key_gets_the_new_one_named(tmp_path: Path) -> None:
    old = {
        "input": chat(user()),
        "preferred_completion": [assistant("a")],
        "non_preferred_completion": [assistant("b")],
    }
    found = report(write(tmp_path / "a.jsonl", old), method="dpo", providers=("together",))
    assert found.counts == {"output-missing": 2, "record-key-unknown": 2}
    assert [issue.fix for issue in found.errors if issue.code == "record-key-unknown"] == [
        'did you mean "preferred_output"? otherwise remove it',
        'did you mean "non_preferred_output"? otherwise remove it',
    ]


@pytest.mark.parametrize(
    ("secret", "mask"),
    [
        ("jeanne.martin@example.org", "<e-mail>"),
        ("4111 1111 1111 1111", "<card>"),
        ("sk-proj-abcdefghijklmnop", "<key>"),
        ("0123456789abcdef0123456789abcdef", "<key>"),
    ],
)
def test_quoted_data_is_masked(tmp_path: Path, secret: str, mask: str) -> None:
    path = write(tmp_path / "a.jsonl", chat({"role": f"I am {secret} too", "content": "x"}))
    issue = only(path, "role-unknown")
    assert mask in issue.message
    assert secret not in issue.model_dump_json()


def test_quoted_data_is_short(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", chat({"role": "word " * 1000, "content": "x"}))
    assert len(only(path, "role-unknown").message) < 80


def test_a_secret_in_a_key_is_masked_in_the_path(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", {**GOOD[0], "jeanne.martin@example.org": 1})
    assert "jeanne" not in only(path, "record-key-unknown").model_dump_json()


def test_half_a_character_does_not_reach_the_report(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", b'{"messages": [{"role": "\\ud800", "\\udc00": 1}]}')
    found = report(path)
    assert found.counts["lone-surrogate"] == 2
    assert found.counts["role-unknown"] == 1
    assert found.model_dump_json()


def test_tokens_are_estimated_from_bytes_and_messages(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", chat(user("a" * 41), assistant("é" * 41)), chat(user("b"), assistant("c")))
    tokens = report(path).tokens
    assert tokens is not None
    assert tokens.expected == round(125 / 4.1 + 16)
    assert tokens.longest == round(123 / 4.1 + 8)
    assert tokens.low < tokens.expected < tokens.high
    assert "rough" in tokens.basis


def test_a_huge_line_gets_a_report(tmp_path: Path) -> None:
    record = chat(user("x" * 20_000_000), assistant(7))
    path = write(tmp_path / "a.jsonl", record)
    assert only(path, "content-type").column == json.dumps(record).index(": 7}") + 3


def test_a_hundred_thousand_faults_in_one_line_are_counted(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", {**GOOD[0], **{f"key{i}": i for i in range(100_000)}})
    found = report(path)
    assert found.counts["record-key-unknown"] == 100_000
    assert len(found.errors) == 21


@pytest.mark.parametrize("levels", [65, 2_000, 200_000])
def test_deep_nesting_is_an_issue_and_never_a_crash(tmp_path: Path, levels: int) -> None:
    closed = b'{"messages": [], "x": ' + b"[" * levels + b"]" * levels + b"}"
    found = report(write(tmp_path / "a.jsonl", closed, b'{"x": ' + b'{"a": ' * levels))
    assert found.counts["nested-too-deep"] == 2


def test_a_truncated_first_line_does_not_hide_the_others(tmp_path: Path) -> None:
    found = report(write(tmp_path / "a.jsonl", b'{"messages": [', *GOOD))
    assert found.counts == {"invalid-json": 1}
    assert found.examples == 11


def test_the_check_brings_no_heavy_import() -> None:
    code = "import sys; import anytune.data.check, anytune.data.split; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    outside = {name.partition(".")[0] for name in loaded} - sys.stdlib_module_names
    assert not outside & {"httpx", "yaml", "rich", "typer", "tenacity", "openai", "together", "torch", "numpy"}
