"""Say figures, times and places the way a person would."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

SIZES = ("bytes", "KiB", "MiB", "GiB", "TiB")


def money(amount: Decimal | None, *, rounded: bool = False) -> str:
    """Say dollars and cents; what is less than a cent is not nothing, nor is a zero that was `rounded`."""
    if amount is None:
        return "unknown"
    nothing = amount == 0 and not rounded
    return f"${amount:,.2f}" if nothing or amount >= Decimal("0.01") else "<$0.01"


def count(number: int, noun: str = "") -> str:
    """Say a number with its noun in the right form."""
    shown = f"{number:,}"
    return f"{shown} {noun}{'' if number == 1 else 's'}" if noun else shown


def duration(seconds: float) -> str:
    """Say a length of time in its two largest units."""
    if seconds < 1:
        return "under 1 s"
    whole = round(seconds)
    days, hours, minutes = whole // 86400, whole // 3600 % 24, whole // 60 % 60
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes:02} min"
    return f"{minutes} min {whole % 60:02} s" if minutes else f"{whole} s"


def ago(moment: datetime) -> str:
    """Say how long ago a moment was, in one unit."""
    seconds = (datetime.now(UTC) - moment).total_seconds()
    number, unit = duration(seconds).split()[:2]
    return "just now" if seconds < 5 else f"{number} {unit} ago"


def size(number: float) -> str:
    """Say an amount of bytes in its largest unit."""
    power = 0
    while number >= 1024 and power < len(SIZES) - 1:
        number, power = number / 1024, power + 1
    return f"{number:.0f} {SIZES[power]}" if power == 0 or number >= 100 else f"{number:.1f} {SIZES[power]}"


def place(path: Path | str) -> str:
    """Name a path from here when that is shorter."""
    absolute = str(path)
    if not os.path.isabs(absolute):
        return absolute
    relative = os.path.relpath(absolute)
    return min((relative, absolute), key=len)


def model(name: str) -> str:
    """Name a model: an id as it is, a folder from here."""
    return place(name) if os.path.isabs(name) else name


def clean(text: str) -> str:
    """Take out what would move the cursor or colour the screen: the text is a model's or a stranger's."""
    if text.isprintable():  # nearly every text is, and to look at each character takes ten times as long
        return text
    return "".join(c if c in "\n\t" or c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def short(text: str, most: int = 160) -> str:
    """Cut a text to one line of at most so many characters."""
    line = " ".join(clean(text).split())
    return line if len(line) <= most else f"{line[: most - 1]}…"


def share(part: float) -> str:
    """Say a share of 1 as a percentage."""
    return f"{100 * part:.1f}%"


def value(given: object) -> str:
    """Say a setting's value as the job file would."""
    if given is None:
        return "null"
    if isinstance(given, bool):
        return str(given).lower()
    if isinstance(given, float):
        return f"{given:g}"
    if isinstance(given, dict):
        return ", ".join(f"{name} {value(inner)}" for name, inner in given.items())
    return ", ".join(map(str, given)) if isinstance(given, list | tuple) else str(given)
