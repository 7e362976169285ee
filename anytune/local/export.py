"""Hand the weights out, proven: as an adapter, an ordinary model, a GGUF file, or what Ollama or vLLM is started with.

The merge is onto the base as training saw it, unpacked from NF4 or int8, in float32. Merged onto the original weights
instead, the model answers from numbers it was not trained on (ten times the error, measured); merged into 4-bit
weights, it is rounded again. The manifest says which base it was.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from anytune.errors import MissingExtraError, UsageError
from anytune.local import loading, ollama, vllm
from anytune.local.artifact import Origin, adapter_factors, file_hashes, read_origin, scale
from anytune.local.encode import ChatEncoder
from anytune.local.generate import add_adapter, beside
from anytune.local.judge import SILENT
from anytune.local.runs import read_json, write_json
from anytune.local.target import Target, target
from anytune.local.training.checkpoint import sync_file

# Rounding float32 weights to bfloat16 moves logits by about 0.7 % (measured on the demonstration model); a wrong
# merge moves them by 100 %.
BOUND = 0.03
MERGED_ONTO = {
    "nf4": "base unpacked from NF4 with double quantisation",
    "int8": "base unpacked from int8 with a scale for each row",
    None: "base as it is",
}
PROMPTS = (
    "Hello!",
    "What is the capital of France?",
    "Repeat: one two three",
    "Write a short list.",
    # Long, since what is wrong with positions shows at those far from the first alone.
    "Sort these: " + ", ".join(f"{number * 37 % 101} apples" for number in range(1, 20)),
)


class Truth(NamedTuple):
    """Be what the tuned model says to some prompts, base and adapter apart: what every export is held against."""

    encoder: ChatEncoder
    prompts: list[list[int]]
    logits: torch.Tensor
    answers: list[list[int]]


def export(tuned: Path, to: str, out: Path) -> dict[str, Any]:
    """Write what `to` names and its manifest into `out`, all or nothing."""
    origin, wanted = read_origin(tuned), target(to)
    if origin.says == "score" and wanted.kind != "adapter":
        raise UsageError(f"{SILENT}: {to} has no place for that", fix="export it as adapter")
    if wanted.needs_adapter and not origin.adapter:
        raise UsageError("a fully fine-tuned model has no adapter", fix="export it as merged")
    out = out.absolute()
    aside = out.with_name(f".{out.name}.part")
    shutil.rmtree(aside, ignore_errors=True)
    try:
        facts = _write(wanted, tuned, origin, aside)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
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


def _write(wanted: Target, tuned: Path, origin: Origin, folder: Path) -> dict[str, Any]:
    if wanted.kind == "adapter":
        shutil.copytree(tuned, folder)
        return {}
    if wanted.kind == "vllm":
        shutil.copytree(tuned, folder)
        return vllm.write(folder, origin)
    if wanted.kind == "merged":
        return _merged(tuned, origin, folder)[0]
    return _gguf(wanted, tuned, origin, folder)


def _merged(tuned: Path, origin: Origin, folder: Path) -> tuple[dict[str, Any], Truth | None]:
    if origin.adapter:
        return merge(tuned, origin, folder)
    shutil.copytree(tuned, folder)
    return {}, None


def merge(tuned: Path, origin: Origin, folder: Path) -> tuple[dict[str, Any], Truth]:
    """Merge in float32, save in bfloat16, open what was saved, and compare it with base and adapter apart."""
    tokenizer = loading.open_tokenizer(origin.base)
    net = loading.open_base(origin.base, quantize=origin.quantize, dtype="float32")
    encoder = ChatEncoder(tokenizer, stop_ids=frozenset(origin.stop_ids))
    with Apart(net, tuned):
        truth = spoken(net, encoder)
    add_adapter(net, tuned)
    net.to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    del net
    again = loading.open_base(str(folder), quantize=None, dtype="float32")
    error = relative_error(truth.logits, logits(again, truth.prompts))
    answers = greedy(again, truth.prompts, encoder.stop_ids)
    same = sum(a == b for a, b in zip(truth.answers, answers, strict=True))
    if not error <= BOUND:  # also when it is not a number
        raise UsageError(f"the merged model does not answer as the tuned one: its logits are off by {error:.1%}")
    base = MERGED_ONTO[origin.quantize]
    check = {
        "logits_relative_error": error,
        "bound": BOUND,
        "same_greedy_answers": f"{same} of {len(truth.prompts)}",
    }
    return {"merged_onto": base, "dtype": "bfloat16", "check": check}, truth


def _gguf(wanted: Target, tuned: Path, origin: Origin, folder: Path) -> dict[str, Any]:
    """Write a GGUF file, hold it against the tuned model, and add what Ollama needs."""
    try:
        from anytune.local.gguf import family, proof, write
    except ModuleNotFoundError as error:
        raise MissingExtraError(needs=str(error.name), extra="gguf") from error
    whole = folder / "whole"
    facts, truth = _merged(tuned, origin, whole)
    truth = truth or _whole(whole, origin)
    stops, bos = sorted(truth.encoder.stop_ids), truth.encoder.bos
    longest = family.context(write.text_config(whole))
    about: dict[str, Any] = {"outtype": wanted.outtype, "context": longest, "merged_onto": facts.get("merged_onto")}
    path = folder / "model.gguf"
    about["tokenizer_pre"] = write.model(
        whole, path, outtype=wanted.outtype, name=origin.suffix or origin.job_id, bos=bos, stops=stops
    )
    said = proof.Reference(PROMPTS, truth.prompts, last(truth), truth.answers)
    known = proof.tokens(whole, truth.encoder.raw, folder / "scratch")
    adapter = folder / "adapter.gguf" if wanted.needs_adapter else None
    if adapter is not None:
        _lora(tuned, origin, truth, whole, path, adapter)
    stop_ids, letter = truth.encoder.stop_ids, truth.encoder.raw("a")[0]
    held = proof.hold(path, said, outtype=wanted.outtype, stops=stop_ids, letter=letter, adapter=adapter)
    if adapter is not None:
        path.unlink()
        about["proven_on"] = about.pop("merged_onto")
    if wanted.kind == "ollama":
        about["ollama"] = ollama.write(folder, whole, truth.encoder)
    shutil.rmtree(whole)
    shutil.rmtree(folder / "scratch", ignore_errors=True)
    return {**about, "check": {**known, **held}}


def _lora(tuned: Path, origin: Origin, truth: Truth, whole: Path, base: Path, out: Path) -> None:
    """Write the adapter as GGUF, and the base as training saw it in the place of the merged model, to prove it on."""
    from anytune.local.gguf import write

    config = read_json(tuned / "adapter_config.json") or {}
    factor = scale(config)  # llama.cpp divides alpha by the rank, whatever kind of LoRA it is
    factors = [(name, down, up / factor) for name, down, up in adapter_factors(tuned)]
    write.adapter(write.text_config(whole), factors, out, alpha=factor * config["r"], name=origin.job_id)
    net = loading.open_base(origin.base, quantize=origin.quantize, dtype="float32")
    shutil.rmtree(whole)
    net.save_pretrained(whole)
    truth.encoder.tokenizer.save_pretrained(whole)
    stops = sorted(truth.encoder.stop_ids)
    write.model(whole, base, outtype="f16", name="base", bos=truth.encoder.bos, stops=stops)


def _whole(folder: Path, origin: Origin) -> Truth:
    """Return what a wholly trained model says."""
    tokenizer = loading.open_tokenizer(str(folder))
    net = loading.open_base(str(folder), quantize=None, dtype="float32")
    return spoken(net, ChatEncoder(tokenizer, stop_ids=frozenset(origin.stop_ids)))


def spoken(net: Any, encoder: ChatEncoder) -> Truth:
    """Return what a model says to the prompts that every export is tried on."""
    prompts = [encoder.prompt([{"role": "user", "content": text}]) for text in PROMPTS]
    return Truth(encoder, prompts, logits(net, prompts), greedy(net, prompts, encoder.stop_ids))


def last(truth: Truth) -> torch.Tensor:
    """Return the log-probabilities of the token after each prompt, one row a prompt."""
    ends = torch.tensor([len(prompt) for prompt in truth.prompts]).cumsum(0) - 1
    return torch.log_softmax(truth.logits[ends], dim=-1)


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
