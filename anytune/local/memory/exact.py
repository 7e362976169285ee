"""Measure one training step of a model without its weights: the real classes and loop, under fake tensors.

A fake tensor has a shape and a storage of so many bytes, and nothing in it: the operations of a step run as they
would, in seconds and in a few megabytes, whatever the model's size. The bytes of all storages alive at once, at their
most, are the step's peak. What no tensor holds (libraries, kernels' work space, the allocator's slack) `fit.py` adds.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter
from transformers import AutoConfig, AutoModelForCausalLM, masking_utils

from anytune.errors import UsageError
from anytune.local import int8, loading
from anytune.local.training.adapters import arrange, trainable
from anytune.local.training.batches import MicroBatch
from anytune.local.training.head import HeadFilter

NESTED, BLOCK = 256, 64  # values under one scale of scales, and under one scale, as QLoRA has them


class LiveBytes(TorchDispatchMode):
    """Count the bytes of the storages that are alive, and the most there were."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._seen: dict[int, Any] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for value in tree_iter(out):
            if isinstance(value, Tensor):
                self.count(value)
        return out

    def count(self, tensor: Tensor) -> None:
        """Take in a tensor's storage, once; it is taken out when nothing holds it any more."""
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self._seen:
            return
        size = storage.nbytes()
        self._seen[key] = weakref.ref(storage, lambda _: self._gone(key, size))
        self.now += size
        self.peak = max(self.peak, self.now)

    def _gone(self, key: int, size: int) -> None:
        del self._seen[key]
        self.now -= size


def step_bytes(
    folder: Path, training: Mapping[str, Any], way: Mapping[str, Any], *, rows: int, length: int, supervised: int
) -> dict[str, int]:
    """Return the bytes that stand still through a run and the peak of one step, of so many rows and tokens each.

    `way` has what `machine.json` has: dtype, products, unpack, recompute. `supervised` counts the trained tokens of
    all rows.
    """
    with torch.device("meta"):
        base = empty_base(folder, way)
        counts = counted(base)
        kept = None if way["unpack"] else training["quantize"]
        if kept == "int8":
            int8.emptied(base, loading.DTYPES[way["dtype"]])
        bare = trainable(base, str(folder), training)
    live = LiveBytes()
    with FakeTensorMode(), live, without_packing():
        net = filled(bare, packed=kept == "nf4")
        arrange(net, training, way)
        learnt = [p for p in net.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(learnt, lr=1e-3, fused=True)
        for parameter in learnt:
            parameter.grad = torch.empty_like(parameter)
        optimizer.step()  # the moments, and the gradients of an earlier micro-batch, are there from the second step on
        still = live.now
        live.peak = still
        head = HeadFilter(net)
        net.train()
        batch = fake_batch(rows, length, supervised)
        loss = head.loss(net, batch)
        forward = live.now
        loss.backward()
    return {"still": still, "forward": forward, "peak": live.peak, **counts}


def counted(net: Any) -> dict[str, int]:
    """Count a model's weights, those of its linear layers but the head, and its layers."""
    head = net.get_output_embeddings()
    linear = sum(m.weight.numel() for m in net.modules() if isinstance(m, nn.Linear) and m is not head)
    return {
        "parameters": sum(p.numel() for p in net.parameters()),
        "linear": linear,
        "layers": int(net.config.get_text_config().num_hidden_layers),
    }


@contextmanager
def without_packing() -> Iterator[None]:
    """Tell transformers that no row holds several documents, which it cannot see in fake positions.

    It would make a mask of length times length, and with it take another way through attention.
    """
    known = masking_utils.find_packed_sequence_indices
    masking_utils.find_packed_sequence_indices = lambda *_, **__: None
    try:
        yield
    finally:
        masking_utils.find_packed_sequence_indices = known


def fake_batch(rows: int, length: int, supervised: int) -> MicroBatch:
    """Return a batch of these sizes."""
    ids, places = torch.zeros(rows, length, dtype=torch.long), torch.zeros(supervised, dtype=torch.long)
    return MicroBatch(ids, places, places.clone(), [supervised], rows * length)


def empty_base(folder: Path, way: Mapping[str, Any]) -> Any:
    """Make the model of a configuration, frozen, with nothing in it."""
    try:
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
        net = AutoModelForCausalLM.from_config(config, dtype=loading.DTYPES[way["dtype"]], trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise UsageError(f"{folder} cannot be opened: {loading.first_line(error)}") from error
    return net.requires_grad_(False)


def filled(net: Any, *, packed: bool) -> Any:
    """Give each weight a storage: NF4's in the frozen linear layers but the head if `packed`."""
    head, made = net.get_output_embeddings(), {}
    for name, module in net.named_modules():
        small = packed and isinstance(module, nn.Linear) and module is not head and "lora_" not in name
        for key, old in module._parameters.items():
            if old is None:
                continue
            if id(old) not in made:  # what is tied stays tied
                made[id(old)] = (
                    nf4(old)
                    if small and key == "weight"
                    else nn.Parameter(torch.empty(old.shape, dtype=old.dtype), requires_grad=old.requires_grad)
                )
            module._parameters[key] = made[id(old)]
        for key, old in module._buffers.items():
            module._buffers[key] = None if old is None else torch.empty(old.shape, dtype=old.dtype)
    return net


def nf4(weight: Tensor) -> nn.Parameter:
    """Return the storages that a matrix takes in NF4 with double quantisation."""
    from bitsandbytes.functional import QuantState

    count = weight.numel()
    scales = -(-count // BLOCK)
    inner = QuantState(
        absmax=torch.empty(-(-scales // NESTED)), blocksize=NESTED, code=torch.empty(256), dtype=torch.float32
    )
    packed = nn.Parameter(torch.empty(-(-count // 2), 1, dtype=torch.uint8), requires_grad=False)
    packed.quant_state = QuantState(
        absmax=torch.empty(scales, dtype=torch.uint8),
        shape=weight.shape,
        dtype=weight.dtype,
        blocksize=BLOCK,
        code=torch.empty(16),
        quant_type="nf4",
        offset=torch.empty(()),
        state2=inner,
    )
    return packed
