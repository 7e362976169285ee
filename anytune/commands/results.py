"""After a job, or on its way: checkpoints, eval, chat, export."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, get_args

import typer

from anytune.commands import options
from anytune.errors import UsageError
from anytune.local.target import To as Model

if TYPE_CHECKING:
    from anytune.tuner import Tuner

Trainer = Literal["axolotl", "llama-factory", "trl", "unsloth"]
Theirs = Literal[Trainer, "openai"]
To = Literal[Model, Trainer]


def checkpoints(job: options.JobName = "last", as_json: options.Json = False) -> None:
    """List the models of a job's way there that its provider keeps."""
    from anytune.tuner import Tuner
    from anytune.ui import jobs as ui
    from anytune.ui import terminal

    tuner = Tuner()
    name = options.named(tuner, job)
    saved, job_id = tuner.checkpoints(name), tuner.job(name).id
    then = [] if saved else [(f"anytune watch {job_id}", "follow it")]
    if saved and tuner.answers(job_id):
        then = [(f"anytune chat {job_id} --step {saved[-1].step}", "ask one of them")]
    elif saved:
        then = _taking(tuner, job_id, saved[-1].step)
    if as_json:
        terminal.emit({"checkpoints": [each.model_dump(mode="json") for each in saved]}, then=then)
        return
    ui.checkpoints(saved, on=terminal.result())
    terminal.next_commands(then)


def evaluate(
    job: options.JobName = "last",
    test: Annotated[Path | None, typer.Option(metavar="FILE", help="Other held-out data than the job's.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, metavar="N", help="Ask only the first so many questions.")] = None,
    step: options.Step = None,
    as_json: options.Json = False,
) -> None:
    """Compare base and tuned model on held-out questions."""
    from anytune.commands.order import leaving

    also = [*(["--test", str(test)] if test else []), *(["--limit", str(limit)] if limit else []), *_at(step)]
    with leaving("stopped; there is no comparison", fix=shlex.join(["anytune", "eval", job, *also])):
        _evaluate(job, test, limit, step, as_json=as_json)


def _at(step: int | None) -> list[str]:
    return [] if step is None else ["--step", str(step)]


def _evaluate(job: str, test: Path | None, limit: int | None, step: int | None, *, as_json: bool) -> None:
    from anytune.tuner import Tuner
    from anytune.ui import asking, evals, terminal

    tuner = Tuner()
    job_id = tuner.model(options.named(tuner, job), step=step).job_id
    report = asking.counted(
        lambda progress: tuner.evaluate(job_id, test=test, limit=limit, step=step, progress=progress)
    )
    then = [(shlex.join(["anytune", "chat", job_id, *_at(step)]), "ask it yourself"), *_taking(tuner, job_id, step)]
    if as_json:
        terminal.emit({"evaluation": evals.document(report)}, then=then)
        return
    evals.show(report, on=terminal.result())
    terminal.next_commands(then)


def chat(
    job: options.JobName = "last",
    base: Annotated[bool, typer.Option("--base", help="Ask the base model instead.")] = False,
    once: Annotated[str | None, typer.Option(metavar="TEXT", help="Ask this and end.")] = None,
    system: Annotated[str | None, typer.Option(metavar="TEXT", help="The system message.")] = None,
    max_tokens: Annotated[int, typer.Option(min=1, metavar="N", help="The longest answer.")] = 256,
    step: options.Step = None,
    as_json: options.Json = False,
) -> None:
    """Talk with a tuned model; a pipe gets one answer a line."""
    from contextlib import closing

    from anytune.tuner import Tuner
    from anytune.ui import talk, terminal

    tuner = Tuner()
    job_id = tuner.model(options.named(tuner, job), step=step).job_id
    talk.hint(tuner.opening(job_id), given=system)
    with closing(tuner.generator(job_id, base=base, step=step)) as generator:
        table = talk.Table(generator, system=system, most=max_tokens)
        if once is not None or as_json:
            talk.answer_all(table, [once] if once is not None else talk.lines(), as_json=as_json)
        else:
            talk.converse(table)
    if not as_json:
        terminal.next_commands(_taking(tuner, job_id, step))


def _taking(tuner: Tuner, job_id: str, step: int | None) -> list[tuple[str, str]]:
    """Name the command that brings the weights home, where they can be had."""
    can = tuner.job(job_id).plan.capabilities
    kind = "merged" if can.local else "adapter"
    command = shlex.join(["anytune", "export", job_id, "--to", kind, *_at(step)])
    return [(command, "take it with you")] if can.weights_downloadable else []


def export(
    job: Annotated[
        str, typer.Argument(metavar="JOB", help="A job; or, for another trainer, a job file, too.")
    ] = "last",
    to: Annotated[
        To,
        typer.Option(help="The adapter, one model, GGUF, what Ollama or vLLM takes; or the job for another trainer."),
    ] = "merged",
    out: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="A new folder.", show_default="tuned-model, or after the trainer"),
    ] = None,
    step: options.Step = None,
    as_json: options.Json = False,
) -> None:
    """Write a tuned model into a folder, or hand a job to another trainer."""
    from anytune.commands.order import leaving

    for_trainer = to in get_args(Trainer)
    if step is not None and for_trainer:
        raise UsageError(
            f"--step takes a model of a job, and for {to} the job itself is written", fix="leave out --step"
        )
    place = out or Path(f"{to}-job" if for_trainer else "tuned-model")
    back = shlex.join(["anytune", "export", job, "--to", to, "--out", str(place), *_at(step)])
    with leaving("stopped; nothing was written", fix=back):
        if for_trainer:
            _hand_over(job, to, place, as_json=as_json)
        else:
            _export(job, to, place, step, as_json=as_json)


