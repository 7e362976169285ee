"""Amounts of money, what counts for a month, and the budgets that a month has: always US dollars, never a float."""

import re
from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from anytune.schema.base import Value

AMOUNT = re.compile(r"(?:\$\s*|USD\s+)?(\d+(?:\.\d+)?)(?:\s*USD)?", re.IGNORECASE)
MONTH = r"^\d{4}-(0[1-9]|1[0-2])$"


def _dollars(told: Any) -> Any:
    """Read `200 USD`, `$200`, `200`; any other currency is refused, for nothing here knows its rate."""
    if isinstance(told, bool):
        raise ValueError("an amount is a number of US dollars: 200 USD")
    if isinstance(told, float):
        return str(told)  # as it was written, and not its nearest fraction of two
    if not isinstance(told, str):
        return told
    found = AMOUNT.fullmatch(told.strip())
    if found is None:
        raise ValueError("amounts are in US dollars, and no other currency is converted: 200 USD")
    return found[1]


Usd = Annotated[Decimal, BeforeValidator(_dollars), Field(ge=0)]


class Order(Value):
    """Be one order that a provider charges for: that a job is made, or that it goes on.

    `usd` is what it counts for until its cost is known, `most` the most that it was foreseen to cost, each None where
    no price is known. `per_hour` is the price of a machine that is paid for by time.
    """

    at: datetime
    usd: Decimal | None
    most: Decimal | None = None
    per_hour: Decimal | None = None


class Limit(Value):
    """Be a budget of a calendar month: a user's own, for all that they order, or a project's, whoever orders."""

    whose: Literal["user", "project"]
    name: str
    usd: Decimal


class Charge(Value):
    """Be what one order of a job counts for in a month (`2026-11`, by UTC); `known`: it is what it did cost."""

    job_id: str
    number: int
    month: Annotated[str, Field(pattern=MONTH)]
    provider: str
    project: str
    by: str
    usd: Decimal | None
    known: bool


class Standing(Value):
    """Say how much of a limit is taken in a month, and how many orders without a known price are not in it."""

    limit: Limit
    month: str
    renews: date
    spent: Decimal
    unpriced: int = 0

    @property
    def left(self) -> Decimal:
        """Return what may still be ordered."""
        return max(Decimal(0), self.limit.usd - self.spent)
