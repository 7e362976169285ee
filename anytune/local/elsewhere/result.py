"""What a run left of itself elsewhere: how it ended by its own word, its last step, its events."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

from pydantic import ValidationError

from anytune.errors import MalformedAnswerError
from anytune.schema.job import Cause, Event, JobState

ENDINGS = {"succeeded": JobState.SUCCEEDED, "failed": JobState.FAILED, "cancelled": JobState.CANCELLED}
CAUSES: dict[str, Cause] = {"user": "user", "provider": "provider", "billing": "billing"}
STEP = re.compile(r"(?:^|/)checkpoints/step-(\d+)/manifest\.json$")
Ending = tuple[JobState, str | None, Cause | None]


def ending(result: dict[str, Any] | None) -> Ending | None:
    """Say how a run ended by the result that it left: state, error, cause; None where it left none."""
    if result is None or (state := ENDINGS.get(str(result.get("state")))) is None:
        return None
    said = "; ".join(str(part) for part in (result.get("error"), result.get("fix")) if part) or None
    return state, said, CAUSES.get(str(result.get("cause"))) if state is JobState.FAILED else None


def newest_step(names: Iterable[str]) -> int | None:
    """Return the last step of which a whole checkpoint is listed."""
    return max((int(found[1]) for name in names if (found := STEP.search(name))), default=None)


def decoded_result(content: bytes | None, *, about: str) -> dict[str, Any] | None:
    """Read the result that the trainer left, None if it left none; `about` begins the message of an error."""
    if content is None:
        return None
    try:
        result = json.loads(content)
    except ValueError:
        result = None
    if not isinstance(result, dict):
        raise MalformedAnswerError(f"{about}: result.json is not the JSON it should be")
    return result


def events_of(content: bytes | None) -> list[Event]:
    """Read the events, oldest first; a half line is passed over."""
    events = []
    for line in (content or b"").splitlines():
        try:
            events.append(Event.model_validate_json(line))
        except ValidationError:
            continue
    return events
