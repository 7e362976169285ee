"""Check one record: the only authority on what is wrong with it."""

from __future__ import annotations

from typing import Any

from anytune.data.check.clean import Size
from anytune.data.check.fault import Fault, Path
from anytune.data.check.message import check_message
from anytune.data.check.tool import check_pairing, check_tools
from anytune.data.quote import Plain
from anytune.schema.spec import Method

FORMS = {
    "chat": Plain("a chat"),
    "preference": Plain("a preference pair"),
    "prompt-completion": Plain("a prompt with a completion"),
    "text-record": Plain("plain text"),
    "trl-preference": Plain("a preference pair as TRL writes it"),
    "sharegpt": Plain("a ShareGPT conversation"),
    "alpaca": Plain("an Alpaca instruction"),
}
_OUTPUTS = ("preferred_output", "non_preferred_output")
_OLD_OUTPUTS = ("preferred_completion", "non_preferred_completion")
_LISTS = ("messages", *_OUTPUTS)
_CHAT_KEYS = frozenset({"messages", "tools", "parallel_tool_calls", "functions", "weight"})
_PREFERENCE_KEYS = frozenset({"input", "weight", *_OUTPUTS})
_INPUT_KEYS = frozenset({"messages", "tools", "parallel_tool_calls", "functions"})
_MOST_IMAGES = 10


def form_of(record: dict[str, Any]) -> str | None:
    """Name the format that a record is in, None if no format has such keys."""
    if "messages" in record:
        messages = record["messages"]
        first = messages[0] if isinstance(messages, list) and messages else None
        return "sharegpt" if isinstance(first, dict) and {"from", "value"} <= first.keys() else "chat"
    if any(key in record for key in (*_OUTPUTS, *_OLD_OUTPUTS)):
        return "preference"
    if "conversations" in record:
        return "sharegpt"
    if "chosen" in record and "rejected" in record:
        return "trl-preference"
    if "prompt" in record and "completion" in record:
        return "prompt-completion"
    if "instruction" in record and "output" in record:
        return "alpaca"
    return "text-record" if record.keys() == {"text"} else None


def check_record(record: dict[str, Any], method: Method, out: list[Fault]) -> None:
    """Add every fault of a record under this method."""
    form = form_of(record)
    if form in ("chat", "preference") and form != ("chat" if method == "sft" else "preference"):
        wanted = "dpo" if form == "preference" else "sft"
        out.append(Fault("wrong-method", (), Plain(f"{FORMS[form]}, which is for method {wanted}, not {method}")))
    elif form is not None and form not in ("chat", "preference"):
        out.append(Fault(form))
    elif method == "sft":
        _check_chat(record, out)
    else:
        _check_preference(record, out)


def size_of(record: dict[str, Any]) -> Size:
    """Count the messages of a record, and the bytes of their contents and calls."""
    asked = record.get("input")
    held = [asked.get("messages") if isinstance(asked, dict) else None, *(record.get(key) for key in _LISTS)]
    number = content = 0
    for messages in held:
        for message in messages if isinstance(messages, list) else ():
            if isinstance(message, dict):
                number += 1
                content += _bytes(message.get("content"))
                if "tool_calls" in message:
                    content += _bytes(message["tool_calls"])
    return Size(number, content)


def _bytes(content: Any) -> int:
    """Count the bytes of the text in a string, in parts or in calls."""
    if isinstance(content, str):
        return len(content) if content.isascii() else len(content.encode(errors="surrogatepass"))
    total = 0
    for part in content if isinstance(content, list) else ():
        if isinstance(part, dict):
            function = part.get("function")
            held = function if isinstance(function, dict) else part
            texts = (held.get(key) for key in ("text", "name", "arguments"))
            total += sum(_bytes(text) for text in texts if isinstance(text, str))
    return total


def _check_chat(record: dict[str, Any], out: list[Fault]) -> None:
    _check_keys(record, (), _CHAT_KEYS, out)
    _check_conversation(record, (), out, answered=True)


def _check_preference(record: dict[str, Any], out: list[Fault]) -> None:
    _check_keys(record, (), _PREFERENCE_KEYS, out)
    declared: set[str] = set()
    asked = record.get("input")
    if "input" not in record:
        out.append(Fault("input-missing"))
    elif not isinstance(asked, dict):
        out.append(Fault("input-invalid", ("input",), asked))
    else:
        _check_keys(asked, ("input",), _INPUT_KEYS, out)
        declared = _check_conversation(asked, ("input",), out, answered=False)
    for key in _OUTPUTS:
        _check_output(record, key, declared, out)
    preferred, other = (record.get(key) for key in _OUTPUTS)
    if preferred == other and isinstance(preferred, list) and preferred:
        out.append(Fault("outputs-equal", ("non_preferred_output",)))


