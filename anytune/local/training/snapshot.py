"""What a checkpoint of a run holds, and how a run goes back to it: no pickles, and every bit comes back."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.optim import Optimizer

from anytune.local.runs import Run, read_json
from anytune.local.training import checkpoint
from anytune.local.training.events import EventLog
from anytune.local.training.progress import Progress

Trainable = dict[str, nn.Parameter]


def save(run: Run, trainable: Trainable, optimizer: Optimizer, progress: Progress) -> None:
    """Write a checkpoint: trained weights, optimiser state, counts. No pickles."""
    weights = {name: p.detach().contiguous() for name, p in trainable.items()}
    moments = {}
    for name, parameter in trainable.items():
        for key, value in optimizer.state[parameter].items():
            moments[f"{name}|{key}"] = value.detach().contiguous()
    checkpoint.save(
        run.path / "checkpoints",
        progress.step,
        {
            "weights.safetensors": lambda path: save_file(weights, path),
            "optimizer.safetensors": lambda path: save_file(moments, path),
            "progress.json": checkpoint.json_writer(vars(progress)),
        },
    )


def restore(run: Run, trainable: Trainable, optimizer: Optimizer, *, progress: Progress, events: EventLog) -> None:
    """Go back to the newest whole checkpoint, if there is one; name the damaged ones that were passed over."""

    def damaged(path: Path, fault: str) -> None:
        events.tell(f"checkpoint {path.name} is damaged and passed over: {fault}", level="warning")

    found = checkpoint.newest(run.path / "checkpoints", damaged=damaged)
    if found is None:
        return
    weights = load_file(found.path / "weights.safetensors")
    moments = load_file(found.path / "optimizer.safetensors")
    with torch.no_grad():
        for name, parameter in trainable.items():
            parameter.copy_(weights[name])
    for name, parameter in trainable.items():
        state = {key.rpartition("|")[2]: v for key, v in moments.items() if key.rpartition("|")[0] == name}
        optimizer.state[parameter] = {k: v if k == "step" else v.to(parameter.device) for k, v in state.items()}
    for key, value in (read_json(found.path / "progress.json") or {}).items():
        setattr(progress, key, value)
    events.tell(f"going on from step {found.step}", step=found.step)
