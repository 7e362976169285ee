"""The records of training files as values, for programs that build or read them.

`anytune.data.check` does not go through these types: it reads files of any shape and reports what is wrong with them.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, StrictBool, StrictInt, model_validator

from anytune.schema.base import Value

SampleWeight = Annotated[float, Field(ge=0, allow_inf_nan=False)]
FunctionName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]


class TextPart(Value):
    """Be a piece of text within a content of parts."""

    type: Literal["text"] = "text"
    text: str


class RefusalPart(Value):
    """Be the words with which the assistant declines."""

    type: Literal["refusal"] = "refusal"
    refusal: str


class ImageUrl(Value):
    """Name an image by an http(s) or data URL."""

    url: str
    detail: Literal["auto", "low", "high", "original"] | None = None


class ImagePart(Value):
    """Be an image within a user message."""

    type: Literal["image_url"] = "image_url"
    image_url: ImageUrl


UserPart = Annotated[TextPart | ImagePart, Field(discriminator="type")]
AssistantPart = Annotated[TextPart | RefusalPart, Field(discriminator="type")]
TextParts = Annotated[tuple[TextPart, ...], Field(min_length=1)]
UserParts = Annotated[tuple[UserPart, ...], Field(min_length=1)]
AssistantParts = Annotated[tuple[AssistantPart, ...], Field(min_length=1)]


class FunctionCall(Value):
    """Be the function that a call names; `arguments` is JSON text, as the model has to write it."""

    name: FunctionName
    arguments: str


class ToolCall(Value):
    """Be one call of the assistant's, answered by the tool message with its id."""

    id: str
    type: Literal["function"] = "function"
    function: FunctionCall


class FunctionSpec(Value):
    """Declare a function; `parameters` is a JSON Schema."""

    name: FunctionName
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: StrictBool | None = None


class Tool(Value):
    """Declare a tool that the assistant may call."""

    type: Literal["function"] = "function"
    function: FunctionSpec


class SystemMessage(Value):
    """Tell the assistant how to behave."""

    role: Literal["system"] = "system"
    content: str | TextParts
    name: str | None = None


class DeveloperMessage(Value):
    """Be a system message under the name that newer models give it; no hosted trainer takes it in examples."""

    role: Literal["developer"] = "developer"
    content: str | TextParts
    name: str | None = None


class UserMessage(Value):
    """Be what the user says."""

    role: Literal["user"] = "user"
    content: str | UserParts
    name: str | None = None


class AssistantMessage(Value):
    """Be what the assistant says or calls; `weight` 0 takes it out of training, None leaves it in.

    `reasoning` or `reasoning_content` is what it thinks before, which Together and Fireworks train on.
    """

    role: Literal["assistant"] = "assistant"
    content: str | AssistantParts | None = None
    refusal: str | None = None
    tool_calls: Annotated[tuple[ToolCall, ...], Field(min_length=1)] | None = None
    function_call: FunctionCall | None = None
    name: str | None = None
    reasoning: str | None = None
    reasoning_content: str | None = None
    weight: Annotated[StrictInt, Field(ge=0, le=1)] | None = None

    @model_validator(mode="after")
    def _says_something(self) -> AssistantMessage:
        if self.content is None and not (self.tool_calls or self.function_call or self.refusal):
            raise ValueError("an assistant message has content, tool_calls or a refusal")
        return self


class ToolMessage(Value):
    """Be the answer to one call."""

    role: Literal["tool"] = "tool"
    content: str | TextParts
    tool_call_id: str


class FunctionMessage(Value):
    """Be the answer to a call in the old form of tools."""

    role: Literal["function"] = "function"
    content: str | None
    name: str


Message = Annotated[
    SystemMessage | DeveloperMessage | UserMessage | AssistantMessage | ToolMessage | FunctionMessage,
    Field(discriminator="role"),
]
Messages = Annotated[tuple[Message, ...], Field(min_length=1)]


class Example(Value):
    """Be one supervised example: a conversation with the answers to learn.

    `weight` multiplies the loss of the whole example where a provider knows that (Together, Fireworks).
    """

    messages: Messages
    tools: tuple[Tool, ...] | None = None
    parallel_tool_calls: StrictBool | None = None
    functions: Annotated[tuple[FunctionSpec, ...], Field(min_length=1, max_length=128)] | None = None
    weight: SampleWeight | None = None


class Task(Value):
    """Be one reinforcement example: a conversation that ends with the question, and whatever the grader needs.

    Every further key is data for the grader, which reads it as `item.<key>`; they stand in `model_extra`.
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    messages: Messages
    tools: tuple[Tool, ...] | None = None


class PromptCompletion(Value):
    """Be a raw text to go on from and how it goes on; only the completion is trained on."""

    prompt: str
    completion: str
    weight: SampleWeight | None = None


class PlainText(Value):
    """Be a raw text, all of which is trained on."""

    text: str
    weight: SampleWeight | None = None


class PreferenceInput(Value):
    """Be the conversation to which two outputs are compared."""

    messages: Messages
    tools: tuple[Tool, ...] | None = None
    parallel_tool_calls: StrictBool | None = None


class Preference(Value):
    """Be one pair for preference training (DPO): the same input, a better and a worse answer."""

    input: PreferenceInput
    preferred_output: tuple[AssistantMessage]
    non_preferred_output: tuple[AssistantMessage]
    weight: SampleWeight | None = None
