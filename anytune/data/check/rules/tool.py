"""Rules of tools, tool calls and their answers."""

from __future__ import annotations

from anytune.data.check.rules.base import Rule

TOOL_RULES = (
    Rule(
        "tools-not-a-list",
        "E",
        "tools is {value}, not a list",
        why="The functions that the model may call are a list.",
        fix='write "tools": [{"type": "function", "function": {...}}]',
    ),
    Rule(
        "tool-invalid",
        "E",
        "a tool is {value}",
        why='A tool is {"type": "function", "function": {"name", "description", "parameters"}}.',
        fix='write {"type": "function", "function": {"name": "...", "parameters": {...}}}',
    ),
    Rule(
        "tool-repeated",
        "W",
        "the tool {value} is declared twice",
        why="The model cannot tell the two apart.",
        fix="remove one",
    ),
    Rule(
        "function-name-invalid",
        "EWWEWW",
        "the function name {value} is not made of 1 to 64 of A-Z a-z 0-9 _ -",
        why="OpenAI refuses other names.",
        fix="rename the function",
    ),
    Rule(
        "parallel-tool-calls-invalid",
        "EEWEWW",
        "parallel_tool_calls is {value}, neither true nor false",
        why="It is a switch.",
        fix="write true or false",
    ),
    Rule(
        "tool-calls-invalid",
        "E",
        "tool_calls is {value}, not a list with a call",
        why="The calls of a message are a list of at least one.",
        fix="write a list of calls, or remove the key",
    ),
    Rule(
        "tool-call-invalid",
        "E",
        "a tool call is {value}",
        why='A call is {"id", "type": "function", "function": {"name", "arguments"}}.',
        fix='write {"id": "call_1", "type": "function", "function": {"name": "...", "arguments": "{}"}}',
    ),
    Rule(
        "tool-call-id-repeated",
        "W",
        "the call id {value} stands twice",
        why="An answer cannot tell which call it belongs to.",
        fix="give each call its own id",
    ),
    Rule(
        "tool-undeclared",
        "W",
        "the called function {value} is not among the tools",
        why="The model learns to call what it was not told of.",
        fix="declare the function in tools",
    ),
    Rule(
        "arguments-not-a-string",
        "EEEEEW",
        "arguments is {value}, not a string",
        why="Arguments are JSON text in a string, so that the model learns to write it.",
        fix='write the JSON as a string: "{\\"port\\": \\"Brest\\"}"',
    ),
    Rule(
        "arguments-not-json",
        "WWWWWE",
        "arguments {value} is not the JSON of an object",
        why="The model learns to write calls that cannot be parsed; local templates decode them.",
        fix="write a JSON object as text",
    ),
    Rule(
        "tool-call-id-missing",
        "E",
        "the tool message has no tool_call_id",
        why="Each tool message answers one call, by its id.",
        fix='add "tool_call_id" with the id of the call',
    ),
    Rule(
        "tool-call-id-unknown",
        "E",
        "the tool message answers {value}, which no call before it has",
        why="Each tool message answers a call of the assistant message before it.",
        fix="use the id of the call",
    ),
    Rule(
        "tool-call-unanswered",
        "EEWEWW",
        "the call {value} is never answered",
        why="Providers pair calls and answers before the conversation goes on.",
        fix="add a tool message with this id right after the call",
    ),
)
