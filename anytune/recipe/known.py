"""The trainers whose config files are known, and which of them a file is for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from anytune.recipe.axolotl import AXOLOTL
from anytune.recipe.llama_factory import LLAMA_FACTORY
from anytune.recipe.tool import Tool
from anytune.recipe.trl import TRL
from anytune.recipe.unsloth import UNSLOTH

TOOLS: dict[str, Tool] = {tool.name: tool for tool in (AXOLOTL, LLAMA_FACTORY, TRL, UNSLOTH)}


def flat(document: Mapping[str, Any], tool: Tool) -> dict[str, Any]:
    """Return a file's keys, those in sections with the section's name and a dot before them."""
    document = {str(name): value for name, value in document.items()}
    if not tool.sections:
        return document
    found: dict[str, Any] = {}
    for name, value in document.items():
        inner = value.items() if isinstance(value, Mapping) else None
        found |= {name: value} if inner is None else {f"{name}.{key}": said for key, said in inner}
    return found


def nested(keys: Mapping[str, Any], tool: Tool) -> dict[str, Any]:
    """Return keys as a file has them: in sections, if the tool's has such."""
    if not tool.sections:
        return dict(keys)
    document: dict[str, Any] = {}
    for name, value in keys.items():
        section, _, key = name.rpartition(".")
        (document.setdefault(section, {}) if section else document)[key] = value
    return document


def recognised(document: Mapping[str, Any]) -> Tool | None:
    """Return the tool that a file is for, None if no key tells."""
    marks = {name: len(tool.marks & flat(document, tool).keys()) for name, tool in TOOLS.items()}
    best = max(marks, key=lambda name: marks[name])
    return TOOLS[best] if marks[best] else None
