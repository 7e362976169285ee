"""What OpenAI's clients get: answers, streams, and every error in the shape that they know."""

from __future__ import annotations

import json
import time
from typing import Any

import httpx
import pytest

from tests.server.conftest import Here, served

openai = pytest.importorskip("openai")
HELLO = [{"role": "user", "content": "one two three"}]


def client(here: Here, **more: Any) -> Any:
    return openai.OpenAI(base_url=f"{here.origin}/v1", api_key="none", max_retries=0, timeout=30, **more)


def post(here: Here, body: Any, **headers: str) -> httpx.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    sent = {"Content-Type": "application/json", **headers}
    return httpx.post(f"{here.origin}/v1/chat/completions", content=content, headers=sent, timeout=60)


def test_the_vendors_own_client_lists_asks_and_streams(here: Here) -> None:
    ours = client(here)
    assert [model.id for model in ours.models.list()] == ["sums-1", "base"]
    assert ours.models.retrieve("base").object == "model"
    made = ours.chat.completions.create(model="sums", messages=HELLO)  # by the job's name
    assert (made.choices[0].message.content, made.choices[0].finish_reason) == ("one two three", "stop")
    assert (made.usage.prompt_tokens, made.usage.completion_tokens) == (3, 3)
    chunks = list(ours.chat.completions.create(model="sums-1", messages=HELLO, stream=True))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "one two three"
    assert (chunks[0].choices[0].delta.role, chunks[-1].choices[0].finish_reason) == ("assistant", "stop")


@pytest.mark.parametrize(
    ("changes", "status", "param", "code"),
    [
        ({"n": 2}, 400, "n", "unsupported_parameter"),
        ({"logprobs": True}, 400, "logprobs", "unsupported_parameter"),
        ({"frequency_penalty": 0.5}, 400, "frequency_penalty", "unsupported_parameter"),
        ({"response_format": {"type": "json_object"}}, 400, "response_format", "unsupported_parameter"),
        ({"tool_choice": "required"}, 400, "tool_choice", "unsupported_parameter"),
        ({"temprature": 1}, 400, "temprature", "unknown_parameter"),
        ({"temperature": 3}, 400, "temperature", None),
        ({"temperature": "warm"}, 400, "temperature", None),
        ({"top_p": -1}, 400, "top_p", None),
        ({"max_tokens": 0}, 400, "max_tokens", None),
        ({"seed": 2**70}, 400, "seed", None),
        ({"messages": []}, 400, "messages", None),
        ({"messages": "hello"}, 400, "messages", None),
        ({"messages": ["hello"]}, 400, "messages.0", None),
        ({"messages": [{"content": "x"}]}, 400, "messages[0]", None),
        ({"messages": [{"role": "user", "content": 3}]}, 400, "messages[0].content", None),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]},
            400,
            "messages[0].content",
            None,
        ),
        ({"stop": ["a", "b", "c", "d", "e"]}, 400, None, None),
        ({"model": "gpt-4"}, 404, "model", "model_not_found"),
        ({"messages": [{"role": "user", "content": "refuse this"}]}, 400, "messages", None),
    ],
)
def test_what_cannot_be_honoured_is_refused_by_the_name_of_its_field(
    here: Here, changes: dict[str, Any], status: int, param: str | None, code: str | None
) -> None:
    said = post(here, {"model": "base", "messages": HELLO, **changes})
    error = said.json()["error"]
    assert (said.status_code, error["code"]) == (status, code)
    assert param is None or error["param"] == param
    assert error.keys() == {"message", "type", "param", "code"}


def test_what_asks_for_nothing_more_is_taken(here: Here) -> None:
    indifferent = {"user": "me", "metadata": {"a": "b"}, "store": False, "seed": None, "tools": None, "stop": None}
    fixed = {"n": 1, "logprobs": False, "presence_penalty": 0, "response_format": {"type": "text"}, "logit_bias": {}}
    parts = [{"role": "user", "content": [{"type": "text", "text": "one "}, {"type": "text", "text": "two"}]}]
    said = post(here, {"model": "base", "messages": parts, **indifferent, **fixed, "tool_choice": "auto"})
    assert said.json()["choices"][0]["message"]["content"] == "one two"


