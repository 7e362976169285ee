"""What OpenAI's stand-in keeps: files, jobs, and what a tuned model has learnt by heart."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.stubs import _openai_rules as rules
from tests.stubs._http import Reply

AUTO = dict.fromkeys(("n_epochs", "batch_size", "learning_rate_multiplier"), "auto")


@dataclass
class StoredFile:
    """Be an uploaded file."""

    id: str
    filename: str
    purpose: str
    content: bytes = field(repr=False)
    created_at: int
    status: str | None = "processed"

    def shown(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "object": "file",
            "bytes": len(self.content),
            "created_at": self.created_at,
            "filename": self.filename,
            "purpose": self.purpose,
            "status": self.status,
        }


@dataclass
class StoredJob:
    """Be a job: what the API shows of it, where its life stands, and its events (oldest first)."""

    shown: dict[str, Any]
    kind: str
    hidden: int
    step: int = 0
    events: list[dict[str, Any]] = field(default_factory=list)


def new_job(body: dict[str, Any], kind: str, knobs: dict[str, Any], *, id: str, at: int, word: str) -> dict[str, Any]:
    """Make a job as OpenAI shows it."""
    return {
        "object": "fine_tuning.job",
        "id": id,
        "created_at": at,
        "finished_at": None,
        "status": word,
        "model": body["model"],
        "fine_tuned_model": None,
        "organization_id": "org-stub",
        "result_files": [],
        "training_file": body["training_file"],
        "validation_file": body.get("validation_file"),
        "hyperparameters": knobs if kind == "supervised" else None,
        "seed": body.get("seed", 42),
        "trained_tokens": None,
        "error": {},
        "estimated_finish": None,
        "integrations": body.get("integrations") or [],
        "metadata": body.get("metadata"),
        "method": {"type": kind, kind: {"hyperparameters": knobs}},
        "user_provided_suffix": body.get("suffix"),
    }


def page(items: list[dict[str, Any]], query: Mapping[str, str], *, limit: int = 20, most: int = 100) -> Reply:
    after, asked = query.get("after"), query.get("limit", str(limit))
    if not asked.isdigit():
        raise rules.refusal(400, "Invalid value for 'limit'.", param="limit")
    if after is not None:
        ids = [item["id"] for item in items]
        if after not in ids:
            raise rules.refusal(400, f"No such object: {after}", param="after")
        items = items[ids.index(after) + 1 :]
    size = min(int(asked), most)
    return Reply(200, {"object": "list", "data": items[:size], "has_more": len(items) > size})


def question(messages: Any) -> str:
    asked = next((m for m in reversed(messages) if isinstance(m, dict) and m.get("role") == "user"), {})
    return str(asked.get("content"))


def memory(content: bytes) -> dict[str, str]:
    """Learn by heart: the last question of each example and what should be answered to it."""
    learnt: dict[str, str] = {}
    for line in content.decode("utf-8-sig").splitlines():
        example = json.loads(line)
        if "messages" in example:
            learnt[question(example["messages"])] = str(example["messages"][-1].get("content"))
        else:
            learnt[question(example["input"]["messages"])] = str(example["preferred_output"][-1]["content"])
    return learnt
