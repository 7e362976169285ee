"""The body of a Together fine-tune: which setting becomes which field, how our job id travels in the suffix.

Fields and their meaning are those of the vendor's published API description (2026-04) and of its SDK 3.1.
What the user leaves on `auto` is sent as that SDK sends it, except for the rate (`AUTO_LEARNING_RATE`).
"""

from __future__ import annotations

import re
from typing import Any

from anytune import catalog
from anytune.errors import UsageError
from anytune.schema.plan import OWN_TRAINER_ALONE, Rule
from anytune.schema.spec import TuneSpec
from anytune.schema.training import Lora

MAX_RANK = 64
PROJECT, WANDB_KEY = "wandb_project_name", "wandb_key"  # the description says wandb_api_key, the SDK sends this

# The vendor's SDK sends 1e-5 whatever is trained, its command line 1e-3 for every LoRA: the provider has not one
# choice but two. Adapters want about ten times the rate of full weights, preferences a tenth.
AUTO_LEARNING_RATE = {
    ("sft", "Lora"): 1e-4,
    ("sft", "Full"): 1e-5,
    ("dpo", "Lora"): 1e-5,
    ("dpo", "Full"): 1e-6,
}

RULES = {
    **OWN_TRAINER_ALONE,
    "from_checkpoint": Rule(
        outcome="kept", to="from_checkpoint", why="a job of Together's or its model, in the place of model"
    ),
    "training.epochs": Rule(outcome="kept", to="n_epochs"),
    "training.batch_size": Rule(
        outcome="kept", to="batch_size", why="most models take one size only: auto sends 'max'"
    ),
    "training.micro_batch_size": Rule(
        outcome="refused", why="Together splits a batch over its machines by itself: set batch_size"
    ),
    "training.learning_rate": Rule(
        outcome="kept",
        to="learning_rate",
        why="auto sends 1e-4 for LoRA, 1e-5 for full weights, a tenth for dpo",
    ),
    "training.learning_rate_multiplier": Rule(
        outcome="refused", why="Together takes an absolute rate and names none to multiply: set learning_rate"
    ),
    "training.warmup_ratio": Rule(outcome="kept", to="warmup_ratio"),
    "training.weight_decay": Rule(outcome="kept", to="weight_decay"),
    "training.max_grad_norm": Rule(outcome="kept", to="max_grad_norm"),
    "training.scheduler": Rule(
        outcome="translated", to="lr_scheduler", why="falls to zero", choices=("linear", "cosine")
    ),
    "training.lora": Rule(outcome="translated", to="training_type", why="null becomes the type Full"),
    "training.lora.rank": Rule(outcome="kept", to="training_type.lora_r", maximum=MAX_RANK),
    "training.lora.alpha": Rule(outcome="kept", to="training_type.lora_alpha"),
    "training.lora.dropout": Rule(outcome="kept", to="training_type.lora_dropout"),
    "training.lora.target_modules": Rule(
        outcome="translated", to="training_type.lora_trainable_modules", why="names joined by commas"
    ),
    "training.quantize": Rule(
        outcome="refused", why="Together trains LoRA on 16-bit weights, without a choice: leave it on auto"
    ),
    "training.max_length": Rule(outcome="kept", to="max_seq_length"),
    "training.beta": Rule(outcome="kept", to="training_method.dpo_beta"),
    "training.simpo_gamma": Rule(
        outcome="translated", to="training_method.simpo_gamma", why="reference-free and by length, as SimPO is"
    ),
    "training.seed": Rule(outcome="kept", to="random_seed"),
    "integrations.wandb.project": Rule(outcome="kept", to="wandb_project_name"),
    "integrations.wandb.name": Rule(outcome="kept", to="wandb_name"),
    "integrations.wandb.entity": Rule(outcome="kept", to="wandb_entity"),
    "integrations.wandb.tags": Rule(outcome="refused", why="Together gives its runs no tags"),
    "suffix": Rule(
        outcome="translated",
        to="suffix",
        why="shortened where needed, and followed by our job id: 40 characters",
    ),
}

LORA_ONLY = Rule(outcome="refused", why="Together tunes this model by LoRA only")

SUFFIX_LIMIT = 40
JOB_MARK = "--"
NO_SUFFIX = "at"


def rules(model: str) -> dict[str, Rule]:
    """Return the rule of each setting for this base model; some are tuned by LoRA only."""
    entry = catalog.load("together").models.get(model)
    return {**RULES, "training.lora": LORA_ONLY} if entry is not None and entry.lora_only else RULES


