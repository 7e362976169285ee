"""The YAML file of `unsloth train`."""

from __future__ import annotations

from collections.abc import Iterator

from anytune.recipe import pair
from anytune.recipe.tool import (
    Handed,
    Key,
    Reading,
    Record,
    Tool,
    batches,
    modules,
    over_length,
    read_batches,
    read_warmup_steps,
    said,
    warmup_steps,
)
from anytune.schema.data import DataMethod
from anytune.schema.plan import Setting

LAYERS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
_KEYS = (
    Key("training.num_epochs", "training.epochs", 3),
    Key("training.learning_rate", "training.learning_rate", 2e-4),
    Key("training.weight_decay", "training.weight_decay", 0.01),
    Key("training.max_seq_length", "training.max_length", 2048),
    Key("training.random_seed", "training.seed", 3407),
    Key("lora.lora_r", "training.lora.rank", 64),
    Key("lora.lora_alpha", "training.lora.alpha", 16),
    Key("lora.lora_dropout", "training.lora.dropout", 0.0),
    Key("lora.use_rslora", "training.lora.use_rslora", False),
)


def _write(handed: Handed) -> Iterator[Setting]:
    yield said("model", handed.model, "model", handed.model)
    yield said("data.train", handed.train, "data.local_dataset", [handed.train])
    if handed.validation is not None:
        unheard = "its config has no key for such a file; what is learnt does not hang on it"
        yield Setting(path="data.validation", value=handed.validation, outcome="refused", why=unheard)
    yield from batches(handed, micro="training.batch_size", accumulation="training.gradient_accumulation_steps")
    yield warmup_steps(handed, "training.warmup_steps")
    yield over_length(handed, "truncate_right", why="it cuts off the end of what is too long")
    kind = "lora" if handed.trains_adapters else "full"
    yield said("training.lora", "adapters" if handed.trains_adapters else None, "training.training_type", kind)
    if handed.bits == 8:
        yield Setting(path="training.quantize", value="int8", outcome="refused", why="it has a key for 4 bits alone")
    else:
        four = handed.bits == 4
        yield said("training.quantize", "nf4" if four else None, "training.load_in_4bit", four)
    if handed.trains_adapters:
        layers = handed.values["training.lora.target_modules"]
        whole = layers == "all-linear"
        why = "the linear layers of Llama and its kin by their names" if whole else None
        sent = ",".join(LAYERS if whole else layers)
        yield said("training.lora.target_modules", layers, "lora.target_modules", sent, why=why)


def _record(record: Record, method: DataMethod) -> Record:
    del method
    return pair.refuse_weights(record, tool="Unsloth")


def _read(reading: Reading) -> None:
    reading.keep("model", (model := str(reading.take("model", ""))), name="model", said=model)
    train = _data(reading)
    read_batches(reading, micro=("training.batch_size", 2), accumulation=("training.gradient_accumulation_steps", 4))
    read_warmup_steps(reading, "training.warmup_steps", int(reading.number("training.warmup_steps", 5)), train=train)
    reading.keep("training.scheduler", "linear", name="(always)", said="linear")
    reading.keep("training.over_length", "truncate_right", name="(always)", said=None)
    _adapters(reading)
    if not reading.take("training.train_on_completions"):
        why = "ours learns from the answers alone, not from questions, too"
        reading.refuse("training.train_on_completions", False, why)
    if reading.take("training.packing"):
        why = "a row of it holds several examples: a larger batch_size comes near it"
        reading.refuse("training.packing", True, why)


def _data(reading: Reading) -> str | None:
    files, hub = reading.several("data.local_dataset"), reading.take("data.dataset")
    for other in files[1:]:
        reading.refuse("data.local_dataset", other, "a job has one file: put them into one")
    if not files and not hub:
        return None
    found = str(files[0]) if files else str(hub)
    reading.keep("data.train", found, name="data.local_dataset" if files else "data.dataset", said=found)
    return found


def _adapters(reading: Reading) -> None:
    kind = reading.take("training.training_type", "lora")
    four = bool(reading.take("training.load_in_4bit", True))
    if kind != "lora":
        reading.keep("training.lora", None, name="training.training_type", said=kind)
        return
    reading.keep("training.quantize", "nf4" if four else None, name="training.load_in_4bit", said=four)
    layers = modules(reading.take("lora.target_modules", ",".join(LAYERS)))
    reading.keep("training.lora.target_modules", layers, name="lora.target_modules", said=",".join(layers))


UNSLOTH = Tool(
    name="unsloth",
    title="Unsloth",
    source="Unsloth's config of 2026-08-22 (unsloth_cli/config.py, commit 015bdef)",
    command="unsloth train --config config.yaml",
    keys=_KEYS,
    marks=frozenset(
        {
            "data.local_dataset",
            "training.training_type",
            "training.max_seq_length",
            "training.load_in_4bit",
            "lora.lora_r",
        }
    ),
    fixed={
        "data.format_type": "chatml",
        "training.train_on_completions": True,
        "training.packing": False,
        "training.output_dir": "out",
    },
    lacks={
        "training.scheduler": ("linear", "its rate always goes down in a straight line"),
        "training.max_grad_norm": (1.0, "it clips at 1, and its config has no key for another"),
    },
    write=_write,
    read=_read,
    record=_record,
    methods=("sft",),
    notes=("its optimiser keeps its state in 8 bits (adamw_8bit); ours is AdamW in 32",),
    sections=True,
)
