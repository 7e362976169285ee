"""The YAML file of `trl sft`, `trl dpo` and `trl reward`."""

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

_KEYS = (
    Key("num_train_epochs", "training.epochs", 3),
    Key("lr_scheduler_type", "training.scheduler", "linear", {"constant": "constant_with_warmup"}),
    Key("weight_decay", "training.weight_decay", 0.0),
    Key("max_grad_norm", "training.max_grad_norm", 1.0),
    Key("max_length", "training.max_length", 1024),
    Key("seed", "training.seed", 42),
    Key("lora_r", "training.lora.rank", 16),
    Key("lora_alpha", "training.lora.alpha", 32),
    Key("lora_dropout", "training.lora.dropout", 0.05),
    Key("use_rslora", "training.lora.use_rslora", False),
    Key("beta", "training.beta", 0.1),
)
_SFT_LOSSES = frozenset({"nll", "chunked_nll", "dft"})
_OURS = {"sft": frozenset({"nll", "chunked_nll"}), "dpo": frozenset({"sigmoid"}), "reward": frozenset[str]()}
_RATES = {"sft": 2e-5, "dpo": 1e-6, "reward": 1e-4}  # what TRL's own configs take where nothing is said


def _write(handed: Handed) -> Iterator[Setting]:
    yield said("model", handed.model, "model_name_or_path", handed.model)
    yield said("data.train", handed.train, "dataset_name", "./data")
    if handed.validation:
        yield said("data.validation", handed.validation, "dataset_test_split", "validation")
        yield said("data.validation", handed.validation, "eval_strategy", "epoch")
    yield said("training.learning_rate", (rate := handed.values["training.learning_rate"]), "learning_rate", rate)
    yield from batches(handed, micro="per_device_train_batch_size", accumulation="gradient_accumulation_steps")
    ratio = handed.values["training.warmup_ratio"]
    yield said("training.warmup_ratio", ratio, "warmup_steps", ratio, why="below 1 it is a share in transformers 5")
    if handed.method == "reward":
        yield over_length(handed, "drop", why="its reward trainer leaves out what is too long")
    else:
        yield over_length(handed, "truncate_right", why="it cuts off the end of what is too long")
    if handed.method == "sft":
        yield said("method", "sft", "assistant_only_loss", True)
    if handed.method == "reward":
        yield said("method", "reward", "center_rewards_coefficient", 0.0, why="it tells it from sft")
    if not handed.trains_adapters:
        return
    if handed.method == "reward":
        yield said("training.lora", "adapters", "lora_task_type", "SEQ_CLS")
        yield said("training.lora", "adapters", "lora_modules_to_save", ["score"])
    yield said("training.lora", "adapters", "use_peft", True)
    layers = handed.values["training.lora.target_modules"]
    yield said(
        "training.lora.target_modules",
        layers,
        "lora_target_modules",
        [layers] if isinstance(layers, str) else list(layers),
    )
    if handed.bits == 8:
        yield eight_bits("load_in_8bit", True)
    if handed.bits == 4:
        yield said("training.quantize", "nf4", "load_in_4bit", True)
        yield said("training.quantize", "nf4", "use_bnb_nested_quant", True)


def _record(record: Record, method: DataMethod) -> Record:
    return pair.plain(record, tool="TRL") if method == "dpo" else pair.refuse_weights(record, tool="TRL")


