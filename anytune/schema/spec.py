"""What a user asks for: the job file as a value.

`"auto"` means the provider's own choice. A setting that stands in the file is honoured, translated or refused by the
plan; one left on `"auto"` never is.
"""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from anytune.schema.base import Value
from anytune.schema.data import DataMethod, PrivacyPolicy, Source
from anytune.schema.money import Usd
from anytune.schema.reward import REWARDS, Reward
from anytune.schema.training import BELONGS, Lora, Method, Training, about

Metric = Literal["exact_match", "sql_execution"]


def _form(given: Any) -> str:
    return "files" if isinstance(given, list | tuple) else "file"


Train = Annotated[Annotated[Path, Tag("file")] | Annotated[tuple[Source, ...], Tag("files")], Discriminator(_form)]


class DataSpec(Value):
    """Name the files; `residency` is where the data may be: `any`, a region, or `local`."""

    train: Annotated[Train, about("chats to learn from, JSON lines; or several files: a list")]
    validation: Annotated[Path | None, about("chats on which the loss is watched")] = None
    split: Annotated[float | None, about("share of the training file to validate on, instead", gt=0, lt=1)] = None
    test: Annotated[Path | None, about("held out: only eval reads it")] = None
    residency: Annotated[str, about("where the data may be: any, a region, or local", pattern=r"^[a-z][a-z0-9-]*$")] = (
        "any"
    )
    privacy: Annotated[PrivacyPolicy, about("kinds of private data that may not leave this machine")] = PrivacyPolicy()

    @field_validator("train", mode="before")
    @classmethod
    def _of_paths(cls, given: Any) -> Any:
        if not isinstance(given, list | tuple):
            return given
        return tuple({"path": one} if isinstance(one, str | Path) else one for one in given)

    @property
    def sources(self) -> tuple[Source, ...]:
        """Return the files to learn from."""
        return (Source(path=self.train),) if isinstance(self.train, Path) else self.train

    @model_validator(mode="after")
    def _one_validation(self) -> Self:
        paths = [source.path for source in self.sources]
        if not paths:
            raise ValueError("train names no file")
        if twice := next((path for path in paths if paths.count(path) > 1), None):
            raise ValueError(f"train names {twice} twice: give it a weight")
        if self.validation is not None and self.split is not None:
            raise ValueError("give either validation or split, not both")
        return self


class Evaluation(Value):
    """Say how `eval` measures; `database` is the SQL script that sql_execution runs against."""

    metrics: Annotated[tuple[Metric, ...], about("exact_match: same text; sql_execution: same rows", min_length=1)] = (
        "exact_match",
    )
    database: Annotated[Path | None, about("SQL that builds the tables for sql_execution")] = None
    max_new_tokens: Annotated[int, about("tokens of an answer at most", ge=1)] = 128
    limit: Annotated[int | None, about("questions asked at most", ge=1)] = None

    @model_validator(mode="after")
    def _execution_needs_a_database(self) -> Self:
        if "sql_execution" in self.metrics and self.database is None:
            raise ValueError("sql_execution needs evaluation.database, a file of SQL that builds the tables")
        return self


class Wandb(Value):
    """Name the run in which a provider reports a job to Weights & Biases; no key of it stands in a job file."""

    project: Annotated[str, about("where its runs are", pattern=r"^[A-Za-z0-9._-]{1,128}$")]
    name: Annotated[str | None, about("of the run; null: the provider names it", min_length=1, max_length=128)] = None
    entity: Annotated[str | None, about("user or team; null: the key's own", pattern=r"^[A-Za-z0-9._-]{1,128}$")] = None
    tags: Annotated[tuple[Annotated[str, Field(min_length=1, max_length=64)], ...], about("of the run")] = ()


class Integration(Value):
    """Name a service that the provider itself tells how a job goes: its settings and its losses."""

    type: Annotated[Literal["wandb"], about("which service")]
    wandb: Annotated[Wandb, about("where it is told")]


class Budget(Value):
    """Bound what a job may cost, in US dollars."""

    usd: Annotated[Usd, about("a plan that may cost more is refused")]


