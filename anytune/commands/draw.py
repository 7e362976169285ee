"""Draw a job's figures where others are drawn."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from anytune.commands import options


def draw(
    job: options.JobName = "last",
    to: Annotated[Literal["tensorboard", "mlflow", "wandb"], typer.Option(help="Where.")] = "tensorboard",
    out: Annotated[
        str | None, typer.Option(metavar="PLACE", help="A folder; of MLflow also a server's address.")
    ] = None,
    project: Annotated[
        str | None, typer.Option(metavar="NAME", help="MLflow's experiment; of W&B the project, or ENTITY/PROJECT.")
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", help="Go on until the job ends.")] = False,
    as_json: options.Json = False,
) -> None:
    """Draw a job's figures in TensorBoard, MLflow or Weights & Biases."""
    from anytune.commands.order import leaving
    from anytune.tuner import Tuner
    from anytune.ui import terminal, words

    tuner = Tuner()
    job_id = tuner.job(options.named(tuner, job)).id
    with leaving("stopped; what was drawn stays", fix=f"anytune draw {job_id} --to {to}"):
        place, many = tuner.draw(job_id, where=to, place=out, project=project, follow=follow)
    then = {
        "tensorboard": [(f"tensorboard --logdir {out or 'runs'}", "look at it")],
        "mlflow": [(f"mlflow ui --backend-store-uri {place}", "look at it")],
        "wandb": [],
    }[to]
    if as_json:
        terminal.emit({"job": job_id, "to": to, "place": place, "steps": many}, then=then)
        return
    typer.echo(f"{words.count(many, 'new step')} of {job_id}: {place}")
    terminal.next_commands(then)
