"""What a run needs of a machine, this one or one that is named: memory, whether it fits, time and energy."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from anytune.local.base_model import locate, text_config
from anytune.local.machine import Hardware
from anytune.local.memory import fit, ladder, pace
from anytune.local.memory.fit import Need, Pass, Way
from anytune.local.memory.ladder import Work
from anytune.local.memory.layers import calibrated
from anytune.local.memory.shape import Shape, read_shape, strange
from anytune.schema.data import DataReport, FileReport, Tokens
from anytune.schema.plan import Instead, ResourceEstimate
from anytune.schema.training import Method

WHOLE_MATRICES = {"gemma2", "gpt_oss"}  # families whose classes in transformers know no kernel that spares them
EXACT = "anytune plan --exact measures one step of the real model class, without its weights"
Fits = Literal["yes", "tight", "no"]


@dataclass(frozen=True)
class Job:
    """Be what is to be trained on what: a model, the settings with all defaults, and the data."""

    model: str
    work: Work
    method: Method
    report: FileReport
    tokens: Tokens

    @property
    def amount(self) -> pace.Amount:
        """Return how much is trained."""
        examples = max(1, self.report.examples)
        mean = max(1.0, pace.computed(self.tokens, self.method, self.work.training, examples=examples) / examples)
        rows = self.work.training["group_size"] if self.method == "rft" else self.work.rows
        return pace.Amount(examples, rows, mean, min(self.work.training["batch_size"], examples))

    def largest(self, way: Way) -> Pass:
        """Return the largest pass that these data make: the longest chats of a batch come together."""
        amount, training = self.amount, self.work.training
        read = self.tokens.longest + training.get("max_new_tokens", 0)
        longest = self.work.rows * min(max(read, amount.mean / amount.rows), training["max_length"])
        rows = amount.batch * (amount.rows if self.method == "rft" else 1)
        together = min(rows, training["micro_batch_size"] or rows)
        tokens = max(longest, min(way.micro_tokens, together * longest))
        return Pass(math.ceil(tokens), math.ceil(tokens * self.answered))

    @property
    def answered(self) -> float:
        """Return the share of tokens that are supervised, half where that was not counted."""
        if self.method == "reward":
            return 0.0  # nothing is said, and the head that would say it is not there
        if self.method == "rft" or not self.tokens.trained or self.tokens.masked is None:
            return 0.5
        return self.tokens.trained / pace.computed(self.tokens, self.method, self.work.training, examples=0)


def job_of(
    model: str, training: Mapping[str, Any], data: DataReport, *, method: Method, shards: tuple[int, ...] = (1,)
) -> Job | None:
    """Put together what is trained, None where the data have no tokens."""
    report = data.role("train")
    if report is None or report.tokens is None:
        return None
    return Job(
        model, Work(training, ladder.ROWS.get(method, 1), shards), method, *learnt(report, report.tokens, training)
    )


def learnt(report: FileReport, tokens: Tokens, training: Mapping[str, Any]) -> tuple[FileReport, Tokens]:
    """Return a file and its tokens without what is over the limit."""
    if not tokens.over_limit or tokens.limit is None or not tokens.over_limit_tokens:
        return report, tokens
    drops = training["over_length"] == "drop"
    lost = tokens.over_limit_tokens - (0 if drops else tokens.over_limit * tokens.limit)
    share = max(0.0, 1 - lost / max(tokens.expected, 1))
    scaled = {
        name: round(value * share)
        for name in ("low", "expected", "high", "trained", "masked")
        if (value := getattr(tokens, name)) is not None
    }
    examples = report.examples - (tokens.over_limit if drops else 0)
    kept = {"longest": min(tokens.longest, tokens.limit)}
    return report.model_copy(update={"examples": examples}), tokens.model_copy(update=scaled | kept)


def shape_of(model: str) -> Shape | None:
    """Read a model's sizes, None where its configuration is not at hand or says other things."""
    folder = locate(model)
    return read_shape(folder) if folder else None


def doubt(model: str) -> str | None:
    """Say why memory and time of a model cannot be told, or are a guess; None where they are known."""
    folder = locate(model)
    if folder is None:
        return "memory and time cannot be told before the model's config.json is on this machine"
    shape = read_shape(folder)
    if shape is None:
        what = strange(text_config(folder))
        why = f"it has {what}" if what else "its config.json names other sizes than a decoder's"
        return f"memory and time cannot be told from sizes alone: {why}; {EXACT}"
    if calibrated(shape):
        return None
    what = (
        f"a mixture of {shape.experts} experts (NF4 leaves them as they are)"
        if shape.experts > 1
        else f"a model of the kind {shape.family}"
    )
    square = "; attention by whole matrices, which grow with the square of the length, is not in it"
    more = square if shape.family in WHOLE_MATRICES else ""
    return f"memory and time are a guess for {what}, as if its layers were Llama's{more}; {EXACT}"


