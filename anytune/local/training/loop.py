"""The optimiser's steps, whatever is learnt in them: each hangs on the weights, its state and (seed, step) alone."""

from __future__ import annotations

import math
import resource
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from anytune.errors import UsageError
from anytune.local.encode import Item
from anytune.local.runs import Run
from anytune.local.training.batches import steps_of_epoch, total_steps
from anytune.local.training.events import EventLog
from anytune.local.training.objective import Objective, Stage, Tally
from anytune.local.training.progress import Clock, Progress
from anytune.local.training.snapshot import save
from anytune.local.training.team import Stopped


@dataclass(frozen=True)
class Recipe:
    """Hold what stays the same through a run."""

    stage: Stage
    objective: Objective
    trainable: dict[str, nn.Parameter]
    optimizer: torch.optim.Optimizer
    settings: dict[str, Any]
    machine: dict[str, Any]
    train: list[Item]
    validation: list[Item]
    progress: Progress = field(default_factory=Progress)


def loop(run: Run, recipe: Recipe, events: EventLog, stop: Callable[[], bool], *, every: float) -> None:
    """Take all optimiser steps that are left, with validation after each epoch."""
    settings, done, lengths = recipe.settings, recipe.progress, [len(e) for e in recipe.train]
    epochs, batch_size, seed = settings["epochs"], settings["batch_size"], settings["seed"]
    per_epoch = total_steps(len(lengths), batch_size=batch_size, epochs=1)
    last = per_epoch * epochs
    clock = Clock(done)
    saved, cost = time.monotonic(), 0.0
    events.tell(
        f"training from step {done.step} of {last}",
        step=done.step,
        total_steps=last,
        trainable_parameters=sum(p.numel() for p in recipe.trainable.values()),
        processes=recipe.stage.team.size,
        **recipe.machine,
    )
    recipe.stage.net.train()
    while done.step < last:
        epoch = done.step // per_epoch
        steps = steps_of_epoch(lengths, batch_size=batch_size, seed=seed, epoch=epoch)
        for examples in steps[done.step % per_epoch :]:
            rate = settings["learning_rate"] * rate_factor(settings, done.step, last)
            told = step(recipe, [recipe.train[i] for i in examples], rate)
            clock.stop()
            ends = done.step % per_epoch == 0
            if ends:
                done.train_loss = done.epoch_loss / done.epoch_tokens
                done.epoch_loss, done.epoch_tokens = 0.0, 0
                if recipe.validation:
                    done.valid_loss, done.valid_figures = validate(recipe)
                    told |= {"valid_loss": done.valid_loss, **done.valid_figures}
            if ends or done.step == 1 or events.due():
                events.tell(
                    f"step {done.step} of {last}: {words(told)}",
                    step=done.step,
                    total_steps=last,
                    epoch=round(done.step / per_epoch, 4),
                    learning_rate=rate,
                    tokens_per_second=clock.rate(),
                    eta_seconds=clock.left(last),
                    peak_memory_bytes=peak_memory(),
                    **{"valid_loss": None, **told},
                )
            stopping = recipe.stage.team.agreed(stop())
            now = time.monotonic()
            # Saving may take a twentieth of the time at most, however large the model; 0 means at every step.
            due = stopping or done.step == last or now - saved >= (every and max(every, 20 * cost))
            if due and recipe.stage.team.rank == 0:
                save(run, recipe.trainable, recipe.optimizer, recipe.progress)
                saved = time.monotonic()
                cost = saved - now
            clock.start()
            if stopping and done.step < last:
                raise Stopped


def peak_memory() -> int:
    """Return the most memory that this worker has had: the GPU's, or the process's where there is none."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def step(recipe: Recipe, examples: list[Item], rate: float) -> dict[str, Any]:
    """Take one optimiser step, whose loss is a mean over its tokens or pairs; return it, the norm and other figures."""
    settings, done, team = recipe.settings, recipe.progress, recipe.stage.team
    seed = (
        settings["seed"] * 1_000_003 + done.step
    )  # dropout and chance hang on (seed, step) alone, and on who computes
    torch.manual_seed(seed + team.rank * 1_000_000_007)
    learnt, acted = recipe.objective.act(recipe.stage, examples)
    share = recipe.objective.share(learnt)
    tally, tokens, computed = Tally(), 0, 0
    for batch in recipe.stage.own(learnt):
        outcome = recipe.objective.outcome(recipe.stage, batch)
        if batch.idle:
            (outcome.loss * 0).backward()
            continue
        (outcome.loss / share).backward()
        tally.add(outcome)
        tokens += batch.tokens
        computed += batch.ids.numel()
    team.add_gradients(recipe.trainable.values())
    told = team.all([tally.loss, tally.figures, tokens, computed])
    tally = Tally.of(Tally(loss, figures) for loss, figures, _, _ in told)
    done.tokens += sum(tokens for _, _, tokens, _ in told)
    done.computed += sum(computed for *_, computed in told)
    norm = nn.utils.clip_grad_norm_(recipe.trainable.values(), settings["max_grad_norm"]).item()
    if not math.isfinite(norm):
        raise UsageError(f"the gradient is not finite at step {done.step + 1}", fix="set training.learning_rate lower")
    for group in recipe.optimizer.param_groups:
        group["lr"] = rate
    recipe.optimizer.step()
    recipe.optimizer.zero_grad()
    done.step += 1
    done.supervised += sum(e.supervised for e in learnt)
    done.epoch_loss += tally.loss
    done.epoch_tokens += share
    return {"loss": tally.loss / share, "gradient_norm": norm, **tally.means(share), **acted}


def words(told: Mapping[str, Any]) -> str:
    """Say the figures of a step that people look at."""
    said = f"loss {told['loss']:.4f}"
    if "margin" in told:
        said += f", margin {told['margin']:.3f}, accuracy {told['accuracy']:.0%}"
    if "reward" in told:
        said += f", reward {told['reward']:.3f}, {told['answer_tokens']:.0f} tokens, kl {told['kl']:.4f}"
    if told.get("valid_loss") is not None:
        said += f", validation loss {told['valid_loss']:.4f}"
    return said + (f", validation reward {told['valid_reward']:.3f}" if "valid_reward" in told else "")


def rate_factor(settings: dict[str, Any], step: int, last: int) -> float:
    """Return the share of the learning rate for the step that follows `step` done ones."""
    warm = math.ceil(settings["warmup_ratio"] * last)
    if step < warm:
        return (step + 1) / warm
    left = (last - step) / max(1, last - warm)  # from 1 down to just above 0
    if settings["scheduler"] == "linear":
        return left
    return 1.0 if settings["scheduler"] == "constant" else 0.5 * (1 - math.cos(math.pi * left))


@torch.no_grad()
def validate(recipe: Recipe) -> tuple[float | None, dict[str, Any]]:
    """Return the mean loss over the validation file, and the other figures by the names of results."""
    recipe.stage.net.eval()
    loss, figures = recipe.objective.validate(recipe.stage, recipe.validation)
    recipe.stage.net.train()
    return loss, {f"valid_{name}": value for name, value in figures.items()}
