"""Say what ends soon and what was read long ago: pure, by the day that it is."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date

from anytune.schema.plan import Capabilities

SHORT_LIFE_DAYS = 90
STALE_DAYS = 60


def endings(capabilities: Capabilities, today: date) -> Iterator[str]:
    """Yield what ends soon: the model's life, and the days on which jobs are taken."""
    end, last = capabilities.model_shutdown, capabilities.accepts_jobs_until
    if end is not None and is_soon(end, today):
        yield f"{capabilities.model} and what is tuned from it shut down on {end}, {in_days(end, today)}"
    if last is not None and is_soon(last, today):
        yield f"{capabilities.provider} takes new jobs on {capabilities.model} {until(last, today)}"


def is_soon(end: date, today: date) -> bool:
    """Tell whether a day is close ahead."""
    return 0 <= (end - today).days < SHORT_LIFE_DAYS


def in_days(end: date, today: date) -> str:
    """Say how far ahead a day is."""
    days = (end - today).days
    return f"in {days} day{'' if days == 1 else 's'}" if days else "today"


def until(last: date, today: date) -> str:
    """Say until when jobs are taken, or that they are not any more."""
    return f"until {last} ({in_days(last, today)})" if last >= today else f"no more since {last}"


def ageing(read_on: date, today: date, *, what: str = "prices and models") -> Iterator[str]:
    """Yield that what was read that day may be otherwise by now."""
    days = (today - read_on).days
    if days > STALE_DAYS:
        yield f"{what} were read on {read_on}, {days} days ago: they may be others by now"


def stale(capabilities: Capabilities, today: date) -> Iterator[str]:
    """Yield which of a provider's figures were read long ago."""
    read = {"models": capabilities.as_of, "prices": capabilities.price.as_of if capabilities.price else None}
    for on in dict.fromkeys(day for day in read.values() if day is not None):
        what = " and ".join(name for name, day in read.items() if day == on)
        yield from ageing(on, today, what=f"{what} of {capabilities.provider}")