def body(spec: TuneSpec, *, job_id: str, training_file: str, validation_file: str | None) -> dict[str, Any]:
    """Translate a spec into the whole body of POST /v1/fine-tunes."""
    training = spec.training
    kind = _training_type(training.lora)
    request = {
        **({"model": spec.model} if spec.from_checkpoint is None else {"from_checkpoint": spec.from_checkpoint}),
        "training_file": training_file,
        "suffix": tag(job_id, suffix=spec.suffix),
        "training_method": _training_method(spec),
        "training_type": kind,
        "n_epochs": training.epochs,
        "n_checkpoints": 1,
        "n_evals": training.epochs if validation_file else 0,
        "packing": True,
        "batch_size": _chosen(training.batch_size, "max"),
        "learning_rate": _chosen(training.learning_rate, AUTO_LEARNING_RATE[spec.method, kind["type"]]),
        "lr_scheduler": _scheduler(str(_chosen(training.scheduler, "cosine"))),
        "warmup_ratio": _chosen(training.warmup_ratio, 0.0),
        "weight_decay": _chosen(training.weight_decay, 0.0),
        "max_grad_norm": _chosen(training.max_grad_norm, 1.0),
    }
    optional = {
        "validation_file": validation_file,
        "max_seq_length": _chosen(training.max_length, None),
        "random_seed": _chosen(training.seed, None),
        **_reported(spec),
    }
    return {**request, **{field: value for field, value in optional.items() if value is not None}}


def _reported(spec: TuneSpec) -> dict[str, Any]:
    """Return where Weights & Biases is told of the job; the key for it is put in when the job is made."""
    for told in spec.integrations:
        return {
            PROJECT: told.wandb.project,
            "wandb_name": told.wandb.name,
            "wandb_entity": told.wandb.entity,
        }
    return {}


def _chosen(value: Any, otherwise: Any) -> Any:
    return otherwise if value == "auto" else value


def _training_type(lora: Lora | str | None) -> dict[str, Any]:
    if lora is None:
        return {"type": "Full"}
    adapter = lora if isinstance(lora, Lora) else Lora()
    modules = adapter.target_modules
    return {
        "type": "Lora",
        "lora_r": adapter.rank,
        "lora_alpha": adapter.scaled_alpha,
        "lora_dropout": adapter.dropout,
        "lora_trainable_modules": modules if isinstance(modules, str) else ",".join(modules),
    }


def _training_method(spec: TuneSpec) -> dict[str, Any]:
    if spec.method == "sft":
        return {"method": "sft", "train_on_inputs": False}
    beta, gamma = spec.training.beta, spec.training.simpo_gamma
    simpo = {"dpo_reference_free": True, "dpo_normalize_logratios_by_length": True, "simpo_gamma": gamma}
    return {"method": "dpo", **({} if beta == "auto" else {"dpo_beta": beta}), **({} if gamma == "auto" else simpo)}


def _scheduler(kind: str) -> dict[str, Any]:
    arguments = {"min_lr_ratio": 0.0} if kind == "linear" else {"min_lr_ratio": 0.0, "num_cycles": 0.5}
    return {"lr_scheduler_type": kind, "lr_scheduler_args": arguments}


def tag(job_id: str, *, suffix: str | None) -> str:
    """Put our job id, whole, at the end of the suffix; the user's own stands before `--`, shortened to fit.

    Together has no metadata: the suffix (at most 40 characters) is the one place where a job can carry it.
    Raises `UsageError` for an id that leaves no room.
    """
    room = SUFFIX_LIMIT - len(JOB_MARK) - len(job_id)
    if room < len(NO_SUFFIX):
        raise UsageError(f"the job id {job_id!r} is too long for Together's suffix of {SUFFIX_LIMIT} characters")
    front = re.sub("-{2,}", "-", suffix or "")[:room].strip("-")
    return f"{front or NO_SUFFIX}{JOB_MARK}{job_id}"


def job_id_in(suffix: object) -> str | None:
    """Return the job id that `tag` put into a suffix, None for a suffix of someone else's."""
    found = suffix.partition(JOB_MARK)[2] if isinstance(suffix, str) else ""
    return found or None


def carries(job_id: str, *texts: object) -> bool:
    """Tell whether our job id stands in a text that the service may have lowered or cleaned."""
    wanted = _plain(job_id)
    return any(isinstance(text, str) and f"-{wanted}-" in f"-{_plain(text)}-" for text in texts)


def _plain(text: str) -> str:
    return re.sub("[^a-z0-9]+", "-", text.lower()).strip("-")
