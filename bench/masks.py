"""Compare the masks of chats made at random with those that brute force finds, for each family's template.

python bench/masks.py [--chats 2000] [--seed 1]
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import Counter
from pathlib import Path

os.environ.update(HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="false")
sys.path.insert(0, str(Path(__file__).parents[1]))

from anytune.errors import UsageError
from anytune.local.encode import ChatEncoder
from tests.local.talks import FAMILIES, Maker, tokenizer_of, wanted, worded


def compare(name: str, chats: int, seed: int) -> Counter[str]:
    """Return how many chats came out equal, different and refused, and how many answers they have."""
    family, tokenizer, told = FAMILIES[name], tokenizer_of(name), Counter[str]()
    coder = ChatEncoder(tokenizer, stop_ids=frozenset(tokenizer.convert_tokens_to_ids(list(family.ends))))
    make = Maker(family, seed)
    for _ in range(chats):
        record = make.record()
        expected = sorted(wanted(tokenizer, record, family))
        told["answers"] += len(expected)
        try:
            rows = coder.example(record, where="x", line=1).rows
        except UsageError as error:
            told["refused"] += 1
            print(f"{name}: {error.message}")
            continue
        told["texts"] += len(rows)
        told["equal" if worded(rows, coder.stop_ids) == expected else "different"] += 1
    return told


def main() -> int:
    """Print a table; the exit code is 1 if a mask is not what brute force finds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--chats", type=int, default=2000, help="of each family")
    parser.add_argument("--seed", type=int, default=1)
    asked, whole = parser.parse_args(), Counter[str]()
    print("| template | chats | answers | texts | equal | different | refused | seconds |\n|---|" + "---:|" * 7)
    for name in FAMILIES:
        began = time.monotonic()
        told = compare(name, asked.chats, asked.seed)
        whole += told
        columns = [told[key] for key in ("answers", "texts", "equal", "different", "refused")]
        print(
            f"| {name} | {asked.chats} | {' | '.join(map(str, columns))} | {time.monotonic() - began:.0f} |", flush=True
        )
    print(f"{whole['equal']} of {asked.chats * len(FAMILIES)} chats equal")
    return int(whole["equal"] != asked.chats * len(FAMILIES))


if __name__ == "__main__":
    sys.exit(main())
