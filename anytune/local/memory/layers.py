"""What a layer keeps between forward and backward, and needs on the way back: bytes a token and unit of its sizes.

Found by `python bench/fit_layers.py` with torch 2.13 and transformers 5.23, for attention by `sdpa` and LoRA layers as
one node each (`lora.py`); a test holds them against the real classes.
"""

from __future__ import annotations

from dataclasses import dataclass

from anytune.local.memory.shape import Shape

MAPPED = 32 << 20  # bytes from which on glibc maps a block by itself, and gives it back when it is freed


@dataclass(frozen=True)
class Layer:
    """Be the slopes of one family in one precision.

    `hidden`, `query`, `key` and `inner` are of what is kept, by the width of the hidden state, of all heads' queries,
    of keys (or values) and of the gated product. On the way back a layer needs `backward` (inner, hidden) beside all
    that is kept, or `again` where it is computed a second time; the last norm needs `last` (hidden).
    """

    hidden: float
    query: float
    key: float
    inner: float
    backward: tuple[float, float]
    again: tuple[float, float]
    last: float

    def kept(self, shape: Shape) -> float:
        """Return the bytes that a layer keeps of a token."""
        query, key = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
        inner = self.inner * shape.inner * shape.active
        return self.hidden * shape.hidden + self.query * query + self.key * key + inner

    def small(self, shape: Shape, *, tokens: int, width: int) -> float:
        """Return the share of what is kept that lies in blocks which are not given back to the system when freed."""
        hidden, inner = (tokens * size * width < MAPPED for size in (shape.hidden, shape.inner))
        products = self.inner * shape.inner * shape.active
        return ((self.kept(shape) - products) * hidden + products * inner) / self.kept(shape)

    def back(self, shape: Shape, *, again: bool) -> float:
        """Return the bytes that a token needs on the way back beside what is kept."""
        inner, hidden = self.again if again else self.backward
        mlp = inner * shape.inner * shape.active + hidden * shape.hidden
        return mlp if again else max(mlp, self.last * shape.hidden)


def calibrated(shape: Shape) -> bool:
    """Tell whether the slopes are of this very kind of model."""
    return shape.experts == 1 and shape.family in FAMILIES


def layer_of(family: str, dtype: str, products: str) -> Layer:
    """Return the slopes of a family; Llama's, where it has none of its own."""
    case = dtype if dtype == products else "mixed"
    return FAMILIES.get(family, LLAMA)[case]


LLAMA = {
    "bfloat16": Layer(12, 6.06, 6, 8, (4, -2), (4, 2), 20),
    "float32": Layer(16, 12.06, 12, 16, (8, 0), (8, 0), 20),
    "mixed": Layer(12, 14.06, 12, 14, (10, 0), (10, 0), 20),
}
QWEN3 = {**LLAMA, "bfloat16": Layer(12, 10.12, 10, 8, (4, -2), (4, 2), 20)}  # query and key have norms of their own
GEMMA3 = {  # two more norms
    "bfloat16": Layer(20, 10.12, 10, 8, (4, -6), (4, -2), 20),
    "float32": Layer(24, 12.12, 12, 16, (8, -4), (8, -4), 20),
    "mixed": Layer(20, 14.12, 12, 14, (10, -4), (10, -4), 20),
}
PHI3 = {  # query, key and value in one matrix
    "bfloat16": Layer(12, 8.06, 6, 8, (4, -2), (4, 2), 20),
    "float32": Layer(16, 16.06, 12, 16, (8, 0), (8, 0), 20),
    "mixed": LLAMA["mixed"],
}
FAMILIES = {
    **dict.fromkeys(("llama", "mistral", "qwen2", "gemma"), LLAMA),
    "qwen3": QWEN3,
    "gemma3_text": GEMMA3,
    "phi3": PHI3,
}
