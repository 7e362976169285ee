"""The training recipe, from a request to a tuned model, to be read from top to bottom.

QLoRA (Dettmers et al. 2023, arXiv:2305.14314) on the assistant's tokens, and LoRA or full fine-tuning by the same
loop; whether it is answers that are learnt or preferences between them, the objective says. What makes it quick: no
filler tokens to speak of and no attention mask; what sequences begin with alike is computed once; the output head is
applied only where a token is supervised, to a chunk at a time; NF4 is unpacked once where memory allows; one autograd
node a LoRA layer; nothing is computed twice unless memory demands it.
What makes it safe to stop: a step depends on nothing but the weights, the optimiser's state and (seed, step), so a run
that goes on from a checkpoint ends with the same bits.
"""

from __future__ import annotations

import math
import resource
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import torch
from torch import nn

from anytune.errors import UsageError
from anytune.local import loading
from anytune.local.artifact import Origin, write_model
from anytune.local.base_model import fingerprint
from anytune.local.encode import ChatEncoder, Encoder, Item
from anytune.local.machine import hardware
from anytune.local.memory import estimate, ladder, shortage
from anytune.local.records import encode_file
from anytune.local.runs import Run, read_json, write_json
from anytune.local.training import attention
from anytune.local.training.adapters import prepare
from anytune.local.training.batches import steps_of_epoch, total_steps
from anytune.local.training.dpo import Dpo, Simpo
from anytune.local.training.events import EventLog
from anytune.local.training.grpo import Grpo
from anytune.local.training.head import HeadFilter
from anytune.local.training.objective import Objective, Sft, Stage, Stopped, Tally
from anytune.local.training.progress import Clock, Progress
from anytune.local.training.reward import Rewards
from anytune.local.training.snapshot import restore, save
from anytune.local.training.team import Team


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


