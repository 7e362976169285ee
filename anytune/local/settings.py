"""What the local trainer does with each setting of a job file, and which value stands for `auto`."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from anytune.errors import RefusedError, UsageError
from anytune.local import judge
from anytune.local.base_model import locate, text_config
from anytune.local.start import Start
from anytune.schema.plan import Rule
from anytune.schema.reward import REWARDS
from anytune.schema.spec import WANDB, TuneSpec
from anytune.schema.training import OVER_LENGTH, Lora, Method, Training

KEPT = (
    *("epochs", "batch_size", "micro_batch_size", "learning_rate", "warmup_ratio", "weight_decay", "max_grad_norm"),
    *("scheduler", "lora", "lora.rank", "lora.alpha", "lora.dropout", "lora.target_modules"),
    *("lora.use_rslora", "quantize", "max_length", "seed"),
)
METHODS: tuple[Method, ...] = ("sft", "dpo", "rft", "reward")
BETA = 0.1  # the choice of DPO's paper (appendix B) for all tasks but one
SIMPO_BETA = 2.0  # with γ half as large to as large, the paper's choices (appendix B)
KL = 0.04  # the choice of GRPO's paper (DeepSeekMath, section 4.2)
GROUP, ANSWER = 8, 256  # answers to a question, and tokens of one
RULES: dict[str, Rule] = {
    "method": Rule(outcome="kept", choices=METHODS),
    "suffix": Rule(outcome="kept", to="suffix"),
    "from_checkpoint": Rule(outcome="kept", to="from_checkpoint"),
    **{f"training.{name}": Rule(outcome="kept", to=name) for name in KEPT},
    "training.learning_rate_multiplier": Rule(
        outcome="refused",
        why="the local trainer has no built-in rate to multiply: give training.learning_rate",
    ),
    **dict.fromkeys(WANDB, Rule(outcome="refused", why="anytune's own trainer tells nobody how a job goes")),
    "training.over_length": Rule(outcome="kept", to="over_length", why=f"auto is {OVER_LENGTH}"),
    "training.beta": Rule(outcome="kept", to="beta", why=f"auto is {BETA:g} for dpo, {KL:g} for rft"),
    "training.simpo_gamma": Rule(outcome="kept", to="simpo_gamma", why=f"beta on auto is then {SIMPO_BETA:g}"),
    "training.orpo_lambda": Rule(outcome="kept", to="orpo_lambda"),
    "training.group_size": Rule(outcome="kept", to="group_size", why=f"auto is {GROUP}"),
    "training.max_new_tokens": Rule(
        outcome="kept", to="max_new_tokens", why=f"auto is {ANSWER}, or half of max_length"
    ),
    **{path: Rule(outcome="kept", to=path) for path in REWARDS},
}
LENGTH = 2048  # tokens an example may have by default: short enough for a small GPU, long enough for most chats


def resolve(spec: TuneSpec, start: Start | None = None) -> dict[str, Any]:
    """Return every training setting with `auto` replaced by the local default, as JSON values.

    What is left open of an adapter is that of the one that the job goes on from.
    """
    asked = spec.training
    lora = Lora() if asked.lora == "auto" else asked.lora
    usual = start.quantize if start is not None and start.quantize is not False else "nf4" if lora else None
    quantize = usual if asked.quantize == "auto" else asked.quantize
    if lora is None and quantize is not None:
        raise RefusedError(
            "quantised weights cannot be trained themselves: training.quantize needs training.lora",
            fix="leave training.lora out, or set training.quantize: null",
        )
    return {
        "epochs": asked.epochs,
        "batch_size": pick(asked.batch_size, 16),
        "micro_batch_size": None if asked.micro_batch_size == "auto" else asked.micro_batch_size,
        "learning_rate": pick(asked.learning_rate, rate(spec.method, adapters=lora is not None)),
        "warmup_ratio": pick(asked.warmup_ratio, 0.03),
        "weight_decay": pick(asked.weight_decay, 0.0),
        "max_grad_norm": pick(asked.max_grad_norm, 1.0),
        "scheduler": pick(asked.scheduler, "linear"),
        "lora": None if lora is None else lora_values(lora) | (start.shape if start is not None else {}),
        "quantize": quantize,
        "max_length": longest(spec, asked),
        "over_length": asked.over,
        "seed": pick(asked.seed, 0),
        **(preference(asked) if spec.method == "dpo" else {}),
        **(reinforcement(spec, asked, adapters=lora is not None) if spec.method == "rft" else {}),
    }


def preference(asked: Training) -> dict[str, Any]:
    """Return the settings of dpo alone."""
    if asked.orpo_lambda != "auto":
        return {"orpo_lambda": asked.orpo_lambda}
    if asked.simpo_gamma == "auto":
        return {"beta": pick(asked.beta, BETA)}
    return {"beta": pick(asked.beta, SIMPO_BETA), "simpo_gamma": asked.simpo_gamma}


def reinforcement(spec: TuneSpec, asked: Training, *, adapters: bool) -> dict[str, Any]:
    """Return the settings of rft alone; raise `RefusedError` for what cannot be reinforced."""
    if not adapters:
        raise RefusedError(
            "rft compares with the weights that it began with, which for all weights would be a second model",
            fix="leave training.lora out: adapters are trained then",
        )
    longest_one = longest(spec, asked)
    room = pick(asked.max_new_tokens, min(ANSWER, longest_one // 2))
    if room >= longest_one:
        raise RefusedError(
            f"answers of {room} tokens leave no room for a question within {longest_one}",
            fix="set training.max_new_tokens lower, or training.max_length higher",
        )
    return {"beta": pick(asked.beta, KL), "group_size": pick(asked.group_size, GROUP), "max_new_tokens": room}


def rewards(spec: TuneSpec, home: Path) -> list[dict[str, Any]]:
    """Return the rewards as JSON values; raise `UsageError` where a package that one needs is missing."""
    if any(reward.type == "json_schema" for reward in spec.rewards) and find_spec("jsonschema") is None:
        raise UsageError("a reward of type json_schema needs another package", fix="pip install 'anytune[rl]'")
    given = [reward.model_dump(mode="json", exclude_none=True) for reward in spec.rewards]
    return [one | ({"judge": judge.told(one["model"], home)} if "model" in one else {}) for one in given]


def rate(method: Method, *, adapters: bool) -> float:
    """Return the learning rate of `auto`.

    Adapters start from zero and bear about ten times the rate that whole weights do; pairs and rewards bear a tenth of
    what answers do, as hosted trainers have it for pairs, too.
    """
    return (2e-4 if adapters else 2e-5) / (1 if method == "sft" else 10)


def pick(asked: Any, default: Any) -> Any:
    """Return what was asked for, or the default for `auto`."""
    return default if asked == "auto" else asked


def lora_values(lora: Lora) -> dict[str, Any]:
    """Return the adapter's settings as JSON values."""
    modules = lora.target_modules
    return {
        "rank": lora.rank,
        "alpha": lora.scaled_alpha,
        "dropout": lora.dropout,
        "target_modules": modules if isinstance(modules, str) else list(modules),
        "use_rslora": lora.use_rslora,
    }


def longest(spec: TuneSpec, asked: Training) -> int:
    """Return the longest example in tokens: as asked, else 2048 or what the model can hold, if that is less."""
    if asked.max_length != "auto":
        return asked.max_length
    return min(LENGTH, context(local_model(spec)) or LENGTH)


def context(model: str) -> int | None:
    """Return how many positions the model can hold, None if its configuration is not at hand or does not say."""
    folder = locate(model)
    value = text_config(folder).get("max_position_embeddings") if folder else None
    return value if isinstance(value, int) else None


def within(rules: Mapping[str, Rule], context: int | None) -> dict[str, Rule]:
    """Return the rules with the length of an example bounded by what the model can hold, where that is known."""
    if context is None:
        return dict(rules)
    length = "training.max_length"
    return {**rules, length: rules[length].model_copy(update={"maximum": context})}


def local_model(spec: TuneSpec) -> str:
    """Return the base model that the job file names for this provider."""
    return spec.models.get("local", spec.model)


def stable_name(model: str) -> str:
    """Return a name that means the same from any working directory: folders become absolute."""
    folder = Path(model).expanduser()
    return str(folder.absolute()) if folder.is_dir() else model
