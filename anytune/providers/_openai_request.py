"""The body of an OpenAI fine-tuning job: which setting becomes which field, and what is refused, with the reason.

Fields and ranges are those of the vendor's published API description (2026-11) and of its SDK 3.54.
"""

from __future__ import annotations

from typing import Any

from anytune.schema.plan import Rule
from anytune.schema.spec import TuneSpec

TAG = "anytune_job"  # the metadata key under which our job id travels
METHODS = {"sft": "supervised", "dpo": "dpo"}
KNOBS = "method.{supervised|dpo}.hyperparameters"


def _kept(to: str, *, minimum: float | None = None, maximum: float | None = None) -> Rule:
    return Rule(outcome="kept", to=to, minimum=minimum, maximum=maximum)


def _refused(why: str) -> Rule:
    return Rule(outcome="refused", why=why)


HIDDEN = _refused("OpenAI chooses by itself which weights are trained, and does not say how")
OWN_LOOP = _refused("OpenAI runs its own training loop and takes no such setting")

RULES = {
    "training.epochs": _kept(f"{KNOBS}.n_epochs", minimum=1, maximum=50),
    "training.batch_size": _kept(f"{KNOBS}.batch_size", minimum=1, maximum=256),
    "training.learning_rate_multiplier": _kept(f"{KNOBS}.learning_rate_multiplier"),
    "training.beta": _kept("method.dpo.hyperparameters.beta", maximum=2),
    "training.seed": _kept("seed"),
    "suffix": _kept("suffix"),
    "training.learning_rate": _refused(
        "OpenAI takes a multiplier of a base rate that it does not disclose: set learning_rate_multiplier"
    ),
    "training.micro_batch_size": _refused("OpenAI splits a batch by itself: set batch_size"),
    "training.max_length": _refused("OpenAI cuts every example at the model's own limit of tokens"),
    "training.quantize": _refused("OpenAI does not say in which precision it trains"),
    "training.warmup_ratio": OWN_LOOP,
    "training.weight_decay": OWN_LOOP,
    "training.max_grad_norm": OWN_LOOP,
    "training.scheduler": OWN_LOOP,
    "training.lora": HIDDEN,
    "training.lora.rank": HIDDEN,
    "training.lora.alpha": HIDDEN,
    "training.lora.dropout": HIDDEN,
    "training.lora.target_modules": HIDDEN,
}


def render(spec: TuneSpec, *, job_id: str, training_file: str, validation_file: str | None) -> dict[str, Any]:
    """Translate the spec into the body of `POST /fine_tuning/jobs`; only what the user chose is in it.

    The number of epochs always stands there: left out, OpenAI would choose up to 25 of them on a small file.
    """
    method = METHODS[spec.method]
    body = {
        "model": spec.model,
        "training_file": training_file,
        "validation_file": validation_file,
        "suffix": spec.suffix,
        "seed": None if spec.training.seed == "auto" else spec.training.seed,
        "method": {"type": method, method: {"hyperparameters": _hyperparameters(spec)}},
        "metadata": {TAG: job_id},
    }
    return {name: value for name, value in body.items() if value is not None}


def _hyperparameters(spec: TuneSpec) -> dict[str, Any]:
    training = spec.training
    chosen = {
        "n_epochs": training.epochs,
        "batch_size": training.batch_size,
        "learning_rate_multiplier": training.learning_rate_multiplier,
        "beta": training.beta,  # a spec has one with dpo only
    }
    return {name: value for name, value in chosen.items() if value != "auto"}
