"""A tuned model that lies elsewhere: which of its files are brought home, and as what."""

from __future__ import annotations

import re

from anytune.errors import RejectedError
from anytune.providers import _download as download_of
from anytune.providers import _manifest

SAFE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")
# What our trainer writes and nothing else: of weights safetensors alone, since a pickle can run code when it is opened.
KINDS = (".safetensors", ".json", ".jinja", ".model", ".txt")


def require_kind(to: str, *, has_adapter: bool, provider: str) -> None:
    """Raise `RejectedError` for what cannot be had without the base model: nothing is merged on the way."""
    about = f"{provider}: {download_of.ACT}"
    if has_adapter and to != "adapter":
        said = "the base model is not here to be merged with"
        raise RejectedError(f"{about}: {said}", fix="export it as adapter", param="to")
    if not has_adapter and to != "merged":
        raise RejectedError(f"{about}: all weights were trained: there is no adapter", fix="export it as merged")


def checked_name(name: str, *, provider: str) -> str:
    """Return a listed file's name; raise `RejectedError` for one that lies elsewhere, is hidden, or may be a pickle."""
    if SAFE_NAME.fullmatch(name) is None or not name.endswith(KINDS) or name == _manifest.FILE:
        about = f"{provider}: {download_of.ACT}"
        raise RejectedError(f"{about}: the model has a file named {name!r}, which is not written")
    return name
