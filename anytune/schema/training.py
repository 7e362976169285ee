"""How a job is trained: the hyperparameters, and to which methods each says something."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from anytune.schema.base import Value

Auto = Literal["auto"]
Method = Literal["sft", "dpo", "rft", "reward"]
Quantize = Literal["nf4", "int8"]
OverLength = Literal["refuse", "drop", "truncate_left", "truncate_right"]
OVER_LENGTH: OverLength = "drop"  # what auto is in our own trainer: nothing is learnt otherwise than it was written


def about(text: str, **bounds: Any) -> Any:
    """Describe a key for the reference and for editors, with its bounds."""
    return Field(description=text, **bounds)


class Lora(Value):
    """Describe low-rank adapters (Hu et al. 2021, arXiv:2106.09685); rsLoRA is Kalajdzievski 2023, arXiv:2312.03732."""

    rank: Annotated[int, about("columns of each adapter", ge=1, le=1024)] = 16
    alpha: Annotated[int, about("scale of the adapters; auto: twice the rank", ge=1)] | Auto = "auto"
    dropout: Annotated[float, about("share of inputs dropped in training", ge=0, lt=1)] = 0.0
    target_modules: Annotated[
        tuple[str, ...] | Literal["all-linear"], about("layers that get an adapter, by their names in the model")
    ] = "all-linear"
    use_rslora: Annotated[
        bool, about("scale by alpha / √rank, not alpha / rank (rsLoRA), which lets high ranks learn as much")
    ] = False

    @model_validator(mode="before")
    @classmethod
    def _not_dora(cls, given: Any) -> Any:
        if isinstance(given, dict) and given.get("use_dora"):
            raise ValueError("use_dora: DoRA is trained nowhere here: leave it out, or take use_rslora")
        return given

    @property
    def scaled_alpha(self) -> int:
        """Return alpha, twice the rank where the user left it open."""
        return 2 * self.rank if self.alpha == "auto" else self.alpha


class Training(Value):
    """Hold the hyperparameters; what is left on `auto` is the provider's own choice."""

    epochs: Annotated[int, about("passes over the training data", ge=1, le=100)] = 3
    batch_size: Annotated[int, about("examples in one optimiser step, over all devices", ge=1)] | Auto = "auto"
    micro_batch_size: Annotated[int, about("examples computed at a time", ge=1)] | Auto = "auto"
    learning_rate: Annotated[float, about("peak of the learning rate", gt=0, lt=1)] | Auto = "auto"
    learning_rate_multiplier: Annotated[float, about("OpenAI: times its own base rate", gt=0)] | Auto = "auto"
    warmup_ratio: Annotated[float, about("share of the steps in which the rate rises", ge=0, lt=1)] | Auto = "auto"
    weight_decay: Annotated[float, about("decoupled weight decay (AdamW)", ge=0)] | Auto = "auto"
    max_grad_norm: Annotated[float, about("gradients are clipped to this norm", gt=0)] | Auto = "auto"
    scheduler: Annotated[
        Literal["linear", "cosine", "constant"] | Auto, about("how the learning rate goes on after the warm-up")
    ] = "auto"
    lora: Annotated[Lora | Auto | None, about("adapters; null: train all weights")] = "auto"
    quantize: Annotated[Quantize | Auto | None, about("frozen weights in 4 bits (QLoRA), or in 8; null: not")] = "auto"
    max_length: Annotated[int, about("tokens of an example that are used at most", ge=8)] | Auto = "auto"
    over_length: (
        Annotated[
            OverLength,
            about(
                "of longer examples: refuse the run; drop them; truncate_left: cut off the oldest before the answer, "
                "which stays whole; truncate_right: cut off the end"
            ),
        ]
        | Auto
    ) = "auto"
    beta: Annotated[float, about("dpo, rft: how close to the model that training began with", gt=0, le=10)] | Auto = (
        "auto"
    )
    simpo_gamma: (
        Annotated[float, about("dpo: SimPO instead, without a base to compare with, by this margin", gt=0)] | Auto
    ) = "auto"
    orpo_lambda: (
        Annotated[float, about("dpo: ORPO instead: answers and preferences at once, the odds by this weight", gt=0)]
        | Auto
    ) = "auto"
    group_size: Annotated[int, about("rft: answers that are tried to each question", ge=2, le=256)] | Auto = "auto"
    max_new_tokens: Annotated[int, about("rft: tokens of an answer at most", ge=1)] | Auto = "auto"
    seed: Annotated[int, about("of order and initial weights", ge=0, le=2147483647)] | Auto = "auto"

    @property
    def over(self) -> OverLength:
        """Return what our own trainer does with examples over the limit."""
        return OVER_LENGTH if self.over_length == "auto" else self.over_length


# The methods to which a hyperparameter says something.
BELONGS: dict[str, tuple[Method, ...]] = {
    "beta": ("dpo", "rft"),
    "simpo_gamma": ("dpo",),
    "orpo_lambda": ("dpo",),
    "group_size": ("rft",),
    "max_new_tokens": ("rft",),
}
