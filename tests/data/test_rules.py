from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from anytune.data.check import MOST_BYTES, Asker, check, check_each
from anytune.data.check.amount import LARGE_BYTES
from anytune.data.check.rules import COLUMNS, RULES, SECTIONS, Minded, Rule, minded
from anytune.data.lines import LONGEST
from anytune.schema.data import DataMethod, FileReport
from tests.data.samples import CHAT, ROOT, assistant, chat, report, script, user, write

METHODS: tuple[DataMethod, ...] = ("sft", "dpo", "rft")
LETTERS = {"error": "E", "warning": "W", None: "-"}
GOOD = [chat(user(f"Question {i}"), assistant(f"Answer {i}")) for i in range(10)]
MOST_IMAGE = (10 << 20) // 3 * 3
LONGEST_EXAMPLE = 8_000_000

# What takes another file, a model or a scan for secrets is tried where these are.
FOUND_ELSEWHERE = {
    "near-duplicate",
    "leak",
    "leak-prompt",
    "leak-turn",
    "leak-near",
    "over-limit",
    "answer-cut-off",
    "personal-data",
    "not-scanned",
}


def longer(path: Path, size: int) -> Path:
    """Let a file have that many bytes, which take no room on the disk."""
    with path.open("r+b") as file:
        file.truncate(size)
    return path


