"""Compare anytune's local trainer with TRL's SFTTrainer: tokens a CPU-second and peak memory, same work on both.

    python bench/local.py [--shape sql|lengths|prompt]… [--rounds N] [--trl-python PATH] [--json]
    python bench/local.py --method dpo

All train NF4 QLoRA adapters (double quantisation, rank 16, all linear layers) from the same base on the same chats for
the same number of optimiser steps of the same size, on one thread, loss on the assistant's tokens, AdamW at the same
rate, seed and schedule. `trl` keeps its defaults in all else: bfloat16, gradient checkpointing, fused head. What it can
do better stands beside it: `native` is float32 where the processor has no bfloat16, which is slow there; `plain` also
checkpoints nothing, `free` also lays a batch's chats out as one row without filler, `packed` puts them into rows of the
length of a whole batch (so its steps hold about as many chats, not exactly). The quickest on a shape are its best
settings.

Rounds are interleaved, so that other load falls on all alike; a round is a fresh process; time is the processor time of
training alone; tokens are real ones, without filler. The losses of each quarter of the steps show that all learn the
same, though each draws its own order. The shapes are told in `local_shapes.py`.

With `--method dpo` ours alone runs, on pairs made of the chats: what is not preferred is the next chat's answer. The
time then holds what it takes to ask the base about the pairs; the tokens do not count this pass.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path
from typing import Any

import local_shapes
from local_shapes import SHAPES

ROOT = Path(__file__).resolve().parents[1]
TRL = ("trl==1.16.0", "transformers==5.23.0", "peft==0.21.2", "bitsandbytes==0.50.2", "torch==2.13.0")
RATE, RANK, SEED, BATCH = 2e-3, 16, 7, 8
SIDES: dict[str, dict[str, Any]] = {  # TRL's settings beside its defaults
    "trl": {},
    "native": {},  # in the precision that the processor has
    "plain": {"gradient_checkpointing": False},
    "free": {"gradient_checkpointing": False, "padding_free": True, "max_length": None},
    "packed": {"gradient_checkpointing": False, "packing": True, "per_device_train_batch_size": 1},
}


def main() -> None:
    """Run the rounds and print a table for each shape, or JSON."""
    options = parse()
    if options.one:
        os.sched_setaffinity(0, {random.choice(sorted(os.sched_getaffinity(0)))})  # threads would wait for one another
        print(json.dumps(ours(options) if options.one == "ours" else trl(options)))
        return
    sides = {"ours": sys.executable}
    if options.method == "sft":
        sides |= dict.fromkeys(options.side or SIDES, options.trl_python or make_trl())
    folder = Path(tempfile.gettempdir()) / "anytune-bench-shapes"
    folder.mkdir(exist_ok=True)
    found = {shape: measure(shape, sides, folder, options) for shape in options.shape or SHAPES}
    print(json.dumps(found, indent=1) if options.json else "\n\n".join(table(*item) for item in found.items()))


def parse() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--shape", action="append", choices=list(SHAPES), help="repeatable; default: all")
    parser.add_argument("--side", action="append", choices=list(SIDES), help="TRL's settings; default: all")
    parser.add_argument("--method", choices=["sft", "dpo"], default="sft")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--trl-python", help="an interpreter that has TRL; default: make an environment with pip")
    parser.add_argument("--json", action="store_true")
    for name in ("one", "model", "data"):
        parser.add_argument(f"--{name}", help=argparse.SUPPRESS)
    return parser.parse_args()


def measure(shape: str, sides: dict[str, str], folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Run all rounds of a shape and return what each side took."""
    model, data = local_shapes.write(shape, folder)
    rounds: dict[str, list[dict[str, Any]]] = {name: [] for name in sides}
    for number in range(options.rounds):
        for name in list(sides) if number % 2 == 0 else reversed(sides):
            arguments = ["--shape", shape, "--method", options.method, "--model", str(model), "--data", str(data)]
            rounds[name].append(one_round(sides[name], name, arguments))
    return {name: summarise(each) for name, each in rounds.items()}


