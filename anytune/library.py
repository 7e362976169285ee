"""The functions that `import anytune` offers: each makes a `Tuner` with the settings of the current folder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anytune.look import Look
from anytune.schema.data import DataMethod, DataReport
from anytune.schema.evals import EvalReport
from anytune.schema.job import Job
from anytune.schema.model import Checkpoint
from anytune.schema.plan import Plan
from anytune.tuner import BUILT_IN, Tuner

if TYPE_CHECKING:
    from anytune.data.convert import Conversion
    from anytune.data.dedupe import Deduped, Kind
    from anytune.data.fix import Fixed
    from anytune.data.privacy.text import Finder
    from anytune.data.split import By, Split
    from anytune.recipe import HandedOver, TakenIn

__all__ = [
    "Tuner",
    "cancel",
    "check",
    "checkpoints",
    "convert",
    "dedupe",
    "evaluate",
    "export",
    "fix",
    "hand_over",
    "plan",
    "refresh",
    "split",
    "submit",
    "take_in",
    "wait",
]


def plan(job_file: Path | str, *, provider: str | None = None, changes: Sequence[str] = ()) -> Plan:
    """Decide what a job file would do at a provider: free, offline, without a key."""
    tuner = Tuner()
    return tuner.plan(tuner.read(job_file, changes=changes, provider=provider))


def check(
    path: Path | str,
    *,
    target: str | None = None,
    method: DataMethod = "sft",
    model: str | None = None,
    max_length: int | None = None,
    against: Path | str | None = None,
    near: bool = False,
    private: bool = False,
    names: Finder | None = None,
) -> DataReport:
    """Check one data file for a target provider (every built-in one if None), offline, without a key.

    With a `target` or a `model`, tokens are counted with the model's own tokenizer where it is at hand, and examples
    over its limit (or `max_length` tokens) are told. `against` is a held-out file of which nothing may stand in this
    one; `near` compares by likeness, too (extra `dedup`); `private` looks for personal data, secrets and keys,
    `names` for what it finds beside them: `anytune.data.privacy.names.presidio()` finds names of people.
    """
    look = Look(
        model=model,
        max_length=max_length,
        against=Path(against) if against is not None else None,
        near=near,
        private=private,
        names=names,
    )
    return Tuner().check([Path(path)], for_providers=(target,) if target else BUILT_IN, method=method, look=look)


def fix(
    path: Path | str,
    *,
    out: Path | str,
    target: str | None = None,
    method: DataMethod = "sft",
    agreed: frozenset[str] = frozenset(),
) -> Fixed:
    """Mend a data file into a new one: what is safe, and of what changes meaning the codes that are `agreed`."""
    from anytune.data.fix import fix as mend

    providers = (target,) if target else BUILT_IN
    return mend(Path(path), providers=providers, method=method, out=Path(out), agreed=agreed)


def convert(
    path: Path | str, *, to: str = "chat", source: str | None = None, out: Path | str | None = None
) -> Conversion:
    """Convert a file of another format to chats or pairs, or these to another format; every loss is named."""
    from anytune.data.convert import convert as turn

    return turn(Path(path), to=to, source=source, out=Path(out) if out is not None else None)


def split(
    path: Path | str,
    *,
    train: Path | str,
    validation: Path | str,
    share: float | int = 0.1,
    by: By = "prompt",
    group: str | None = None,
) -> Split:
    """Split a file so that no prompt (no first turn, no group) stands on both sides; a share, or a number."""
    from anytune.data.split import divide

    into = {"train": Path(train), "validation": Path(validation)}
    return divide(Path(path), into=into, validation=share, by=by, group=group)


def dedupe(path: Path | str, *, out: Path | str, kind: Kind = "exact") -> Deduped:
    """Write a file without its duplicates: exact, normalised, prompt or near (extra `dedup`)."""
    from anytune.data.dedupe import dedupe as drop

    return drop(Path(path), Path(out), kind=kind)


def submit(plan: Plan, *, again: bool = False) -> Job:
    """Carry out a plan once; see `jobs.submit`."""
    return Tuner().submit(plan, again=again)


def wait(job_id: str, *, timeout: float | None = None) -> Iterator[Job]:
    """Yield the job at each poll until it ends; raise `NotYetError` after `timeout` seconds."""
    return Tuner().wait(job_id, timeout=timeout)


def refresh(job_id: str) -> Job:
    """Ask the provider how a job stands."""
    return Tuner().refresh(job_id)


def cancel(job_id: str) -> Job:
    """Stop a job; harmless on one that has ended."""
    return Tuner().cancel(job_id)


def checkpoints(job_id: str) -> Sequence[Checkpoint]:
    """List the models of the way there that a job's provider keeps, in the order of their steps."""
    return Tuner().checkpoints(job_id)


def evaluate(job_id: str, *, test: Path | None = None, limit: int | None = None, step: int | None = None) -> EvalReport:
    """Compare base and tuned model (or the checkpoint of a `step`) on held-out questions."""
    return Tuner().evaluate(job_id, test=test, limit=limit, step=step)


def export(job_id: str, *, to: str, out: Path | str, step: int | None = None) -> dict[str, Any]:
    """Write a job's model (or the checkpoint of a `step`) as `adapter` or `merged` and return its manifest."""
    return Tuner().export(job_id, to=to, out=Path(out), step=step)


def hand_over(job_file: Path | str, *, to: str, out: Path | str) -> HandedOver:
    """Write a job file as the config of another trainer, with the data beside it; see `recipe.hand_over`."""
    tuner = Tuner()
    return tuner.hand_over(tuner.read(job_file, provider="local"), to=to, out=Path(out))


def take_in(
    path: Path | str, *, out: Path | str, source: str | None = None, force: bool = False, model: str | None = None
) -> TakenIn:
    """Make a job file of another trainer's config, or of a job of OpenAI's; see `recipe.take_in`."""
    from anytune.recipe import take_in as carry_out

    return carry_out(Path(path), out=Path(out), source=source, force=force, model=model)
