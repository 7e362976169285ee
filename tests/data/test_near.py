from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest

from anytune.data.near import LOWEST, Near, Sketches, jaccard, near_across, near_pairs, reread, shingles
from anytune.data.prompt import records, said
from anytune.errors import MissingExtraError, UsageError
from tests.data.samples import assistant, chat, user, write

WORDS = [f"{a}{b}{c}" for a in "bdfgklmnprst" for b in "aeiou" for c in "lmnrst"]


def text(chance: random.Random, length: int) -> str:
    return " ".join(chance.choices(WORDS, k=length))


def changed(chance: random.Random, words: str, *, times: int) -> str:
    changed = words.split()
    for place in chance.sample(range(len(changed)), times):
        changed[place] = "CHANGED"
    return " ".join(changed)


def pairs(texts: list[str], *, threshold: float = 0.8) -> list[Near]:
    return list(near_pairs(enumerate(texts), again=texts.__getitem__, threshold=threshold))


def index(one: str, other: str) -> float:
    return jaccard(frozenset(shingles(one)), frozenset(shingles(other)))


@pytest.mark.parametrize("threshold", [0.6, 0.8, 0.9])
def test_each_pair_that_is_found_is_true_and_hardly_one_is_missed(threshold: float) -> None:
    chance = random.Random(1)
    texts = [text(chance, chance.randint(60, 200)) for _ in range(600)]
    texts += [changed(chance, texts[i], times=chance.randint(1, 4)) for i in range(0, 600, 3)]
    chance.shuffle(texts)
    found = {(a, b): similarity for a, b, similarity in pairs(texts, threshold=threshold)}
    sets = [frozenset(shingles(words)) for words in texts]
    assert all(similarity == jaccard(sets[a], sets[b]) >= threshold for (a, b), similarity in found.items())
    by_word: dict[str, list[int]] = {}
    for place, words in enumerate(sets):
        for shingle in words:
            by_word.setdefault(shingle, []).append(place)
    close = {(a, b) for places in by_word.values() for a in places for b in places if a < b}
    true = {(a, b) for a, b in close if jaccard(sets[a], sets[b]) >= threshold}
    assert len(true) > 40
    assert len(true - found.keys()) <= 0.01 * len(true)


def test_texts_that_share_a_template_are_told_apart_and_their_copies_found() -> None:
    chance = random.Random(2)
    template = text(chance, 100)
    texts = [f"{template} {text(chance, 20)}" for _ in range(400)]
    texts += texts[:100]
    copies = {(i, 400 + i) for i in range(100)}
    found = pairs(texts)
    assert {(a, b) for a, b, similarity in found if similarity == 1} == copies
    assert all(similarity >= 0.8 for _, _, similarity in found)


def test_a_thousand_twins_are_a_thousand_pairs() -> None:
    words = text(random.Random(3), 50)
    assert pairs([words] * 1000) == [Near(0, i, 1.0) for i in range(1, 1000)]


def test_case_and_white_space_make_no_difference() -> None:
    words = text(random.Random(4), 30)
    assert pairs([words, words.upper().replace(" ", "\n ")]) == [Near(0, 1, 1.0)]


def test_a_short_text_is_near_to_an_equal_one_only() -> None:
    assert pairs(["What is the tide at Brest?", "what is  the tide at brest?"]) == [Near(0, 1, 1.0)]
    assert pairs(["one two three four five six seven eight nine", "one two three four five six seven eight ten"]) == []
    asked = "How many boats lie in berth {} of the old harbour today? {} boats do."
    assert pairs([asked.format(number, 7 * number) for number in range(50)]) == []
    assert pairs(["", "", "one"]) == [Near(0, 1, 1.0)]


@pytest.mark.parametrize("length", [60, 150, 400])
def test_nine_of_ten_copies_with_a_fortieth_of_their_words_changed_are_found(length: int) -> None:
    chance = random.Random(7)
    texts = [text(chance, length) for _ in range(200)]
    for words in texts[:]:
        texts.append(changed(chance, words, times=max(1, sum(chance.random() < 0.025 for _ in range(length)))))
    found = {(a, b) for a, b, _ in pairs(texts)}
    assert found <= {(i, 200 + i) for i in range(200)}
    assert len(found) >= 180


def test_texts_that_share_six_words_of_seven_or_a_form_with_ten_blanks_are_not_near() -> None:
    chance = random.Random(8)
    boilerplate, form = text(chance, 120), text(chance, 100)
    assert pairs([f"{boilerplate} {text(chance, 20)}" for _ in range(200)]) == []
    blanks = set(chance.sample(range(100), 10))
    filled = [
        " ".join(chance.choice(WORDS) if place in blanks else word for place, word in enumerate(form.split()))
        for _ in range(200)
    ]
    assert pairs(filled) == []


def test_a_script_without_spaces_is_compared_by_characters() -> None:
    chinese = "潮汐是由月亮和太阳的引力引起的海水周期性涨落现象在布雷斯特最大潮差约为七米所以港口必须为此做好准备"
    thai = "น้ำขึ้นน้ำลงเกิดจากแรงดึงดูดของดวงจันทร์และดวงอาทิตย์ที่เมืองแบรสต์มีความแตกต่างสูงสุดประมาณเจ็ดเมตร"
    for one in (chinese, thai):
        assert pairs([one, one[:-1] + "x"])[0].similarity > 0.9
        assert pairs([one, one[::-1]]) == []


def test_two_runs_find_the_same() -> None:
    chance = random.Random(5)
    texts = [text(chance, 60) for _ in range(50)]
    texts += [changed(chance, words, times=1) for words in texts]
    assert pairs(texts) == pairs(texts)


def test_a_text_is_matched_with_the_one_it_is_most_like_in_the_other_file() -> None:
    chance = random.Random(6)
    held_out = [text(chance, 120) for _ in range(100)]
    held_out.append(changed(chance, held_out[7], times=2))
    mine = [text(chance, 120), changed(chance, held_out[7], times=1)]
    found = near_across(
        Sketches(enumerate(mine)),
        Sketches(enumerate(held_out)),
        again=(mine.__getitem__, held_out.__getitem__),
        threshold=0.7,
    )
    best = max(range(101), key=lambda i: index(mine[1], held_out[i]))
    assert list(found) == [Near(1, best, index(mine[1], held_out[best]))]


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_a_record_is_read_again_at_its_place(tmp_path: Path, mark: bytes) -> None:
    path = write(tmp_path / "a.jsonl", chat(user("One"), assistant("two")), b"", b' {"text": "three"}\r')
    path.write_bytes(mark + path.read_bytes())
    assert [reread(path, offset) for _, offset, _ in records(path)] == [said(line) for _, _, line in records(path)]
    assert [number for number, _, _ in records(path)] == [1, 3]


@pytest.mark.parametrize("threshold", [0.0, LOWEST - 0.01, 1.1, float("nan")])
def test_a_threshold_that_finds_everything_or_nothing_is_refused(threshold: float) -> None:
    with pytest.raises(UsageError, match="threshold"):
        pairs(["a", "b"], threshold=threshold)


def test_without_the_extra_the_command_that_brings_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rensa", None)
    with pytest.raises(MissingExtraError) as error:
        pairs(["a", "b"])
    assert error.value.fix == "pip install 'anytune[dedup]'"


def test_the_extra_is_loaded_only_when_it_is_needed() -> None:
    code = "import sys; import anytune.data.near, anytune.data.leak, anytune.data.dedupe; print('rensa' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
