"""What another trainer's config file says, key by key, beside what a job file says."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from anytune.schema.data import DataMethod
from anytune.schema.plan import Setting
from anytune.schema.training import Method, OverLength

Record = dict[str, Any]
UNSAID: Any = object()  # a key that does not stand in a file
LARGEST_MICRO_BATCH = 4
LARGEST_NUMBER = 10**12
ROUNDS = "theirs rounds what goes through a layer to 8 bits, too, ours the weights alone"
_SECRET = re.compile(
    r"(?i)(\btoken|(hub|hf|hugging_?face|wandb|auth|access|api)_?token|secret|password|(api|access|private)_?key)$"
)


class Key(NamedTuple):
    """Be one key that holds one setting.

    `name` is theirs, with dots into sections; `path` is ours. `default` is what holds there where the key is left out,
    UNSAID if nothing does. `words` are theirs for ours where they differ, `why` what is to be known of the two.
    """

    name: str
    path: str
    default: Any = UNSAID
    words: Mapping[str, str] = {}
    why: str | None = None


class Handed(NamedTuple):
    """Be a job as it is handed over: every setting has its value, and the data lie in the folder of the config.

    `values` maps the path of a setting to what it is, None where there is no such thing; `chosen` are the paths that
    the user set. `train` and `validation` name files from the folder.
    """

    name: str
    model: str
    method: Method
    values: Mapping[str, Any]
    chosen: frozenset[str]
    examples: int
    train: str
    validation: str | None

    @property
    def trains_adapters(self) -> bool:
        """Tell whether adapters are trained and not all weights."""
        return self.values.get("training.lora.rank") is not None

    @property
    def has_pairs(self) -> bool:
        """Tell whether the data are pairs and not chats."""
        return self.method in ("dpo", "reward")

    @property
    def bits(self) -> int | None:
        """Return how many bits the frozen weights have, None where they are as they are."""
        return {"nf4": 4, "int8": 8}.get(self.values.get("training.quantize") or "")

    @property
    def steps(self) -> int:
        """Return how many optimiser steps there are; the last one of an epoch may have fewer examples."""
        epochs, whole = int(self.values["training.epochs"]), int(self.values["training.batch_size"])
        return epochs * -(-self.examples // whole)

    def batch(self) -> tuple[int, int]:
        """Return the examples that are computed at a time on one device, and how often before a step."""
        whole, wanted = self.values["training.batch_size"], self.values["training.micro_batch_size"]
        micro = wanted or max(size for size in range(1, LARGEST_MICRO_BATCH + 1) if whole % size == 0)
        return micro, whole // micro


class Reading:
    """Be a config file of theirs that is being read: what of it was not yet understood, and what became of the rest."""

    def __init__(self, document: Mapping[str, Any], *, count: Callable[[str], int | None]) -> None:
        """Begin with a flat document; `count` tells how many records a file of it has, None where that is unknown."""
        self.left = dict(document)
        self.values: dict[str, Any] = {}
        self.settings: list[Setting] = []
        self.count = count

    def take(self, name: str, default: Any = None) -> Any:
        """Return what stands under a key (the default where nothing does) and count the key as understood."""
        value = self.left.pop(name, None)
        return default if value is None else value

    def number(self, name: str, default: float = 0) -> float:
        """Return the number under a key; one that is none (`auto`, say) is refused, and the default returned."""
        said = self.take(name, default)
        value = number(said)
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= LARGEST_NUMBER:
            self.refuse(name, said, "it is no number that a training could go by")
            return default
        return value

    def several(self, name: str) -> list[Any]:
        """Return what is listed under a key; a single one makes a list of one."""
        said = self.take(name, [])
        return said if isinstance(said, list) else [said]

    def keep(self, path: str, value: Any, *, name: str, said: Any, why: str | None = None) -> None:
        """Put down what a setting of ours becomes; with a `why` it is a translation."""
        self.values[path] = value
        outcome: Any = "translated" if why else "kept"
        self.settings.append(Setting(path=path, value=value, outcome=outcome, to=name, sent=said, why=why))

    def drop(self, path: str) -> Any:
        """Take back what was put down of a setting, and return what it was."""
        self.settings = [setting for setting in self.settings if setting.path != path]
        return self.values.pop(path, None)

    def refuse(self, name: str, said: Any, why: str) -> None:
        """Put down what is not taken over; what is secret in it is not repeated."""
        self.settings.append(Setting(path=name, value=_unsecret(name, said), outcome="refused", why=why))


def number(said: Any) -> Any:
    """Read what YAML takes for text, such as 1e-4; a whole number is no fraction. What is no number stays as it is."""
    if isinstance(said, str):
        try:
            said = float(said)
        except ValueError:
            return said
    return int(said) if isinstance(said, float) and said.is_integer() and abs(said) >= 1 else said


def _unsecret(name: str, said: Any) -> Any:
    if isinstance(said, Mapping):
        return {key: _unsecret(str(key), value) for key, value in said.items()}
    if isinstance(said, list):
        return [_unsecret(name, value) for value in said]
    return "(not repeated)" if isinstance(said, str) and said and _SECRET.search(name) else said


class Tool(NamedTuple):
    """Be one trainer: how its config file is told from others, and what its keys mean.

    `source` says by what the keys go. `marks` are keys that only its files have. `fixed` is written into every file, so
    that the training is the same. `lacks` says of a setting of ours without a key what it is there, and why. `write`
    and `read` do what is more than a key for a setting; `record` turns a record of ours into one that the tool reads,
    and raises `RefusedError` for one that it would learn otherwise. `beside` are further files of the folder, `files`
    finds what such a file beside a config says of data sets; `command` runs it there. `notes` are what else is
    different. With `sections` the keys stand in sections.
    """

    name: str
    title: str
    source: str
    command: str
    keys: tuple[Key, ...]
    marks: frozenset[str]
    fixed: Mapping[str, Any]
    lacks: Mapping[str, tuple[Any, str]]
    write: Callable[[Handed], Iterator[Setting]]
    read: Callable[[Reading], None]
    record: Callable[[Record, DataMethod], Record]
    methods: tuple[Method, ...] = ("sft", "dpo")
    beside: Callable[[Handed], Mapping[str, Any]] = lambda _: {}
    files: Callable[[Mapping[str, Any], Path], Mapping[str, str]] = lambda *_: {}
    notes: tuple[str, ...] = ()
    sections: bool = False


def ordered(settings: Iterable[Setting]) -> tuple[Setting, ...]:
    """Return settings in the order of a job file, what is refused last."""
    first = ("model", "method", "data", "training")
    place = {name: number for number, name in enumerate(first)}
    return tuple(sorted(settings, key=lambda s: (s.outcome == "refused", place.get(s.path.partition(".")[0], 9))))


def said(path: str, value: Any, to: str, sent: Any, *, why: str | None = None) -> Setting:
    """Say what a setting is written as; with a `why` it is a translation."""
    return Setting(path=path, value=value, outcome="translated" if why else "kept", to=to, sent=sent, why=why)


def eight_bits(name: str, sent: Any) -> Setting:
    """Write weights of 8 bits as they all do it, by bitsandbytes."""
    return said("training.quantize", "int8", name, sent, why=ROUNDS)


def read_bits(reading: Reading, name: str, given: Any, bits: int | None) -> None:
    """Read how many bits frozen weights have."""
    kept = {4: "nf4", 8: "int8"}.get(bits or 0)
    reading.keep("training.quantize", kept, name=name, said=given, why=ROUNDS if bits == 8 else None)


def over_length(handed: Handed, theirs: OverLength | None, *, why: str) -> Setting:
    """Say that a tool does with longer examples as it does: `theirs` of ours, None for none of them."""
    value = handed.values["training.over_length"]
    kept: Any = "kept" if value == theirs else "refused"
    return Setting(path="training.over_length", value=value, outcome=kept, why=why)


def batches(handed: Handed, *, micro: str, accumulation: str) -> Iterator[Setting]:
    """Write the batch as they all do: the examples that are computed at a time, and how often before a step."""
    size, times = handed.batch()
    auto = "theirs has to be given" if handed.values["training.micro_batch_size"] is None else None
    yield said("training.micro_batch_size", size, micro, size, why=auto)
    whole = handed.values["training.batch_size"]
    yield said("training.batch_size", whole, accumulation, times, why=f"{whole} = {size} × {times} × 1 device")


def warmed(reading: Reading) -> None:
    """Leave out a warm-up beside a rate that is called constant: `constant` has none in transformers, what ours is
    called there is `constant_with_warmup`.
    """
    at = next((s for s in reading.settings if s.path == "training.scheduler" and s.sent == "constant"), None)
    if at is not None and reading.values.get("training.warmup_ratio"):
        reading.settings = [s for s in reading.settings if s.path != "training.warmup_ratio"]
        why = f"{at.to}: constant goes without a warm-up there"
        reading.keep("training.warmup_ratio", 0.0, name=str(at.to), said="constant", why=why)


def warmup_steps(handed: Handed, name: str) -> Setting:
    """Write the warm-up in steps, rounded up as our own trainer does."""
    ratio, steps = handed.values["training.warmup_ratio"], handed.steps
    return said("training.warmup_ratio", ratio, name, math.ceil(ratio * steps), why=f"{ratio:g} of {steps:,} steps")


def read_batches(reading: Reading, *, micro: tuple[str, int], accumulation: tuple[str, int]) -> None:
    """Read the batch as they all write it; how many devices there are stands in no such file."""
    size, times = int(reading.number(*micro)), int(reading.number(*accumulation))
    reading.keep("training.micro_batch_size", size, name=micro[0], said=size)
    reading.keep(
        "training.batch_size", size * times, name=accumulation[0], said=times, why=f"{size} × {times}, for one device"
    )


def read_warmup_steps(reading: Reading, name: str, steps: int, *, train: str | None) -> None:
    """Read a warm-up that is given in steps: its share can be told once the examples are counted."""
    whole, epochs = reading.values.get("training.batch_size"), reading.values.get("training.epochs")
    examples = reading.count(train) if train else None
    if steps <= 0:
        reading.keep("training.warmup_ratio", 0.0, name=name, said=steps)
    elif not examples or not whole or not isinstance(epochs, int | float) or not 0 < epochs < math.inf:
        reading.refuse(name, steps, "ours is a share of all steps, and these cannot be counted without the data")
    else:
        every = math.ceil(epochs * -(-examples // whole))
        share = min(round(steps / every, 6), 0.999999)
        reading.keep("training.warmup_ratio", share, name=name, said=steps, why=f"of {every:,} steps")


def modules(value: Any) -> Any:
    """Read the names of layers, which stand in a list or between commas."""
    names = [str(each) for each in value] if isinstance(value, list) else str(value).split(",")
    return [name.strip() for name in names if name.strip()]
