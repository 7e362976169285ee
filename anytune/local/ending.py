"""How a run ends, as its folder and its events tell it."""

from __future__ import annotations

import errno
import signal
import traceback
from typing import Any

from anytune.errors import AnytuneError
from anytune.local import crew
from anytune.local.memory import shortage
from anytune.local.runs import Run, write_json
from anytune.local.training import checkpoint
from anytune.local.training.events import EventLog

TERMINATED = 143  # 128 + SIGTERM, as a shell reports it
SPARE = 1 << 16  # bytes kept so that the result can be written on a full disk


class Told:
    """Remember that somebody wants this process to stop: by SIGTERM, or by Ctrl-C."""

    def __init__(self) -> None:
        self._told = False
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._hear)

    def _hear(self, *_: object) -> None:
        self._told = True

    def __call__(self) -> bool:
        """Tell whether to stop."""
        return self._told


def stopped(run: Run) -> dict[str, Any]:
    """Say who ended a run; without the mark it was the system that wanted us gone, at a shutdown for one."""
    return {"state": "cancelled" if run.cancel_mark.exists() else "interrupted"}


def explain(error: BaseException, run: Run) -> dict[str, Any]:
    """Turn an exception into a failed result: one line, whose fault, what to do."""
    text = (str(error).strip().splitlines() or [type(error).__name__])[0]
    failed: dict[str, Any] = {"state": "failed", "cause": "provider", "error": f"{type(error).__name__}: {text}"}
    # Libraries wrap these two in errors of their own, so they are looked for first.
    if shortage.is_shortage(error):
        failed |= {"cause": "user", "error": "out of memory", "fix": shortage.fix(run)}
    elif getattr(error, "errno", None) == errno.ENOSPC or "No space left on device" in text:
        failed |= {"cause": "user", "error": "the disk is full", "fix": "make room, then resume the job"}
    elif isinstance(error, crew.DeadProcess):
        failed |= {"cause": error.cause, "error": error.message, "fix": error.fix}
    elif isinstance(error, AnytuneError):
        failed |= {"cause": "user", "error": error.message, "fix": error.fix}
    return failed


def finish(run: Run, events: EventLog, outcome: dict[str, Any]) -> None:
    """Write the result, on the bytes kept for it if the disk is full; an interrupted run has none and can go on."""
    (run.path / "spare").unlink(missing_ok=True)
    saved = checkpoint.newest(run.path / "checkpoints")
    if outcome["state"] != "succeeded" and saved is not None:
        outcome["saved_step"] = saved.step
    if outcome["state"] != "interrupted":
        write_json(run.path / "result.json", outcome)
    level = "error" if outcome["state"] == "failed" else "info"
    try:
        events.tell(outcome.get("error") or outcome["state"], level=level, state=outcome["state"])  # type: ignore[arg-type]
        events.close()
    except OSError:
        traceback.print_exc()  # a full disk: the result stands, its event does not