def images(*sizes: int) -> dict[str, object]:
    """Return a chat with images of that many bytes, each a multiple of three."""
    urls = ["data:image/png;base64," + "AAAA" * (size // 3) for size in sizes]
    parts = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    return chat(user(parts), assistant([{"type": "text", "text": "A buoy."}]))


# What is no file, or would be a huge one, is made when it is needed.
MADE: dict[str, Callable[[Path], Path]] = {
    "file-missing": lambda folder: folder / "none.jsonl",
    "not-a-file": lambda folder: folder,
    "file-unreadable": lambda folder: folder / ("x" * 300),
    "extension-not-jsonl": lambda folder: write(folder / "a.json", *GOOD),
    "file-too-large": lambda folder: longer(write(folder / "a.jsonl", *GOOD), max(MOST_BYTES.values()) + 1),
    "file-large": lambda folder: longer(write(folder / "a.jsonl", *GOOD), LARGE_BYTES + 1),
    "line-too-large": lambda folder: longer(write(folder / "a.jsonl", *GOOD), LONGEST + 2000),
    "example-too-long": lambda folder: write(folder / "a.jsonl", *GOOD, chat(user(), assistant("x" * LONGEST_EXAMPLE))),
    "image-too-large": lambda folder: write(folder / "a.jsonl", *GOOD, images(MOST_IMAGE + 3)),
}
MADE_BY_TESTS = MADE.keys() | FOUND_ELSEWHERE | {"too-many-examples"}
WITH_FIXTURE = sorted(RULES.keys() - MADE_BY_TESTS)

# A file breaks its own rule only; where that cannot be, the others stand here with the reason.
AN_IMAGE = {"image-part": "an image is never taken everywhere"}
COMPANIONS: dict[str, dict[str, str]] = {
    "file-blank": {"blank-line": "it is made of them"},
    "file-large": {"line-too-large": "the end of the file is one line of zeros"},
    "mixed-formats": {"prompt-completion": "it is the other format"},
    "sample-weight-on-some": {
        "sample-weight": "most providers know none",
        "key-sets-differ": "it is a key like others, too",
    },
    "sample-weight-invalid": {"sample-weight": "most providers know none"},
    "messages-missing": {"record-key-unknown": "the key is misspelt"},
    "functions-invalid": {"functions-deprecated": "the old form is never taken everywhere"},
    "reasoning-not-text": {"reasoning-content": "some know no reasoning at all"},
    "image-not-from-user": AN_IMAGE,
    "image-url-invalid": AN_IMAGE,
    "image-url-remote": AN_IMAGE,
    "image-detail": AN_IMAGE,
    "image-format": AN_IMAGE,
    "image-not-base64": AN_IMAGE,
    "image-too-large": AN_IMAGE,
    "images-too-many": AN_IMAGE,
    "image-trained": {**AN_IMAGE, "weight-not-on-assistant": "only a user may show images"},
}
# What nearly breaks a rule may be an image, a weight or a refusal all the same.
NEARLY: dict[str, dict[str, str]] = {
    "sample-weight-invalid": {"sample-weight": "now it is valid"},
    "part-type-unknown": {"refusal-part": "some know this type"},
    "reasoning-not-text": {"reasoning-content": "some know no reasoning at all"},
    "system-in-reinforcement": {"role-developer": "what OpenAI wants there, others do not know"},
    **{code: AN_IMAGE for code, companions in COMPANIONS.items() if "image-part" in companions},
}


def method_of(code: str) -> DataMethod:
    return RULES[code].methods[0]


def counts(path: Path, code: str) -> set[str]:
    return set(report(path, providers=COLUMNS, method=method_of(code)).counts)


def test_every_rule_has_a_fixture_that_breaks_it_alone() -> None:
    found = {code: counts(CHAT / f"{code}.jsonl", code) for code in WITH_FIXTURE}
    assert found == {code: {code, *COMPANIONS.get(code, {})} for code in WITH_FIXTURE}


def test_every_rule_has_a_fixture_that_nearly_breaks_it() -> None:
    found = {code: counts(CHAT / "near" / f"{code}.jsonl", code) for code in WITH_FIXTURE}
    assert found == {code: set(NEARLY.get(code, {})) for code in WITH_FIXTURE}


@pytest.mark.parametrize("code", MADE)
def test_what_is_no_file_or_a_huge_one_breaks_its_rule_alone(code: str, tmp_path: Path) -> None:
    found = report(MADE[code](tmp_path), providers=COLUMNS)
    assert set(found.counts) == {code, *COMPANIONS.get(code, {})}
    issue = next(issue for issue in (*found.errors, *found.warnings) if issue.code == code)
    assert (issue.level, issue.providers) == (minded(COLUMNS)[code].level, minded(COLUMNS)[code].holders)


def as_pair(line: bytes) -> bytes:
    """Make a preference pair of a chat, however broken it is: the chat is what was asked."""
    found = re.fullmatch(rb'(\{"mess?ages".*?)((?:, "weight": (?:[0-9.]+|"\w+"))?)(\}?)(,?)', line, re.DOTALL)
    if found is None:
        return line
    outputs = b', "preferred_output": [{"role": "assistant", "content": "Yes."}]'
    outputs += b', "non_preferred_output": [{"role": "assistant", "content": "No."}]'
    return b'{"input": ' + found[1] + found[3] + outputs + found[2] + b"}" + found[4]


def under(method: DataMethod, code: str, folder: Path) -> Path:
    """Return the fixture of a rule in the form that the method wants."""
    if method != "dpo":
        return CHAT / f"{code}.jsonl"
    if code == "wrong-method":
        return CHAT / "near" / f"{code}.jsonl"
    path = folder / "pairs.jsonl"
    path.write_bytes(b"\n".join(map(as_pair, (CHAT / f"{code}.jsonl").read_bytes().split(b"\n"))))
    return path


def level(found: FileReport, code: str) -> str | None:
    return next((issue.level for issue in (*found.errors, *found.warnings) if issue.code == code), None)


@pytest.mark.parametrize("method", METHODS)
def test_each_provider_takes_a_fault_as_the_table_says(method: DataMethod, tmp_path: Path) -> None:
    taken = {code: letters(under(method, code, tmp_path), code, method) for code in WITH_FIXTURE}
    assert taken == {code: RULES[code].letters(method) for code in WITH_FIXTURE}


def letters(path: Path, code: str, method: DataMethod) -> str:
    """Return how each provider takes a fault of that code, in the order of the columns."""
    found = check_each([path], {one: Asker((one,)) for one in COLUMNS}, method=method)
    return "".join(LETTERS[level(found[one].files[0], code)] for one in COLUMNS)


def holders(path: Path, code: str, method: DataMethod = "sft") -> tuple[str, ...]:
    found = report(path, providers=COLUMNS, method=method)
    return next((issue.providers for issue in (*found.errors, *found.warnings) if issue.code == code), ())


@pytest.mark.parametrize(
    ("examples", "minds"), [(2, ("openai", "fireworks", "azure")), (3, ("openai", "azure")), (9, ("openai", "azure"))]
)
def test_some_want_ten_examples_and_one_wants_three(tmp_path: Path, examples: int, minds: tuple[str, ...]) -> None:
    assert holders(write(tmp_path / "a.jsonl", *GOOD[:examples]), "too-few-examples") == minds


def test_a_file_may_have_the_most_bytes_but_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.jsonl", *GOOD)
    size = path.stat().st_size
    for one in MOST_BYTES:
        monkeypatch.setitem(MOST_BYTES, one, size)
        assert holders(path, "file-too-large") == ()
        monkeypatch.setitem(MOST_BYTES, one, size - 1)
        assert holders(path, "file-too-large") == (one,)
        monkeypatch.setitem(MOST_BYTES, one, size)


def test_a_file_may_have_the_most_examples_but_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("anytune.data.check.amount.MOST_EXAMPLES", {"fireworks": 10})
    monkeypatch.setattr("anytune.data.check.amount.MOST_TASKS", {"train": 11, "validation": 1})
    monkeypatch.setattr("anytune.data.check.amount.MOST_WITH_IMAGES", 1)
    tasks = [chat(user(f"Question {i}")) for i in range(12)]
    pictures = [*GOOD[:8], images(3), images(6)]
    assert holders(write(tmp_path / "a.jsonl", *GOOD), "too-many-examples") == ()
    assert holders(write(tmp_path / "a.jsonl", *tasks[:11]), "too-many-examples", "rft") == ("fireworks",)
    assert holders(write(tmp_path / "a.jsonl", *tasks), "too-many-examples", "rft") == ("openai", "fireworks")
    assert holders(write(tmp_path / "a.jsonl", *pictures), "too-many-examples") == ("openai",)


def test_a_record_may_have_the_most_text_and_the_largest_images_but_no_more(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", *GOOD, chat(user("?"), assistant("x" * (LONGEST_EXAMPLE - 1))))
    assert report(path).counts == {}
    path = write(tmp_path / "a.jsonl", *GOOD, images(MOST_IMAGE))
    assert set(report(path, providers=COLUMNS).counts) == {"image-part"}


@pytest.mark.parametrize(
    ("number", "minds"),
    [(10, ()), (11, ("openai", "together", "fireworks")), (65, ("openai", "together", "fireworks", "azure"))],
)
def test_most_take_ten_images_and_one_takes_more(tmp_path: Path, number: int, minds: tuple[str, ...]) -> None:
    assert holders(write(tmp_path / "a.jsonl", images(*[3] * number)), "images-too-many") == minds


def test_no_calls_are_an_error_where_the_list_must_not_be_empty(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", *GOOD, chat(user(), assistant(tool_calls=[])))
    assert holders(path, "tool-calls-invalid") == ("openai", "azure")


def test_no_fixture_stands_for_a_rule_that_is_gone() -> None:
    assert {path.stem for path in CHAT.glob("*.jsonl")} == set(WITH_FIXTURE)
    assert {path.stem for path in (CHAT / "near").glob("*.jsonl")} == set(WITH_FIXTURE)
    assert RULES.keys() >= MADE_BY_TESTS
    assert COMPANIONS.keys() | NEARLY.keys() <= RULES.keys()


def test_the_fixtures_are_what_their_script_makes() -> None:
    for code, (breaks, nearly) in script(CHAT / "make.py").fixtures().items():
        assert (CHAT / f"{code}.jsonl").read_bytes() == breaks
        assert (CHAT / "near" / f"{code}.jsonl").read_bytes() == nearly


def test_the_page_of_rules_is_up_to_date() -> None:
    page = script(ROOT / "docs" / "make_rules.py")
    assert page.PAGE.read_text(encoding="utf-8") == page.render()


def test_every_rule_has_a_heading_on_the_page_that_can_be_linked_to() -> None:
    page = (ROOT / "docs" / "reference" / "rules.md").read_text(encoding="utf-8").splitlines()
    assert [line.removeprefix("### ") for line in page if line.startswith("### ")] == list(RULES)


def test_no_code_stands_twice_and_every_code_is_kebab_case() -> None:
    assert sum(len(rules) for rules in SECTIONS.values()) == len(RULES)
    assert all(code.replace("-", "").isalnum() and code == code.lower() for code in RULES)


def test_every_rule_is_minded_by_somebody_and_only_where_it_can_be_broken() -> None:
    for rule in RULES.values():
        for letters in (rule.levels, rule.dpo, rule.rft):
            assert letters is None or (len(letters) in (1, len(COLUMNS)) and set(letters) <= set("EW-"))
        assert any(set(rule.letters(method)) != {"-"} for method in rule.methods)
        assert all(set(rule.letters(method)) == {"-"} for method in METHODS if method not in rule.methods)
        assert rule.dpo is None or "dpo" in rule.methods
        assert rule.rft is None or "rft" in rule.methods


def test_the_highest_level_counts_and_names_those_who_hold_it() -> None:
    hosted = tuple(column for column in COLUMNS if column not in ("azure", "local"))
    assert minded(COLUMNS)["byte-order-mark"] == Minded(errors=hosted, warnings=("local",))
    assert minded(COLUMNS)["byte-order-mark"].level == "error"
    assert minded(COLUMNS)["byte-order-mark"].holders == hosted
    assert minded(("local",))["byte-order-mark"].level == "warning"
    assert minded(("local",))["byte-order-mark"].holders == ("local",)
    assert "too-few-examples" not in minded(("together", "local"))


def test_a_method_may_have_levels_of_its_own() -> None:
    assert "prompt-completion" not in minded(("together",))
    assert minded(("together",), "dpo")["prompt-completion"].level == "error"
    assert "record-key-unknown" not in minded(COLUMNS, "rft")
    assert "input-missing" in minded(COLUMNS, "dpo")
    assert "input-missing" not in minded(COLUMNS, "sft")


def test_who_does_not_mind_the_value_at_hand_is_left_out() -> None:
    who = Minded(errors=("openai",), warnings=("local",))
    assert who.narrowed(None) == who
    assert who.narrowed(("local", "azure")) == Minded((), ("local",))
    assert who.narrowed(("azure",)) is None


@pytest.mark.parametrize(
    ("levels", "taken"), [("E", "error"), ("EEEEEW", "warning"), ("EEEEE-", None), ("W", "warning"), ("E-----", None)]
)
def test_a_provider_without_a_column_minds_what_all_mind(levels: str, taken: str | None) -> None:
    assert Rule("a", levels, "", why="", fix="").level("elsewhere", "sft") == taken


def test_an_issue_is_told_only_to_a_provider_that_minds(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", chat(user("One"), user("Two"), {"role": "assistant", "content": "5.9 m"}))
    assert "user-repeated" not in report(path, providers=("openai",)).counts
    assert "user-repeated" in report(path, providers=("local",)).counts
    assert check([path], providers=("local",)).ok
