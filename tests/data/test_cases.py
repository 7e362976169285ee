"""Cases with the verdicts of a referee who had not read the rules.

Each line of `cases/*.jsonl` is a small file and what each target says of it, with the source of the verdict:

- `lines`, or `base64` of the whole file; `before` and `after` so many good lines (of the method, or `like` another
  format); `repeat` writes the lines so many times, `#N#` being the number of the round; `fill` puts a text many
  times in the place of a mark; `absent` and `folder` are no files at all.
- `verdicts`: error, ok, or null where no source settles it; then only a crash counts.
- `line` (the first, where several lines are bad) and `path` of the error; several paths where the sources do not say
  which of them. `every`: line and path (null: any) of all the faults, which one run must find.
- `silent`: no warning either. `warns`: the targets that owe a warning.
"""

from __future__ import annotations

import base64
import json
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from anytune.data.check import Asker, check_each
from anytune.schema.data import DataReport, Issue
from tests.data.samples import assistant, chat, user

CASES = [
    json.loads(line)
    for path in sorted(Path(__file__).with_name("cases").glob("*.jsonl"))
    for line in path.read_text(encoding="utf-8").splitlines()
]
TARGETS = ("openai", "together", "fireworks", "azure", "nebius", "local")


def good(like: str, number: int) -> dict[str, Any]:
    question, answer = f"Good question {number}?", f"Good answer {number}."
    return {
        "sft": chat(user(question), assistant(answer)),
        "dpo": {
            "input": {"messages": [user(question)]},
            "preferred_output": [assistant(answer)],
            "non_preferred_output": [assistant(f"Poor answer {number}.")],
        },
        "rft": {"messages": [user(question)], "reference_answer": answer},
        "instruction": {"prompt": question, "completion": answer},
        "text": {"text": f"{question} {answer}"},
    }[like]


def content(case: dict[str, Any]) -> bytes:
    """Return the bytes of the file."""
    if "base64" in case:
        return base64.b64decode(case["base64"])
    like = case.get("like", case["method"])
    lines = [json.dumps(good(like, number)) for number in range(case.get("before", 0))]
    for number in range(case.get("repeat", 1)):
        for line in case["lines"]:
            line = line.replace("#N#", str(number))
            for mark, (text, times) in case.get("fill", {}).items():
                line = line.replace(mark, text * times)
            lines.append(line)
    lines += [json.dumps(good(like, 100 + number)) for number in range(case.get("after", 0))]
    return "".join(line + "\n" for line in lines).encode()


def laid(case: dict[str, Any], folder: Path) -> Path:
    """Lay the file into the folder."""
    path = folder / case.get("name", "data.jsonl")
    if case.get("folder"):
        path.mkdir()
    elif not case.get("absent"):
        path.write_bytes(content(case))
    return path


@dataclass
class Score:
    """Count what was right, and keep in words what was not."""

    right: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    scored: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    wrong: list[str] = field(default_factory=list)

    def add(self, kind: str, right: bool, words: str) -> None:
        self.scored[kind] += 1
        self.right[kind] += right
        if not right:
            self.wrong.append(f"{kind}: {words}")

    def share(self, kind: str) -> float:
        return self.right[kind] / max(self.scored[kind], 1)

    def told(self, kind: str) -> str:
        """Return the share and every disagreement of one kind."""
        wrong = [words for words in self.wrong if words.startswith(f"{kind}: ")]
        return "\n".join([f"{kind}: {self.right[kind]} of {self.scored[kind]} right, {self.share(kind):.2%}", *wrong])


def told(issues: tuple[Issue, ...]) -> str:
    return ", ".join(f"{i.code} {i.line}:{i.path}" for i in issues[:4]) or "nothing"


