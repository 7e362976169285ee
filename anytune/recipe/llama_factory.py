"""LLaMA-Factory's YAML file and the dataset_info.json beside it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
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
    warmup_steps,
)
from anytune.schema.data import DataMethod
from anytune.schema.plan import Setting

_KEYS = (
    Key("num_train_epochs", "training.epochs", 3),
    Key("learning_rate", "training.learning_rate", 5e-5),
    Key("lr_scheduler_type", "training.scheduler", "linear", {"constant": "constant_with_warmup"}),
    Key("weight_decay", "training.weight_decay", 0.0),
    Key("max_grad_norm", "training.max_grad_norm", 1.0),
    Key("cutoff_len", "training.max_length", 2048),
    Key("seed", "training.seed", 42),
    Key("lora_rank", "training.lora.rank", 8),
    Key("lora_alpha", "training.lora.alpha"),
    Key("lora_dropout", "training.lora.dropout", 0.0),
    Key("use_rslora", "training.lora.use_rslora", False),
    Key("pref_beta", "training.beta", 0.1),
)
_STAGES = {"reward": "rm"}
_TAGS = {
    "role_tag": "role",
    "content_tag": "content",
    "user_tag": "user",
    "assistant_tag": "assistant",
    "system_tag": "system",
}


def _write(handed: Handed) -> Iterator[Setting]:
    yield said("model", handed.model, "model_name_or_path", handed.model)
    yield said("method", handed.method, "stage", _STAGES.get(handed.method, handed.method))
    if handed.method == "dpo":
        yield from _loss(handed)
    yield said("data.train", handed.train, "dataset", "train")
    if handed.validation:
        yield said("data.validation", handed.validation, "eval_dataset", "validation")
    yield from batches(handed, micro="per_device_train_batch_size", accumulation="gradient_accumulation_steps")
    yield warmup_steps(handed, "warmup_steps")  # a ratio is a float there in one version and another key in the next
    yield over_length(handed, None, why="it cuts off the end of question and answer, each by its share")
    kind = "lora" if handed.trains_adapters else "full"
    yield said("training.lora", "adapters" if handed.trains_adapters else None, "finetuning_type", kind)
    if handed.trains_adapters:
        layers = handed.values["training.lora.target_modules"]
        sent = "all" if layers == "all-linear" else ",".join(layers)
        yield said("training.lora.target_modules", layers, "lora_target", sent)
    if handed.bits == 8:
        yield eight_bits("quantization_bit", 8)
    if handed.bits == 4:
        yield said("training.quantize", "nf4", "quantization_bit", 4)


def _loss(handed: Handed) -> Iterator[Setting]:
    weight, gamma = (handed.values.get(f"training.{name}") for name in ("orpo_lambda", "simpo_gamma"))
    kind = "orpo" if weight else "simpo" if gamma else "sigmoid"
    yield said("method", "dpo", "pref_loss", kind)
    if weight:
        yield said("training.orpo_lambda", weight, "pref_beta", weight, why="its word for the weight of the odds")
    if gamma:
        yield said("training.simpo_gamma", gamma, "simpo_gamma", gamma)


def _info(handed: Handed) -> Mapping[str, Any]:
    """Describe the data; `openai` as the formatting would put words of its own behind the system message."""
    names = {"train": handed.train, "validation": handed.validation}
    if handed.has_pairs:
        shape: dict[str, Any] = {
            "ranking": True,
            "columns": {"messages": "prompt", "chosen": "chosen", "rejected": "rejected"},
        }
    else:
        shape = {"columns": {"messages": "messages"}}
    common = {"formatting": "sharegpt", **shape, "tags": _TAGS}
    return {"dataset_info.json": {name: {"file_name": file, **common} for name, file in names.items() if file}}


def _files(document: Mapping[str, Any], folder: Path) -> Mapping[str, str]:
    """Return the file of each data set that dataset_info.json describes, as `<name>`."""
    place = folder / str(document.get("dataset_dir") or "data")
    try:
        info = json.loads((place / "dataset_info.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    known = info.items() if isinstance(info, dict) else ()
    files = {name: one["file_name"] for name, one in known if isinstance(one, dict) and one.get("file_name")}
    return {f"<{name}>": str(place / str(file)) for name, file in files.items()}


def _record(record: Record, method: DataMethod) -> Record:
    if method == "dpo":
        plain = pair.plain(record, tool="LLaMA-Factory")
        return {**plain, "chosen": plain["chosen"][0], "rejected": plain["rejected"][0]}
    return pair.refuse_tools(pair.refuse_weights(record, tool="LLaMA-Factory"), tool="LLaMA-Factory")


def _read(reading: Reading) -> None:
    reading.keep("model", (model := str(reading.take("model_name_or_path", ""))), name="model_name_or_path", said=model)
    stage = reading.take("stage", "sft")
    method = {theirs: ours for ours, theirs in _STAGES.items()}.get(str(stage), stage)
    reading.keep("method", method, name="stage", said=stage)
    if method == "dpo":
        _read_loss(reading)
    train = _data(reading, "dataset", "data.train")
    if share := reading.take("val_size"):
        reading.keep("data.split", share, name="val_size", said=share, why="drawn by prompt, not by record")
    else:
        _data(reading, "eval_dataset", "data.validation")
    read_batches(reading, micro=("per_device_train_batch_size", 8), accumulation=("gradient_accumulation_steps", 1))
    ratio, steps = reading.number("warmup_ratio"), reading.number("warmup_steps")
    if steps >= 1:
        read_warmup_steps(reading, "warmup_steps", int(steps), train=train)
    else:
        reading.keep("training.warmup_ratio", steps or ratio, name="warmup_ratio", said=steps or ratio)
    nearest, why = "truncate_right", "it cuts off the end of question and answer, each by its share"
    if method == "reward":
        nearest, why = "drop", "it cuts off the end of both answers, ours are scored whole"
    reading.keep("training.over_length", nearest, name="cutoff_len", said=None, why=why)
    _adapters(reading)
    if reading.take("train_on_prompt"):
        reading.refuse("train_on_prompt", True, "ours learns from the answers alone")
    if reading.take("mask_history"):
        reading.refuse("mask_history", True, "give all answers but the last weight 0 in the data")
    packed = reading.take("packing"), reading.take("neat_packing")
    if any(packed):
        reading.refuse("packing", True, "a row of it holds several examples: a larger batch_size comes near it")
    if template := reading.take("template"):
        reading.refuse("template", template, "ours takes the template that comes with the model")


def _read_loss(reading: Reading) -> None:
    kind, gamma = reading.take("pref_loss", "sigmoid"), reading.take("simpo_gamma", 0.5)
    if kind == "orpo":
        weight = reading.drop("training.beta")
        reading.keep("training.orpo_lambda", weight, name="pref_beta", said=weight, why="its word for it, beside orpo")
    elif kind == "simpo":
        reading.keep("training.simpo_gamma", gamma, name="simpo_gamma", said=gamma)
    elif kind != "sigmoid":
        reading.refuse("pref_loss", kind, "ours is DPO's own, SimPO's or ORPO's")


def _data(reading: Reading, name: str, path: str) -> str | None:
    """Read the name of a data set; the file behind it stands in dataset_info.json."""
    names = modules(reading.take(name) or "")
    if not names:
        return None
    file = reading.take(f"<{names[0]}>")  # what dataset_info.json says of it, put there by the reader
    found = file or f"{names[0]}.jsonl"
    why = None if file else f"dataset_info.json names no file for {names[0]}"
    reading.keep(path, found, name=name, said=names[0], why=why)
    for other in names[1:]:
        reading.refuse(name, other, "a job has one file: put them into one")
    return found


def _adapters(reading: Reading) -> None:
    kind, bits = reading.take("finetuning_type", "lora"), reading.take("quantization_bit")
    if kind != "lora":
        reading.keep("training.lora", None, name="finetuning_type", said=kind)
        if kind != "full":
            reading.refuse("finetuning_type", kind, "ours trains LoRA's adapters, or all weights")
        return
    if bits not in (None, 4, 8):
        reading.refuse("quantization_bit", bits, "ours has 4 bits (nf4), 8 (int8) or none")
    read_bits(reading, "quantization_bit", bits, bits if bits in (4, 8) else None)
    layers = modules(reading.take("lora_target", "all"))
    ours = "all-linear" if layers == ["all"] else layers
    reading.keep("training.lora.target_modules", ours, name="lora_target", said=",".join(layers))


LLAMA_FACTORY = Tool(
    name="llama-factory",
    title="LLaMA-Factory",
    methods=("sft", "dpo", "reward"),
    source="LLaMA-Factory's arguments of 2026-08-18 (src/llamafactory/hparams, commit ff6d4d1)",
    command="llamafactory-cli train config.yaml",
    keys=_KEYS,
    marks=frozenset({"finetuning_type", "stage", "dataset_dir", "cutoff_len"}),
    fixed={
        "do_train": True,
        "dataset_dir": ".",
        "quantization_method": "bnb",
        "optim": "adamw_torch",
        "bf16": True,
        "report_to": "none",
        "output_dir": "out",
    },
    lacks={},
    write=_write,
    read=_read,
    record=_record,
    beside=_info,
    files=_files,
    notes=("without a `template` it makes one of the model's own; give its name where it knows the model",),
)
