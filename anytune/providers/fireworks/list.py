"""What Fireworks' own list says of the public models for which it takes managed jobs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import date
from typing import Any

from anytune.errors import MalformedAnswerError
from anytune.providers.fireworks.request import PUBLIC_MODELS
from anytune.schema.catalog import Offer, Said

PUBLIC = PUBLIC_MODELS.rstrip("/")
PAGE = "200"  # the most that one call is answered with
MOST_PAGES = 100
# `tunable` speaks of the older training stack, the other of the one that has followed it (SDK of November 2026).
TUNABLE = ("supervisedLoraTunable", "tunable")
ACT = "list the models"
Ask = Callable[[dict[str, str]], Mapping[str, Any]]


def offer(ask: Ask, *, origin: str) -> Offer:
    """Walk all pages of the list (`ask(query)` returns one) and keep what can be tuned."""
    models = {str(row["name"]).removeprefix(PUBLIC_MODELS): _said(row) for row in _rows(ask) if _is_tunable(row)}
    if not models:
        raise MalformedAnswerError(f"fireworks: {ACT}: not one of them can be tuned")
    return Offer(source=f"{origin}/v1/{PUBLIC}", whole=True, models=models)


def _rows(ask: Ask) -> Iterator[Mapping[str, Any]]:
    token = ""
    for _ in range(MOST_PAGES):
        page = ask({"pageSize": PAGE, **({"pageToken": token} if token else {})})
        rows = page.get("models")
        if not isinstance(rows, list) or not all(isinstance(row, Mapping) and row.get("name") for row in rows):
            raise MalformedAnswerError(f"fireworks: {ACT}: the answer is no list of models")
        yield from rows
        token = str(page.get("nextPageToken") or "")
        if not token:
            return
    raise MalformedAnswerError(f"fireworks: {ACT}: the list has no end")


def _is_tunable(row: Mapping[str, Any]) -> bool:
    return any(row.get(flag) is True for flag in TUNABLE)


def _said(row: Mapping[str, Any]) -> Said:
    longest = row.get("trainingContextLength")
    return Said(
        max_length=longest if type(longest) is int and longest > 0 else None,
        shutdown=_day(row.get("deprecationDate")),
    )


def _day(told: object) -> date | None:
    """Read google.type.Date; None for a date that lacks its year, month or day."""
    if not isinstance(told, Mapping):
        return None
    try:
        return date(*(int(told[part]) for part in ("year", "month", "day")))
    except (KeyError, TypeError, ValueError):
        return None
