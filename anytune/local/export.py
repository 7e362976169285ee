"""Hand the weights out: the adapter as PEFT's folder, or base and adapter merged into one ordinary model, proven.

The merge is onto the base as training saw it, unpacked from NF4, in float32. Merged onto the original weights instead,
the model answers from numbers it was not trained on (ten times the error, measured); merged into 4-bit weights, it
is rounded again. The manifest says which base it was.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from anytune.errors import UsageError
from anytune.local import loading
from anytune.local.artifact import Origin, adapter_factors, file_hashes, read_origin
from anytune.local.checkpoint import sync_file
from anytune.local.encode import ChatEncoder
from anytune.local.generate import add_adapter, beside
from anytune.local.runs import write_json

# Rounding float32 weights to bfloat16 moves logits by about 0.7 % (measured on the demonstration model); a wrong
# merge moves them by 100 %.
BOUND = 0.03
PROMPTS = ("Hello!", "What is the capital of France?", "Repeat: one two three", "Write a short list.")


def export(tuned: Path, to: str, out: Path) -> dict[str, Any]:
    """Write the model and its manifest into `out`, all or nothing."""
    origin = read_origin(tuned)
    if to == "adapter" and not origin.adapter:
        raise UsageError("a fully fine-tuned model has no adapter", fix="export it as merged")
    out = out.absolute()
    aside = out.with_name(f".{out.name}.part")
    shutil.rmtree(aside, ignore_errors=True)
    if to == "adapter" or not origin.adapter:
        shutil.copytree(tuned, aside)
        facts: dict[str, Any] = {}
    else:
        facts = merge(tuned, origin, aside)
    manifest = {
        "kind": to,
        "base": origin.base,
        "base_fingerprint": origin.base_fingerprint,
        "quantize": origin.quantize,
        "job_id": origin.job_id,
        **facts,
        "files": file_hashes(aside),
    }
    write_json(aside / "manifest.json", manifest)
    for path in aside.iterdir():
        sync_file(path)
    if out.exists():
        out.rmdir()  # only an empty folder goes
    os.rename(aside, out)
    return manifest


def merge(tuned: Path, origin: Origin, folder: Path) -> dict[str, Any]:
    """Merge in float32, save in bfloat16, open what was saved, and compare it with base and adapter apart."""
    tokenizer = loading.open_tokenizer(origin.base)
    net = loading.open_base(origin.base, quantize=origin.quantize, dtype="float32")
    encoder = ChatEncoder(tokenizer, stop_ids=frozenset(origin.stop_ids))
    prompts = [encoder.prompt([{"role": "user", "content": text}]) for text in PROMPTS]
    with Apart(net, tuned):
        wanted, answers = logits(net, prompts), greedy(net, prompts, encoder.stop_ids)
    add_adapter(net, tuned)
    net.to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    del net
    again = loading.open_base(str(folder), quantize=None, dtype="float32")
    error = relative_error(wanted, logits(again, prompts))
    same = sum(a == b for a, b in zip(answers, greedy(again, prompts, encoder.stop_ids), strict=True))
    if not error <= BOUND:  # also when it is not a number
        shutil.rmtree(folder)
        raise UsageError(f"the merged model does not answer as the tuned one: its logits are off by {error:.1%}")
    base = "base unpacked from NF4 with double quantisation" if origin.quantize else "base as it is"
    return {
        "merged_onto": base,
        "dtype": "bfloat16",
        "check": {
            "logits_relative_error": error,
            "bound": BOUND,
            "same_greedy_answers": f"{same} of {len(prompts)}",
        },
    }


class Apart:
    """Compute with base and adapter apart while open: each adapted layer adds its own low-rank product."""

    def __init__(self, net: Any, tuned: Path) -> None:
        layers = dict(net.named_modules())
        self._hooks = [
            layers[name].register_forward_hook(beside(down.to(net.device), up.to(net.device)))
            for name, down, up in adapter_factors(tuned)
        ]

    def __enter__(self) -> Apart:
        return self

    def __exit__(self, *_: object) -> None:
        for hook in self._hooks:
            hook.remove()


@torch.inference_mode()
def logits(net: Any, prompts: Sequence[list[int]]) -> torch.Tensor:
    """Return the logits of every position of every prompt."""
    rows = [net(input_ids=torch.tensor([p], device=net.device), use_cache=False).logits[0] for p in prompts]
    return torch.cat(rows).float()


@torch.inference_mode()
def greedy(net: Any, prompts: Sequence[list[int]], stops: frozenset[int], length: int = 16) -> list[list[int]]:
    """Return a short greedy answer to each prompt."""
    answers = []
    for prompt in prompts:
        ids = list(prompt)
        while len(ids) < len(prompt) + length and (len(ids) == len(prompt) or ids[-1] not in stops):
            out = net(input_ids=torch.tensor([ids], device=net.device), use_cache=False).logits
            ids.append(int(out[0, -1].argmax()))
        answers.append(ids[len(prompt) :])
    return answers


def relative_error(wanted: torch.Tensor, got: torch.Tensor) -> float:
    """Return the norm of the difference over the norm of what was wanted, without each position's own offset."""
    wanted, got = (t - t.mean(-1, keepdim=True) for t in (wanted, got))
    return float((wanted - got).norm() / wanted.norm())
