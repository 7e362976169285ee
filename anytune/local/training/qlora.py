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

import os
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Any

import torch

from anytune.errors import UsageError
from anytune.local import loading, spread
from anytune.local.artifact import Origin, write_model
from anytune.local.base_model import fingerprint
from anytune.local.encode import ChatEncoder, Encoder, Item
from anytune.local.machine import hardware
from anytune.local.memory import estimate, ladder, shortage
from anytune.local.records import EncodedFile, Limit, encode_file, tokens
from anytune.local.runs import Run, read_json, write_json
from anytune.local.training import attention
from anytune.local.training.adapters import prepare
from anytune.local.training.events import EventLog
from anytune.local.training.loop import Recipe, loop
from anytune.local.training.method import objective_of
from anytune.local.training.objective import Objective, Stage
from anytune.local.training.shards import Shards
from anytune.local.training.snapshot import restore
from anytune.local.training.team import Gather, Stopped, alone


def train(run: Run, files: Path, events: EventLog, stop: Callable[[], bool], gather: Gather = alone) -> dict[str, Any]:
    """Train as `request.json` says and return the figures of the result; raise `Stopped` when told to stop.

    `gather` brings together the processes that train; the one that leads decides before how the machine is used.
    """
    request = run.request()
    settings, model = request["training"], request["model"]
    objective = objective_of(request)
    events.tell("reading the base model", model=model)
    team, machine = gather(lambda size: machine_choices(run, request, rows=objective.rows, size=size))
    shards = Shards(rank=team.rank, size=team.size) if machine["shards"] > 1 and team.size > 1 else None
    team.in_step = shards is not None
    torch.set_num_threads(max(1, machine["threads"] // team.beside))
    torch.manual_seed(settings["seed"])

    tokenizer = loading.open_tokenizer(model)
    with shortage.opening(), shards.opening() if shards is not None else nullcontext():
        net = loading.open_base(
            model,
            quantize=settings["quantize"],
            dtype=machine["dtype"],
            unpack=machine["unpack"],
            says=objective.opens,
        )
    base = fingerprint(model)
    team.require_same(base, "base model")
    today = date.fromisoformat(machine["today"]) if "today" in machine else None
    encoder = ChatEncoder(tokenizer, stop_ids=loading.stop_tokens(net, tokenizer), today=today)
    reader = objective.encoder(encoder)
    sets = {"training": read_file(request, "training", files, reader, objective, events)}
    if request["validation_file"]:
        sets["validation"] = read_file(request, "validation", files, reader, objective, events)
    if team.agreed(stop()):
        raise Stopped

    start = request.get("from_checkpoint")
    with shortage.opening():
        net = prepare(net, model, settings, machine, start=start, says=objective.opens, shards=shards)
        trees = objective.shares_beginnings and attention.chosen(
            run, net, longest=settings["max_length"], events=events, team=team
        )
    learnt = {name: p for name, p in net.named_parameters() if p.requires_grad}
    optimizer = torch.optim.AdamW(
        learnt.values(), lr=settings["learning_rate"], weight_decay=settings["weight_decay"], fused=True
    )
    stage = Stage(
        run, net, objective.head(net), events, stop, machine["micro_tokens"], settings["micro_batch_size"], trees, team
    )
    team.same(learnt.values())
    with shortage.passes(lambda: stage.head.last):
        sets = {role: objective.before(stage, examples, role=role) for role, examples in sets.items()}
    train_set, validation = sets["training"], sets.get("validation", [])
    recipe = Recipe(stage, objective, learnt, optimizer, settings, machine, train_set, validation)
    restore(run, learnt, optimizer, progress=recipe.progress, events=events, team=team)
    with shortage.passes(lambda: stage.head.last):
        loop(run, recipe, events, stop, every=request.get("checkpoint_seconds", 15))

    origin = Origin(
        base=model,
        base_fingerprint=base,
        adapter=settings["lora"] is not None,
        quantize=settings["quantize"],
        dtype=machine["dtype"],
        stop_ids=sorted(encoder.stop_ids),
        job_id=run.id,
        suffix=request.get("suffix"),
        from_checkpoint=start,
        says=objective.opens,
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


def machine_choices(run: Run, request: dict[str, Any], *, rows: int, size: int) -> dict[str, Any]:
    """Decide how the run uses this machine, once: a run that goes on must add up the same numbers the same way.

    An example has so many `rows`, which are computed together; so many processes train, all of them.
    """
    known = read_json(run.path / "machine.json")
    if known is not None:
        return {"shards": 1, **known}
    training, machine = request["training"], hardware(min(size, spread.wanted(os.environ)))
    shape = estimate.shape_of(request["model"])
    work = ladder.Work(training, rows, spread.shards(os.environ, training, size=size))
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
    """Encode one file and say aloud what of it is not learnt."""
    over = request["training"].get("over_length", "truncate_right")  # a run made before there was a choice
    limit = Limit(request["training"]["max_length"], over)
    path = files / request[f"{role}_file"].removeprefix("file-")
    if not path.is_file():
        raise UsageError(f"the {role} file is no longer under {files}", fix="submit the job again")
    got = encode_file(path, encoder, name=role, limit=limit)
    figures: dict[str, Any] = {
        "examples": len(got.examples),
        "tokens": sum(map(tokens, got.examples)),
        "supervised_tokens": sum(e.supervised for e in got.examples),
        "over_length": len(got.over),
        "truncated": got.cut,
        "tokens_cut": got.tokens_cut,
        "dropped": len(got.left_out) + len(got.idle),
        "dropped_lines": sorted([*got.left_out, *got.idle])[:20],
        "tokens_dropped": got.tokens_left_out,
        "answer_share_lost": got.answer_tokens_lost / max(1, got.answer_tokens),
    }
    events.tell(f"{role} file: {figures['examples']} {objective.kind}, {figures['tokens']} tokens", **figures)
    if said := "; ".join(lost(got, limit, objective)):
        events.tell(f"{role} file: {said}", level="warning", **figures)
    return got.examples


def lost(got: EncodedFile[Item], limit: Limit, objective: Objective) -> Iterator[str]:
    """Say what of a file is not learnt."""
    if got.over:
        yield f"{len(got.over):,} {objective.kind} are longer than max_length {limit.tokens:,}"
    if got.cut:
        side = "end" if limit.over == "truncate_right" else "beginning"
        yield f"{got.cut:,} lose their {side}, {got.tokens_cut:,} tokens"
    if got.left_out:
        yield f"{len(got.left_out):,} are left out, with {got.tokens_left_out:,} tokens"
    if got.over:
        yield f"{got.answer_tokens_lost / max(1, got.answer_tokens):.1%} of the answer tokens are lost"
    if got.idle:
        yield f"{len(got.idle):,} {objective.kind} {objective.lost}"
