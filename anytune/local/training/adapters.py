"""Which weights are trained: adapters on a frozen base, anew or from an earlier one, or all of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_file

from anytune.errors import UsageError
from anytune.local import loading
from anytune.local.training.checkpoint import sha256
from anytune.local.training.lora import fuse

if TYPE_CHECKING:
    from anytune.local.training.shards import Shards


def prepare(
    net: Any,
    model: str,
    settings: Mapping[str, Any],
    machine: Mapping[str, Any],
    *,
    start: Mapping[str, Any] | None = None,
    says: loading.Says = "words",
    shards: Shards | None = None,
) -> Any:
    """Make the right weights trainable, and the model compute as this machine does it best."""
    net = trainable(net, model, settings, says=says)
    if start is not None:
        go_on_from(net, start)
    arrange(net, settings, machine, shards)
    return net


def trainable(net: Any, model: str, settings: Mapping[str, Any], *, says: loading.Says = "words") -> Any:
    """Make adapters on a frozen base (and its score layer) trainable, in float32 at least, or all weights."""
    lora = settings["lora"]
    if lora is None:
        return net.requires_grad_(True)
    from peft import LoraConfig, get_peft_model

    modules = lora["target_modules"]
    config = LoraConfig(
        r=lora["rank"],
        lora_alpha=lora["alpha"],
        lora_dropout=lora["dropout"],
        target_modules=modules if isinstance(modules, str) else list(modules),
        use_rslora=lora.get("use_rslora", False),
        bias="none",
        task_type="CAUSAL_LM" if says == "words" else "SEQ_CLS",
        modules_to_save=None if says == "words" else ["score"],
        base_model_name_or_path=model,
    )
    try:
        net = get_peft_model(net, config)
    except ValueError as error:
        raise UsageError(loading.first_line(error), fix="mend training.lora.target_modules") from error
    for parameter in net.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.to(torch.promote_types(parameter.dtype, torch.float32))
    return net


def arrange(net: Any, settings: Mapping[str, Any], machine: Mapping[str, Any], shards: Shards | None = None) -> None:
    """Compute layers twice where memory demands it, and each LoRA layer as one node."""
    if machine["recompute"]:
        net.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    if settings["lora"] is not None and not settings["lora"]["dropout"]:
        # Dropout sits inside PEFT's own forward, which then stays.
        fuse(net, products=getattr(torch, machine["products"]), shards=shards)
    if shards is not None:
        shards.cover(net)


def go_on_from(net: Any, start: Mapping[str, Any]) -> None:
    """Give the adapters the weights of an earlier one; raise `UsageError` where it has changed or does not fit."""
    from peft import set_peft_model_state_dict

    file = Path(start["folder"]) / "adapter_model.safetensors"
    if not file.is_file() or sha256(file) != start["sha256"]:
        raise UsageError(
            f"the adapter that this job goes on from is gone or has changed: {file}", fix="put it back, then resume"
        )
    weights = load_file(file)
    own = {name.replace(".default.", ".") for name, p in net.named_parameters() if p.requires_grad}
    if apart := sorted(own ^ weights.keys()):
        whose = "the model has no such layer" if apart[0] in weights else "the adapter has nothing for it"
        raise UsageError(f"{start['named']} does not fit the model: {apart[0]}: {whose}", fix="name its own base model")
    try:
        set_peft_model_state_dict(net, weights)
    except RuntimeError as error:
        said = next((line.strip() for line in str(error).splitlines() if "size mismatch" in line), str(error))
        raise UsageError(f"{start['named']} does not fit the model: {said}", fix="name its own base model") from error