def _check_output(record: dict[str, Any], key: str, declared: set[str], out: list[Fault]) -> None:
    if key not in record:
        out.append(Fault("output-missing", (), key))
        return
    output = record[key]
    if not isinstance(output, list) or len(output) != 1:
        out.append(Fault("output-invalid", (key,), output))
    for place, message in enumerate(output if isinstance(output, list) else ()):
        role = check_message(message, (key, place), declared, out)
        if role not in ("assistant", None):
            out.append(Fault("output-not-assistant", (key, place, "role"), role))


def _check_keys(record: dict[str, Any], path: Path, known: frozenset[str], out: list[Fault]) -> None:
    for key in record:
        if key not in known:
            out.append(Fault("record-key-unknown", (*path, key), key, at_key=True))
    if "weight" in record and "weight" in known:
        weight = record["weight"]
        out.append(Fault("sample-weight", (*path, "weight"), at_key=True))
        if isinstance(weight, bool) or not isinstance(weight, int | float) or not weight >= 0:
            out.append(Fault("sample-weight-invalid", (*path, "weight"), weight))
    if "functions" in record and "functions" in known:
        out.append(Fault("functions-deprecated", (*path, "functions"), "functions", at_key=True))
    parallel = record.get("parallel_tool_calls")
    if "parallel_tool_calls" in record and not isinstance(parallel, bool):
        out.append(Fault("parallel-tool-calls-invalid", (*path, "parallel_tool_calls"), parallel))


def _check_conversation(holder: dict[str, Any], path: Path, out: list[Fault], *, answered: bool) -> set[str]:
    """Check tools and messages; `answered` tells whether the conversation has to hold the answer."""
    declared = check_tools(holder["tools"], (*path, "tools"), out) if "tools" in holder else set()
    messages = holder.get("messages")
    at = (*path, "messages")
    if "messages" not in holder:
        out.append(Fault("messages-missing", path))
    elif not isinstance(messages, list):
        out.append(Fault("messages-not-a-list", at, messages))
    elif not messages:
        out.append(Fault("messages-empty", at))
    else:
        roles = [check_message(message, (*at, i), declared, out) for i, message in enumerate(messages)]
        _check_order(roles, at, out)
        _check_ends(roles, at, out, answered=answered)
        if "tool" in roles or any(isinstance(m, dict) and "tool_calls" in m for m in messages):
            check_pairing(messages, at, out)
        _check_together(messages, roles, at, out, answered=answered)
    return declared


def _check_order(roles: list[str | None], path: Path, out: list[Fault]) -> None:
    if roles[0] in ("assistant", "tool", "function"):
        out.append(Fault("first-not-user", (*path, 0), roles[0]))
    before = None
    for place, role in enumerate(roles):
        if place and role in ("system", "developer"):
            out.append(Fault("system-not-first", (*path, place)))
        elif role == before and role in ("user", "assistant"):
            out.append(Fault(f"{role}-repeated", (*path, place)))
        before = role
    # A role that is unknown may well be the one that seems to be missing.
    if "user" not in roles and None not in roles:
        out.append(Fault("user-missing", path))


def _check_ends(roles: list[str | None], path: Path, out: list[Fault], *, answered: bool) -> None:
    last = (*path, len(roles) - 1)
    if not answered:
        if roles[-1] == "assistant":
            out.append(Fault("input-ends-with-assistant", last))
    elif "assistant" not in roles:
        if None not in roles:
            out.append(Fault("assistant-missing", path))
    elif roles[-1] not in ("assistant", None):
        out.append(Fault("last-not-assistant", last, roles[-1]))


def _check_together(
    messages: list[Any], roles: list[str | None], path: Path, out: list[Fault], *, answered: bool
) -> None:
    """Check what only shows when all messages are seen: forms of content, images, weights."""
    contents = [message.get("content") for message in messages if isinstance(message, dict)]
    lists = [content for content in contents if isinstance(content, list)]
    if lists:
        if any(isinstance(content, str) for content in contents):
            out.append(Fault("parts-and-strings", path))
        parts = [part for content in lists for part in content if isinstance(part, dict)]
        images = sum(part.get("type") == "image_url" for part in parts)
        if images > _MOST_IMAGES:
            out.append(Fault("images-too-many", path, images))
    pairs = zip(messages, roles, strict=True)
    weights = [message.get("weight", 1) for message, role in pairs if role == "assistant"]
    if answered and weights and all(isinstance(weight, int) and weight == 0 for weight in weights):
        out.append(Fault("nothing-to-train", path))
