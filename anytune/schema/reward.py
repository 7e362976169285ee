"""What an answer is worth: the rewards of reinforcement, in the words of OpenAI's graders where these have one."""

import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from anytune.schema.base import Value

RewardType = Literal["string_check", "regex", "json_schema", "sql_execution", "python", "model"]
NEEDED: dict[str, tuple[str, ...]] = {
    "string_check": ("reference", "operation"),
    "regex": ("pattern",),
    "json_schema": ("file",),
    "sql_execution": ("file", "reference"),
    "python": ("function",),
    "model": ("model",),
}
OWN = ("reference", "operation", "pattern", "file", "function", "model")
# OpenAI's other graders, and what to write instead of each.
ELSEWHERE = {
    "text_similarity": "how its scores come about is not published; write one of type python",
    "score_model": "it asks a hosted model to judge; train one and take type model, or write one of type python",
    "label_model": "it asks a hosted model to judge; train one and take type model, or write one of type python",
    "endpoint": "it sends answers to a server; write one of type python",
    "multi": "give its graders as rewards of their own, each with a weight; a formula is one of type python",
}
FUNCTION = re.compile(r"(?P<place>[^:]+):(?P<name>[A-Za-z_]\w*)")
Template = Annotated[str, Field(min_length=1)]


class Reward(Value):
    """Give an answer a number; those of all rewards are added up by their weights.

    `input` and `reference` are texts in which `{{ item.KEY }}` stands for what the record has under a key, and
    `{{ sample.output_text }}` for the answer. `text` is what `file`, or the file of `function`, holds; it is filled in
    when the job file is read, so that a job keeps its rewards whatever becomes of the files.
    """

    type: Annotated[RewardType, Field(description="how an answer is judged")]
    weight: Annotated[float, Field(allow_inf_nan=False, description="what its number is multiplied with")] = 1.0
    input: Annotated[Template, Field(description="what is judged: a text with {{ sample.… }} in it")] = (
        "{{ sample.output_text }}"
    )
    reference: Annotated[
        Template | None, Field(description="string_check, sql_execution: what is wanted: a text with {{ item.… }}")
    ] = None
    operation: Annotated[
        Literal["eq", "ne", "like", "ilike"] | None,
        Field(description="string_check: the same, not the same, holds it, holds it in any case of letters"),
    ] = None
    pattern: Annotated[str | None, Field(description="regex: is to be found in the answer (Python's re)")] = None
    file: Annotated[
        Path | None, Field(description="json_schema: the schema; sql_execution: SQL that builds the tables")
    ] = None
    function: Annotated[
        str | None, Field(description="python: FILE.py:NAME or MODULE:NAME, called with (sample, item)")
    ] = None
    model: Annotated[
        str | None, Field(min_length=1, description="model: a local job of method: reward, or a folder of its model")
    ] = None
    text: Annotated[str | None, Field(description="instead of file: what it would hold")] = None

    @model_validator(mode="before")
    @classmethod
    def _known_elsewhere(cls, given: Any) -> Any:
        kind = given.get("type") if isinstance(given, dict) else None
        if isinstance(kind, str) and kind in ELSEWHERE:
            raise ValueError(f"no reward here is of type {kind}: {ELSEWHERE[kind]}")
        return given

    @model_validator(mode="after")
    def _of_its_type(self) -> Self:
        needed = NEEDED[self.type]
        for name in needed:
            if getattr(self, name) is None and not (name == "file" and self.text is not None):
                raise ValueError(f"a reward of type {self.type} needs {name}")
        for name in OWN:
            if name not in needed and getattr(self, name) is not None and not (name == "file" and self.in_file):
                raise ValueError(f"{name} says nothing to a reward of type {self.type}")
        if self.type == "model" and self.input != Reward.model_fields["input"].default:
            raise ValueError("input says nothing to a reward of type model, which judges the answer as it is")
        if self.pattern is not None:
            try:
                re.compile(self.pattern)
            except re.error as error:
                raise ValueError(f"pattern is no regular expression: {error}") from error
        if self.function is not None and FUNCTION.fullmatch(self.function) is None:
            raise ValueError("function is not FILE.py:NAME or MODULE:NAME")
        return self

    @property
    def in_file(self) -> bool:
        """Tell whether the function stands in a file, not in a module that is installed."""
        return self.function is not None and self.function.rpartition(":")[0].endswith(".py")


REWARDS = tuple(f"rewards.{name}" for name in Reward.model_fields)
