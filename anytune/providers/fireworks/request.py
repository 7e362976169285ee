"""The request for a Fireworks job: which setting becomes which field, under which id, in which collection.

Fields and their meaning are those of the vendor's published API as its SDK 1.2.30 has it, the newest on 2026-11-27:
each field sent here stands there, the beta of dpo among them. Newer descriptions of the gateway also name a schedule
(lrScheduler), and for dpo the scale, dropout and modules of adapters. Nothing tells whether a managed job heeds them,
so they are refused. A job's id is the client's to choose and goes into the query, so a request here is three things:
the collection, the id, the body.
"""

from __future__ import annotations

import re
from typing import Any

from anytune.errors import UsageError
from anytune.schema.plan import OWN_TRAINER_ALONE, Rule
from anytune.schema.spec import TuneSpec
from anytune.schema.training import Lora

REPORT = "wandbConfig"
SFT, DPO = "supervisedFineTuningJobs", "dpoJobs"
ID_IN_QUERY = {SFT: "supervisedFineTuningJobId", DPO: "dpoJobId"}
PUBLIC_MODELS = "accounts/fireworks/models/"

# Ids are 1 to 63 of a-z, 0-9 and -, and one of a dataset may not begin with a digit (since May 2025,
# tensorzero/tensorzero#2153). The published description states no rule; this one satisfies every client seen.
ID_LIMIT = 63
ID_MARK = "at-"

TILE = 16  # a context that is no multiple of it is refused (fw-ai/cookbook, error reference of August 2026)
UNSET = "a managed job has no field for it"
UNDOCUMENTED = (
    "the vendor's SDK has no field for it, and what a managed job does with the gateway's own is not documented"
)

RULES = {
    **OWN_TRAINER_ALONE,
    "training.epochs": Rule(outcome="kept", to="epochs"),
    "training.batch_size": Rule(outcome="kept", to="batchSizeSamples"),
    "training.micro_batch_size": Rule(
        outcome="refused", why="Fireworks splits a batch over its machines by itself: set batch_size"
    ),
    "training.learning_rate": Rule(outcome="kept", to="learningRate"),
    "training.learning_rate_multiplier": Rule(
        outcome="refused", why="Fireworks takes an absolute rate and names none to multiply: set learning_rate"
    ),
    "training.warmup_ratio": Rule(
        outcome="refused",
        why="Fireworks counts the warm-up in steps, and how many a job has is not known before it packs the examples",
    ),
    "training.weight_decay": Rule(
        outcome="kept",
        to="optimizerWeightDecay",
        # A zero is what an unset field reads as there, so that it would become the provider's own choice.
        minimum=1e-6,
    ),
    "training.max_grad_norm": Rule(outcome="refused", why=UNSET),
    "training.scheduler": Rule(outcome="refused", why=UNDOCUMENTED),
    "training.lora": Rule(
        outcome="refused",
        why="Fireworks prices training of all weights, but how a managed job asks for it is not documented",
    ),
    "training.lora.rank": Rule(outcome="kept", to="loraRank"),
    "training.lora.alpha": Rule(outcome="refused", why=f"{UNDOCUMENTED}: leave it on auto"),
    "training.lora.dropout": Rule(outcome="refused", why=UNDOCUMENTED),
    "training.lora.target_modules": Rule(outcome="refused", why=UNDOCUMENTED),
    "training.quantize": Rule(outcome="refused", why=f"{UNSET}: leave it on auto"),
    "training.max_length": Rule(
        outcome="translated", to="maxContextLength", why=f"rounded down to a multiple of {TILE}", minimum=TILE
    ),
    "training.beta": Rule(outcome="kept", to="lossConfig.dpo.beta", maximum=0.499),  # "must be < 0.5"
    "training.seed": Rule(outcome="refused", why=UNSET),
    "integrations.wandb.project": Rule(outcome="kept", to="wandbConfig.project"),
    "integrations.wandb.name": Rule(outcome="refused", why="Fireworks names its runs by itself"),
    "integrations.wandb.entity": Rule(outcome="kept", to="wandbConfig.entity"),
    "integrations.wandb.tags": Rule(outcome="refused", why="Fireworks gives its runs no tags"),
    "suffix": Rule(
        outcome="translated",
        to="outputModel",
        why="in small letters, shortened where needed, and followed by our job id: 63 characters",
    ),
}


