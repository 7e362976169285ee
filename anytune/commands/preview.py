"""Before a job: preview."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from anytune.commands import options

if TYPE_CHECKING:
    from anytune.schema.training import OverLength
    from anytune.ui.preview import Asked

JOB_FILES = (".yaml", ".yml")
NEEDS = ("transformers", "tokenizers", "jinja2")  # torch is not among them
FIRST = 3
SAMPLE = 2000  # examples the figures are of: a second or two, and shares are right to about one percent


def preview(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="A data file, or a job file (.yaml).", show_default=True)
    ] = Path("finetune.yaml"),
    model: Annotated[
        str | None, typer.Option(metavar="MODEL", help="A model's folder, or a hub id that is in the local cache.")
    ] = None,
    max_length: Annotated[
        int | None, typer.Option(min=8, metavar="N", help="Take this limit instead of the job's.")
    ] = None,
    over_length: Annotated[
        Literal["refuse", "drop", "truncate_left", "truncate_right"] | None,
        typer.Option(help="What becomes of longer examples, instead of what the job says."),
    ] = None,
    lines: Annotated[str | None, typer.Option(metavar="N,N,…", help="Show the examples on these lines.")] = None,
    first: Annotated[int | None, typer.Option(min=0, metavar="N", help="Show so many examples; 3 if not said.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Show long examples whole.")] = False,
    exact: Annotated[bool, typer.Option("--exact", help="Count every example of a large file.")] = False,
    as_json: options.Json = False,
) -> None:
    """Show examples as the trainer sees them, by token."""
    from anytune.errors import UsageError
    from anytune.local.processes import demand_packages
    from anytune.ui import asking, terminal
    from anytune.ui import preview as ui

    if lines is not None and first is not None:
        raise UsageError("--lines and --first do not go together", fix="choose one of them")
    demand_packages(NEEDS)
    wanted = _numbers(lines) if lines is not None else []
    asked = _asked(file, model, max_length, over_length)
    shown = [*(f"--line={line}" for line in wanted), f"--first={FIRST if first is None else first}"]
    found = asking.waiting(
        "reading as the trainer does", lambda: _look(asked, [*shown, *([] if exact else [f"--sample={SAMPLE}"])])
    )
    then = _then(found, asked)
    if as_json:
        terminal.emit(ui.document(found, asked), then=then)
    else:
        ui.show(found, asked, on=terminal.result(), every=every)
        terminal.next_commands(then)
    raise typer.Exit(3 if found["faults"]["examples"] else 0)


def _numbers(lines: str) -> list[int]:
    """Read line numbers: 1,5,9."""
    from anytune.errors import UsageError

    try:
        numbers = [int(number) for number in lines.split(",")]
    except ValueError:
        numbers = []
    if not numbers or min(numbers) < 1:
        raise UsageError(f"--lines {lines!r} is no list of line numbers", fix="for example --lines 1,5,9")
    return list(dict.fromkeys(numbers))


def _asked(file: Path, model: str | None, max_length: int | None, over_length: OverLength | None) -> Asked:
    """Settle what is looked at: from the command line, else from the job file, else as the trainer would."""
    from anytune.data.input import opened
    from anytune.errors import UsageError
    from anytune.local import base_model, settings
    from anytune.schema.training import OVER_LENGTH
    from anytune.tuner import Tuner
    from anytune.ui.preview import Asked

    data, job, limit, whence, chosen = file, None, max_length, "as given", model is not None
    method = None
    if file.suffix.lower() in JOB_FILES:
        spec = Tuner().read(file, provider="local", model=model)
        if spec.method == "rft":
            raise UsageError("rft trains on answers that the model makes itself: there are none to show before")
        if len(spec.data.sources) > 1:
            raise UsageError(f"{file} has several training files", fix="name one of them, with --model")
        data, job, model, method = spec.data.sources[0].path, file, settings.local_model(spec), spec.data_method
        whence = whence if limit else "the job's" if spec.training.max_length != "auto" else "the default"
        limit = limit or settings.longest(spec, spec.training)
        over_length = over_length or spec.training.over
    if not model:
        raise UsageError("tokens are a model's own: which one is to be tuned?", fix="add --model FOLDER")
    if base_model.locate(model) is None:
        hub = base_model.is_hub_id(model)
        what = f"{model} is not on this machine" if hub else f"no such folder: {model}"
        raise UsageError(
            what, fix=f"hf download {model}, or --model FOLDER" if hub else "give --model a model's folder"
        )
    if limit is None:
        limit, whence = min(settings.LENGTH, settings.context(model) or settings.LENGTH), "the default"
    with opened(data):  # or else the worker would start in vain
        pass
    over_length = over_length or OVER_LENGTH
    return Asked(data, job, settings.stable_name(model), limit, over_length, whence, chosen, method)


def _look(asked: Asked, shown: list[str]) -> dict[str, Any]:
    """Ask a worker process, and raise what it could not do."""
    from anytune.errors import RefusedError, UsageError
    from anytune.local.processes import worker_answer

    method = [f"--method={asked.method}"] if asked.method else []
    limit = [f"--max-length={asked.max_length}", f"--over-length={asked.over_length}"]
    found = worker_answer("preview", f"--file={asked.file}", f"--model={asked.model}", *limit, *method, *shown)
    if error := found.get("error"):
        refused = error["exit_code"] == RefusedError.exit_code
        raise (RefusedError if refused else UsageError)(error["message"], fix=error["fix"])
    return found


def _then(found: dict[str, Any], asked: Asked) -> list[tuple[str, str]]:
    """Name the next commands."""
    from anytune.ui import words

    look = ["anytune", "preview", words.place(asked.job or asked.file)]
    look += ["--model", words.model(asked.model)] if asked.job is None or asked.chosen else []
    then = []
    if unseen := _unseen(found):
        then.append((shlex.join([*look, "--lines", ",".join(map(str, unseen[:FIRST]))]), "look at those"))
    if found["file"]["encoded"] < found["file"]["counted"]:
        pairs = asked.method == "dpo" or (asked.method is None and found["file"]["pairs"])
        check = ["anytune", "check", words.place(asked.file), *(["--method", "dpo"] if pairs else [])]
        return [*then, (shlex.join(check), "every fault of the file")]
    if enough := _room(found, asked):
        then.append((shlex.join([*look, "--max-length", str(enough)]), "nothing would be lost"))
    if not found["faults"]["examples"]:
        job = asked.job or Path("finetune.yaml")
        plan = (shlex.join(["anytune", "plan", words.place(job)]), "what training would take")
        then.append(plan if job.is_file() else ("anytune init", "write a first job file"))
    return then


def _room(found: dict[str, Any], asked: Asked) -> int | None:
    """Return a max_length that holds every example; None if that is so already, or is more than the model can hold."""
    from anytune.local import settings

    longest = found["file"]["tokens"]["largest"]
    enough = -(-longest // 64) * 64
    most = settings.context(asked.model) or enough
    return min(enough, most) if asked.max_length < longest <= most else None


def _unseen(found: dict[str, Any]) -> list[int]:
    """Return the lines with a fault, or over the limit, that were not shown."""
    shown = {example["line"] for example in found["examples"]}
    faulty = [line for kind in found["faults"]["kinds"] for line in kind["lines"]]
    return [line for line in dict.fromkeys([*faulty, *found["file"]["over"]["lines"]]) if line not in shown]