class TuneSpec(Value):
    """Be one job as the user wants it, on whichever provider."""

    name: Annotated[
        str, about("of the job; the same name is the same job", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")
    ]
    provider: Annotated[str, about("who trains")]
    model: Annotated[str, about("the base model: the provider's id, or a folder")] = ""
    models: Annotated[dict[str, str], about("the base model by provider, instead")] = {}
    method: Annotated[Method, about("answers, preference pairs, reinforcement by rewards, or a model that rewards")] = (
        "sft"
    )
    data: Annotated[DataSpec, about("the files")]
    training: Annotated[Training, about("hyperparameters")] = Training()
    rewards: Annotated[tuple[Reward, ...], about("rft: what an answer is worth", max_length=16)] = ()
    from_checkpoint: Annotated[
        str | None, about("what to go on from: an earlier job, or a folder with an adapter", min_length=1)
    ] = None
    suffix: Annotated[
        str | None, about("part of the tuned model's name at a provider", pattern=r"^[A-Za-z0-9._-]{1,64}$")
    ] = None
    integrations: Annotated[
        tuple[Integration, ...], about("who else is told how the job goes, by the provider", max_length=1)
    ] = ()
    evaluation: Annotated[Evaluation, about("how base and tuned are compared")] = Evaluation()
    budget: Annotated[Budget | None, about("what it may cost")] = None
    fallback: Annotated[
        tuple[str, ...], about("who trains, in this order, when a provider refuses for reasons of its own")
    ] = ()
    overrides: Annotated[dict[str, dict[str, Any]], about("keys that differ for one provider")] = {}

    @model_validator(mode="after")
    def _each_to_its_method(self) -> Self:
        for name, methods in BELONGS.items():
            if getattr(self.training, name) != "auto" and self.method not in methods:
                raise ValueError(f"training.{name} belongs to method: {' or '.join(methods)}")
        if self.training.orpo_lambda != "auto":
            for name in ("beta", "simpo_gamma"):
                if getattr(self.training, name) != "auto":
                    raise ValueError(f"training.{name} says nothing beside orpo_lambda: leave one of them out")
        if self.training.over_length == "truncate_right" and self.method in ("rft", "reward"):
            why = "a question needs its end" if self.method == "rft" else "half an answer is not what was preferred"
            raise ValueError(f"training.over_length: {why}: take refuse, drop or truncate_left")
        if self.rewards and self.method != "rft":
            raise ValueError("rewards belong to method: rft")
        if self.method == "rft" and not self.rewards:
            raise ValueError("method: rft needs rewards, which say what an answer is worth")
        if self.method == "rft" and self.data.test is not None:
            raise ValueError("rft learns from questions, and eval needs answers: give eval --test a file of chats")
        if self.method == "reward" and self.data.test is not None:
            raise ValueError("a reward model answers nothing that eval could judge: give data.validation instead")
        return self

    @property
    def data_method(self) -> DataMethod:
        """Return what the data are for: a reward model learns from the pairs of dpo."""
        return "dpo" if self.method == "reward" else self.method


def every_setting() -> set[str]:
    """Name each setting of the job file by its path."""
    plain = {f"training.{name}" for name in Training.model_fields}
    return (
        plain
        | {f"training.lora.{name}" for name in Lora.model_fields}
        | {"suffix", "from_checkpoint", *WANDB, *REWARDS}
    )


REINFORCEMENT = ("training.group_size", "training.max_new_tokens", *REWARDS)
WANDB = tuple(f"integrations.wandb.{name}" for name in Wandb.model_fields)


# What of a job file no provider is told, and what heeds it here.
HEEDED_HERE = {
    "name": "the job's name in the record: the same name with the same content is the same job",
    "provider": "who is asked",
    "fallback": "who is asked when a provider refuses for reasons of its own",
    "models": "the model of the chosen provider, which is sent",
    "integrations.type": "wandb is the only one: what it is told is sent",
    "overrides": "settings of the chosen provider, which are sent",
    "data.split": "part of the training file becomes a validation file, which is sent",
    "data.test": "eval alone reads it",
    "data.residency": "the plan refuses a provider that keeps data elsewhere",
    "data.privacy.block": "the plan refuses a provider where the files hold such data",
    "budget.usd": "the plan refuses what may cost more, and a quote above it ends the submit",
    "evaluation.metrics": "eval measures by them",
    "evaluation.database": "eval runs SQL on it",
    "evaluation.max_new_tokens": "eval cuts answers there",
    "evaluation.limit": "eval asks no more questions",
}
