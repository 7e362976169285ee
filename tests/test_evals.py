"""Base and tuned are held against the same questions, and the difference has an interval."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from anytune import evals
from anytune.errors import RefusedError
from anytune.evals.compare import Question, paired_interval
from anytune.evals.metrics import exact_match, metrics
from anytune.schema.spec import Evaluation

TABLES = "CREATE TABLE tides (port TEXT, height REAL); INSERT INTO tides VALUES ('Brest', 5.9), ('Calais', 6.1);"


@pytest.fixture
def spec(tmp_path: Path) -> Evaluation:
    (tmp_path / "tables.sql").write_text(TABLES)
    return Evaluation(metrics=("exact_match", "sql_execution"), database=tmp_path / "tables.sql")


def test_exact_match_forgives_white_space_and_nothing_else() -> None:
    assert exact_match("SELECT  1 ", " SELECT 1\n")
    assert not exact_match("SELECT 1", "select 1")


@pytest.mark.parametrize(
    ("given", "right"),
    [
        ("SELECT height FROM tides WHERE port = 'Brest'", True),
        ("SELECT height FROM tides WHERE port LIKE 'Bres%'", True),
        ("SELECT height FROM tides", False),
        ("SELEC height", False),
        ("DROP TABLE tides", False),
        ("DELETE FROM tides", False),
        ("SELECT 1; SELECT 2", False),
        ("ATTACH 'x' AS y", False),
        ("", False),
    ],
)
def test_execution_compares_rows_and_lets_nothing_be_written(spec: Evaluation, given: str, right: bool) -> None:
    judge = metrics(spec)["sql_execution"]
    assert judge("SELECT height FROM tides WHERE port='Brest'", given) is right
    assert judge("SELECT count(*) FROM tides", "SELECT 2")


def test_order_counts_only_where_it_was_asked_for(spec: Evaluation) -> None:
    judge = metrics(spec)["sql_execution"]
    backwards = "SELECT port FROM tides ORDER BY port DESC"
    assert judge("SELECT port FROM tides", backwards)
    assert not judge("SELECT port FROM tides ORDER BY port", backwards)


def test_a_query_that_never_ends_is_stopped(spec: Evaluation) -> None:
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
    assert not metrics(spec)["sql_execution"]("SELECT 1", endless)


def test_a_report_counts_what_was_gained_and_lost(spec: Evaluation, tmp_path: Path) -> None:
    questions = [Question(({"role": "user", "content": f"q{n}"},), f"a{n}") for n in range(4)]
    report = evals.compare(
        questions,
        ["a0", "x", "x", "x"],
        ["x", "a1", "a2", "a3"],
        spec=Evaluation(),
        job_id="j",
        base="b",
        tuned="t",
        test_file="test.jsonl",
        seconds=1.0,
    )
    (result,) = report.metrics
    assert (result.base, result.tuned, result.gained, result.lost) == (0.25, 0.75, 3, 1)
    assert result.interval[0] < result.difference < result.interval[1]
    evals.save(report, tmp_path / "evals" / "j.json")
    assert json.loads((tmp_path / "evals" / "j.json").read_text())["examples"] == 4


def test_the_interval_shrinks_with_more_questions() -> None:
    few, many = paired_interval(5, 0, 10), paired_interval(500, 0, 1000)
    assert few[1] - few[0] > 5 * (many[1] - many[0])
    assert paired_interval(0, 0, 100)[0] < 0 < paired_interval(0, 0, 100)[1]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "the file is empty"),
        ("\n", "only blank lines"),
        ("{", "test.jsonl:1"),
        ('{"messages": [{"role": "user", "content": "q"}]}', "test.jsonl:1: cannot be used as a test"),
        ('{"messages": ["hello", {"role": "assistant", "content": "a"}]}', "a message is not an object"),
        ('{"messages": [{"role": "user"}, {"role": "assistant", "content": "\\ud800"}]}', "surrogates"),
    ],
)
def test_bad_test_data_is_told_with_its_line(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "test.jsonl"
    path.write_text(text)
    with pytest.raises(RefusedError, match=says):
        evals.read(path)


def test_a_query_that_gives_no_table_is_never_right(spec: Evaluation) -> None:
    judge = metrics(spec)["sql_execution"]
    none = "SELECT port FROM tides WHERE height > 99"
    assert judge(none, none)
    assert not judge(none, "")
    assert not judge(none, "-- I do not know")


def test_a_query_that_gives_too_much_is_wrong_not_the_end_of_memory(spec: Evaluation) -> None:
    much = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT hex(zeroblob(100000)) FROM n"
    assert not metrics(spec)["sql_execution"]("SELECT 1", much)


def test_of_held_out_pairs_the_preferred_answer_is_expected(tmp_path: Path) -> None:
    said = {side: [{"role": "assistant", "content": side}] for side in ("preferred_output", "non_preferred_output")}
    asked = [{"role": "user", "content": "Tide?"}]
    (tmp_path / "pairs.jsonl").write_text(json.dumps({"input": {"messages": asked}, **said}) + "\n")
    assert evals.read(tmp_path / "pairs.jsonl") == [Question(tuple(asked), "preferred_output")]
    for broken in (
        {"input": {"messages": asked}},
        {"input": 1, **said},
        {"input": {"messages": asked}, **said} | {"preferred_output": []},
    ):
        (tmp_path / "pairs.jsonl").write_text(json.dumps(broken) + "\n")
        with pytest.raises(RefusedError, match=r"pairs.jsonl:1: cannot be used as a test"):
            evals.read(tmp_path / "pairs.jsonl")
