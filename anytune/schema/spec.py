"""What a user asks for: the job file as a value.

`"auto"` means the provider's own choice. A setting that stands in the file is honoured, translated or refused by the
plan; one left on `"auto"` never is.
"""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from anytune.schema.base import Value

Auto = Literal["auto"]
Method = Literal["sft", "dpo"]
Metric = Literal["exact_match", "sql_execution"]


class Lora(Value):
    """Describe low-rank adapters (Hu et al. 2021, arXiv:2106.09685)."""

    rank: Annotated[int, Field(ge=1, le=1024)] = 16
    alpha: Annotated[int, Field(ge=1)] | Auto = "auto"
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    target_modules: tuple[str, ...] | Literal["all-linear"] = "all-linear"

    @property
    def scaled_alpha(self) -> int:
        """Return alpha, twice the rank where the user left it open."""
        return 2 * self.rank if self.alpha == "auto" else self.alpha


class Training(Value):
    """Hold the hyperparameters; `batch_size` is global: examples per optimiser step."""

    epochs: Annotated[int, Field(ge=1, le=100)] = 3
    batch_size: Annotated[int, Field(ge=1)] | Auto = "auto"
    micro_batch_size: Annotated[int, Field(ge=1)] | Auto = "auto"
    learning_rate: Annotated[float, Field(gt=0, lt=1)] | Auto = "auto"
    learning_rate_multiplier: Annotated[float, Field(gt=0)] | Auto = "auto"
    warmup_ratio: Annotated[float, Field(ge=0, lt=1)] | Auto = "auto"
    weight_decay: Annotated[float, Field(ge=0)] | Auto = "auto"
    max_grad_norm: Annotated[float, Field(gt=0)] | Auto = "auto"
    scheduler: Literal["linear", "cosine", "constant"] | Auto = "auto"
    lora: Lora | Auto | None = "auto"
    quantize: Literal["nf4"] | Auto | None = "auto"
    max_length: Annotated[int, Field(ge=8)] | Auto = "auto"
    beta: Annotated[float, Field(gt=0, le=2)] | Auto = "auto"
    seed: Annotated[int, Field(ge=0, le=2147483647)] | Auto = "auto"


class DataSpec(Value):
    """Name the files; `residency` is where the data may be: `any`, a region, or `local`."""

    train: Path
    validation: Path | None = None
    split: Annotated[float, Field(gt=0, lt=1)] | None = None
    test: Path | None = None
    residency: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]*$")] = "any"

    @model_validator(mode="after")
    def _one_validation(self) -> DataSpec:
        if self.validation is not None and self.split is not None:
            raise ValueError("give either validation or split, not both")
        return self


class Evaluation(Value):
    """Say how `eval` measures; `database` is the SQL script that sql_execution runs against."""

    metrics: tuple[Metric, ...] = ("exact_match",)
    database: Path | None = None
    max_new_tokens: Annotated[int, Field(ge=1)] = 128
    limit: Annotated[int, Field(ge=1)] | None = None

    @model_validator(mode="after")
    def _execution_needs_a_database(self) -> Evaluation:
        if "sql_execution" in self.metrics and self.database is None:
            raise ValueError("sql_execution needs evaluation.database, a file of SQL that builds the tables")
        return self


class Budget(Value):
    """Bound what a job may cost, in US dollars."""

    usd: Annotated[Decimal, Field(ge=0)]


class TuneSpec(Value):
    """Be one job as the user wants it, on whichever provider."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    provider: str
    model: str = ""
    models: dict[str, str] = {}
    method: Method = "sft"
    data: DataSpec
    training: Training = Training()
    suffix: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")] | None = None
    evaluation: Evaluation = Evaluation()
    budget: Budget | None = None
    fallback: tuple[str, ...] = ()
    overrides: dict[str, dict[str, Any]] = {}

    @model_validator(mode="after")
    def _beta_is_of_dpo(self) -> TuneSpec:
        if self.training.beta != "auto" and self.method != "dpo":
            raise ValueError("training.beta belongs to method: dpo")
        return self