def _read(reading: Reading) -> None:
    reading.keep("model", (model := str(reading.take("model_name_or_path", ""))), name="model_name_or_path", said=model)
    loss = reading.several("loss_type")
    method = "dpo" if "beta" in reading.left or (loss and not _SFT_LOSSES.issuperset(map(str, loss))) else "sft"
    centre, task = reading.take("center_rewards_coefficient"), reading.take("lora_task_type", "CAUSAL_LM")
    if centre is not None or task == "SEQ_CLS":
        method = "reward"
        reading.take("lora_modules_to_save")
        if centre:
            reading.refuse("center_rewards_coefficient", centre, "ours leaves scores where they come to lie")
    reading.keep("method", method, name="beta" if method == "dpo" else "(no beta)", said=None)
    rate = reading.number("learning_rate", _RATES[method])
    reading.keep("training.learning_rate", rate, name="learning_rate", said=rate)
    end, mode = reading.take("truncation_mode", "keep_start") == "keep_end", "truncation_mode"
    if method == "reward":
        reading.keep("training.over_length", "drop", name="(always)", said=None)
    elif end:
        why = "by whole messages where that is enough"
        reading.keep("training.over_length", "truncate_left", name=mode, said="keep_end", why=why)
    else:
        reading.keep("training.over_length", "truncate_right", name=mode, said="keep_start")
    train = _data(reading)
    read_batches(reading, micro=("per_device_train_batch_size", 8), accumulation=("gradient_accumulation_steps", 1))
    steps = reading.number("warmup_steps") or reading.number("warmup_ratio")
    if steps >= 1:
        read_warmup_steps(reading, "warmup_steps", int(steps), train=train)
    else:
        reading.keep("training.warmup_ratio", steps, name="warmup_steps", said=steps)
    _adapters(reading)
    if not reading.take("assistant_only_loss") and method == "sft":
        reading.refuse("assistant_only_loss", False, "ours learns from the answers alone, not from questions, too")
    if reading.take("packing"):
        reading.refuse("packing", True, "a row of it holds several examples: a larger batch_size comes near it")
    if loss and not _OURS[method].issuperset(map(str, loss)):
        reading.refuse("loss_type", loss, "ours is DPO's own" if method == "dpo" else "ours is the cross-entropy")


def _data(reading: Reading) -> str | None:
    sets = reading.several("datasets")
    first = sets[0] if sets and isinstance(sets[0], dict) else {}
    files = first.get("data_files")
    files = files.get("train") if isinstance(files, dict) else files
    found = files[0] if isinstance(files, list) and files else files or first.get("path")
    folder = reading.take("dataset_name")
    if not found and folder:
        found = f"{str(folder).removeprefix('./')}/train.jsonl" if str(folder).startswith((".", "/")) else str(folder)
    for number, one in enumerate(sets[1:], start=1):
        reading.refuse(f"datasets[{number}]", one, "a job has one file: put them into one")
    if share := reading.take("test_split_size"):
        reading.keep("data.split", share, name="test_split_size", said=share, why="drawn by prompt, not by record")
    if not found:
        return None
    reading.keep("data.train", str(found), name="datasets" if sets else "dataset_name", said=found)
    return str(found)


def _adapters(reading: Reading) -> None:
    if not reading.take("use_peft"):
        reading.keep("training.lora", None, name="use_peft", said=False)
        return
    eight, four = bool(reading.take("load_in_8bit")), bool(reading.take("load_in_4bit"))
    name, given = ("load_in_8bit", True) if eight else ("load_in_4bit", four)
    read_bits(reading, name, given, 8 if eight else 4 if four else None)
    named = reading.take("lora_target_modules")
    if named is not None:
        layers = modules(named)
        ours = "all-linear" if layers == ["all-linear"] else layers
        reading.keep("training.lora.target_modules", ours, name="lora_target_modules", said=named)
    else:
        why = "where nothing is said PEFT picks layers by the kind of model; ours takes all linear ones"
        reading.refuse("lora_target_modules", None, why)


TRL = Tool(
    name="trl",
    title="TRL",
    source="TRL's configs of 2026-07-24 (trl/trainer, trl/scripts, commit f2cd577) and transformers 5.23",
    command="trl {method} --config config.yaml",
    keys=_KEYS,
    marks=frozenset({"model_name_or_path"}),
    fixed={
        "env": {"HF_HUB_DISABLE_TELEMETRY": "1"},
        "packing": False,
        "optim": "adamw_torch",
        "bf16": True,
        "report_to": "none",
        "output_dir": "out",
    },
    methods=("sft", "dpo", "reward"),
    lacks={"training.orpo_lambda": (None, "its commands know no ORPO, which is among its experiments")},
    write=_write,
    read=_read,
    record=_record,
    notes=("assistant_only_loss needs a chat template that marks the answers, or one that TRL knows",),
)