def judge(case: dict[str, Any], target: str, found: DataReport, score: Score) -> None:
    """Compare one report with what the case says of this target."""
    verdict = case["verdicts"][target]
    errors, warnings = found.files[0].errors, found.files[0].warnings
    where = f"{case['id']} {target}: "
    if verdict is not None:
        got = "error" if errors else "ok"
        words = f"{where}wanted {verdict}, got {got} ({told(errors)}); {case['why']}"
        score.add(target, got == verdict, words)
    if verdict == "ok" and case.get("silent"):
        score.add("no false alarm", not errors and not warnings, where + told((*errors, *warnings)))
    if verdict == "ok" and target in case.get("warns", ()) and not errors:
        score.add("owed warnings", bool(warnings), f"{where}wanted a warning; {case['why']}")
    if verdict == "error" and errors and "line" in case:
        lines = {issue.line for issue in errors if issue.line is not None}
        alone = "repeat" not in case and len(case.get("lines", ())) == 1
        right = lines == {case["line"]} if alone else min(lines, default=0) == case["line"]
        score.add("line", right, f"{where}wanted line {case['line']}, got {told(errors)}")
    if verdict == "error" and errors and "path" in case:
        paths = case["path"] if isinstance(case["path"], list) else [case["path"]]
        here = [issue.path for issue in errors if issue.line == case.get("line")]
        score.add("path", any(path in paths for path in here), f"{where}wanted {paths}, got {told(errors)}")
    if verdict == "error" and "every" in case:
        missed = [[line, path] for line, path in case["every"] if not holds(errors, line, path)]
        score.add("every fault", not missed, f"{where}missed {missed}, got {told(errors)}")


def holds(errors: tuple[Issue, ...], line: int, path: str | None) -> bool:
    return any(issue.line == line and path in (issue.path, None) for issue in errors)


@pytest.fixture(scope="module")
def score(tmp_path_factory: pytest.TempPathFactory) -> Score:
    """Check every case for every target that has a verdict on it."""
    score = Score()
    for number, case in enumerate(CASES):
        path = laid(case, tmp_path_factory.mktemp(f"case-{number}-"))
        try:
            found = check_each([path], {name: Asker((name,)) for name in case["verdicts"]}, method=case["method"])
        except Exception as crash:
            score.add("no crash", False, f"{case['id']}: {crash!r}")
            continue
        score.add("no crash", True, "")
        for target, report in found.items():
            judge(case, target, report, score)
        if path.is_file():
            path.unlink()
    return score


def test_the_cases_say_what_they_mean() -> None:
    known = {"id", "method", "lines", "base64", "absent", "folder", "before", "after", "like", "repeat", "fill", "name"}
    known |= {"verdicts", "line", "path", "every", "silent", "warns", "why"}
    assert len({case["id"] for case in CASES}) == len(CASES) > 350
    assert sum(case.get("silent", False) for case in CASES) >= 80
    for case in CASES:
        assert case.keys() <= known, case["id"]
        assert case["verdicts"].keys() <= set(TARGETS), case["id"]
        assert set(case["verdicts"].values()) <= {"error", "ok", None}, case["id"]
        assert not case.get("silent") or "error" not in case["verdicts"].values(), case["id"]


@pytest.mark.parametrize("target", TARGETS)
def test_the_verdicts_are_right(score: Score, target: str) -> None:
    assert score.share(target) >= 0.98, score.told(target)


def test_no_case_ends_in_a_crash(score: Score) -> None:
    assert score.share("no crash") == 1, score.told("no crash")


def test_the_line_is_right(score: Score) -> None:
    assert score.share("line") >= 0.99, score.told("line")


def test_the_path_is_right(score: Score) -> None:
    assert score.share("path") >= 0.95, score.told("path")


def test_one_run_finds_every_fault(score: Score) -> None:
    assert score.share("every fault") == 1, score.told("every fault")


def test_nothing_is_said_of_clean_files(score: Score) -> None:
    assert score.share("no false alarm") == 1, score.told("no false alarm")


def test_what_is_worth_a_warning_gets_one(score: Score) -> None:
    assert score.share("owed warnings") >= 0.95, score.told("owed warnings")
