"""What OpenAI's API refuses: at once in a body, and minutes later in the data."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from tests.stubs._call import Call, Refuse, Reply

TUNABLE = {
    "gpt-4.1-2025-04-14": {"supervised", "dpo"},
    "gpt-4.1-mini-2025-04-14": {"supervised", "dpo"},
    "gpt-4o-2024-08-06": {"supervised", "dpo"},
    "gpt-4o-mini-2024-07-18": {"supervised", "dpo"},
}
PURPOSES = {"assistants", "batch", "fine-tune", "vision", "user_data", "evals"}
MONTH = 30 * 24 * 3600
ROLES = {"system", "user", "assistant", "tool", "function"}
LINE_KEYS = {"messages", "tools", "parallel_tool_calls", "functions"}
MESSAGE_KEYS = {"role", "content", "name", "weight", "tool_calls", "tool_call_id", "function_call", "refusal"}

Check = Callable[[Any], bool]


def whole(low: int, high: int) -> Check:
    return lambda value: type(value) is int and low <= value <= high


def _number(low: float, high: float) -> Check:
    return lambda value: type(value) in (int, float) and low < value <= high


def _auto(check: Check) -> Check:
    return lambda value: value == "auto" or check(value)


def text(longest: int) -> Check:
    return lambda value: isinstance(value, str) and 1 <= len(value) <= longest


def _optional(check: Check) -> Check:
    return lambda value: value is None or check(value)


def _metadata(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and len(value) <= 16
        and all(isinstance(v, str) and len(k) <= 64 and len(v) <= 512 for k, v in value.items())
    )


def _mapping(value: Any) -> bool:
    return isinstance(value, dict)


def expires(value: dict[str, Any]) -> bool:
    """Tell whether this is an expiry that a file may have."""
    seconds = str(value.get("seconds"))
    return value.get("anchor") == "created_at" and seconds.isdigit() and 3600 <= int(seconds) <= MONTH


def _integrations(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, dict) and _wandb(item) for item in value)


def _wandb(item: dict[str, Any]) -> bool:
    told = item.get("wandb", {})
    texts = [value for name, value in told.items() if name != "tags"]
    return (
        set(item) == {"type", "wandb"}
        and item["type"] == "wandb"
        and "project" in told
        and set(told) <= {"project", "name", "entity", "tags"}
        and all(isinstance(value, str) for value in (*texts, *told.get("tags", [])))
    )


JOB_FIELDS: dict[str, Check] = {
    "model": text(256),
    "training_file": text(256),
    "validation_file": _optional(text(256)),
    "suffix": _optional(text(64)),
    "seed": _optional(whole(0, 2147483647)),
    "metadata": _optional(_metadata),
    "method": _mapping,
    "integrations": _optional(_integrations),
}
CHAT_FIELDS: dict[str, Check] = {
    "model": text(256),
    "messages": lambda value: isinstance(value, list) and bool(value),
    "temperature": _number(-1e-9, 2),
    "max_completion_tokens": whole(1, 100_000),
}
SUPERVISED: dict[str, Check] = {
    "n_epochs": _auto(whole(1, 50)),
    "batch_size": _auto(whole(1, 256)),
    "learning_rate_multiplier": _auto(_number(0, float("inf"))),
}
HYPERPARAMETERS = {"supervised": SUPERVISED, "dpo": {**SUPERVISED, "beta": _auto(_number(0, 2))}}


def refusal(
    status: int,
    message: str,
    *,
    param: str | None = None,
    code: str | None = None,
    kind: str = "invalid_request_error",
) -> Refuse:
    """Make an answer in the shape of OpenAI's error object."""
    fault = {"message": message, "type": kind, "param": param, "code": code}
    return Refuse(Reply(status, {"error": fault}))


def json_of(call: Call) -> Any:
    """Decode a body that says of itself that it is JSON."""
    if not call.headers.get("content-type", "").startswith("application/json"):
        raise refusal(400, "We could not parse the JSON body of your request.")
    return call.json


