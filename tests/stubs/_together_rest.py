"""What Together offers beside the way of a job: lists of files, deletions, checkpoints, metrics, previews."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

from tests.stubs import _together_rules as rules
from tests.stubs._call import Call, Reply
from tests.stubs._together_rules import StoredFile

# an event carries every figure, those that it knows nothing of as zero or as an empty text
NO_FIGURES = {
    **dict.fromkeys(("param_count", "token_count", "total_steps", "step", "training_offset"), 0),
    **dict.fromkeys(("wandb_url", "checkpoint_path", "model_path"), ""),
}
PREVIEW_FIELDS: dict[str, rules.Check] = {
    "model": rules.JOB_FIELDS["model"],
    "training_file": rules.JOB_FIELDS["training_file"],
    "top_k": lambda value: type(value) is int and 1 <= value <= 100,
    "train_on_inputs": lambda value: isinstance(value, bool),
    "training_method": lambda value: value == "sft",
}


@dataclass
class StoredJob:
    """Be a job: what the API shows of it, where its life stands, and its events (oldest first)."""

    shown: dict[str, Any]
    hidden: int
    step: int = 0
    events: list[dict[str, Any]] = field(default_factory=list)


class Host(Protocol):
    """Be the stand-in that this belongs to."""

    files: dict[str, StoredFile]
    origin: str
    more_figures: list[dict[str, float]]
    _records: dict[str, StoredJob]

    def job(self, id: str) -> StoredJob: ...
    def file(self, id: str, *, status: int = 404) -> StoredFile: ...


class Rest:
    """Answer what is asked beside the way of a job."""

    def __init__(self, host: Host) -> None:
        self.host = host

    def answer(self, call: Call) -> Reply:
        match call.method, call.path.strip("/").split("/"):
            case "GET", ["v1", "files"]:
                return Reply(200, {"data": [file.shown() for file in self.host.files.values()]})
            case "GET", ["v1", "files", id, "content"]:
                return Reply(200, self.host.file(id).content or b"")
            case "DELETE", ["v1", "files", id]:
                del self.host.files[self.host.file(id).id]
                return Reply(200, {"id": id, "deleted": True})
            case "POST", ["v1", "fine-tunes", "preview"]:
                return self._preview(rules.checked(call.json, PREVIEW_FIELDS, required=("model", "training_file")))
            case "DELETE", ["v1", "fine-tunes", id]:
                del self.host._records[self.host.job(id).shown["id"]]
                return Reply(200, {"message": "Fine-tune job deleted"})
            case "GET", ["v1", "fine-tunes", id, "checkpoints"]:
                return Reply(200, {"data": checkpoints(self.host.job(id))})
            case "GET", ["v1", "fine-tunes", id, "metrics"]:
                told = [*metrics(self.host.job(id), call.query), *self.host.more_figures]
                return Reply(200, {"metrics": told})
            case "GET", ["v1", "fine-tunes", id, "download-tokenized-dataset"]:
                return Reply(200, self._tokenized(self.host.job(id)))
        raise rules.refusal(404, f"no such endpoint: {call.route}")

    def _preview(self, body: dict[str, Any]) -> Reply:
        report = self.host.file(body["training_file"]).report or {}
        if body["model"] not in rules.TUNABLE or not report.get("valid"):
            raise rules.refusal(400, "the file or the model cannot be previewed")
        row = {"input_ids": [1, 2], "labels": [-100, 2], "tokens": ["a", "b"], "trained_spans": [[1, 2]]}
        row |= {"num_tokens": 2, "num_trained_tokens": 1, "truncated": False}
        shown = {"model": body["model"], "rows": [row][: body.get("top_k", 1)], "max_seq_length": 65536}
        shown |= {"train_on_inputs": body.get("train_on_inputs", False)}
        return Reply(200, {**shown, "dataset_format": str(report["dataset_format"]).lower()})

    def _tokenized(self, record: StoredJob) -> dict[str, Any]:
        if record.shown["status"] != "completed":
            raise rules.refusal(404, "the tokenized data are not there yet")
        url = f"{self.host.origin}/storage/tokenized?signature=stub"
        given = {"url": url, "expires_at": record.shown["updated_at"], "size": 1, "filename": "tokenized.parquet"}
        return {**given, "content_type": "application/octet-stream"}


def checkpoints(record: StoredJob) -> list[dict[str, Any]]:
    """Show a checkpoint for each that the events tell of."""
    saved = [event for event in record.events if event["type"] == "checkpoint_save"]
    return [
        {
            "step": event["step"],
            "created_at": event["created_at"],
            "path": f"s3://stub/{record.shown['id']}/{event['step']}",
            "checkpoint_type": "Intermediate",
            **({"checkpoint": "adapter"} if event is not saved[-1] else {}),
        }
        for event in saved
    ]


def metrics(record: StoredJob, query: dict[str, str]) -> list[dict[str, float]]:
    """Show the figures of the steps that were asked for."""
    low, high = int(query.get("global_step_from", 0)), int(query.get("global_step_to", 10**9))
    steps = [event["step"] for event in record.events if event["type"] == "checkpoint_save"]
    rows = [{"train/global_step": step, "train/loss": 2.0 / step} for step in steps if low <= step <= high]
    if record.shown.get("n_evals") and rows:
        rows.append({"train/global_step": rows[-1]["train/global_step"], "eval/loss": 1.5})
    return rows
