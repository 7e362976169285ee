"""The request for a training at Replicate: which setting becomes which input of the trainer, and where it ends up.

What a trainer takes is its own affair, so the mapping is data: the catalogue's, or the user's profile. Inputs that a
trainer does not know are passed over there without a word (replicate/cog#2943: "has historically ignored unknown
inputs"), which is why every setting without an input is refused here, and why `create` holds all inputs against the
version's own schema before it starts anything.

A training carries no name or metadata of ours, and an answer does not tell its destination before it has ended well.
So each job gets a model of its own to be trained into: named after our job id, with a note of the job and its data.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from anytune.errors import UsageError
from anytune.planner import chosen
from anytune.schema.plan import OWN_TRAINER_ALONE, Rule
from anytune.schema.spec import WANDB, TuneSpec, every_setting
from anytune.schema.trainer import MAPPABLE, Trainer

PART = "[A-Za-z0-9][A-Za-z0-9._-]*"
TRAINER = re.compile(f"({PART}/{PART}):([0-9a-f]{{64}})")
NAME_LIMIT = 63
# Must be said of a model; "will be overridden for fine-tuned models" (the vendor's guide to FLUX.1 with an API, 2024).
HARDWARE = "gpu-t4"

SUFFIX = "the model is named after the job, by which a lost answer is found again"
UNTOLD = (
    "Replicate tells nobody how a training goes; an input of the trainer's may, but would need a key in the request"
)
MANY = "it is more than one value, which no single input takes: profiles.replicate.trainers can send inputs as they are"


def rules(trainer: Trainer | None, name: str) -> dict[str, Rule]:
    """Return the rule of each setting for a trainer: its own input, or a refusal that says how to name one."""
    place = f"profiles.replicate.trainers.{name}.fields"
    made = {}
    for path in sorted(every_setting()):
        to = trainer.fields.get(path) if trainer else None
        if to is not None:
            made[path] = Rule(outcome="kept", to=f"input.{to}")
        elif path == "suffix":
            made[path] = Rule(outcome="refused", why=SUFFIX)
        elif path in OWN_TRAINER_ALONE:
            made[path] = OWN_TRAINER_ALONE[path]
        elif path in WANDB:
            made[path] = Rule(outcome="refused", why=UNTOLD)
        elif path not in MAPPABLE:
            made[path] = Rule(outcome="refused", why=MANY)
        else:
            made[path] = Rule(outcome="refused", why=f"no input of {name} is known to take it: name one in {place}")
    return made


def request(
    spec: TuneSpec, trainer: Trainer | None, *, job_id: str, training_file: str, validation_file: str | None
) -> dict[str, Any]:
    """Translate a spec into the trainer's version, the model that is made for the job, and the trainer's input."""
    if trainer is None:
        raise UsageError(
            f"nothing is known of the inputs of {spec.model}", fix="name them in profiles.replicate.trainers"
        )
    if TRAINER.fullmatch(spec.model) is None:
        raise UsageError(no_version(spec.model))
    given = {
        **trainer.input,
        **_settings(spec, trainer),
        **_files(trainer, training_file=training_file, validation_file=validation_file),
    }
    return {
        "trainer": spec.model,
        "model": {
            "name": model_name(job_id),
            "visibility": "private",
            "hardware": HARDWARE,
            "description": str(Note(job_id, trainer=spec.model, file=training_file, settings=settings_of(given))),
        },
        "input": given,
    }


def _settings(spec: TuneSpec, trainer: Trainer) -> dict[str, Any]:
    """Return what the user chose, and nothing else: what is left open stays the trainer's own choice."""
    wanted = dict(chosen(spec))
    return {to: wanted[path] for path, to in trainer.fields.items() if path in wanted}


def _files(trainer: Trainer, *, training_file: str, validation_file: str | None) -> dict[str, Any]:
    if validation_file is None:
        return {**trainer.unvalidated, trainer.data: training_file}
    if trainer.validation is None:
        raise UsageError("this trainer takes no validation file", fix="leave out data.validation and data.split")
    return {trainer.data: training_file, trainer.validation: validation_file}


def no_version(model: str) -> str:
    """Say that a model is not named down to its version."""
    return f"{model!r} is no owner/name:version: a trainer is one version of a model, by the 64 digits of its id"


def model_name(job_id: str) -> str:
    """Name the model that a job makes: the same every time, so that one look tells whether it was begun."""
    made = f"at-{re.sub('[^a-z0-9]+', '-', job_id.lower()).strip('-')}"
    if len(made) > NAME_LIMIT:
        raise UsageError(f"the job id {job_id!r} is too long for the name of a model: {NAME_LIMIT} characters")
    return made


class Note(NamedTuple):
    """Be what a model's description notes: whose it is, and by what its training is known."""

    job_id: str
    trainer: str
    file: str
    settings: str

    def __str__(self) -> str:
        return f"anytune job {self.job_id}, {self.trainer} on {self.file}, settings {self.settings}"


NOTED = re.compile(r"anytune job (\S+), (\S+) on (\S+), settings (\S+)")


def noted(description: object) -> Note | None:
    """Return what a description notes; None for one that we did not write."""
    found = NOTED.fullmatch(description) if isinstance(description, str) else None
    return Note(*found.groups()) if found else None


def settings_of(given: Mapping[str, Any]) -> str:
    """Return a few digits for all inputs but the files, whose addresses may be shown with a signature."""
    plain = {name: value for name, value in given.items() if not (isinstance(value, str) and "/files/" in value)}
    numbers_alike = json.loads(json.dumps(plain), parse_int=float)
    return hashlib.sha256(json.dumps(numbers_alike, sort_keys=True).encode()).hexdigest()[:12]
