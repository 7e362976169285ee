"""What Fireworks' gateway refuses: ids, bodies, and the data behind a dataset."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from anytune import catalog
from tests.stubs._call import Refuse, Reply

# The numbers are gRPC's; each stands with the HTTP status that a gateway makes of it.
CODES = {3: 400, 5: 404, 6: 409, 7: 403, 8: 429, 9: 400, 13: 500, 16: 401}
INVALID, MISSING, EXISTS, PRECONDITION, UNAUTHENTICATED = 3, 5, 6, 9, 16
ID = re.compile(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?")
MODEL = re.compile(r"accounts/[a-z0-9-]+/models/[a-z0-9][a-z0-9-]*")
TUNABLE = {f"accounts/fireworks/models/{name}" for name in catalog.load("fireworks").models}
UNTUNABLE = "accounts/fireworks/models/flux-1-dev"
REGIONS = {"REGION_UNSPECIFIED", *catalog.load("fireworks").sites}

Check = Callable[[Any], bool]


def refusal(code: int, message: str, *, status: int | None = None) -> Refuse:
    """Make a refusal in the gateway's own shape."""
    return Refuse(Reply(status or CODES[code], {"code": code, "message": message, "details": []}))


def _whole(low: int, high: int) -> Check:
    return lambda value: type(value) is int and low <= value <= high


def _number(low: float, high: float) -> Check:
    return lambda value: type(value) in (int, float) and low < value < high


def _text(longest: int) -> Check:
    return lambda value: isinstance(value, str) and 0 < len(value) <= longest


def _flag(value: Any) -> bool:
    return isinstance(value, bool)


def _mapping(value: Any) -> bool:
    return isinstance(value, dict)


def _wandb(value: Any) -> bool:
    texts = [value.get(name) for name in ("apiKey", "project")] if isinstance(value, dict) else [None]
    return (
        all(map(_text(256), texts))
        and set(value) <= {"enabled", "apiKey", "project", "entity", "runId"}
        and value.get("enabled") is True
    )


TRAINING: dict[str, Check] = {
    "baseModel": lambda value: isinstance(value, str) and MODEL.fullmatch(value) is not None,
    "outputModel": lambda value: isinstance(value, str) and MODEL.fullmatch(value) is not None,
    "epochs": _whole(1, 100),
    "learningRate": _number(0, 1),
    "loraRank": _whole(1, 128),
    "maxContextLength": lambda value: _whole(16, 262144)(value) and value % 16 == 0,
    "batchSizeSamples": _whole(1, 4096),
    "optimizerWeightDecay": _number(0, 1e9),
    "region": lambda value: value in REGIONS,
}
JOB: dict[str, dict[str, Check]] = {
    # Without earlyStop, batchSize and jinjaTemplate: described, and refused since the second generation of trainers.
    "supervisedFineTuningJobs": {
        **TRAINING,
        "dataset": _text(256),
        "evaluationDataset": _text(256),
        "displayName": _text(63),
        "evalAutoCarveout": _flag,
        "wandbConfig": _wandb,
    },
    "dpoJobs": {
        "dataset": _text(256),
        "displayName": _text(63),
        "trainingConfig": _mapping,
        "lossConfig": _mapping,
        "wandbConfig": _wandb,
    },
}
LOSS: dict[str, Check] = {"method": lambda value: value in {"DPO", "ORPO"}, "dpo": _mapping}
DPO: dict[str, Check] = {"beta": _number(0, 0.5)}
DATASET: dict[str, Check] = {
    "displayName": _text(63),
    "exampleCount": lambda value: isinstance(value, str) and value.isdecimal(),
    "format": lambda value: value in {"CHAT", "COMPLETION", "RL"},
    "userUploaded": lambda value: value == {},
}


def checked(body: Any, fields: Mapping[str, Check], *, required: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return the body if each field is known and well typed and none that is needed is missing; else refuse."""
    if not isinstance(body, dict):
        raise refusal(INVALID, "the body must be a JSON object")
    for name in required:
        if name not in body:
            raise refusal(INVALID, f"{name} is required")
    for name, value in body.items():
        if name not in fields:
            raise refusal(INVALID, f'unknown field "{name}"')
        if not fields[name](value):
            raise refusal(INVALID, f"invalid value for {name}: {value!r}")
    return body


def checked_id(id: str | None) -> str:
    """Return an id that a client may choose; refuse any other."""
    if id is None or ID.fullmatch(id) is None:
        raise refusal(INVALID, f"invalid id {id!r}: a letter, then a-z, 0-9 and -, 63 characters at most")
    return id


def checked_job(collection: str, body: Any) -> dict[str, Any]:
    """Check a whole create body, down to its nested parts."""
    job = checked(body, JOB[collection], required=("dataset",))
    config = job
    if collection == "dpoJobs":
        config = checked(job.get("trainingConfig"), TRAINING)
        loss = checked(job.get("lossConfig", {"method": "DPO"}), LOSS)
        checked(loss.get("dpo", {}), DPO)
    if config.get("baseModel") not in TUNABLE:
        raise refusal(INVALID, f"{config.get('baseModel')}: model is not supported for fine-tuning")
    return job


def checked_page(query: Mapping[str, str]) -> tuple[int, int]:
    """Return how many rows are asked for (50 if unsaid, 200 at most), and from which on."""
    if unknown := set(query) - {"pageSize", "pageToken", "filter", "orderBy", "readMask"}:
        raise refusal(INVALID, f"unknown query: {sorted(unknown)}")
    size, start = query.get("pageSize", "50"), query.get("pageToken", "0")
    if not size.isdecimal() or not start.isdecimal():
        raise refusal(INVALID, "invalid page token or size")
    return min(int(size) or 50, 200), int(start)


def model(name: str) -> dict[str, Any]:
    """Show a public model; the second generation of trainers has a flag of its own."""
    return {
        "name": name,
        "state": "READY",
        "kind": "HF_BASE_MODEL",
        "public": True,
        "tunable": False,
        "supervisedLoraTunable": name in TUNABLE,
        "contextLength": 262144,
        "trainingContextLength": 131072 if name in TUNABLE else 0,
        "deprecationDate": None,
    }


def fault_in(content: bytes, examples: int) -> str | None:
    """Return what is wrong with the data, None when nothing is."""
    try:
        rows = [json.loads(line) for line in content.decode("utf-8").splitlines() if line.strip()]
    except ValueError:
        return "dataset contains a line that is not JSON"
    if len(rows) != examples:
        return f"example count is {examples}, the file has {len(rows)}"
    if len(rows) < 3:
        return "a dataset needs at least 3 examples"
    return next((f"row {n} has neither messages nor input" for n, row in enumerate(rows, 1) if not kind_of(row)), None)


def kind_of(row: Any) -> str | None:
    """Return which collection a row is for."""
    if isinstance(row, dict) and "messages" in row:
        return "supervisedFineTuningJobs"
    return (
        "dpoJobs"
        if isinstance(row, dict) and {"input", "preferred_output", "non_preferred_output"} <= set(row)
        else None
    )


def iso(seconds: int) -> str:
    """Write a time as the gateway does, with nanoseconds."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.000000001Z")
