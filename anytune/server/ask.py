"""What a chat completion asks for: each field is kept or refused aloud, none is dropped that changes an answer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from anytune.server.fault import Fault

# Fields that this server cannot honour, with the values that ask for nothing.
FIXED: dict[str, tuple[Any, ...]] = {
    "n": (1,),
    "frequency_penalty": (0,),
    "presence_penalty": (0,),
    "logit_bias": ({},),
    "logprobs": (False,),
    "top_logprobs": (0,),
    "response_format": ({"type": "text"},),
    "modalities": (["text"],),
    "tool_choice": ("auto",),
    "parallel_tool_calls": (True,),
    "functions": ([],),
    "function_call": (),
    "reasoning_effort": (),
    "audio": (),
    "prediction": (),
    "verbosity": (),
    "web_search_options": (),
}
# Fields about the caller or OpenAI's own accounting, which change no answer.
INDIFFERENT = {"user", "metadata", "store", "safety_identifier", "prompt_cache_key", "service_tier"}


class StreamOptions(BaseModel):
    """Say what else a stream tells."""

    model_config = ConfigDict(extra="forbid")

    include_usage: bool = False
    include_obfuscation: bool = False


class Ask(BaseModel):
    """Be one request for a chat completion."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str
    messages: Annotated[list[dict[str, Any]], Field(min_length=1)]
    tools: list[dict[str, Any]] | None = None
    stream: bool = False
    stream_options: StreamOptions | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2, allow_inf_nan=False)] = 1.0
    top_p: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] = 1.0
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    stop: Annotated[str, Field(min_length=1)] | Annotated[list[str], Field(max_length=4)] | None = None

    @property
    def tells_usage(self) -> bool:
        """Tell whether a stream ends with what was used."""
        return self.stream_options is not None and self.stream_options.include_usage

    def question(self, *, model: str) -> dict[str, Any]:
        """Return it as the engine is asked."""
        most = self.max_completion_tokens or self.max_tokens
        stop = [self.stop] if isinstance(self.stop, str) else self.stop or []
        return {
            "model": model,
            "messages": [_plain(message, at) for at, message in enumerate(self.messages)],
            "tools": self.tools or None,
            "most": most,
            "temperature": self.temperature,
            "top_p": self.top_p,
            "seed": self.seed,
            "stop": [text for text in stop if text],
        }


def read(body: bytes) -> Ask:
    """Read a request; raise `Fault` that names the field."""
    try:
        told = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Fault(400, f"the body is not JSON: {str(error).splitlines()[0]}") from None
    if not isinstance(told, dict):
        raise Fault(400, "the body should be a JSON object")
    wanted = {name: value for name, value in told.items() if value is not None and name not in INDIFFERENT}
    for name in wanted.keys() & FIXED.keys():
        if wanted.pop(name) not in FIXED[name]:
            raise Fault(400, f"{name} cannot be honoured here: leave it out", param=name, code="unsupported_parameter")
    try:
        return Ask.model_validate(wanted, strict=False)
    except ValidationError as error:
        raise _told(error) from None


def _told(error: ValidationError) -> Fault:
    first = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(str(part) for part in first["loc"] if part not in ("str", "list[str]", "constrained-str"))
    if first["type"] == "extra_forbidden":
        return Fault(400, f"unknown field: {place}", param=place, code="unknown_parameter")
    return Fault(400, f"{place}: {first['msg']}", param=place)


def _plain(message: Mapping[str, Any], at: int) -> dict[str, Any]:
    """Return a message with its content as text, as chat templates take it; other parts than text are refused."""
    content, place = message.get("content"), f"messages[{at}]"
    if not isinstance(message.get("role"), str):
        raise Fault(400, f"{place}: there is no role", param=place)
    if isinstance(content, list):
        parts = [part for part in content if isinstance(part, dict) and part.get("type") == "text"]
        texts = [part["text"] for part in parts if isinstance(part.get("text"), str)]
        if len(texts) < len(content):
            raise Fault(400, f"{place}.content: only parts of text can be read", param=f"{place}.content")
        return {**message, "content": "".join(texts)}
    if not isinstance(content, str | None):
        raise Fault(400, f"{place}.content: it should be text", param=f"{place}.content")
    return dict(message)
