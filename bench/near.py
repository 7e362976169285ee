"""Measure how well near duplicates are found: recall by how much was changed, false pairs by what is shared.

    python bench/near.py [--texts N] [--chats N] [--json]

Everything is made here, the same each time. A planted pair is a text and its copy in which each word was changed to
another one with the given chance, at least one; in Chinese, words of one to three characters. Recall counts all
planted pairs, however alike they still are. A false pair is any other one that is found. The first table has the
choice: by how many words a shingle has and from where on two texts are near, by the true Jaccard index; the others
what `near_pairs` finds as it stands. The last is one large file in a process of its own: CPU seconds and memory.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import near_text
from data_process import Process, machine, spend
from near_text import Text

from anytune.data.near import SHINGLE, THRESHOLD, jaccard, near_pairs, shingles

CHOICES = ((5, 0.8), (5, 0.7), (4, 0.8), (3, 0.8), (3, 0.75), (2, 0.85), (2, 0.8), (2, 0.75), (1, 0.85))
RATES = (0.01, 0.025, 0.05, 0.1)
PLANTED = 0.25  # of the texts have a copy
LARGE = """
import json, sys, time
from functools import partial
from pathlib import Path
from anytune.data.near import near_pairs, reread
from anytune.data.prompt import records, said
path, planted = Path(sys.argv[1]), {tuple(pair) for pair in json.loads(Path(sys.argv[2]).read_text())}
list(near_pairs([(1, "warm up")], again=str))
started = time.process_time()
numbers = {offset: number for number, offset, _ in records(path)}
texts = ((offset, said(line)) for _, offset, line in records(path))
found = {(numbers[a], numbers[b]) for a, b, _ in near_pairs(texts, again=partial(reread, path))}
spent = time.process_time() - started
status = Path("/proc/self/status")  # not getrusage, which knows the memory of the process that started this one
peak = next((int(row.split()[1]) * 1024 / 1e6 for row in status.open() if "VmHWM" in row), 0) if status.exists() else 0
print(json.dumps({"cpu": spent, "peak": peak, "found": len(found & planted), "false": len(found - planted)}))
"""


class Seen(NamedTuple):
    """Say how many of the planted pairs were found, and how many others."""

    found: int
    planted: int
    false: int


def main() -> None:
    """Measure and print all tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=int, default=1_200, help="of each sort")
    parser.add_argument("--chats", type=int, default=20_000, help="in the large file")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    before = machine()
    figures = {
        "choice": list(choice(given.texts)),
        "planted": list(planted(given.texts)),
        "unrelated": list(unrelated(given.texts // 4)),
        "large": large(given.chats),
    }
    if given.json:
        print(json.dumps({"machine": before, **figures}, indent=1))
        return
    print(f"`{' '.join(['python bench/near.py', *sys.argv[1:]])}` on {before}")
    print(f"\nchosen: {SHINGLE} words a shingle, near from {THRESHOLD}")
    for rows in (figures["choice"], figures["planted"], figures["unrelated"], [figures["large"]]):
        print(f"\n{table(rows)}")


def choice(texts: int) -> Iterator[dict[str, Any]]:
    """Yield recall on chats and the false pairs among texts with boilerplate for each choice."""
    chance = Random(1)
    chats = [near_text.chat(chance) for _ in range(texts)]
    copies = {rate: [near_text.changed(chance, chat, rate) for chat in chats] for rate in RATES}
    shared = {share: near_text.boilerplate(chance, texts=100, share=share) for share in (0.8, 0.85, 0.9)}
    for length, threshold in CHOICES:
        row: dict[str, Any] = {"words a shingle": length, "near from": threshold}
        for rate, others in copies.items():
            pairs = zip(chats, others, strict=True)
            row[f"{rate:.1%} changed"] = share_of(sum(alike(*pair, length) >= threshold for pair in pairs), texts)
        for share, same in shared.items():
            pairs = list(combinations(same, 2))
            row[f"{share:.0%} boilerplate"] = share_of(sum(alike(*p, length) >= threshold for p in pairs), len(pairs))
        yield row


def alike(one: Text, other: Text, length: int) -> float:
    """Return the true Jaccard index."""
    return jaccard(*(frozenset(shingles(text.written, length=length)) for text in (one, other)))


def planted(texts: int) -> Iterator[dict[str, Any]]:
    """Yield for each sort of text how many of its planted pairs are found, with the false ones."""
    for name, make in near_text.SORTS.items():
        chance = Random(2)
        made = [make(chance) for _ in range(texts)]
        seen = {rate: find(*plant(chance, made, rate)) for rate in RATES}
        shares = {f"{rate:.1%} changed": share_of(one.found, one.planted) for rate, one in seen.items()}
        yield {"texts": name, **shares, "false pairs": sum(one.false for one in seen.values())}


def unrelated(texts: int) -> Iterator[dict[str, Any]]:
    """Yield for texts that only share something how many are found to be near, and copies among them."""
    for name, make in near_text.SHARING.items():
        chance = Random(3)
        made = make(chance, texts)
        false = find(made, set()).false
        among = find(*plant(chance, made, 0.025))
        yield {
            f"{texts} texts share": name,
            "false pairs": false,
            "planted at 2.5%": share_of(among.found, among.planted),
        }


def plant(chance: Random, texts: list[Text], rate: float) -> tuple[list[Text], set[tuple[int, int]]]:
    """Return the texts with changed copies at the end of some of them, and which pairs are such."""
    some = chance.sample(range(len(texts)), int(len(texts) * PLANTED))
    copies = [near_text.changed(chance, texts[place], rate) for place in some]
    return [*texts, *copies], {(place, len(texts) + copy) for copy, place in enumerate(some)}


def find(texts: list[Text], planted: set[tuple[int, int]]) -> Seen:
    """Search as anytune does."""
    written = [text.written for text in texts]
    found = {(a, b) for a, b, _ in near_pairs(enumerate(written), again=written.__getitem__)}
    return Seen(len(found & planted), len(planted), len(found - planted))


def large(chats: int) -> dict[str, Any]:
    """Measure a file of chats of which 2 % have a near copy elsewhere."""
    chance = Random(4)
    texts = [near_text.chat(chance) for _ in range(chats)]
    some = chance.sample(range(chats), chats // 50)
    texts += [near_text.changed(chance, texts[place], 0.025) for place in some]
    pairs = [(place + 1, chats + copy + 1) for copy, place in enumerate(some)]
    with tempfile.TemporaryDirectory() as folder:
        path, truth = Path(folder) / "chats.jsonl", Path(folder) / "pairs.json"
        with path.open("w") as file:
            for text in texts:
                file.write(json.dumps({"text": text.written}) + "\n")
        truth.write_text(json.dumps(pairs))
        ran = spend(Process("near_pairs", [sys.executable, "-c", LARGE, str(path), str(truth)]))
    seen = json.loads(ran.printed)
    return {
        "chats": len(texts),
        "planted at 2.5%": share_of(seen["found"], len(pairs)),
        "false pairs": seen["false"],
        "CPU s": round(seen["cpu"], 2),
        "chats a CPU s": int(round(len(texts) / seen["cpu"], -2)),
        "peak MB": round(seen["peak"]),
    }


def share_of(part: int, whole: int) -> float:
    """Return a share to three places."""
    return round(part / whole, 3)


def table(rows: list[dict[str, Any]]) -> str:
    """Lay rows out as Markdown."""
    lines = [list(rows[0]), ["---"] * len(rows[0]), *([str(value) for value in row.values()] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    main()
