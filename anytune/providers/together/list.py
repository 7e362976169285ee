"""What Together's own list says of the models that it tunes, and how long their examples may be."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

from anytune.errors import MalformedAnswerError, NotFoundError
from anytune.schema.catalog import Offer, Said

SUPPORTED = "/v1/fine-tunes/models/supported"
LIMITS = "/v1/fine-tunes/models/limits"
Ask = Callable[[str, str], Mapping[str, Any]]


def offer(ask: Ask, *, origin: str) -> Offer:
    """Ask for the list (`ask(act, path)` returns an answer), and for the limits of each model in it."""
    act = "list the models"
    names = ask(act, SUPPORTED).get("models")
    if not isinstance(names, list) or not names or not all(isinstance(name, str) and name for name in names):
        raise MalformedAnswerError(f"together: {act}: the answer is no list of models")
    return Offer(source=f"{origin}{SUPPORTED}", whole=True, models={name: _said(ask, name) for name in names})


def _said(ask: Ask, model: str) -> Said:
    try:
        limits = ask("ask for a model's limits", f"{LIMITS}?model_name={quote(model, safe='')}")
    except NotFoundError:
        return Said()  # it stands in the list, and nothing more is known
    longest = limits.get("max_seq_length_sft")
    return Said(max_length=longest if type(longest) is int and longest > 0 else None)
