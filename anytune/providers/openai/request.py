"""The body of a job in a dialect of OpenAI's API: which setting becomes which field, and where our job id travels."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any

from anytune.errors import UsageError
from anytune.schema.dialect import Dialect
from anytune.schema.plan import OWN_TRAINER_ALONE, Rule
from anytune.schema.spec import WANDB, TuneSpec
from anytune.schema.training import Lora

TAG = "anytune_job"  # the metadata key under which our job id travels
METHODS = {"sft": "supervised", "dpo": "dpo"}
PLACES = {"method": "method.{supervised|dpo}.hyperparameters", "top": "hyperparameters"}
JOB_MARK = "--"
NO_SUFFIX = "at"
MARK_LENGTH = 10  # hexadecimal digits that stand for a job id where the whole one does not fit


def rules(dialect: Dialect) -> dict[str, Rule]:
    """Return what becomes of each setting of the job file."""
    place = PLACES[dialect.hyperparameters]
    knobs = {path: rule.model_copy(update={"to": f"{place}.{rule.to}"}) for path, rule in dialect.knobs.items()}
    refused = {path: Rule(outcome="refused", why=each.why) for each in dialect.refused for path in each.settings}
    told = {path: Rule(outcome="kept", to=path) for path in WANDB} if dialect.wandb else {}
    return {**OWN_TRAINER_ALONE, **refused, **knobs, **dialect.fields, **told, "suffix": _suffix_rule(dialect)}


def _suffix_rule(dialect: Dialect) -> Rule:
    if dialect.tag == "metadata":
        return Rule(outcome="kept", to="suffix")
    why = dialect.suffix_why or f"shortened where needed, and followed by our job id; {dialect.suffix} characters"
    return Rule(outcome="translated", to="suffix", why=why)


def render(
    spec: TuneSpec,
    dialect: Dialect,
    *,
    job_id: str,
    training_file: str,
    validation_file: str | None,
    beside: Mapping[str, str],
) -> dict[str, Any]:
    """Translate the spec into the body of `POST /fine_tuning/jobs`; what the user chose is in it, and `beside` it.

    The number of epochs always stands there: left out, OpenAI would choose up to 25 of them on a small file.
    """
    body = {
        "model": spec.model,
        "training_file": training_file,
        "validation_file": validation_file,
        "suffix": spec.suffix if dialect.tag == "metadata" else tagged(job_id, dialect, suffix=spec.suffix),
        "metadata": None if dialect.tag == "suffix" else {TAG: job_id},
        **_chosen(spec, dialect, dialect.fields),
        **_placed(spec, dialect),
        "integrations": _integrations(spec) if dialect.wandb else None,
        **beside,
    }
    return {name: value for name, value in body.items() if value is not None}


def _placed(spec: TuneSpec, dialect: Dialect) -> dict[str, Any]:
    knobs = _chosen(spec, dialect, dialect.knobs)
    if dialect.hyperparameters == "top":
        return {"hyperparameters": knobs}
    method = METHODS[spec.method]
    return {"method": {"type": method, method: {"hyperparameters": knobs}}}


def _integrations(spec: TuneSpec) -> list[dict[str, Any]] | None:
    told = (each.model_dump(mode="json", exclude_defaults=True) for each in spec.integrations)
    return [{"type": "wandb", "wandb": each["wandb"]} for each in told] or None


def _chosen(spec: TuneSpec, dialect: Dialect, among: Mapping[str, Rule]) -> dict[str, Any]:
    found = {}
    for path, rule in among.items():
        value = _value(spec, path)
        value = dialect.auto.get(path, value) if value == "auto" else value
        if value != "auto":
            found[str(rule.to)] = value
    return found


def _value(spec: TuneSpec, path: str) -> Any:
    """Return a setting as a server may take it: adapters are there or not, and their strength is a number."""
    _, name, *below = path.split(".")
    value = getattr(spec.training, name)
    if name != "lora" or value == "auto":
        return value
    if not below:
        return value is not None
    if not isinstance(value, Lora):
        return "auto"
    return value.scaled_alpha if below == ["alpha"] else getattr(value, below[0])


def tagged(job_id: str, dialect: Dialect, *, suffix: str | None) -> str:
    """Put what stands for our job id at the end of the suffix; the user's own stands before it, shortened to fit.

    It is the whole id where that fits, else a few digits of its hash. Raises `UsageError` where neither does.
    """
    for end in (f"{JOB_MARK}{job_id}", f"-{_mark(job_id)}"):
        room = dialect.suffix - len(end)
        if room >= len(NO_SUFFIX):
            front = re.sub("[.]|-{2,}", "-", suffix or "")[:room].strip("-")
            return f"{front or NO_SUFFIX}{end}"
    raise UsageError(f"a suffix of {dialect.suffix} characters leaves no room for a mark of the job")


def _mark(job_id: str) -> str:
    return hashlib.sha256(job_id.encode()).hexdigest()[:MARK_LENGTH]


def job_id_in(suffix: object) -> str | None:
    """Return the whole job id that `tagged` put into a suffix, None for any other suffix."""
    found = suffix.partition(JOB_MARK)[2] if isinstance(suffix, str) else ""
    return found or None


def carries(job_id: str, *texts: object) -> bool:
    """Tell whether what stands for our job id is in a text that the service may have lowered or cleaned."""
    wanted = [_plain(mark) for mark in (job_id, _mark(job_id))]
    plain = [f"-{_plain(text)}-" for text in texts if isinstance(text, str)]
    return any(f"-{mark}-" in text for mark in wanted for text in plain)


def _plain(text: str) -> str:
    return re.sub("[^a-z0-9]+", "-", text.lower()).strip("-")
