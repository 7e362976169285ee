"""Pairs and chats as other trainers read them, and what these would learn otherwise than we do."""

from __future__ import annotations

from anytune.errors import RefusedError
from anytune.recipe.tool import Record


def plain(record: Record, *, tool: str) -> Record:
    """Return a pair under the keys prompt, chosen and rejected; raise `RefusedError` for one with tool calls."""
    asked = record["input"]["messages"]
    chosen, rejected = record["preferred_output"], record["non_preferred_output"]
    refuse_tools({"messages": [*asked, *chosen, *rejected], "tools": record["input"].get("tools")}, tool=tool)
    return {"prompt": asked, "chosen": chosen, "rejected": rejected}


def refuse_weights(record: Record, *, tool: str) -> Record:
    """Return a chat all of whose answers are learnt from; raise `RefusedError` for another."""
    if any(message.get("weight") == 0 for message in record["messages"]):
        raise RefusedError(
            f"a message of it has weight 0, and {tool} learns from all answers",
            fix="hand it to axolotl, or leave such chats out",
        )
    return record


def refuse_tools(record: Record, *, tool: str) -> Record:
    """Return a chat without tools; raise `RefusedError` for another."""
    used = any(message.get("tool_calls") or message.get("role") == "tool" for message in record["messages"])
    if used or record.get("tools"):
        raise RefusedError(f"it has tool calls, which {tool} reads in a way of its own", fix="hand it to trl")
    return record
