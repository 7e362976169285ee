"""Answer chats: greedy, in batches padded on the left, with a key-value cache; one JSON line in and out."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

import torch
from transformers import GenerationConfig

from anytune.errors import AnytuneError, UsageError
from anytune.local import loading
from anytune.local.artifact import adapter_factors, read_speaker
from anytune.local.base_model import locate
from anytune.local.encode import ChatEncoder
from anytune.local.machine import hardware
from anytune.local.memory import ladder
from anytune.local.memory.shape import read_shape

BATCH = 50


class Speaker:
    """Hold a model that answers."""

    def __init__(self, net: Any, encoder: ChatEncoder, *, filler: int) -> None:
        self.net = net.eval()
        self.encoder = encoder
        self.config = GenerationConfig(
            do_sample=False, eos_token_id=sorted(encoder.stop_ids), pad_token_id=filler, use_cache=True
        )
        # The model's own generation settings (sampling, penalties) would be mixed into ours.
        net.generation_config = GenerationConfig()

    @torch.inference_mode()
    def answer(self, chats: Sequence[Sequence[dict[str, Any]]], *, max_new_tokens: int) -> Iterator[str]:
        """Yield one answer a chat, in order."""
        prompts = [self.encoder.prompt(list(chat)) for chat in chats]
        for start in range(0, len(prompts), BATCH):
            for ids in self._batch(prompts[start : start + BATCH], max_new_tokens):
                yield self.encoder.tokenizer.decode(ids, skip_special_tokens=True)

    def _batch(self, prompts: list[list[int]], max_new_tokens: int) -> list[list[int]]:
        """Return the new tokens of each prompt, without the one that ends the answer."""
        length, device = max(map(len, prompts)), self.net.device
        filler = int(self.config.pad_token_id)
        ids = torch.tensor([[filler] * (length - len(p)) + p for p in prompts], device=device)
        mask = torch.tensor([[0] * (length - len(p)) + [1] * len(p) for p in prompts], device=device)
        out = self.tokens(ids, mask, most=max_new_tokens)
        return [until_stop(row, self.encoder.stop_ids) for row in out[:, length:].tolist()]

    def tokens(
        self, ids: torch.Tensor, mask: torch.Tensor, *, most: int, config: GenerationConfig | None = None, **more: Any
    ) -> torch.Tensor:
        """Let the model go on after each row: greedy, unless `config` says otherwise."""
        config = config or self.config
        out: torch.Tensor = self.net.generate(
            input_ids=ids, attention_mask=mask, generation_config=config, max_new_tokens=most, **more
        )
        return out


def until_stop(ids: list[int], stops: frozenset[int]) -> list[int]:
    """Return the tokens before the first that ends an answer."""
    return next((ids[:at] for at, token in enumerate(ids) if token in stops), ids)


def open_speaker(base: str, tuned: Path | None, quantize: str | None) -> Speaker:
    """Open the tuned model on the base it was trained on, or the base alone."""
    origin = read_speaker(tuned) if tuned is not None else None
    model = base if origin is None else origin.base
    if origin is None:
        dtype, threads = choices(model)
    else:
        quantize, dtype, threads = origin.quantize, origin.dtype, choices(model)[1]
    set_threads(threads)
    if tuned is not None and origin is not None and not origin.adapter:
        model = str(tuned)
    tokenizer = loading.open_tokenizer(model)
    net = loading.open_base(model, quantize=quantize, dtype=dtype)
    stops = loading.stop_tokens(net, tokenizer)
    if tuned is not None and origin is not None:
        stops |= frozenset(origin.stop_ids)
        if origin.adapter:
            add_adapter(net, tuned)
    filler = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else min(stops, default=0)
    return Speaker(net, ChatEncoder(tokenizer, stop_ids=stops), filler=filler)


def add_adapter(net: Any, tuned: Path) -> None:
    """Put the adapter onto the base.

    Into the weights where they are float32: one product a layer instead of three. Beside them where they are coarser,
    as there the sum would be rounded and small updates lost.
    """
    layers = dict(net.named_modules())
    with torch.no_grad():
        for name, down, up in adapter_factors(tuned):
            layer = layers[name]
            down, up = (t.to(layer.weight.device) for t in (down, up))
            if layer.weight.dtype == torch.float32:
                layer.weight.addmm_(up, down)
            else:
                layer.register_forward_hook(beside(down.to(layer.weight.dtype), up.to(layer.weight.dtype)))


def beside(down: torch.Tensor, up: torch.Tensor) -> Any:
    """Return a hook that adds the low-rank product to a layer's output."""
    return lambda _layer, inputs, output: output + (inputs[0] @ down.T) @ up.T


def choices(model: str) -> tuple[str, int]:
    """Return the compute dtype and the threads for a model, as training would choose them."""
    machine, folder = hardware(), locate(model)
    if folder is None:
        raise UsageError(f"no such folder: {model}")
    shape = read_shape(folder)
    if shape is None:
        return "float32", machine.threads(1 << 30)
    work = ladder.Work({"lora": {"rank": 1, "dropout": 0.0}, "quantize": None, "max_length": 512})
    return ladder.chosen(shape, work, machine).dtype, machine.threads(shape.parameters)


def serve(base: str, tuned: Path | None, quantize: str | None) -> None:
    """Answer questions from stdin until it ends; nothing but answers goes to the stdout that we were given."""
    out = output()
    speaker = open_speaker(base, tuned, quantize)
    for line in sys.stdin:
        asked = json.loads(line)
        mark = {"question": asked.get("question")}
        try:
            for text in speaker.answer(asked["chats"], max_new_tokens=asked["max_new_tokens"]):
                out.write(json.dumps({**mark, "text": text}) + "\n")
        except AnytuneError as error:
            out.write(json.dumps({**mark, "error": error.message, "fix": error.fix}) + "\n")


def output() -> TextIO:
    """Return the stdout that we were given, for answers alone: what libraries print goes to stderr from now on."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)
    return out


def set_threads(threads: int) -> None:
    """Compute with so many threads."""
    torch.set_num_threads(threads)
