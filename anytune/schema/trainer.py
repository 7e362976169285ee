"""A trainer at a host where each base model has inputs of its own: which of them takes which setting."""

import json
from typing import Any, Self

from pydantic import field_validator, model_validator

from anytune.schema.base import Value
from anytune.schema.spec import REINFORCEMENT, WANDB, every_setting

# What is more than one plain value, or says which value of another field it means, has no input to be copied into.
_OTHERS = {
    "training.lora",
    "training.lora.target_modules",
    "training.lora.use_rslora",
    "training.quantize",
    "suffix",
    "from_checkpoint",
    *WANDB,
    *REINFORCEMENT,
}
MAPPABLE = every_setting() - _OTHERS


class Trainer(Value):
    """Say which input takes what: `data` and `validation` the files, `fields` a setting each, by its path.

    `input` is sent as it stands, `unvalidated` besides where a job has no validation file. `chats` says whether the
    data may be chats; otherwise they are prompts with completions, or plain text.
    """

    data: str
    validation: str | None = None
    fields: dict[str, str] = {}
    input: dict[str, Any] = {}
    unvalidated: dict[str, Any] = {}
    chats: bool = True

    @field_validator("fields")
    @classmethod
    def _of_settings(cls, fields: dict[str, str]) -> dict[str, str]:
        for path in fields:
            if path not in MAPPABLE:
                raise ValueError(f"{path!r} is no setting that an input can take: {', '.join(sorted(MAPPABLE))}")
        return fields

    @field_validator("input", "unvalidated")
    @classmethod
    def _of_json(cls, given: dict[str, Any]) -> dict[str, Any]:
        for name, value in given.items():
            try:
                json.dumps(value, allow_nan=False)
            except (TypeError, ValueError) as error:
                raise ValueError(f"{name!r} is nothing that JSON can hold, as a date is not: quote it") from error
        return given

    @model_validator(mode="after")
    def _each_input_once(self) -> Self:
        names = [self.data, *([self.validation] if self.validation else []), *self.fields.values()]
        names += [*self.input, *self.unvalidated]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"the input {twice!r} is to take two things")
        return self
