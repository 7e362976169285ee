"""How a server that speaks OpenAI's fine-tuning API differs from OpenAI: data of the catalogue, never code."""

from typing import Any, Literal

from anytune.schema.base import Value
from anytune.schema.plan import Rule
from anytune.schema.training import Method


class Refusal(Value):
    """Name settings that a server does not take, and why."""

    why: str
    settings: tuple[str, ...]


class Tiers(Value):
    """Describe the price classes of a server: the body's `field`, its word for each tier, and those that roam.

    A job of a roaming tier may be trained in any region, whatever the account's own is.
    """

    field: str
    default: str
    words: dict[str, str]
    roaming: tuple[str, ...] = ()


class Dialect(Value):
    """Say where a server's wire format stands apart.

    `knobs` and `fields` map a path of the job file to its rule, whose `to` is the server's own name: of a
    hyperparameter (below `method` or at the top of the body), or of a field of the body. `auto` is what is sent for a
    path that the user left open, where the server's own choice would surprise. `tag` says where our job id travels,
    `suffix` how long one may be. `path` is what an address without a path gets. Files of more bytes than
    `parts_above` are sent in parts. A server that `checks_files` takes a
    job only once they are processed. `events` is the order in which events come, `model` where the tuned model's name
    stands; `serving` is what has to be done before it answers, None where it does by itself. Where `events_tell_losses`
    nothing that an ended job left behind is read for them. `wandb` says that a job may be reported to Weights & Biases,
    with the key that the account itself holds.
    """

    hyperparameters: Literal["method", "top"] = "method"
    methods: tuple[Method, ...] = ("sft", "dpo")
    knobs: dict[str, Rule]
    fields: dict[str, Rule] = {}
    refused: tuple[Refusal, ...] = ()
    auto: dict[str, Any] = {}
    tag: Literal["metadata", "suffix", "both"] = "metadata"
    suffix: int = 64
    suffix_why: str | None = None
    tiers: Tiers | None = None
    key_header: Literal["authorization", "api-key"] = "authorization"
    path: str | None = None
    byte_order_mark: bool = False
    parts_above: int | None = None
    checks_files: bool = False
    events: Literal["newest-first", "oldest-first"] = "newest-first"
    model: Literal["job", "checkpoint"] = "job"
    pauses: bool = False
    serving: str | None = None
    events_tell_losses: bool = False
    wandb: bool = False
