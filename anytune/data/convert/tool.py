"""Bring the declarations of tools into the one form that chats have."""

from __future__ import annotations

from typing import Any

from anytune.data.convert.loss import Notes, named
from anytune.data.convert.shape import Record, unpacked
from anytune.data.path import Path

_FUNCTION = ("name", "description", "parameters", "strict")
_SCHEMAS = ("parameters", "input_schema", "inputSchema", "parametersJsonSchema")


def tools_of(tools: Any, path: Path, notes: Notes) -> list[Record]:
    """Return declared functions as {"type": "function", "function": …}.

    Takes the nested form of chat completions, the flat one of the Responses API, `input_schema` of Anthropic's, bare
    functions, and any of them as JSON text. A tool that is no function is dropped and noted.
    """
    found = unpacked(tools)
    if found is None or found == "":
        return []
    made = []
    for place, tool in enumerate(found if isinstance(found, list) else [found]):
        at = (*path, place) if isinstance(found, list) else path
        made += [] if (one := _tool(tool, at, notes)) is None else [one]
    return made


def _tool(tool: Any, at: Path, notes: Notes) -> Record | None:
    tool = unpacked(tool)
    if not isinstance(tool, dict):
        notes.lost("tool-dropped", at, tool)
        return None
    nested = tool.get("function")
    function = nested if isinstance(nested, dict) else tool
    schema = next((unpacked(function[key]) for key in _SCHEMAS if key in function), None)
    is_function = tool.get("type") in ("function", "custom", None) and isinstance(function.get("name"), str)
    if not is_function or not (schema is None or isinstance(schema, dict)):
        notes.lost("tool-dropped", at, named([str(tool.get("name") or tool.get("type") or "no name")]))
        return None
    if function is not tool:
        notes.rest(tool, ("type", "function"), at)
    notes.rest(function, ("type", *_FUNCTION, *_SCHEMAS), (*at, "function") if function is not tool else at)
    made = {key: function[key] for key in _FUNCTION if key != "parameters" and function.get(key) is not None}
    if schema is not None:
        made["parameters"] = schema
    return {"type": "function", "function": made}