def test_tools_are_handed_to_the_template(here: Here) -> None:
    tool = {"type": "function", "function": {"name": "look_up", "parameters": {"type": "object", "properties": {}}}}
    asked = [{"role": "user", "content": "tools"}]
    made = client(here).chat.completions.create(model="base", messages=asked, tools=[tool])
    assert made.choices[0].message.content == "look_up"
    assert client(here).chat.completions.create(model="base", messages=asked).choices[0].message.content == "none"


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"nonsense", b"[]", b"null", b"\xff\xfe", b'{"model": "base", "messages": NaN}', b"[" * 100_000],
)
def test_a_body_that_is_no_request_is_told(here: Here, body: bytes) -> None:
    said = post(here, body)
    assert (said.status_code, said.json()["error"]["type"]) == (400, "invalid_request_error")


def test_addresses_and_methods_that_there_are_not_are_told_in_the_same_shape(here: Here) -> None:
    for method, path, status in (
        ("GET", "/", 404),
        ("GET", "/v1/chat/completions", 405),
        ("POST", "/v1/fine_tuning/jobs", 404),
        ("GET", "/v1/models/nobody", 404),
        ("GET", "/v1/models/../../etc/passwd", 404),
        ("POST", "/webhooks/openai", 404),  # nobody asked for them here
    ):
        said = httpx.request(method, here.origin + path, json={})
        assert (said.status_code, "message" in said.json()["error"]) == (status, True), path


def test_what_fails_in_the_middle_is_told_in_an_answer_and_in_a_stream(here: Here) -> None:
    asked = [{"role": "user", "content": "one fail"}]
    assert post(here, {"model": "base", "messages": asked}).status_code == 503
    stream = client(here).chat.completions.create(model="base", messages=asked, stream=True)
    with pytest.raises(openai.APIError, match="the model failed"):
        list(stream)


def test_a_worker_that_dies_is_told_by_its_last_words_and_the_next_is_answered(here: Here) -> None:
    said = post(here, {"model": "base", "messages": [{"role": "user", "content": "one die"}]})
    assert (said.status_code, said.json()["error"]["message"]) == (503, "the answering process ended: it has died")
    assert post(here, {"model": "base", "messages": HELLO}).status_code == 200


@pytest.mark.parametrize("stream", [True, False])
def test_who_goes_away_takes_the_question_back(stream: bool) -> None:
    with served() as here:
        asked = {"model": "base", "messages": [{"role": "user", "content": "slowly " * 2000}], "stream": stream}
        with httpx.Client(timeout=0.3) as impatient, pytest.raises(httpx.ReadTimeout):
            if stream:
                with impatient.stream("POST", f"{here.origin}/v1/chat/completions", json=asked) as answer:
                    next(answer.iter_lines())
                    raise httpx.ReadTimeout("enough")
            impatient.post(f"{here.origin}/v1/chat/completions", json=asked)
        began = time.monotonic()
        assert post(here, {"model": "base", "messages": HELLO}).status_code == 200
        assert time.monotonic() - began < 50  # all of it would take twice as long
        assert "cancelled 1" in here.worker_said


def test_more_than_can_wait_are_sent_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("anytune.local.engine.WAITING", 1)
    asked = {"model": "base", "messages": [{"role": "user", "content": "slowly " * 2000}], "stream": True}
    with served() as here:
        with httpx.stream("POST", f"{here.origin}/v1/chat/completions", json=asked, timeout=30) as answer:
            lines = answer.iter_lines()  # closing this would close the answer
            next(lines)
            said = post(here, {"model": "base", "messages": HELLO})
        assert (said.status_code, said.headers["retry-after"]) == (429, "10")
        assert said.json()["error"]["type"] == "rate_limit_error"
        end = time.monotonic() + 10
        while post(here, {"model": "base", "messages": HELLO}).status_code == 429 and time.monotonic() < end:
            time.sleep(0.05)  # until it is seen that the first has gone
        assert post(here, {"model": "base", "messages": HELLO}).status_code == 200


def test_what_was_asked_stands_in_no_line_that_is_told(here: Here) -> None:
    post(here, {"model": "base", "messages": [{"role": "user", "content": "CANARY"}]}, Authorization="Bearer CANARY")
    httpx.get(f"{here.origin}/health?token=CANARY")
    httpx.get(f"{here.origin}/%1b[31m{'x' * 500}")
    assert not [line for line in here.told if "CANARY" in line or "\x1b" in line or len(line) > 140]
    assert any(line.startswith("POST /v1/chat/completions 200 ") for line in here.told)


def test_a_model_that_cannot_be_opened_is_told_before_anything_is_served() -> None:
    import asyncio

    from anytune.errors import ProviderError
    from tests.server.conftest import engine

    with pytest.raises(ProviderError, match="the answering process ended: no such model"):
        asyncio.run(engine("broken").start())
