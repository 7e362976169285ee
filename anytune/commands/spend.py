"""What a month has cost so far."""

from __future__ import annotations

import re
from typing import Annotated

import typer

from anytune.commands import options


def spend(
    month: Annotated[str | None, typer.Option(metavar="YYYY-MM", help="Another month than this one, by UTC.")] = None,
    as_json: options.Json = False,
) -> None:
    """Show what a month has cost, and what its budgets have left."""
    from anytune.errors import UsageError
    from anytune.schema.money import MONTH
    from anytune.tuner import Tuner
    from anytune.ui import spend as ui
    from anytune.ui import terminal

    if month is not None and re.match(MONTH, month) is None:
        raise UsageError(f"--month {month!r} is no month", fix="for example --month 2026-11")
    spent = Tuner().spent(month)
    then = [("anytune list", "job by job"), ("anytune plan", "what one more would cost")]
    if as_json:
        terminal.emit(ui.document(spent), then=then)
        return
    ui.show(spent, on=terminal.result())
    terminal.next_commands(then)
