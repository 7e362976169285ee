"""The ways of those who speak OpenAI's API: what each takes, refuses and shows otherwise than OpenAI."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.stubs import _openai_rules as rules
from tests.stubs._call import Call

BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class Manner:
    """Be the ways of one server; the defaults are OpenAI's."""

    tunable: Mapping[str, set[str]] = field(default_factory=lambda: rules.TUNABLE)
    fields: Mapping[str, rules.Check] = field(default_factory=lambda: rules.JOB_FIELDS)
    knobs: Mapping[str, Mapping[str, rules.Check]] = field(default_factory=lambda: rules.HYPERPARAMETERS)
    required: tuple[str, ...] = ("model", "training_file")
    top: bool = False
    api_key: bool = False
    byte_order_mark: bool = False
    looks_at_files: bool = False
    keeps_metadata: bool = True
    file_status: str | None = "processed"
    oldest_first: bool = False
    suffix: str = "user_provided_suffix"
    names_model: bool = True
    serves: bool = True
    tells_loss: bool = True
    life: tuple[str, ...] = ("validating_files", "queued", "running", "running", "succeeded")

    def key_of(self, call: Call) -> str:
        """Return the key that came with a call, '' where it came in another way."""
        if self.api_key:
            return "" if "authorization" in call.headers else call.headers.get("api-key", "")
        return call.headers.get("authorization", "").removeprefix("Bearer ")

    def checked_job(self, body: Any) -> tuple[dict[str, Any], str, dict[str, Any]]:
        """Return the body of a creation, its method's type and its hyperparameters, or refuse it."""
        body = rules.checked(body, dict(self.fields), required=self.required)
        if self.top:
            kind, at, given = "supervised", "hyperparameters.", body.get("hyperparameters", {})
        else:
            kind, at, given = rules.checked_method(body.get("method", {"type": "supervised"}), self.knobs)
        knobs = rules.checked(given, dict(self.knobs[kind]), required=(), at=at)
        if kind not in self.tunable.get(body["model"], set()):
            said = f"Model {body['model']} is not available for fine-tuning or does not exist."
            raise rules.refusal(400, said, param="model", code="model_not_available")
        return body, kind, knobs

    def checked_upload(self, content: bytes) -> None:
        """Refuse what an upload refuses."""
        if not self.byte_order_mark:
            rules.checked_first_line(content)
        elif not content.startswith(BOM):
            raise rules.refusal(400, "The file is not UTF-8 with a byte order mark", code="invalidPayload")
        elif content.startswith(BOM * 2):
            raise rules.refusal(400, "The file begins with two byte order marks", code="invalidPayload")

    def shown(self, job: dict[str, Any]) -> dict[str, Any]:
        """Turn a job as OpenAI would show it into one of this server."""
        left_out = [] if self.keeps_metadata else ["metadata"]
        left_out += [] if self.names_model else ["fine_tuned_model"]
        left_out += ["method"] if self.top else []
        told = {name: value for name, value in job.items() if name not in left_out}
        told[self.suffix] = told.pop("user_provided_suffix")
        return told


def _without(fields: Mapping[str, rules.Check], *names: str) -> dict[str, rules.Check]:
    return {name: check for name, check in fields.items() if name not in names}


def _short_suffix(value: Any) -> bool:
    return isinstance(value, str) and 1 <= len(value) <= 18 and "." not in value


def _word(*words: str) -> rules.Check:
    return lambda value: value in words


def _at_least(low: float) -> rules.Check:
    return lambda value: type(value) in (int, float) and value >= low


OPENAI = Manner()
AZURE = Manner(
    fields={
        **_without(rules.JOB_FIELDS, "integrations"),
        "suffix": _short_suffix,
        "trainingType": _word("Standard", "GlobalStandard", "developerTier"),
    },
    required=("model", "training_file", "trainingType"),  # left out, it was seen to be refused
    api_key=True,
    byte_order_mark=True,
    looks_at_files=True,
    serves=False,
)
NEBIUS = Manner(
    tunable={
        "meta-llama/Meta-Llama-3.1-8B-Instruct": {"supervised"},
        "meta-llama/Llama-3.3-70B-Instruct": {"supervised"},
    },
    fields={
        **_without(rules.JOB_FIELDS, "method", "metadata", "integrations"),
        "hyperparameters": lambda value: isinstance(value, dict),
    },
    knobs={
        "supervised": {
            "n_epochs": rules.whole(1, 20),
            "batch_size": rules.whole(1, 64),
            "learning_rate": _at_least(0),
            "warmup_ratio": _at_least(0),
            "weight_decay": _at_least(0),
            "max_grad_norm": _at_least(0),
            "lora": lambda value: type(value) is bool,
            "lora_r": rules.whole(8, 128),
            "lora_alpha": _at_least(8),
            "lora_dropout": _at_least(0),
            "packing": lambda value: type(value) is bool,
            "context_length": lambda value: type(value) is int and value in {8192 << n for n in range(5)},
        }
    },
    top=True,
    keeps_metadata=False,
    file_status=None,
    oldest_first=True,
    suffix="suffix",
    names_model=False,
    serves=False,
    tells_loss=False,
    life=("running", "running", "succeeded"),
)
OWN = Manner(tunable={"acme/own-7b": {"supervised", "dpo"}}, keeps_metadata=False)  # it drops what it does not know
