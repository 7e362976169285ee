"""That estimates are near, that intervals hold, and that an exact count is exact."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

import pytest

from anytune.data.tokens import (
    Candidate,
    Counter,
    Drawn,
    Size,
    count_file,
    counter_for,
    estimate,
    may_exceed,
    measure,
    over_limit,
    size,
)
from anytune.errors import RefusedError
from tests.data.samples import assistant, chat, user, write

pytest.importorskip("tiktoken")
WORDS = ("harbour", "tide", "ferry", "antidisestablishment", "I", "of", "Überfahrt", "{}", "4711", "zwölf", "Паром")


@dataclass(frozen=True)
class Commas:
    """Count commas and, for each further 10 bytes, one token more."""

    name: str = "commas"
    basis: str = "counted by commas"
    exact: bool = True
    error: float = 0.0
    per_message: int = 4
    per_record: int = 1
    per_text: int = 1

    def count(self, text: str) -> int:
        return text.count(",") + len(text) // 10

    def counting(self, texts: Sequence[str]) -> Callable[[str], int]:
        return self.count


def records(number: int, seed: int) -> list[bytes]:
    """Make chats whose length is log-normal and whose commas differ from chat to chat."""
    random = Random(seed)
    made = []
    for _ in range(number):
        length, share = round(random.lognormvariate(4, 1)) + 1, random.random() * 0.6
        text = "".join("," if random.random() < share else "a" for _ in range(length))
        made.append(json.dumps(chat(user("ask"), assistant(text))).encode())
    return made


def totals(lines: Sequence[bytes]) -> dict[str, int]:
    sizes = [size(json.loads(line)) for line in lines]
    return {
        "records": len(lines),
        "content_bytes": sum(one.content_bytes for one in sizes),
        "messages": sum(one.messages for one in sizes),
    }


def tokens_in(lines: Sequence[bytes], counter: Counter) -> int:
    return sum(measure(json.loads(line), counter).tokens for line in lines)


def test_the_interval_holds_the_truth_in_about_95_of_100_samples() -> None:
    lines, counter = records(1_500, seed=1), Commas()
    truth, all_of_it = tokens_in(lines, counter), totals(lines)
    held = 0
    for seed in range(200):
        found = estimate(Drawn(Random(seed).sample(lines, 60)), **all_of_it, counter=counter)
        held += found.low <= truth <= found.high
    assert 180 <= held <= 199


def test_a_sample_of_all_records_is_exact_and_its_interval_has_no_width() -> None:
    lines, counter = records(50, seed=2), Commas()
    found = estimate(Drawn(lines), **totals(lines), counter=counter)
    assert found.low == found.expected == found.high == tokens_in(lines, counter)
    assert (found.method, found.basis) == ("exact", "counted by commas on all 50 records")


def test_a_larger_sample_gives_a_narrower_interval() -> None:
    lines = records(1_000, seed=3)
    few, more = (estimate(Drawn(lines[:number]), **totals(lines), counter=Commas()) for number in (50, 800))
    assert more.high - more.low < (few.high - few.low) / 3
    assert few.method == "sampled"
    assert few.basis == "counted by commas on 50 of 1,000 records, 95 % interval"


def test_1000_records_tell_the_tokens_of_a_file_within_a_third_of_a_percent() -> None:
    lines, counter = _prose(3_000, seed=4), counter_for("openai", "gpt-4.1")
    truth = estimate(Drawn(lines), **totals(lines), counter=counter)
    found = estimate(Drawn(Random(5).sample(lines, 1_000)), **totals(lines), counter=counter)
    assert truth.method == "exact"
    assert found.low <= truth.expected <= found.high
    assert found.expected == pytest.approx(truth.expected, rel=0.0033)
    assert (found.high - found.low) / found.expected < 0.012


def _prose(number: int, seed: int) -> list[bytes]:
    random = Random(seed)
    made = []
    for _ in range(number):
        rare = random.random()
        weights = [10, 10, 10, rare, 20, 20, rare, rare, 2, rare, rare]
        texts = (" ".join(random.choices(WORDS, weights, k=random.randrange(20, 150))) for _ in range(2))
        made.append(json.dumps(chat(user(next(texts)), assistant(next(texts) * 2)), ensure_ascii=False).encode())
    return made


def test_trained_and_masked_tokens_add_up() -> None:
    lines = records(200, seed=7)
    trained_bytes = sum(size(json.loads(line)).trained_bytes for line in lines)
    found = estimate(Drawn(lines), **totals(lines), counter=Commas(), trained_bytes=trained_bytes)
    assert found.trained == sum(measure(json.loads(line), Commas()).trained for line in lines)
    assert found.trained + found.masked == found.expected


def test_the_longest_record_is_known_though_the_sample_misses_it() -> None:
    lines = records(100, seed=8)
    found = estimate(Drawn(lines[:50]), **totals(lines), counter=Commas(), largest=Size(2, 50_000, 49_000))
    assert 50_000 / 10 < found.longest < 50_000


def test_a_rough_count_has_a_wide_interval_and_says_so() -> None:
    lines = records(30, seed=9)
    found = estimate(Drawn(lines), **totals(lines), counter=counter_for("together", "some/model"))
    assert found.method == "rough"
    assert found.high - found.expected >= 0.24 * found.expected
    assert "may be off" in found.basis


def test_a_sample_of_huge_records_is_looked_at_in_part_only() -> None:
    text = "The ferry leaves the harbour at seven, and nobody waits for it. "
    lines = [json.dumps(chat(user("ask"), assistant(text * (10_000 + 100 * i)))).encode() for i in range(12)]
    calls: list[int] = []

    class Watched(Commas):
        def count(self, text: str) -> int:
            calls.append(len(text))
            return super().count(text)

    found = estimate(Drawn(lines), **totals(lines), counter=Watched())
    assert sum(calls) < 5 << 20
    assert found.expected == pytest.approx(tokens_in(lines, Commas()), rel=0.01)
    assert found.method == "sampled"


def test_broken_lines_images_and_nothing_at_all_are_no_trouble() -> None:
    images = json.dumps(chat(user([{"type": "image_url", "image_url": {"url": "x"}}]), assistant("b"))).encode()
    found = estimate(Drawn([b"{", b"[]", images]), records=3, content_bytes=1, messages=2, counter=Commas())
    assert found.basis.endswith("images are not counted")
    nothing = estimate(Drawn([]), records=0, content_bytes=0, messages=0, counter=Commas())
    assert (nothing.low, nothing.expected, nothing.high, nothing.longest) == (0, 0, 0, 0)


LONG = chat(user("a" * 100), assistant("b" * 200))  # 1 + 3 + 10 + 1 + 3 tokens, then the answer: 20 and its end


def test_an_exact_count_names_what_is_over_the_limit(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", chat(user("hi"), assistant("yes")), b"", LONG, b"{", LONG)
    found = count_file(path, Commas(), limit=29, shown=1)
    assert (found.records, found.unreadable) == (4, 1)
    assert (found.tokens, found.trained) == (9 + 39 + 39, 1 + 21 + 21)
    assert (found.longest, found.longest_line) == (39, 3)
    assert found.over is not None
    assert (found.over.over, found.over.answers_lost) == (2, 0)
    assert found.over.cuts == ((3, 39, 10 / 21),)
    assert count_file(path, Commas(), limit=10).over == (10, 2, 2, ((3, 39, 1.0), (5, 39, 1.0)), 39, 0, 0, 78)
    noun = found.noun()
    assert (noun.low, noun.high, noun.method, noun.over_limit, noun.masked) == (87, 87, "exact", 2, 44)


def test_two_processes_count_what_one_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.jsonl", *records(300, seed=10), LONG, b"\xff", b"  ", LONG)
    counter = counter_for("together", "some/model")
    alone = count_file(path, counter, limit=50)
    monkeypatch.setattr("anytune.data.tokens.exact._SMALL", 0)
    assert count_file(path, counter, limit=50, processes=2) == alone


def test_candidates_are_counted_exactly_and_the_rest_is_judged_by_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = [LONG, *records(40, seed=11), LONG, LONG]
    path = write(tmp_path / "a.jsonl", *made)
    candidates, offset, counter = [], 0, Commas()
    for line, content in enumerate(path.read_bytes().splitlines(), 1):
        held = size(json.loads(content))
        if may_exceed(held, counter, 30):
            candidates.append(Candidate(line, offset, held.content_bytes))
        offset += len(content) + 1
    everything = count_file(path, counter, limit=30)
    assert over_limit(path, candidates, counter, 30) == everything.over
    monkeypatch.setattr("anytune.data.tokens.over._MOST_RECORDS", 2)
    some = over_limit(path, candidates, counter, 30)
    assert some.over + some.uncounted <= len(candidates)
    assert some.over <= 2
    assert 0 < some.likely <= some.uncounted


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match="there is no such file"):
        count_file(tmp_path / "none.jsonl", Commas())