def _hand_over(job: str, to: str, out: Path, *, as_json: bool) -> None:
    from anytune.tuner import Tuner
    from anytune.ui import recipe, terminal

    tuner = Tuner()
    is_file = Path(job).suffix in (".yaml", ".yml")
    spec = tuner.read(job, provider="local") if is_file else tuner.job(job).plan.spec
    done = tuner.hand_over(spec, to=to, out=out)
    if as_json:
        terminal.emit(done.model_dump(mode="json"), then=recipe.then_over(done))
        return
    recipe.show_over(done, on=terminal.result())
    terminal.next_commands(recipe.then_over(done))


def take_in(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The config file of another trainer: YAML or JSON.")],
    source: Annotated[
        Theirs | None,
        typer.Option("--from", metavar="TRAINER", help="Whose it is: axolotl, llama-factory, trl, unsloth, openai."),
    ] = None,
    model: Annotated[
        str | None, typer.Option(metavar="MODEL", help="Of a job of OpenAI's: what is tuned here instead.")
    ] = None,
    out: Annotated[Path, typer.Option(metavar="FILE", help="The job file to write.")] = Path("finetune.yaml"),
    force: options.Replace = False,
    as_json: options.Json = False,
) -> None:
    """Take in another trainer's config, or OpenAI's job, as a job file."""
    from anytune.recipe import take_in as carry_out
    from anytune.ui import recipe, terminal

    done = carry_out(file, out=out, source=source, force=force, model=model)
    if as_json:
        terminal.emit(recipe.document(done), then=recipe.then_in(done))
        return
    recipe.show_in(done, on=terminal.result())
    terminal.next_commands(recipe.then_in(done))


def _export(job: str, to: str, out: Path, step: int | None, *, as_json: bool) -> None:
    from anytune.tuner import Tuner
    from anytune.ui import asking, terminal, weights

    tuner = Tuner()
    job_id = tuner.model(options.named(tuner, job), step=step).job_id
    manifest = asking.waiting("writing the model", lambda: tuner.export(job_id, to=to, out=out, step=step))
    compare = (f"anytune eval {job_id}", "compare it with its base")
    then = [compare if tuner.kept_evaluation(job_id) is None else (f"anytune chat {job_id}", "ask it something")]
    then = then if tuner.answers(job_id) else []
    if as_json:
        terminal.emit({"out": str(out), "manifest": manifest}, then=then)
        return
    weights.show(manifest, out=out, on=terminal.result())
    terminal.next_commands(then)
