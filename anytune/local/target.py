"""What a tuned model can be exported as; known without torch."""

from __future__ import annotations

from typing import Literal, NamedTuple, get_args

from anytune.errors import UsageError

Kind = Literal["adapter", "merged", "gguf", "ollama", "vllm"]
To = Literal[
    "adapter", "merged", "gguf", "gguf-q8_0", "gguf-q4_0", "gguf-lora", "ollama", "ollama-q8_0", "ollama-q4_0", "vllm"
]
TARGETS: tuple[str, ...] = get_args(To)


class Target(NamedTuple):
    """Be one form of export: its kind, how GGUF holds its matrices, and whether it is of the adapter alone."""

    kind: Kind
    outtype: str = "f16"
    needs_adapter: bool = False


def target(to: str) -> Target:
    """Return what a name stands for; raise `UsageError` for one that is none."""
    if to not in TARGETS:
        raise UsageError(f"a model is not exported as {to!r}", fix=f"there are: {', '.join(TARGETS)}")
    kind, _, more = to.partition("-")
    alone = kind in ("adapter", "vllm") or more == "lora"
    found: Kind = kind  # type: ignore[assignment]
    return Target(found, more if more and more != "lora" else "f16", alone)
