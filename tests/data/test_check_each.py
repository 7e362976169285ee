"""A file that is read once for several askers tells each what it would hear alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anytune.data.check import COLUMNS, Asker, Wish, check, check_each
from anytune.data.check.rules import RULES
from anytune.data.check.tally import Tally
from anytune.data.check.token import TokenLook
from anytune.data.tokens.rough import Rough
from anytune.errors import UsageError
from anytune.schema.data import DataMethod, DataReport
from tests.amount import LONG
from tests.data.samples import CHAT, ROOT, assistant, chat, user, write
from tests.data.test_sets_laws import mixture

METHODS: tuple[DataMethod, ...] = ("sft", "dpo", "rft")
FILES = sorted([*CHAT.glob("*.jsonl"), *CHAT.glob("near/*.jsonl"), ROOT / "examples" / "english-to-sql" / "test.jsonl"])
ROUGH, NARROW = Rough(), Rough(per_message=4, per_record=0, per_text=0)
ASKERS = {
    **{name: Asker((name,)) for name in (*COLUMNS, "a-plug-in")},
    "all": Asker(COLUMNS),
    "none": Asker(()),
    "patient": Asker(("openai", "local"), frozenset({"too-few-examples", "image-part", "weight-boolean"})),
    "counts": Asker(("local",), wish=Wish(counter=ROUGH, limit=20)),
    "counts the same": Asker(("openai",), wish=Wish(counter=Rough(), limit=20)),
    "counts otherwise": Asker(("together",), frozenset({"over-limit"}), Wish(counter=NARROW, limit=20)),
    "counts all": Asker(("openai",), wish=Wish(counter=ROUGH, limit=30, exact=True)),
    "private": Asker(("openai",), wish=Wish(private=frozenset({"email", "card"}))),
    "held out": Asker(("azure",), wish=Wish(against=CHAT / "duplicate-normalised.jsonl")),
}
NAMES = tuple(ASKERS)


def alone(paths: Any, asker: Asker, **terms: Any) -> DataReport:
    return check(paths, providers=asker.providers, ignore=asker.ignore, wish=asker.wish, **terms)


def tell(paths: Any, *, those: Sequence[str] = NAMES, **terms: Any) -> None:
    together = check_each(paths, ASKERS, **terms)
    assert tuple(together) == NAMES
    for name in those:
        assert together[name] == alone(paths, ASKERS[name], **terms), (paths, name)


def test_each_hears_of_a_fixture_what_it_would_hear_alone() -> None:
    """On every day each file is read alone by an eighth of them, which is another eighth for the next file."""
    for number, path in enumerate(FILES):
        rule = RULES.get(path.stem)
        tell([path], those=NAMES if LONG else NAMES[number % 8 :: 8], method=rule.methods[0] if rule else "sft")


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("show", "workers"), [(0, 1), (2, 2)])
def test_each_hears_of_a_mixture_what_it_would_hear_alone(
    tmp_path: Path, method: DataMethod, show: int, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = mixture(method)
    path = write(tmp_path / "train.jsonl", *lines[:: len(lines) // 100])
    monkeypatch.setattr("anytune.data.check.parts.PART", 9_000)
    tell({"train": path, "validation": CHAT / "weight-boolean.jsonl"}, method=method, show=show, workers=workers)


IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
ODD = st.sampled_from(
    [
        chat(),
        chat(user(), assistant(weight=None)),
        chat(user(), assistant(weight=True)),
        chat(user(), assistant(tool_calls=[])),
        chat(user(), assistant(None, tool_calls=[{"type": "function", "function": {"name": "f", "arguments": "{}"}}])),
        chat(user([IMAGE] * 11), assistant([{"type": "text", "text": "Ebb."}])),
        chat(user([IMAGE] * 65), assistant([{"type": "text", "text": "Ebb."}])),
        {"prompt": "Tide?", "completion": "5.9 m"},
        b"{broken",
        b"",
    ]
)


@settings(max_examples=10, deadline=None)
@given(records=st.lists(ODD, max_size=14), show=st.integers(0, 4))
def test_faults_that_hang_on_the_provider_are_told_to_those_who_mind(
    records: list[Any], show: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    tell([write(tmp_path_factory.mktemp("odd") / "train.jsonl", *records)], show=show)


def test_a_file_that_cannot_be_read_is_told_to_all(tmp_path: Path) -> None:
    for path in (tmp_path / "none.jsonl", tmp_path, tmp_path / ("x" * 300)):
        tell([path])


def test_what_several_wish_for_is_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    counted: list[object] = []
    own = TokenLook.count

    def noted(self: TokenLook, wish: Wish, whole: Tally) -> Any:
        counted.append(wish.counter)
        return own(self, wish, whole)

    monkeypatch.setattr(TokenLook, "count", noted)
    check_each([CHAT / "content-empty.jsonl"], {name: ASKERS[name] for name in ASKERS if name.startswith("counts")})
    assert counted == [ROUGH, NARROW, ROUGH]


def test_a_code_that_is_not_there_is_a_mistake_of_the_user() -> None:
    with pytest.raises(UsageError, match="there is no rule contentempty"):
        check_each([], {"a": Asker(("openai",), frozenset({"contentempty"}))})
    assert check_each([CHAT / "content-empty.jsonl"], {}) == {}
    assert check_each([], {"a": Asker(("openai",), frozenset(RULES))})["a"].files == ()
