"""Find the request and the response that a log holds, however they are nested."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

from anytune.data.convert.loss import Notes, UnfitError
from anytune.data.convert.shape import Record, unpacked
from anytune.data.path import Path

REQUESTS = ("request", "request_body", "requestBody", "req", "params", "kwargs", "body", "input", "inputs")
ANSWERS = ("response", "completion", "output")
RESPONSES = ("response", "response_body", "responseBody", "res", "completion", "output", "outputs", "result")
_BODIES = ("body", "json", "data")
_FAILED = 400
Api = Literal["chat", "responses", "anthropic"]


class Body(NamedTuple):
    """Be the body of a request or a response, and where it stands in the record."""

    value: Record
    path: Path


class Exchange(NamedTuple):
    """Be what was asked and what was answered; `keys` are those of the record that led there."""

    request: Body | None
    response: Body | None
    keys: tuple[str, ...]


def exchange(record: Record) -> Exchange | None:
    """Return the exchange that a record holds, None if it is no log."""
    if isinstance(record.get("messages") or record.get("input"), str | list) and _is_response(record):
        return Exchange(Body(record, ()), Body(record, ()), ())
    response_key, response = _find(record, RESPONSES, _is_response)
    request_key, request = _find(record, REQUESTS, _is_request)
    if isinstance(record.get("messages"), list) and request is None:
        request, request_key = Body(record, ()), ""
        if response is None and _waits(record["messages"]):
            response_key, response = _answer(record)
    if response is None and not (request and request_key and "custom_id" in record):
        return None
    if request is None and "custom_id" not in record and request_key == response_key == "":
        return None
    return Exchange(request, response, tuple(key for key in (request_key, response_key, "custom_id") if key in record))


def api_of(found: Exchange) -> Api:
    """Tell which interface an exchange went through, by the answer first."""
    answer = found.response.value if found.response else {}
    asked = found.request.value if found.request else {}
    if "choices" in answer:
        return "chat"
    if isinstance(answer.get("output"), list) or ("input" in asked and "messages" not in asked):
        return "responses"
    return "anthropic" if isinstance(answer.get("content"), list) else "chat"


def whole(record: Record, notes: Notes) -> tuple[Body, Body] | None:
    """Return request and response of a log, None if it is none; one without either or with an error is left out.

    The keys around the two are noted; a request that stands bare among them is left to the caller to note.
    """
    found = exchange(record)
    if found is None:
        return None
    _refuse_failed(record, found)
    if found.request is None:
        raise UnfitError("request-missing", (), record.get("custom_id"))
    if found.response is None:
        raise UnfitError("no-answer", (), record.get("custom_id"))
    if found.request.path:
        notes.rest(record, (*found.keys, "method", "url"))
        return found.request, found.response
    return Body({key: value for key, value in record.items() if key not in found.keys}, ()), found.response


def _refuse_failed(record: Record, found: Exchange) -> None:
    outer = record.get("response")
    status = outer.get("status_code") if isinstance(outer, dict) else record.get("status_code")
    answer = found.response.value if found.response else {}
    failed = isinstance(status, int) and status >= _FAILED
    if failed or answer.get("error") or record.get("error"):
        raise UnfitError("request-failed", (), status if failed else answer.get("error") or record.get("error"))


def _find(record: Record, keys: tuple[str, ...], fits: Any) -> tuple[str, Body | None]:
    for key in keys:
        value = unpacked(record.get(key))
        if not isinstance(value, dict):
            continue
        for inner in _BODIES:
            body = unpacked(value.get(inner))
            if isinstance(body, dict) and fits(body):
                return key, Body(body, (key, inner))
        if fits(value):
            return key, Body(value, (key,))
    return "", None


def _waits(messages: list[Any]) -> bool:
    last = messages[-1] if messages else None
    return isinstance(last, dict) and last.get("role") in ("user", "tool")


def _answer(record: Record) -> tuple[str, Body | None]:
    """Take a bare text beside the messages for the answer to them."""
    key = next((key for key in ANSWERS if isinstance(record.get(key), str)), "")
    return key, Body({"choices": [{"message": {"role": "assistant", "content": record[key]}}]}, ()) if key else None


def _is_request(value: Record) -> bool:
    return isinstance(value.get("messages"), list) or isinstance(value.get("input"), str | list) or "prompt" in value


def _is_response(value: Record) -> bool:
    if isinstance(value.get("choices"), list) or value.get("object") == "response" or value.get("error"):
        return True
    output = value.get("output")
    if isinstance(output, list) and output and all(isinstance(item, dict) for item in output):
        return True
    return value.get("role") == "assistant" and "content" in value
