"""The models of the way there that Together keeps of a job: which there are, and how one is asked for.

One is named as the service's own tools name it, by the job's id and the step. In a download the step decides alone: the
word for the form of the model is not looked at, so that each is handed out in the one form that the list says.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from anytune.errors import MalformedAnswerError, NotFoundError, RejectedError
from anytune.providers.edge import among
from anytune.providers.together import answer as answers
from anytune.schema.model import Checkpoint, TunedModel

ACT = "list checkpoints"
FORMS = {"adapter": "adapter", "model": "merged"}  # the list's word for what is handed out, and ours

Row = Mapping[str, Any]


def read(rows: Sequence[Row], *, remote_id: str) -> list[Checkpoint]:
    """Return the checkpoints of a list in the order of their steps, one each; raise for a row without a step."""
    found = {step_of(row): row for row in rows}
    return [
        Checkpoint(id=_id(row, step), step=step, model=f"{remote_id}:{step}", at=answers.moment(row.get("created_at")))
        for step, row in sorted(found.items())
    ]


def step_of(row: Row) -> int:
    """Return the step of a checkpoint."""
    step = row.get("step")
    if type(step) is not int or step < 0:
        raise MalformedAnswerError(f"together: {ACT}: a checkpoint has no step")
    return step


def step_in(tuned: TunedModel) -> int | None:
    """Return the step that a model's name names, None for the model that a job ended with."""
    job_id, _, step = tuned.name.rpartition(":")
    return int(step) if job_id and job_id == tuned.remote_id and step.isdecimal() else None


def selector(rows: Sequence[Row], step: int, *, to: str) -> dict[str, str] | None:
    """Return what is asked for to get a step in a form; None for the last one, which comes in every form.

    Raises `NotFoundError` when it is not kept any more, `RejectedError` when it comes in another form.
    """
    known = [row for row in rows if step_of(row) == step]
    if not known:
        raise NotFoundError(f"together: {ACT}: the one of step {step} is not kept any more")
    if step == max(map(step_of, rows)):
        return None
    forms = {FORMS[str(row["checkpoint"])] for row in known if among(row.get("checkpoint"), FORMS)}
    if forms and to not in forms:
        said = " or ".join(sorted(forms))
        raise RejectedError(
            f"together hands out the checkpoint of step {step} as {said}", fix=f"--to {said}", param="to"
        )
    return {"checkpoint_step": str(step)}


def _id(row: Row, step: int) -> str:
    own = row.get("object_id") or row.get("path")
    return own if isinstance(own, str) and own else str(step)
