"""Find what a layer keeps and needs, in bytes a token and unit of its sizes: figures of `local/memory/layers.py`.

    python bench/fit_layers.py [FAMILY …]

Memory is linear in a layer's sizes, so shapes that differ by one size at a time give the slopes: each is one step of
the real model class under fake tensors (`local/memory/exact.py`), with one layer and with two. Long rows and rank 1
leave nothing of the adapters in them.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

os.environ.update(HF_HUB_OFFLINE="1", TRANSFORMERS_VERBOSITY="error", TORCHDYNAMO_DISABLE="1")

from transformers import AutoConfig

from anytune.local.memory.exact import step_bytes

FAMILIES = ["llama", "qwen3", "gemma", "phi3", "gemma3_text", "gemma2", "olmo2", "mistral", "qwen2"]
CASES = {"bfloat16": ("bfloat16", "bfloat16"), "float32": ("float32", "float32"), "mixed": ("float32", "bfloat16")}
TOKENS = 1024
PLAIN = {
    "hidden_size": 256,
    "intermediate_size": 512,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 64,
}
DERIVED = {"qwen2", "phi3"}  # families whose heads divide the hidden size


def main() -> None:
    """Print a line of figures for each family and precision."""
    for family in sys.argv[1:] or FAMILIES:
        for case in CASES:
            try:
                found = figures(family, case)
            except Exception as error:
                print(f"# {family} {case}: {type(error).__name__}: {str(error)[:100]}", flush=True)
                continue
            print(json.dumps([family, case, found]), flush=True)


def figures(family: str, case: str) -> dict[str, list[float]]:
    """Return the slopes: kept by (hidden, query, key, inner), needed beside it in the backward pass."""
    if family in DERIVED:
        sizes = {"hidden": {"hidden_size": 512, "num_attention_heads": 8}, "key": {"num_key_value_heads": 4}}
    else:
        sizes = {
            "hidden": {"hidden_size": 512},
            "query": {"num_attention_heads": 8},
            "key": {"num_key_value_heads": 4},
        }
    sizes["inner"] = {"intermediate_size": 1024}
    steps = {"hidden": 256, "query": 256, "key": 128, "inner": 512}
    base = kept(family, case, {})
    slope = {name: (kept(family, case, change) - base) / steps[name] for name, change in sizes.items()}
    wide = {"hidden_size": 512, **({"num_attention_heads": 8} if family in DERIVED else {})}
    big, bigger, wider = (
        {"intermediate_size": 8192},
        {"intermediate_size": 16384},
        {"intermediate_size": 8192, **wide},
    )
    found = {"kept": [round(slope.get(name, 0.0), 2) for name in steps]}
    for name, recompute in (("backward", False), ("again", True)):
        one, two, three = (beside(family, case, change, recompute=recompute) for change in (big, bigger, wider))
        found[name] = [round((two - one) / 8192, 2), round((three - one) / 256, 2)]
    small = {"intermediate_size": 64}
    norm = beside(family, case, {**small, **wide}, recompute=False) - beside(family, case, small, recompute=False)
    return {
        **found,
        "norm": [round(norm / 256, 2)],
        "rest": [
            round(
                base
                - sum(
                    slope.get(name, 0.0) * size
                    for name, size in (("hidden", 256), ("query", 256), ("key", 128), ("inner", 512))
                ),
                1,
            )
        ],
    }


def kept(family: str, case: str, change: dict[str, int]) -> float:
    """Return the bytes a token that a layer keeps for the backward pass."""
    one, two = (measured(family, case, change, layers) for layers in (1, 2))
    return ((two["forward"] - two["still"]) - (one["forward"] - one["still"])) / TOKENS


def beside(family: str, case: str, change: dict[str, int], *, recompute: bool) -> float:
    """Return the bytes a token that the backward pass needs beside what the layers keep."""
    at_most = measured(family, case, change, 2, recompute=recompute)
    hidden = change.get("hidden_size", PLAIN["hidden_size"])
    held = kept(family, case, change)
    width = 2 if CASES[case][0] == "bfloat16" else 4
    before = 2 * hidden * width + held if recompute else 2 * held
    return (at_most["peak"] - at_most["still"]) / TOKENS - before


def measured(family: str, case: str, change: dict[str, int], layers: int, *, recompute: bool = False) -> dict[str, int]:
    """Return the bytes of one step of a small model."""
    return step(family, case, tuple(sorted(change.items())), layers, recompute)


@cache
def step(family: str, case: str, change: tuple[tuple[str, int], ...], layers: int, recompute: bool) -> dict[str, int]:
    """Take it once."""
    sizes: dict[str, Any] = {
        **PLAIN,
        **dict(change),
        "num_hidden_layers": layers,
        "vocab_size": 64,
        "rms_norm_eps": 1e-6,
    }
    if family in DERIVED:
        del sizes["head_dim"]
    if family.startswith("gemma") and family != "gemma":
        sizes["layer_types"] = ["full_attention"] * layers
    dtype, products = CASES[case]
    lora = {"rank": 1, "alpha": 1, "dropout": 0.0, "target_modules": "all-linear"}
    way = {"dtype": dtype, "products": products, "unpack": True, "recompute": recompute}
    with tempfile.TemporaryDirectory() as folder:
        config = AutoConfig.for_model(family, max_position_embeddings=4096, pad_token_id=0, **sizes)
        config.save_pretrained(folder)
        training = {"quantize": None, "lora": lora}
        return step_bytes(Path(folder), training, way, rows=1, length=TOKENS, supervised=8)


if __name__ == "__main__":
    main()