def estimate(job: Job, machine: Hardware) -> ResourceEstimate | None:
    """Estimate a run on a machine by arithmetic alone, None where the model's sizes are not known."""
    shape = shape_of(job.model)
    if shape is None:
        return None
    way = ladder.chosen(shape, job.work, machine)
    bounds = fit.BOUNDS["known" if calibrated(shape) else "guess"]
    need = fit.need(shape, job.work.training, way, job.largest(way))
    return told(job, shape, machine, way, need, bounds)


def told(
    job: Job, shape: Shape, machine: Hardware, way: Way, need: Need, bounds: tuple[float, float], *, exact: bool = False
) -> ResourceEstimate:
    """Say what a run needs that goes this way."""
    memory = need.peak(machine.device)
    low, high = (int(memory * bound) for bound in bounds)
    fitting = verdict(low, high, machine)
    took = pace.pace(shape, job.work.training, way, job.amount, machine, epochs=_epochs(job))
    return ResourceEstimate(
        seconds_low=took.low,
        seconds_expected=took.expected,
        seconds_high=took.high,
        memory_low=low,
        memory_expected=memory,
        memory_high=high,
        memory_available=machine.memory,
        fits=fitting,
        how="exact" if exact else "known" if calibrated(shape) else "guess",
        way=asdict(way),
        instead=() if fitting == "yes" else instead(shape, job, machine),
        watt_hours=round(took.watts * took.expected / 3600, 4),
        device=machine.label(machine.threads(shape.parameters)),
        basis=_basis(job, shape, way, took, machine),
    )


def verdict(low: int, high: int, machine: Hardware) -> Fits:
    """Tell whether so much memory is there."""
    return "yes" if high <= machine.memory else "tight" if low <= machine.memory else "no"


def instead(shape: Shape, job: Job, machine: Hardware) -> tuple[Instead, ...]:
    """Return other settings with which the run would surely fit, each with what it would then need."""
    found: list[Instead] = []
    if shape.counted is not None:  # nothing can be reckoned for other settings
        return ()
    for settings in ladder.other_settings(shape, job.work, machine):
        plain = {name.removeprefix("training."): value for name, value in settings.items()}
        if "lora" in plain:
            plain["lora"] = {"rank": 16, "alpha": 32, "dropout": 0.0, "target_modules": "all-linear"}
        work = job.work.changed(**plain)
        way = ladder.chosen(shape, work, machine)
        memory = fit.need(
            shape, work.training, way, Job(job.model, work, job.method, job.report, job.tokens).largest(way)
        )
        found.append(Instead(settings=settings, memory_expected=memory.peak(machine.device)))
    return tuple(found)


def _epochs(job: Job) -> float:
    training = job.work.training
    return float(training["epochs"] + pace.reference_share(training, job.method))


def _count(weights: int) -> str:
    return f"{weights / 1e9:.1f}B" if weights >= 1e9 else f"{weights / 1e6:.1f}M"


def _basis(job: Job, shape: Shape, way: Way, took: pace.Pace, machine: Hardware) -> str:
    amount, training = job.amount, job.work.training
    steps = training["epochs"] * math.ceil(amount.examples / amount.batch)
    every = machine.processes * machine.machines
    parted = f"; that {every} processes share the work is reckoned, not measured"
    pairs = {
        "sft": "",
        "dpo": "; pairs"
        + (", and the base asked once about each" if pace.asks_base(training, job.method) else "")
        + "".join(f"; {name} {training[name]:g}" for name in ("beta", "orpo_lambda") if name in training),
        "reward": "; pairs",
        "rft": f"; {training.get('group_size')} answers of at most {training.get('max_new_tokens')} tokens to each "
        f"question; beta {training.get('beta', 0):g}",
    }[job.method]
    return (
        f"{_count(shape.parameters)} parameters, {took.operations / 1e12:.2f} TFLOP at {took.rate / 1e9:.0f} "
        f"GFLOP/s, {steps} steps in {way.dtype}; {took.watts:.0f} W assumed{pairs}"
        f"{parted if every > 1 else ''}"
    )
