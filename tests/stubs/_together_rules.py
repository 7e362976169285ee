"""What Together's API refuses: at once in a body, and after the upload in the data."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from tests.stubs._call import Refuse, Reply

TUNABLE = {
    "Qwen/Qwen3.5-9B": {"lora": True, "full": True, "max_length": 65536},
    "openai/gpt-oss-20b": {"lora": True, "full": False, "max_length": 131072},
    "meta-llama/Meta-Llama-3.1-8B-Instruct-Reference": {"lora": True, "full": True, "max_length": 65536},
}
ROLES = {"system", "user", "assistant", "tool"}
COLUMNS = {
    "CONVERSATION": {"messages", "tools", "weight"},
    "PREFERENCE_OPENAI": {"input", "preferred_output", "non_preferred_output", "weight"},
    "INSTRUCTION": {"prompt", "completion", "weight"},
    "GENERAL": {"text", "weight"},
}
MARK = {
    "messages": "CONVERSATION",
    "input": "PREFERENCE_OPENAI",
    "prompt": "INSTRUCTION",
    "text": "GENERAL",
}

Check = Callable[[Any], bool]


@dataclass
class StoredFile:
    """Be a file: reserved, then filled (`content`), then checked (`status`, `report`)."""

    id: str
    name: str
    checksum: str
    created_at: int
    content: bytes | None = field(default=None, repr=False)
    status: str = "PENDING"
    steps: list[str] = field(default_factory=list)
    report: dict[str, Any] | None = None

    def shown(self) -> dict[str, Any]:
        known = {"validation_report": self.report} if self.status in {"COMPLETED", "INVALID_FORMAT"} else {}
        return {
            "id": self.id,
            "object": "file",
            "bytes": len(self.content or b""),
            "created_at": self.created_at,
            "filename": self.name,
            "FileType": "jsonl",
            "purpose": "fine-tune",
            "Processed": self.status == "COMPLETED",
            "processing_status": self.status,
            **known,
        }


def _whole(low: int, high: int) -> Check:
    return lambda value: type(value) is int and low <= value <= high


def _number(low: float, high: float) -> Check:
    return lambda value: type(value) in (int, float) and low <= value <= high


def _text(longest: int) -> Check:
    return lambda value: isinstance(value, str) and len(value) <= longest


def _mapping(value: Any) -> bool:
    return isinstance(value, dict)


def _flag(value: Any) -> bool:
    return isinstance(value, bool)


JOB_FIELDS: dict[str, Check] = {
    "model": _text(256),
    "training_file": _text(256),
    "validation_file": _text(256),
    "suffix": _text(40),
    "packing": _flag,
    "n_epochs": _whole(1, 20),
    "n_evals": _whole(0, 100),
    "n_checkpoints": _whole(1, 20),
    "batch_size": lambda value: value == "max" or _whole(8, 128)(value),
    "learning_rate": _number(1e-8, 0.1),
    "lr_scheduler": _mapping,
    "warmup_ratio": _number(0, 1),
    "weight_decay": _number(0, 1e9),
    "max_grad_norm": _number(0, 1e9),
    "max_seq_length": _whole(8, 131072),
    "random_seed": _whole(0, 2147483647),
    **dict.fromkeys(("wandb_key", "wandb_project_name", "wandb_name", "wandb_entity"), _text(256)),
    "training_type": _mapping,
    "training_method": _mapping,
    # what the vendor's SDK sends beside them
    "early_stopping_enabled": _flag,
    "gradient_accumulation_steps": _whole(1, 1024),
    "multimodal_params": _mapping,
}
PRICED = {
    name: JOB_FIELDS[name]
    for name in JOB_FIELDS
    if name in {"model", "n_epochs", "n_evals"} or name.startswith("training_") or name == "validation_file"
}
FORM_FIELDS = {
    "purpose": lambda value: value == "fine-tune",
    "file_name": lambda value: isinstance(value, str) and value.endswith(".jsonl"),
    "file_type": lambda value: value == "jsonl",
    "checksum": lambda value: isinstance(value, str) and len(value) == 64,
}
LORA: dict[str, Check] = {
    "type": lambda value: value == "Lora",
    "lora_r": _whole(1, 64),
    "lora_alpha": _whole(1, 4096),
    "lora_dropout": lambda value: _number(0, 1)(value) and value < 1,
    "lora_trainable_modules": _text(512),
}
FULL: dict[str, Check] = {"type": lambda value: value == "Full"}
METHODS: dict[str, dict[str, Check]] = {
    "sft": {"method": _text(8), "train_on_inputs": lambda value: value == "auto" or isinstance(value, bool)},
    "dpo": {
        "method": _text(8),
        "dpo_beta": _number(0, 10),
        "dpo_normalize_logratios_by_length": _flag,
        "dpo_reference_free": _flag,
    },
}
SCHEDULES: dict[str, dict[str, Check]] = {
    "linear": {"min_lr_ratio": _number(0, 1)},
    "cosine": {"min_lr_ratio": _number(0, 1), "num_cycles": _number(1e-9, 100)},
}


def refusal(status: int, message: str, *, param: str | None = None, code: str | None = None) -> Refuse:
    """Make a refusal in the API's own shape."""
    fault = {"message": message, "type": "invalid_request_error", "param": param, "code": code}
    return Refuse(Reply(status, {"error": fault}))


def checked(body: Any, fields: Mapping[str, Check], *, required: tuple[str, ...]) -> dict[str, Any]:
    """Return the body if each field is known and well typed and none that is needed is missing; else refuse."""
    if not isinstance(body, dict):
        raise refusal(400, "the body must be a JSON object")
    for name in required:
        if name not in body:
            raise refusal(400, f"{name} is required", param=name)
    for name, value in body.items():
        if name not in fields:
            raise refusal(400, f"unknown field: {name}", param=name)
        if not fields[name](value):
            raise refusal(400, f"invalid value for {name}: {value!r}", param=name)
    return body