def make_trl() -> str:
    """Make an environment with TRL in the temporary folder, once."""
    folder = Path(tempfile.gettempdir()) / "anytune-bench-trl"
    python = folder / "bin" / "python"
    if not python.exists():
        print("installing TRL (once)", file=sys.stderr)
        venv.create(folder, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *TRL], check=True)
    return str(python)


def one_round(python: str, name: str, arguments: list[str]) -> dict[str, Any]:
    """Train once in a fresh process on one thread."""
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "HF_HUB_OFFLINE": "1",
        "PYTHONPATH": str(ROOT),
        "TOKENIZERS_PARALLELISM": "false",
    }
    command = [python, str(Path(__file__).resolve()), "--one", name, *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{name} failed:\n{done.stderr[-3000:]}")
    result: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    print(json.dumps({"side": name, **result}), file=sys.stderr, flush=True)
    return result


def records(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Read the first examples of the data; for DPO, make pairs of them."""
    lines = Path(options.data).read_text(encoding="utf-8").splitlines()
    chats = [json.loads(line) for line in lines[: SHAPES[options.shape[0]].examples]]
    if options.method == "sft":
        return chats
    answers = [chat["messages"][-1] for chat in chats]
    return [
        {"input": {"messages": chat["messages"][:-1]}, "preferred_output": [said], "non_preferred_output": [other]}
        for chat, said, other in zip(chats, answers, answers[1:] + answers[:1], strict=True)
    ]


def ours(options: argparse.Namespace) -> dict[str, Any]:
    """Train with anytune."""
    from anytune.local.runs import Run, write_json
    from anytune.local.training.checkpoint import sha256
    from anytune.local.training.events import EventLog, read_events
    from anytune.local.training.qlora import train

    home = Path(tempfile.mkdtemp(prefix="anytune-bench-"))
    (home / "files").mkdir()
    (home / "runs" / "bench").mkdir(parents=True)
    part = home / "part.jsonl"
    part.write_text("".join(json.dumps(r) + "\n" for r in records(options)), encoding="utf-8")
    name = sha256(part)
    part.rename(home / "files" / name)
    training = {
        "epochs": 1,
        "batch_size": BATCH,
        "micro_batch_size": None,
        "learning_rate": RATE,
        "warmup_ratio": 0.0,
        "weight_decay": 0.0,
        "max_grad_norm": 1.0,
        "scheduler": "linear",
        "quantize": "nf4",
        "max_length": SHAPES[options.shape[0]].length,
        "seed": SEED,
        "lora": {"rank": RANK, "alpha": 2 * RANK, "dropout": 0.0, "target_modules": "all-linear"},
        "beta": 0.1,  # read by DPO alone
    }
    request = {
        "job_id": "bench",
        "method": options.method,
        "model": options.model,
        "training": training,
        "training_file": f"file-{name}",
        "validation_file": None,
    }
    run = Run(home / "runs" / "bench")
    write_json(run.path / "request.json", request)
    result = train(run, home / "files", EventLog(run.path / "events.jsonl", interval=0), lambda: False)
    events = [event.data for event in read_events(run.path / "events.jsonl")]
    before = sum(data.get("cpu_seconds", 0.0) for data in events)
    losses = [data["loss"] for data in events if "loss" in data]
    return figures(result["trained_tokens"], before + result["cpu_seconds"], losses)


def trl(options: argparse.Namespace) -> dict[str, Any]:
    """Train with TRL, in one of the ways it can be set."""
    import torch
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig
    from trl import SFTConfig, SFTTrainer

    from anytune.local.machine import hardware

    torch.set_num_threads(1)
    brief = options.one == "trl" or hardware().bfloat16
    dtype = torch.bfloat16 if brief else torch.float32
    tokenizer = AutoTokenizer.from_pretrained(options.model)
    quantization = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
    )
    net = AutoModelForCausalLM.from_pretrained(
        options.model, quantization_config=quantization, dtype=dtype, device_map={"": "cpu"}
    )
    chats, more = records(options), dict(SIDES[options.one])
    if more.get("packing"):
        encoded = [tokenizer.apply_chat_template(chat["messages"])["input_ids"] for chat in chats]
        more["max_length"] = max(BATCH * sum(map(len, encoded)) // len(chats), *map(len, encoded))
    settings = {"per_device_train_batch_size": BATCH, "max_length": SHAPES[options.shape[0]].length} | more
    config = SFTConfig(
        output_dir=tempfile.mkdtemp(),
        num_train_epochs=1,
        seed=SEED,
        learning_rate=RATE,
        assistant_only_loss=True,
        report_to="none",
        save_strategy="no",
        logging_steps=1,
        use_cpu=True,
        bf16=brief,
        disable_tqdm=True,
        **settings,
    )
    trainer = SFTTrainer(
        model=net,
        args=config,
        train_dataset=Dataset.from_list(chats),
        processing_class=tokenizer,
        peft_config=LoraConfig(
            r=RANK, lora_alpha=2 * RANK, target_modules="all-linear", bias="none", task_type="CAUSAL_LM"
        ),
    )
    tokens = sum(len(row["input_ids"]) for row in trainer.train_dataset)
    start = time.process_time()
    trainer.train()
    losses = [told["loss"] for told in trainer.state.log_history if "loss" in told]
    return figures(tokens, time.process_time() - start, losses)


def figures(tokens: int, cpu_seconds: float, losses: list[float]) -> dict[str, Any]:
    """Return what one round measured."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"tokens": tokens, "cpu_seconds": cpu_seconds, "losses": losses, "peak_rss_bytes": peak}


def summarise(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the medians, and the mean loss of each quarter of the steps."""
    rates = [r["tokens"] / r["cpu_seconds"] for r in rounds]
    losses = rounds[0]["losses"]
    quarters = [losses[len(losses) * i // 4 : max(len(losses) * (i + 1) // 4, 1)] for i in range(4)]
    return {
        "tokens_per_cpu_second": statistics.median(rates),
        "slowest": min(rates),
        "fastest": max(rates),
        "peak_rss_mb": statistics.median(r["peak_rss_bytes"] for r in rounds) / 1e6,
        "tokens": rounds[0]["tokens"],
        "steps": len(losses),
        "losses": [statistics.mean(part) if part else math.nan for part in quarters],
    }


def table(shape: str, sides: dict[str, dict[str, Any]]) -> str:
    """Return the figures of a shape for people, the goals beside them."""
    head = f"{'tokens/CPU-s':>13}{'(range)':>14}{'peak RSS':>11}{'steps':>6}{'tokens':>8}  losses by quarter"
    lines = [f"{shape:8}{head}"]
    for name, s in sides.items():
        span, losses = f"{s['slowest']:.0f}-{s['fastest']:.0f}", " ".join(f"{loss:.3f}" for loss in s["losses"])
        rate, memory = s["tokens_per_cpu_second"], s["peak_rss_mb"]
        lines.append(f"{name:8}{rate:13.0f}{span:>14}{memory:8.0f} MB{s['steps']:6}{s['tokens']:8}  {losses}")
    return "\n".join(lines + reached(SHAPES[shape], sides))


def reached(goal: local_shapes.Shape, sides: dict[str, dict[str, Any]]) -> list[str]:
    """Say each ratio with the goal beside it."""
    others = [name for name in sides if name != "ours"]
    if not others:
        return []
    rate = {name: s["tokens_per_cpu_second"] for name, s in sides.items()}
    best = max(others, key=lambda name: rate[name])
    lines = []
    for name, words in (("trl", "its defaults"), ("native", "its defaults, native"), (best, f"its best ({best})")):
        if name in sides:
            wanted = goal.quicker_than_best if name == best else goal.quicker
            memory = sides["ours"]["peak_rss_mb"] / sides[name]["peak_rss_mb"]
            most = f" (goal {goal.memory:.0%})" if goal.memory and name != best else ""
            quicker = rate["ours"] / rate[name]
            lines.append(f"against {words:22}{quicker:6.2f} x (goal {wanted:.1f} x), memory {memory:4.0%}{most}")
    return lines


if __name__ == "__main__":
    main()