def train(
    run: Run, files: Path, events: EventLog, stop: Callable[[], bool], gather: Callable[[], Team] = Team
) -> dict[str, Any]:
    """Train as `request.json` says and return the figures of the result; raise `Stopped` when told to stop.

    `gather` brings together the processes that train, once it is decided how the machine is used.
    """
    request = run.request()
    settings, model = request["training"], request["model"]
    objective = objective_of(request)
    events.tell("reading the base model", model=model)
    machine = machine_choices(run, request, rows=objective.rows)
    team = gather()
    torch.set_num_threads(max(1, machine["threads"] // team.size))
    torch.manual_seed(settings["seed"])

    tokenizer = loading.open_tokenizer(model)
    with shortage.opening():
        net = loading.open_base(model, quantize=settings["quantize"], dtype=machine["dtype"], unpack=machine["unpack"])
    today = date.fromisoformat(machine["today"]) if "today" in machine else None
    encoder = ChatEncoder(tokenizer, stop_ids=loading.stop_tokens(net, tokenizer), today=today)
    reader = objective.encoder(encoder)
    sets = {"training": read_file(request, "training", files, reader, objective, events)}
    if request["validation_file"]:
        sets["validation"] = read_file(request, "validation", files, reader, objective, events)
    if team.agreed(stop()):
        raise Stopped

    with shortage.opening():
        with team.leader_first():
            trees = attention.chosen(run, net, longest=settings["max_length"], events=events)
        net = prepare(net, model, settings, machine, start=request.get("from_checkpoint"))
    learnt = {name: p for name, p in net.named_parameters() if p.requires_grad}
    optimizer = torch.optim.AdamW(
        learnt.values(), lr=settings["learning_rate"], weight_decay=settings["weight_decay"], fused=True
    )
    stage = Stage(
        run, net, HeadFilter(net), events, stop, machine["micro_tokens"], settings["micro_batch_size"], trees, team
    )
    team.same(learnt.values())
    with team.leader_first(), shortage.passes(lambda: stage.head.last):
        sets = {role: objective.before(stage, examples, role=role) for role, examples in sets.items()}
    train_set, validation = sets["training"], sets.get("validation", [])
    recipe = Recipe(stage, objective, learnt, optimizer, settings, machine, train_set, validation)
    restore(run, learnt, optimizer, progress=recipe.progress, events=events)
    with shortage.passes(lambda: stage.head.last):
        loop(run, recipe, events, stop, every=request.get("checkpoint_seconds", 15))

    origin = Origin(
        base=model,
        base_fingerprint=fingerprint(model),
        adapter=settings["lora"] is not None,
        quantize=settings["quantize"],
        dtype=machine["dtype"],
        stop_ids=sorted(encoder.stop_ids),
        job_id=run.id,
        suffix=request.get("suffix"),
        from_checkpoint=request.get("from_checkpoint"),
    )
    digest = write_model(run.path / "model", net, tokenizer, origin) if team.rank == 0 else None
    done = recipe.progress
    return {
        "model_path": str(run.path / "model"),
        "adapter_sha256": digest,
        "trained_tokens": done.tokens,
        "computed_tokens": done.computed,
        "supervised_tokens": done.supervised,
        "steps": done.step,
        "train_loss": done.train_loss,
        "valid_loss": done.valid_loss,
        **done.valid_figures,
        "seconds": done.seconds,
        "cpu_seconds": done.cpu_seconds,
        "tokens_per_second": done.tokens / max(done.seconds, 1e-9),
        "trainable_parameters": sum(p.numel() for p in learnt.values()),
        "processes": team.size,
        **machine,
    }


def objective_of(request: Mapping[str, Any]) -> Objective:
    """Return what a run is to learn."""
    settings, method = request["training"], request.get("method")
    if method == "rft":
        rewards = Rewards(request["rewards"])
        return Grpo(rewards, beta=settings["beta"], group_size=settings["group_size"], room=settings["max_new_tokens"])
    if method == "dpo" and "simpo_gamma" in settings:
        return Simpo(beta=settings["beta"], gamma=settings["simpo_gamma"])
    return Dpo(beta=settings["beta"]) if method == "dpo" else Sft()


def machine_choices(run: Run, request: dict[str, Any], *, rows: int) -> dict[str, Any]:
    """Decide how the run uses this machine, once: a run that goes on must add up the same numbers the same way.

    An example has so many `rows`, which are computed together.
    """
    known = read_json(run.path / "machine.json")
    if known is not None:
        return known
    training, machine = request["training"], hardware()
    shape, work = estimate.shape_of(request["model"]), ladder.Work(training, rows)
    if shape is None:  # a configuration that says too little
        choices = {**asdict(ladder.blind(work, machine)), "threads": 1}
    else:
        choices = {**asdict(ladder.chosen(shape, work, machine)), "threads": machine.threads(shape.parameters)}
    choices["today"] = date.today().isoformat()  # templates may write it into every chat
    write_json(run.path / "machine.json", choices)
    return choices


def read_file(
    request: dict[str, Any], role: str, files: Path, encoder: Encoder[Item], objective: Objective, events: EventLog
) -> list[Item]:
    """Encode one file and say aloud what was cut off."""
    longest = request["training"]["max_length"]
    path = files / request[f"{role}_file"].removeprefix("file-")
    if not path.is_file():
        raise UsageError(f"the {role} file is no longer under {files}", fix="submit the job again")
    got = encode_file(path, encoder, name=role, max_length=longest)
    figures: dict[str, Any] = {
        "examples": len(got.examples),
        "tokens": sum(len(row) for e in got.examples for row in e.rows),
        "supervised_tokens": sum(e.supervised for e in got.examples),
        "truncated": got.truncated,
        "answer_share_lost": got.answer_tokens_lost / max(1, got.answer_tokens),
        "dropped": len(got.dropped),
        "dropped_lines": got.dropped[:20],
    }
    events.tell(f"{role} file: {figures['examples']} {objective.kind}, {figures['tokens']} tokens", **figures)
    said = []
    if got.truncated:
        said.append(f"{got.truncated} {objective.kind} are longer than max_length {longest}")
        said.append(f"{figures['answer_share_lost']:.1%} of the answer tokens are cut off")
    if got.dropped:
        said.append(f"{len(got.dropped)} {objective.kind} {objective.lost}")
    if said:
        events.tell(f"{role} file: {'; '.join(said)}", level="warning", **figures)
    return got.examples


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
        (outcome.loss / share).backward()
        tally.add(outcome)
        tokens += batch.tokens
        computed += batch.ids.numel()
    team.add_gradients(recipe.trainable.values())
    told = team.all((tally, tokens, computed))
    tally = Tally.of(each for each, _, _ in told)
    done.tokens += sum(tokens for _, tokens, _ in told)
    done.computed += sum(computed for _, _, computed in told)
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