def checked_job(body: Any) -> dict[str, Any]:
    """Check a whole create body, down to its nested parts."""
    job = checked(body, JOB_FIELDS, required=("model", "training_file"))
    _check_parts(job)
    schedule = job.get("lr_scheduler", {"lr_scheduler_type": "cosine"})
    kind = schedule.get("lr_scheduler_type")
    if kind not in SCHEDULES or set(schedule) - {"lr_scheduler_type", "lr_scheduler_args"}:
        raise refusal(400, "unknown learning rate scheduler", param="lr_scheduler")
    checked(schedule.get("lr_scheduler_args", {}), SCHEDULES[kind], required=())
    if job.get("n_evals", 0) and not job.get("validation_file"):
        raise refusal(400, "n_evals needs a validation file", param="n_evals")
    if job.get("max_seq_length", 0) > TUNABLE[job["model"]]["max_length"]:
        raise refusal(400, "max_seq_length is more than the model takes", param="max_seq_length")
    return job


def checked_quote(body: Any) -> dict[str, Any]:
    """Check the body of a price question."""
    asked = checked(body, PRICED, required=("training_file",))
    _check_parts(asked)
    return asked


def _check_parts(job: dict[str, Any]) -> None:
    if job.get("model") not in TUNABLE:
        raise refusal(400, f"{job.get('model')} is not available for fine-tuning", param="model")
    kind = job.get("training_type", {"type": "Lora", "lora_r": 8, "lora_alpha": 16})
    if kind.get("type") == "Full":
        checked(kind, FULL, required=("type",))
        if not TUNABLE[job["model"]]["full"]:
            raise refusal(400, "full training is not supported for this model", param="training_type")
    else:
        checked(kind, LORA, required=("type", "lora_r", "lora_alpha"))
    method = job.get("training_method", {"method": "sft", "train_on_inputs": "auto"})
    fields = METHODS.get(method.get("method"))
    if fields is None:
        raise refusal(400, "unknown training method", param="training_method")
    checked(method, fields, required=tuple({"method", "train_on_inputs"} & set(fields)))


def batch_size(job: Mapping[str, Any]) -> int:
    """Return the number that stands in the job: the answers to a creation and to a list know no "max"."""
    dpo = job.get("training_method", {}).get("method") == "dpo"
    asked = job.get("batch_size", "max")
    return (64 if dpo else 128) if asked == "max" else int(asked)


def report_on(content: bytes) -> dict[str, Any]:
    """Check data as the service does after an upload, and write its validation report."""
    try:
        lines = content.decode("utf-8").splitlines()
        formats = {_format(line, number) for number, line in enumerate(lines, start=1)}
        if len(formats) != 1:
            raise ValueError("the file is empty" if not formats else "the file mixes formats")
    except ValueError as error:
        return {"valid": False, "error_type": "INVALID_FORMAT", "error": str(error)}
    return {"valid": True, "dataset_format": formats.pop(), "nlines": len(lines)}


def _format(line: str, number: int) -> str:
    try:
        row = json.loads(line)
    except ValueError:
        raise ValueError(f"Line {number}: not valid JSON") from None
    kind = next((MARK[name] for name in MARK if isinstance(row, dict) and name in row), None)
    if kind is None or set(row) - COLUMNS[kind]:
        raise ValueError(f"Line {number}: no known format, or an extra column")
    if kind == "CONVERSATION":
        _check_messages(row["messages"], number)
    return kind


def _check_messages(messages: Any, number: int) -> None:
    if not isinstance(messages, list) or not all(isinstance(m, dict) for m in messages):
        raise ValueError(f"Line {number}: messages must be a list of objects")
    roles = [message.get("role") for message in messages]
    if set(roles) - ROLES:
        raise ValueError(f"Line {number}: unknown role")
    if "assistant" not in roles:
        raise ValueError(f"Line {number}: at least one message must be the assistant's")


def iso(seconds: int) -> str:
    """Write a time as the API does."""
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


def checked_query(query: Mapping[str, str], *needed: str) -> str:
    """Return the one parameter of a query that has no other."""
    if set(query) != set(needed):
        raise refusal(400, f"the query takes {', '.join(needed)}")
    return query[needed[0]]


def limits(model: str) -> dict[str, Any]:
    """Show what a model takes; refuse one that cannot be tuned."""
    if model not in TUNABLE:
        raise refusal(404, f"{model} is not available for fine-tuning")
    sizes = {"max_batch_size": 128, "max_batch_size_dpo": 64, "min_batch_size": 8}
    longest = TUNABLE[model]["max_length"]
    return {
        "model_name": model,
        "lora_training": {**sizes, "default_rank": 8, "max_rank": 64, "target_modules": ["q_proj", "v_proj"]},
        **({"full_training": sizes} if TUNABLE[model]["full"] else {}),
        "default_gradient_accumulation_steps": 1,
        "max_learning_rate": 0.1,
        "min_learning_rate": 1e-8,
        "max_num_checkpoints": 20,
        "max_num_epochs": 20,
        "max_num_evals": 100,
        "max_seq_length_sft": longest,
        "max_seq_length_dpo": longest // 2,
        "min_max_seq_length": 8,
        "merge_output_lora": True,
        "supports_full_training": TUNABLE[model]["full"],
        "supports_reasoning": False,
        "supports_tools": True,
        "supports_vision": False,
    }
