"""GPUs by name: what each holds and how quick it is, from the catalogue; and those that this machine has."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

from anytune.errors import UsageError
from anytune.local.machine import Hardware

NOISE = {"nvidia", "geforce", "tesla", "gpu"}


@dataclass(frozen=True)
class Gpu:
    """Be a kind of GPU: bytes, bytes a second, operations a second (bfloat16, or float32 where it has none), watts."""

    name: str
    memory: int
    bandwidth: float
    rate: float
    bfloat16: bool
    power: float

    def alone(self, processes: int = 1, machines: int = 1) -> Hardware:
        """Return it as the device of a machine of which nothing else is known, with all its memory free."""
        return Hardware("cuda", self.name, 1, self.memory, self.bfloat16, processes, machines)


def named(name: str) -> Gpu:
    """Return the GPU that somebody means; raise `UsageError` with the nearest names where none is called so."""
    known = table()
    found = known.get(key(name))
    if found is None:
        by_name = {word: gpu.name for word, gpu in known.items()}
        near = difflib.get_close_matches(key(name), by_name, n=4, cutoff=0.4)
        near += [word for word in by_name if key(name) in word and word not in near]
        names = ", ".join(list(dict.fromkeys(by_name[word] for word in near))[:4])
        hint = f"did you mean {names}?" if names else f"known are {', '.join(dict.fromkeys(by_name.values()))}"
        raise UsageError(f"no GPU {name!r} is known", fix=hint)
    return found


def of_driver(name: str) -> Gpu | None:
    """Return the GPU that a driver calls so, None for one that the catalogue does not have."""
    known, word = table(), key(name)
    if word in known:
        return known[word]
    # The driver says more than people do: "NVIDIA A100-SXM4-80GB", "NVIDIA H100 80GB HBM3".
    inside = [spelt for spelt in known if word.startswith(spelt)]
    return known[max(inside, key=len)] if inside else None


def key(name: str) -> str:
    """Return what is left of a name without maker, blanks and signs: `NVIDIA GeForce RTX 4090` is `rtx4090`."""
    words = re.findall(r"[a-z]+|[0-9]+", name.lower())
    joined = "".join(word for word in words if word not in NOISE)
    return re.sub(r"^(?=(?:20|30|40|50)[5-9]0)", "rtx", joined)


@cache
def table() -> dict[str, Gpu]:
    """Read the catalogue, by all names of each GPU."""
    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    text = files("anytune").joinpath("catalog", "gpus.yaml").read_text(encoding="utf-8")
    found: dict[str, Gpu] = {}
    for name, told in yaml.load(text, Loader=loader)["gpus"].items():
        gpu = Gpu(
            name=name,
            memory=told["mib"] << 20,
            bandwidth=told["gb_per_s"] * 1e9,
            rate=(told["bf16"] or told["float32"]) * 1e12,
            bfloat16=told["bf16"] is not None,
            power=told["power"],
        )
        found |= {key(word): gpu for word in (name, *told.get("also", ()))}
    return found
