"""Measure the ways to lay a step's sequences out: side by side, as one row, as one row that shares beginnings.

    python bench/layout.py [--shape sql|lengths|prompt]… [--rounds N]

Forward and backward of the same steps of 8 chats, on the models and data of `bench/local.py`, in the precision that
this machine is quick in, one thread, interleaved; the processor time of the quickest round of each. `tokens` are those
computed, with filler, and `calls` those of the attention kernel in a layer. From such runs come the constants of
`batches.py` and `tree.py`: what one row and a further call cost, in tokens.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import local_shapes
import torch

from anytune.local import loading
from anytune.local.encode import ChatEncoder
from anytune.local.machine import hardware
from anytune.local.records import Limit, encode_file
from anytune.local.training import attention, batches, tree
from anytune.local.training.head import HeadFilter
from anytune.local.training.qlora import prepare

STEPS, BATCH = 2, 8
LORA = {"rank": 16, "alpha": 32, "dropout": 0.0, "target_modules": "all-linear"}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--shape", action="append", choices=list(local_shapes.SHAPES))
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{'':9}{'layout':14}{'tokens':>8}{'calls':>7}{'seconds':>9}{'us/token':>10}")
    for name in options.shape or local_shapes.SHAPES:
        for way, (tokens, calls, seconds) in measure(name, options.rounds).items():
            each = seconds / tokens * 1e6
            print(f"{name:9}{way:14}{tokens:8}{calls:7}{seconds:9.3f}{each:10.1f}", flush=True)


def measure(name: str, rounds: int) -> dict[str, tuple[int, int, float]]:
    """Return tokens computed, calls of the attention kernel a layer, and seconds of each layout."""
    folder = Path(tempfile.gettempdir()) / "anytune-bench-shapes"
    folder.mkdir(exist_ok=True)
    model, data = local_shapes.write(name, folder)
    products = "bfloat16" if hardware().bfloat16 else "float32"
    net = loading.open_base(str(model), quantize="nf4", dtype="float32" if name == "sql" else products)
    if (why := attention.arrange(net, longest=1024)) is not None:
        raise SystemExit(why)
    coder = ChatEncoder(loading.open_tokenizer(str(model)), stop_ids=frozenset({1, 2}))
    net = prepare(net, str(model), {"lora": LORA}, {"recompute": False, "products": products}).train()
    examples = encode_file(data, coder, name="training", limit=Limit(1024, "truncate_right")).examples[
        : STEPS * BATCH * 8
    ]
    steps = batches.steps_of_epoch(list(map(len, examples)), batch_size=BATCH, seed=1, epoch=0)[:STEPS]
    head, found = HeadFilter(net), {}
    made = {way: [laid_out([examples[i] for i in step], way) for step in steps] for way in WAYS}
    for _ in range(rounds + 1):
        for way, parts in made.items():
            start = time.process_time()
            for batch in parts:
                head.loss(net, batch).backward()
                net.zero_grad()
            found.setdefault(way, []).append(time.process_time() - start)
    return {way: (*counted(parts), min(found[way][1:])) for way, parts in made.items()}


def laid_out(examples: list[Any], way: str) -> batches.MicroBatch:
    """Return the examples of a step in one of the ways."""
    if way == "side by side":
        return batches.collate(examples)
    worth, tree.WORTH = tree.WORTH, 1 << 60 if way == "one row" else tree.WORTH
    try:
        ordered = sorted(examples, key=lambda e: e.ids)
        return batches.written(ordered, tree.lay_out([e.ids for e in ordered]))
    finally:
        tree.WORTH = worth


def counted(parts: list[batches.MicroBatch]) -> tuple[int, int]:
    """Return the tokens computed, and the calls of the kernel."""
    trees = [part.tree for part in parts if part.tree is not None]
    calls = sum(len(t.groups) + len(t.shared) for t in trees) or len(parts)
    return sum(part.ids.numel() for part in parts), calls


WAYS = ("side by side", "one row", "shared")

if __name__ == "__main__":
    main()
