"""Check one record: the only authority on what is wrong with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from anytune.data.check.fault import Fault, Path
from anytune.data.check.message import check_message, check_parts
from anytune.data.check.rules.base import COLUMNS, OUR_TRAINER, DataMethod
from anytune.data.check.seen import OUTPUTS
from anytune.data.check.tool import check_functions, check_pairing, check_tools
from anytune.data.quote import Plain

FORMS = {
    "chat": Plain("a chat"),
    "preference": Plain("a preference pair"),
    "prompt-completion": Plain("a prompt with a completion"),
    "text-record": Plain("plain text"),
    "trl-preference": Plain("a preference pair as TRL writes it"),
    "sharegpt": Plain("a ShareGPT conversation"),
    "alpaca": Plain("an Alpaca instruction"),
}
_SPEAKERS = {"prompt": "user", "completion": "assistant"}
_WITHOUT_PARTS = (*(column for column in COLUMNS if column != "together"), *OUR_TRAINER)  # in prompt and completion
RAW = {"prompt-completion": ("prompt", "completion"), "text-record": ("text",)}
_OLD_OUTPUTS = ("preferred_completion", "non_preferred_completion")
_OPTIONAL = frozenset({"tools", "parallel_tool_calls", "functions"})
_CHAT_KEYS = _OPTIONAL | {"messages", "weight"}
_TASK_KEYS = _CHAT_KEYS - {"functions"}  # there, any key that is not known is data for the grader
_PREFERENCE_KEYS = frozenset({"input", "weight", *OUTPUTS})
_INPUT_KEYS = _OPTIONAL | {"messages"}
_PLAIN = frozenset({"system", "user", "assistant"})
_PLAIN_KEYS = {"role", "content"}
_SYSTEM = ("system", "developer")
_TEMPLATED = ("together", "fireworks", "nebius", *OUR_TRAINER)  # they train through a chat template
_MOST_IMAGES = 10
_MOST_IMAGES_AT_AZURE = 64


def form_of(record: dict[str, Any]) -> str | None:
    """Name the format that a record is in, None if no format has such keys."""
    if "messages" in record:
        messages = record["messages"]
        first = messages[0] if isinstance(messages, list) and messages else None
        return "sharegpt" if isinstance(first, dict) and {"from", "value"} <= first.keys() else "chat"
    if any(key in record for key in (*OUTPUTS, *_OLD_OUTPUTS)):
        return "preference"
    if "conversations" in record:
        return "sharegpt"
    if "chosen" in record and "rejected" in record:
        return "trl-preference"
    if "prompt" in record and "completion" in record:
        return "prompt-completion"
    if "instruction" in record and "output" in record:
        return "alpaca"
    return "text-record" if "text" in record else None


def check_record(record: dict[str, Any], method: DataMethod, out: list[Fault]) -> None:
    """Add every fault of a record under this method."""
    form = form_of(record)
    if form in FORMS and form not in ("chat", "preference"):
        out.append(Fault(form, ("messages", 0) if "messages" in record else ()))
        _check_raw(record, RAW.get(form, ()), out)
    elif form is not None and form != ("preference" if method == "dpo" else "chat"):
        right = "dpo" if form == "preference" else "sft"
        out.append(Fault("wrong-method", (), Plain(f"{FORMS[form]}, which is for method {right}, not {method}")))
    elif method == "dpo":
        _check_preference(record, out)
    else:
        _check_chat(record, method, out)


def _check_raw(record: dict[str, Any], keys: tuple[str, ...], out: list[Fault]) -> None:
    """Check a record of raw texts, which is trained on without a chat template."""
    if keys:
        _check_keys(record, (), frozenset({*keys, "weight"}), out)
    for key in keys:
        if isinstance(record[key], list) and key in _SPEAKERS:
            out.append(Fault("content-type", (key,), record[key], among=_WITHOUT_PARTS))
            check_parts(record[key], _SPEAKERS[key], (key,), out)
        elif not isinstance(record[key], str):
            out.append(Fault("content-type", (key,), record[key]))
        elif not record[key].strip():
            out.append(Fault("content-empty", (key,)))


def _check_chat(record: dict[str, Any], method: DataMethod, out: list[Fault]) -> None:
    if len(record) > 1 or "messages" not in record:
        _check_keys(record, (), _TASK_KEYS if method == "rft" else _CHAT_KEYS, out)
    _check_conversation(record, (), out, ends=_ENDS[method])


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
        declared = _check_conversation(asked, ("input",), out, ends=_check_ends_of_input)
    for key in OUTPUTS:
        _check_output(record, key, declared, out)
    preferred, other = (record.get(key) for key in OUTPUTS)
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
        elif record[key] is None and key in _OPTIONAL:
            out.append(Fault("null-key", (*path, key), key, at_key=True))
    if "weight" in record and "weight" in known:
        weight = record["weight"]
        out.append(Fault("sample-weight", (*path, "weight"), at_key=True))
        number = isinstance(weight, int | float) and not isinstance(weight, bool)
        if not number or not weight >= 0:
            among = ("together",) if number else None  # Fireworks takes negative ones, too
            out.append(Fault("sample-weight-invalid", (*path, "weight"), weight, among=among))
    if record.get("functions") is not None and "functions" in known:
        out.append(Fault("functions-deprecated", (*path, "functions"), "functions", at_key=True))
        check_functions(record["functions"], (*path, "functions"), out)
    parallel = record.get("parallel_tool_calls")
    if parallel is not None and not isinstance(parallel, bool):
        out.append(Fault("parallel-tool-calls-invalid", (*path, "parallel_tool_calls"), parallel))


def _check_conversation(holder: dict[str, Any], path: Path, out: list[Fault], *, ends: Ends) -> set[str]:
    """Check tools and messages; `ends` looks at the last of them."""
    declared = check_tools(holder["tools"], (*path, "tools"), out) if holder.get("tools") is not None else set()
    messages = holder.get("messages")
    at = (*path, "messages")
    if "messages" not in holder:
        out.append(Fault("messages-missing", path))
    elif not isinstance(messages, list):
        out.append(Fault("messages-not-a-list", at, messages))
    elif not messages:
        out.append(Fault("messages-empty", at))
    else:
        roles = _roles(messages, at, declared, out)
        _check_order(roles, at, out)
        ends(roles, at, out)
        if not all([message.__class__ is dict and message.keys() == _PLAIN_KEYS for message in messages]) or any(
            [message["content"].__class__ is list for message in messages]
        ):
            _check_more(messages, roles, at, out, ends=ends)
    return declared


def _check_more(messages: list[Any], roles: list[str | None], at: Path, out: list[Fault], *, ends: Ends) -> None:
    """Check what only messages with more than a role and a text can have."""
    if "tool" in roles or any(isinstance(m, dict) and "tool_calls" in m for m in messages):
        check_pairing(messages, at, out)
    _check_together(messages, at, out)
    if ends is _check_ends_of_chat:
        _check_weights(messages, roles, at, out)


def _roles(messages: list[Any], at: Path, declared: set[str], out: list[Fault]) -> list[str | None]:
    """Check each message and return the roles; the plainest are passed over quickly."""
    roles: list[str | None] = []
    for place, message in enumerate(messages):
        if message.__class__ is dict and len(message) == 2:
            role, content = message.get("role"), message.get("content")
            if (
                content.__class__ is str
                and content
                and role.__class__ is str
                and role in _PLAIN
                and not content.isspace()
            ):
                roles.append(role)
                continue
        roles.append(check_message(message, (*at, place), declared, out))
    return roles


def _check_order(roles: list[str | None], path: Path, out: list[Fault]) -> None:
    first = next((place for place, role in enumerate(roles) if role not in _SYSTEM), 0)
    if roles[first] in ("assistant", "tool", "function") and (first == 0 or "user" in roles):
        out.append(Fault("first-not-user", (*path, first), roles[first], among=_TEMPLATED if first else None))
    before = None
    for place, role in enumerate(roles):
        if role == before and role in ("user", "assistant"):
            out.append(Fault(f"{role}-repeated", (*path, place)))
        elif place and role in _SYSTEM:
            out.append(Fault("system-not-first", (*path, place)))
        before = role
    # A role that is unknown may well be the one that seems to be missing.
    if "user" not in roles and None not in roles:
        out.append(Fault("user-missing", path))


def _check_ends_of_chat(roles: list[str | None], path: Path, out: list[Fault]) -> None:
    if "assistant" not in roles:
        if None not in roles:
            out.append(Fault("assistant-missing", path))
    elif roles[-1] not in ("assistant", None):
        out.append(Fault("last-not-assistant", (*path, len(roles) - 1), roles[-1]))


def _check_ends_of_input(roles: list[str | None], path: Path, out: list[Fault]) -> None:
    if roles[-1] == "assistant":
        out.append(Fault("input-ends-with-assistant", (*path, len(roles) - 1)))


def _check_ends_of_task(roles: list[str | None], path: Path, out: list[Fault]) -> None:
    out.extend(
        Fault("system-in-reinforcement", (*path, place, "role")) for place, role in enumerate(roles) if role == "system"
    )
    if roles[-1] not in ("user", None):
        out.append(Fault("last-not-user", (*path, len(roles) - 1), roles[-1]))


Ends = Callable[[list[str | None], Path, list[Fault]], None]
_ENDS: dict[DataMethod, Ends] = {"sft": _check_ends_of_chat, "rft": _check_ends_of_task}


def _check_together(messages: list[Any], path: Path, out: list[Fault]) -> None:
    """Check what only shows when all messages are seen: forms of content, images."""
    contents = [message.get("content") for message in messages if message.__class__ is dict]
    lists = [content for content in contents if content.__class__ is list]
    if not lists:
        return
    if any(isinstance(content, str) for content in contents):
        out.append(Fault("parts-and-strings", path))
    parts = [part for content in lists for part in content if isinstance(part, dict)]
    images = sum(part.get("type") == "image_url" for part in parts)
    if images > _MOST_IMAGES:
        among = tuple(column for column in COLUMNS if column != "azure" or images > _MOST_IMAGES_AT_AZURE)
        out.append(Fault("images-too-many", path, images, among=among))


def _check_weights(messages: list[Any], roles: list[str | None], path: Path, out: list[Fault]) -> None:
    pairs = zip(messages, roles, strict=True)
    weights = [message.get("weight", 1) for message, role in pairs if role == "assistant"]
    if weights and all(isinstance(weight, int) and weight == 0 for weight in weights):
        out.append(Fault("nothing-to-train", path))
