"""What OpenAI's own list says of the models in the catalogue: whether they are there still, and until when.

The list has all models and does not say which can be tuned; so it adds none.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import date
from typing import Any

from anytune.schema.catalog import Offer, Said

ACT = "list the models"


def offer(rows: list[dict[str, Any]], *, known: Collection[str], source: str, whole: bool) -> Offer:
    """Read a list of models, of which the `known` ones can be tuned; `whole` where it has all that can be."""
    models = {str(row["id"]): _said(row) for row in rows if row.get("id") in known}
    return Offer(source=source, whole=whole, models=models)


def _said(row: Mapping[str, Any]) -> Said:
    told = row.get("shutdown_date")
    try:
        return Said(shutdown=date.fromisoformat(told) if isinstance(told, str) else None)
    except ValueError:
        return Said()