def checked(body: Any, fields: dict[str, Check], *, required: tuple[str, ...], at: str = "") -> dict[str, Any]:
    """Return the body, or refuse its first missing, unknown or ill-typed field."""
    if not isinstance(body, dict):
        raise refusal(400, "We could not parse the JSON body of your request.")
    for name in required:
        if name not in body:
            raise refusal(400, f"Missing required parameter: '{at}{name}'.", param=at + name)
    for name, value in body.items():
        if name not in fields:
            raise refusal(400, f"Unknown parameter: '{at}{name}'.", param=at + name, code="unknown_parameter")
        if not fields[name](value):
            raise refusal(400, f"Invalid value for '{at}{name}'.", param=at + name, code="invalid_value")
    return body


def checked_method(method: Any, known: Mapping[str, Any]) -> tuple[str, str, Any]:
    """Return a method's type, where its hyperparameters stand, and what stands there, or refuse it."""
    kind = method.get("type")
    if kind not in known:
        raise refusal(400, "Invalid value for 'method.type'.", param="method.type", code="invalid_value")
    checked(method, {"type": text(20), kind: _mapping}, required=("type",), at="method.")
    within = checked(method.get(kind, {}), {"hyperparameters": _mapping}, required=(), at=f"method.{kind}.")
    return kind, f"method.{kind}.hyperparameters.", within.get("hyperparameters", {})


def checked_first_line(content: bytes) -> None:
    """Refuse what an upload refuses: a first line that is no JSON object (a BOM makes it none)."""
    try:
        whole = isinstance(json.loads(content.split(b"\n", 1)[0].decode("utf-8")), dict)
    except ValueError:
        whole = False
    if not whole:
        said = "Invalid file format for Fine-Tuning API. Must be .jsonl. Line 1 is not a dictionary"
        raise refusal(400, said)


def data_fault(content: bytes, *, method: str, param: str) -> dict[str, Any] | None:
    """Return the error that the job would end with, None for good data."""
    lines = [line for line in content.decode("utf-8-sig", "replace").splitlines() if line.strip()]
    for number, line in enumerate(lines, start=1):
        said = _line_fault(line, method)
        if said is not None:
            code = "invalid_file_format" if said.startswith("contains an extra") else f"invalid_{param}"
            return {"code": code, "message": f"Example {number} {said}", "param": param}
    if param == "training_file" and len(lines) < 10:
        said = f"{param} has {len(lines)} example(s), but must have at least 10 examples"
        return {"code": "invalid_n_examples", "message": said, "param": param}
    return None


def _line_fault(line: str, method: str) -> str | None:
    try:
        example = json.loads(line)
    except ValueError:
        return "cannot be parsed: invalid json"
    if not isinstance(example, dict):
        return "is not a dictionary"
    if method == "dpo":
        wanted = ("input", "preferred_output", "non_preferred_output")
        missing = next((name for name in wanted if name not in example), None)
        if missing:
            return f"is missing key '{missing}'"
        lists = (
            example["input"].get("messages"),
            example["preferred_output"],
            example["non_preferred_output"],
        )
        return next((fault for fault in map(_messages_fault, lists) if fault), None)
    extra = next((name for name in example if name not in LINE_KEYS), None)
    if "messages" not in example:
        return "is missing key 'messages'"
    return f'contains an extra "{extra}"' if extra else _messages_fault(example["messages"])


def _messages_fault(messages: Any) -> str | None:
    if not isinstance(messages, list) or not messages:
        return "has no messages"
    for number, message in enumerate(messages, start=1):
        role = message.get("role") if isinstance(message, dict) else None
        if role not in ROLES:
            return f"message {number} Discriminator 'role' is missing or unknown"
        extra = next((name for name in message if name not in MESSAGE_KEYS), None)
        if extra:
            return f'contains an extra "{extra}"'
        if "weight" in message and (type(message["weight"]) is not int or message["weight"] not in (0, 1)):
            return f"message {number}: weight is neither 0 nor 1"
        if message.get("content") is None and not message.get("tool_calls") and not message.get("function_call"):
            return f"message {number} has no content"
    return None
