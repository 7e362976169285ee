"""What was decided about data that would leave this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from anytune.commands import options
from anytune.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anytune.schema.audit import Link

WHOSE = "A job: its id, the beginning of one, its name, or last; none: all jobs."


class BrokenError(StoreError):
    """Report a chain that somebody changed; `document` is what stands in it, for `--json`."""

    def __init__(self, position: int, document: dict[str, Any]) -> None:
        super().__init__(
            f"the chain of decisions is broken at decision {position + 1}: it was changed, dropped or slipped in",
            fix="compare the record with a copy of it; what stands before that decision holds",
        )
        self.document = document


def audit(
    job: Annotated[str | None, typer.Argument(metavar="JOB", help=WHOSE, show_default=False)] = None,
    as_json: options.Json = False,
) -> None:
    """Show what was decided about data that would leave."""
    from anytune.tuner import Tuner
    from anytune.ui import audit as ui
    from anytune.ui import terminal

    tuner = Tuner()
    shown, broken = tuner.audit(options.named(tuner, job) if job is not None else None)
    document = {"unbroken": broken is None, "decisions": _documents(shown)}
    then = [("anytune show JOB", "how a job stands")] if shown else [("anytune run finetune.yaml", "run a job")]
    if not as_json:
        ui.decisions(shown, on=terminal.result())
    if broken is not None:
        raise BrokenError(broken, document)
    if as_json:
        terminal.emit(document, then=then)
    else:
        terminal.next_commands(then)


def _documents(shown: Sequence[Link]) -> list[dict[str, Any]]:
    return [{**link.decision.model_dump(mode="json"), "before": link.before, "seal": link.seal} for link in shown]
