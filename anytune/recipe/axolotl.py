"""Axolotl's YAML file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from anytune.recipe import pair
from anytune.recipe.tool import (
    Handed,
    Key,
    Reading,
    Record,
    Tool,
    batches,
    eight_bits,
    modules,
    over_length,
    read_batches,
    read_bits,
    read_warmup_steps,
    said,
)
from anytune.schema.data import DataMethod
from anytune.schema.plan import Setting
from anytune.schema.training import Method

_KEYS = (
    Key("num_epochs", "training.epochs", 1),
    Key("learning_rate", "training.learning_rate"),
    Key("lr_scheduler", "training.scheduler", "cosine", {"constant": "constant_with_warmup"}),
    Key("weight_decay", "training.weight_decay", 0.0),
    Key("max_grad_norm", "training.max_grad_norm", 1.0),
    Key("sequence_len", "training.max_length", 512),
    Key("seed", "training.seed", 42),
    Key("lora_r", "training.lora.rank", 8),
    Key("lora_alpha", "training.lora.alpha", 8),
    Key("lora_dropout", "training.lora.dropout", 0.0),
    Key("peft_use_rslora", "training.lora.use_rslora", False),
    Key("rl_beta", "training.beta", 0.1),
)


_EXCESS = {"drop": "drop", "truncate_right": "truncate", "refuse": "raise"}


def _write(handed: Handed) -> Iterator[Setting]:
    yield said("model", handed.model, "base_model", handed.model)
    yield said("method", handed.method, "rl", "dpo") if handed.method == "dpo" else said("method", "sft", "rl", None)
    yield said("data.train", handed.train, "datasets", [_dataset(handed.train, handed.method)])
    if handed.validation:
        held = [_dataset(handed.validation, handed.method) | {"split": "train"}]
        yield said("data.validation", handed.validation, "test_datasets", held)
    yield from batches(handed, micro="micro_batch_size", accumulation="gradient_accumulation_steps")
    yield said("training.warmup_ratio", (ratio := handed.values["training.warmup_ratio"]), "warmup_ratio", ratio)
    if (over := handed.values["training.over_length"]) in _EXCESS:
        yield said("training.over_length", over, "excess_length_strategy", _EXCESS[over], why="its word for it")
    else:
        yield over_length(handed, None, why="it drops what is too long, cuts off its end, or refuses it")
    if not handed.trains_adapters:
        return
    layers = handed.values["training.lora.target_modules"]
    whole = layers == "all-linear"
    name, sent = ("lora_target_linear", True) if whole else ("lora_target_modules", list(layers))
    yield said("training.lora.target_modules", layers, name, sent)
    if handed.bits == 8:
        yield eight_bits("load_in_8bit", True)
    else:
        four = handed.bits == 4
        yield said("training.quantize", "nf4" if four else None, "load_in_4bit", four)
    yield said("training.lora", "adapters", "adapter", "qlora" if handed.bits == 4 else "lora")


def _dataset(path: str, method: Method) -> dict[str, Any]:
    if method == "dpo":
        fields = {"field_messages": "prompt", "field_chosen": "chosen", "field_rejected": "rejected"}
        return {"path": path, "ds_type": "json", "split": "train", "type": "chat_template.default", **fields}
    learnt = {"roles_to_train": ["assistant"], "train_on_eos": "turn", "message_field_training": "train"}
    return {"path": path, "ds_type": "json", "type": "chat_template", "field_messages": "messages", **learnt}


def _record(record: Record, method: DataMethod) -> Record:
    """Let a message of weight 0 say so in Axolotl's way."""
    if method == "dpo":
        return pair.plain(record, tool="Axolotl")
    messages = [_message(message) for message in record["messages"]]
    return {**record, "messages": messages}


def _message(message: Record) -> Record:
    if "weight" not in message:
        return message
    return {**{key: value for key, value in message.items() if key != "weight"}, "train": message["weight"] != 0}


