"""Open a base model: quantise it as QLoRA does, keep it so or unpack it once, and guard it against bitsandbytes."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import nn
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BitsAndBytesConfig,
)

from anytune.errors import UsageError
from anytune.local import int8

Says = Literal["words", "score"]  # what a model makes of a chat
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def device() -> torch.device:
    """Return the device to train on."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def open_tokenizer(model: str) -> Any:
    """Open the model's tokenizer without running any code of the model's."""
    try:
        return AutoTokenizer.from_pretrained(model, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise UsageError(f"the tokenizer of {model} cannot be opened: {first_line(error)}") from error


def open_base(model: str, *, quantize: str | None, dtype: str, unpack: bool = True, says: Says = "words") -> Any:
    """Open the base with weights as training sees them, frozen.

    With `quantize="nf4"` every linear layer but the head holds NF4 values with double quantisation (Dettmers et al.
    2023, arXiv:2305.14314), with `"int8"` whole numbers with a scale for each row (`int8.py`). `unpack` writes those
    very values out as ordinary weights, once: the numbers stay the same, the cost of unpacking at each use is gone. One
    that `says` a score has one number for a chat in place of its head.
    It attends by torch's own kernels, where transformers' class of it can; else (Gemma 2, gpt-oss) by whole matrices.
    """
    compute = DTYPES[dtype]
    config = quantisation(quantize, compute)
    kind = AutoModelForCausalLM if says == "words" else AutoModelForSequenceClassification
    try:
        net = kind.from_pretrained(
            model,
            **({"num_labels": 1} if says == "score" else {}),
            dtype=compute,
            quantization_config=config,
            trust_remote_code=False,
            use_safetensors=True,
            device_map={"": device()} if config is not None else None,
        )
    except (OSError, ValueError) as error:
        raise UsageError(f"{model} cannot be opened: {first_line(error)}") from error
    if quantize == "nf4":
        guard_cpu_repack(net)
        if unpack:
            unpack_nf4(net)
    elif quantize == "int8":
        int8.convert(net, unpack=unpack, dtype=compute)
        forget_quantisation(net)
    return net.to(device()).requires_grad_(False) if config is None or unpack else net.requires_grad_(False)


def quantisation(kind: str | None, compute: torch.dtype) -> BitsAndBytesConfig | None:
    """Return how bitsandbytes is to pack the weights while it opens them."""
    if kind == "int8":
        return BitsAndBytesConfig(load_in_8bit=True)
    if kind is None:
        return None
    return BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=compute
    )


def guard_cpu_repack(net: nn.Module) -> int:
    """Forbid bitsandbytes to repack 4-bit weights for inference, and return how many layers were guarded.

    On CPUs with AVX512-BF16, bitsandbytes 0.50.2 repacks `Linear4bit.weight` in place at the first forward in eval
    mode and never undoes it. Training then goes on without gradients through the layer, and a merge reads noise.
    See docs/upstream/bitsandbytes-cpu-repack.md, and bitsandbytes issue #2078 for the kin in `Params4bit.to()`.
    """
    layers = linear_4bit(net)
    for _, layer in layers:
        layer.support_avx512bf16_for_cpu = False
    return len(layers)


def linear_4bit(net: nn.Module) -> list[tuple[str, Any]]:
    """List the 4-bit layers by name."""
    from bitsandbytes.nn import Linear4bit

    return [(name, layer) for name, layer in net.named_modules() if isinstance(layer, Linear4bit)]


def unpack_nf4(net: Any) -> None:
    """Replace each 4-bit layer by an ordinary one that holds the same values."""
    for name, layer in linear_4bit(net):
        size = layer.in_features, layer.out_features
        int8.put(net, name, int8.dense(size, unpacked(layer), layer.bias))
    forget_quantisation(net)


def forget_quantisation(net: Any) -> None:
    """Have an ordinary model, or one of our own layers, not be taken for bitsandbytes' when it is adapted or saved."""
    for attribute in ("hf_quantizer", "quantization_method"):
        if hasattr(net, attribute):
            delattr(net, attribute)
    net.is_quantized = net.is_loaded_in_4bit = net.is_loaded_in_8bit = False
    if hasattr(net.config, "quantization_config"):
        del net.config.quantization_config


def unpacked(layer: Any) -> torch.Tensor:
    """Return the values of a 4-bit layer as a matrix of shape (out, in)."""
    from bitsandbytes.functional import dequantize_4bit

    return dequantize_4bit(layer.weight.data, layer.weight.quant_state).detach()


def stop_tokens(net: Any, tokenizer: Any) -> frozenset[int]:
    """Return all tokens that end an answer."""
    found: set[int] = set()
    how = getattr(net, "generation_config", None)  # a model that says no words has none
    said = how.eos_token_id if how is not None else None
    for ids in (tokenizer.eos_token_id, net.config.eos_token_id, said):
        found.update([ids] if isinstance(ids, int) else ids or [])
    return frozenset(found)


def first_line(error: BaseException) -> str:
    """Return the first line of an error's text."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
