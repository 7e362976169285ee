"""What a checkpoint of a run holds, and how a run goes back to it: no pickles, and every bit comes back."""

from __future__ import annotations

from pathlib import Path
from socket import gethostname

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.optim import Optimizer

from anytune.errors import UsageError
from anytune.local.runs import Run, read_json
from anytune.local.training import checkpoint
from anytune.local.training.events import EventLog
from anytune.local.training.progress import Progress
from anytune.local.training.team import ONE_HOME, Team

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


def restore(
    run: Run, trainable: Trainable, optimizer: Optimizer, *, progress: Progress, events: EventLog, team: Team
) -> None:
    """Go back to the newest whole checkpoint, if there is one; name the damaged ones that were passed over.

    All processes of a team go back to the one that the leader finds; raises `UsageError` where one does not see it.
    """

    def damaged(path: Path, fault: str) -> None:
        events.tell(f"checkpoint {path.name} is damaged and passed over: {fault}", level="warning")

    def newest() -> tuple[str, int, str] | None:
        found = checkpoint.newest(run.path / "checkpoints", damaged=damaged)
        if found is None:
            return None
        return found.path.name, found.step, checkpoint.sha256(found.path / checkpoint.MANIFEST)

    told = team.told(newest)
    if told is None:
        return
    name, step, digest = told
    path = run.path / "checkpoints" / name
    if team.rank != 0 and not checkpoint.appears(path, digest):
        raise UsageError(f"{gethostname()} does not see {path} as the machine that leads does", fix=ONE_HOME)
    weights = load_file(path / "weights.safetensors")
    moments = load_file(path / "optimizer.safetensors")
    with torch.no_grad():
        for name, parameter in trainable.items():
            parameter.copy_(weights[name])
    for name, parameter in trainable.items():
        state = {key.rpartition("|")[2]: v for key, v in moments.items() if key.rpartition("|")[0] == name}
        optimizer.state[parameter] = {k: v if k == "step" else v.to(parameter.device) for k, v in state.items()}
    for key, value in (read_json(path / "progress.json") or {}).items():
        setattr(progress, key, value)
    events.tell(f"going on from step {step}", step=step)