def request(
    spec: TuneSpec, *, job_id: str, training_file: str, validation_file: str | None, region: str | None
) -> dict[str, Any]:
    """Translate a spec into collection, id and body; the display name carries our job id as it is."""
    shared = {"dataset": training_file, "displayName": job_id, **_reported(spec)}
    config = _config(spec, model_id=model_id(job_id, suffix=spec.suffix), beside=training_file, region=region)
    if spec.method == "dpo":
        if validation_file is not None:
            raise UsageError(
                "a dpo job at Fireworks takes no evaluation dataset", fix="leave out data.validation and data.split"
            )
        preference = {**shared, "trainingConfig": config, "lossConfig": _loss(spec)}
        return {"collection": DPO, "id": resource_id(job_id), "body": preference}
    # Said, because a service that carves its own part off the data would train on other data than were planned.
    body: dict[str, Any] = {**shared, **config, "evalAutoCarveout": False}
    if validation_file:
        body["evaluationDataset"] = validation_file
    return {"collection": SFT, "id": resource_id(job_id), "body": body}


def _config(spec: TuneSpec, *, model_id: str, beside: str, region: str | None) -> dict[str, Any]:
    training = spec.training
    length = training.max_length
    chosen = {
        "learningRate": training.learning_rate,
        "loraRank": training.lora.rank if isinstance(training.lora, Lora) else "auto",
        "batchSizeSamples": training.batch_size,
        "maxContextLength": length if length == "auto" else length - length % TILE,
        "optimizerWeightDecay": training.weight_decay,
        "region": region or "auto",
    }
    return {
        "baseModel": full_model(spec.model),
        "outputModel": _in_the_account_of(beside, model_id),
        "epochs": training.epochs,
        **{field: value for field, value in chosen.items() if value != "auto"},
    }


def _reported(spec: TuneSpec) -> dict[str, Any]:
    """Return where Weights & Biases is told of the job; the key for it is put in when the job is made."""
    for told in spec.integrations:
        place = {"project": told.wandb.project, "entity": told.wandb.entity}
        return {REPORT: {"enabled": True, **{name: value for name, value in place.items() if value is not None}}}
    return {}


def _loss(spec: TuneSpec) -> dict[str, Any]:
    # The method is said: for one left out the published description names DPO in one place and GRPO in another.
    beta = spec.training.beta
    return {"method": "DPO"} if beta == "auto" else {"method": "DPO", "dpo": {"beta": beta}}


def full_model(model: str) -> str:
    """Return the whole name of a model; one without a slash is among the public ones."""
    return model if "/" in model else f"{PUBLIC_MODELS}{model}"


def short_model(model: str) -> str:
    """Return the name that the catalogue has for a model."""
    return model.removeprefix(PUBLIC_MODELS)


def _in_the_account_of(dataset: str, model_id: str) -> str:
    """Name the model beside the dataset: accounts/…/models/…; the bare id while the dataset is not known yet."""
    account, found, _ = dataset.partition("/datasets/")
    return f"{account}/models/{model_id}" if found else model_id


def resource_id(job_id: str) -> str:
    """Make the job's id there of ours: the same every time, so that one look by id finds it.

    Raises `UsageError` for an id that is too long.
    """
    made = f"{ID_MARK}{_plain(job_id)}"
    if len(made) > ID_LIMIT:
        raise UsageError(f"the job id {job_id!r} is too long for Fireworks: {ID_LIMIT} characters with {ID_MARK!r}")
    return made


def model_id(job_id: str, *, suffix: str | None) -> str:
    """Name the tuned model by the user's suffix, shortened to fit, and the job."""
    made = resource_id(job_id)
    front = _plain(suffix or "")[: ID_LIMIT - len(made) - 1].strip("-")
    if front[:1].isdigit():
        front = f"{ID_MARK}{front}"[: ID_LIMIT - len(made) - 1]
    return f"{front}-{made}" if front else made


def dataset_id(sha256: str) -> str:
    """Name a dataset by its content: the same bytes are the same dataset."""
    return f"{ID_MARK}{sha256[:48]}"


def _plain(text: str) -> str:
    return re.sub("[^a-z0-9]+", "-", text.lower()).strip("-")