def _read(reading: Reading) -> None:
    reading.keep("model", (model := str(reading.take("base_model", ""))), name="base_model", said=model)
    _read_method(reading)
    train = _data(reading, "datasets", "data.train")
    if share := reading.take("val_set_size"):
        reading.keep("data.split", share, name="val_set_size", said=share, why="drawn by prompt, not by record")
    else:
        _data(reading, "test_datasets", "data.validation")
    read_batches(reading, micro=("micro_batch_size", 1), accumulation=("gradient_accumulation_steps", 1))
    _warmup(reading, train)
    _adapters(reading)
    if reading.take("train_on_inputs"):
        reading.refuse("train_on_inputs", True, "ours learns from the answers alone")
    if reading.take("sample_packing"):
        reading.refuse("sample_packing", True, "a row of it holds several examples: a larger batch_size comes near it")
    back, excess = {theirs: ours for ours, theirs in _EXCESS.items()}, reading.take("excess_length_strategy", "drop")
    if isinstance(excess, str) and excess in back:
        reading.keep("training.over_length", back[excess], name="excess_length_strategy", said=excess)
    else:
        reading.refuse("excess_length_strategy", excess, "ours drops what is too long, cuts it, or refuses it")
    if (template := reading.take("chat_template", "tokenizer_default")) != "tokenizer_default":
        reading.refuse("chat_template", template, "ours takes the template that comes with the model")


def _read_method(reading: Reading) -> None:
    kind = "reward" if reading.take("reward_model") else reading.take("rl", "sft")
    if kind != "orpo":
        reading.keep("method", kind, name="rl", said=None)
        return
    reading.keep("method", "dpo", name="rl", said=kind, why="ORPO is a way to learn from pairs")
    reading.drop("training.beta")
    reading.keep("training.orpo_lambda", weight := reading.take("orpo_alpha", 0.1), name="orpo_alpha", said=weight)


def _data(reading: Reading, name: str, path: str) -> str | None:
    sets = [one for one in reading.several(name) if isinstance(one, dict)]
    if not sets:
        return None
    first = sets[0]
    files = first.get("data_files") or first.get("path")
    found = str(files[0] if isinstance(files, list) else files)
    kind = str(first.get("type"))
    why = (
        None if kind.startswith("chat_template") else f"its records are of the type {kind}: anytune convert them first"
    )
    reading.keep(path, found, name=f"{name}[0].path", said=found, why=why)
    for number, one in enumerate(sets[1:], start=1):
        reading.refuse(f"{name}[{number}]", one.get("path"), "a job has one file: put them into one")
    return found


def _warmup(reading: Reading, train: str | None) -> None:
    if "warmup_steps" in reading.left:
        read_warmup_steps(reading, "warmup_steps", int(reading.number("warmup_steps")), train=train)
    elif "warmup_ratio" in reading.left:
        ratio = reading.number("warmup_ratio")
        reading.keep("training.warmup_ratio", ratio, name="warmup_ratio", said=ratio)
    else:
        why = "its own choice where nothing is said, at most 100 steps of it"
        reading.keep("training.warmup_ratio", 0.03, name="warmup_ratio", said=None, why=why)


def _adapters(reading: Reading) -> None:
    kind, four = reading.take("adapter"), bool(reading.take("load_in_4bit"))
    if kind is None:
        reading.keep("training.lora", None, name="adapter", said=None)
        return
    if kind not in ("lora", "qlora"):
        reading.refuse("adapter", kind, "ours are LoRA's")
    eight = bool(reading.take("load_in_8bit"))
    name, given = ("load_in_8bit", True) if eight else ("load_in_4bit", four)
    read_bits(reading, name, given, 8 if eight else 4 if four else None)
    linear, named = reading.take("lora_target_linear"), reading.take("lora_target_modules")
    if named and not linear:
        layers = "all-linear" if named == "all-linear" else modules(named)
        reading.keep("training.lora.target_modules", layers, name="lora_target_modules", said=named)
    elif linear:
        reading.keep("training.lora.target_modules", "all-linear", name="lora_target_linear", said=True)


AXOLOTL = Tool(
    name="axolotl",
    title="Axolotl",
    source="axolotl's schemas of 2026-07-24 (src/axolotl/utils/schemas, commit 067b021)",
    command="axolotl train config.yaml",
    keys=_KEYS,
    marks=frozenset({"base_model"}),
    fixed={
        "chat_template": "tokenizer_default",
        "sample_packing": False,
        "optimizer": "adamw_torch",
        "bf16": "auto",
        "output_dir": "out",
    },
    lacks={"training.orpo_lambda": (None, "its ORPO reads pairs of another shape than its DPO")},
    write=_write,
    read=_read,
    record=_record,
)
