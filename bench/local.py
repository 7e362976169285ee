"""Compare anytune's local trainer with TRL's SFTTrainer: tokens a CPU-second and peak memory, same work on both.

    python bench/local.py [--model FOLDER] [--data FILE] [--examples N] [--rounds N] [--trl-python PATH] [--json]
    python bench/local.py --method dpo

Both train NF4 QLoRA adapters (double quantisation, rank 16, all linear layers) from the same base on the same chats
for the same number of optimiser steps of the same size, on one thread, loss on the assistant's tokens. TRL keeps its
defaults in all else: bfloat16, gradient checkpointing, fused head. Rounds are interleaved, so that other load falls
on both alike; a round is a fresh process; time is the processor time of training alone; tokens are real ones, without
filler. The line `losses` shows that both learn the same.

With `--method dpo` ours alone runs, on pairs made of the same chats: what is not preferred is the next chat's answer.
The time then holds what it takes to ask the base about the pairs; the tokens do not count this pass.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
TRL = ("trl==1.16.0", "transformers==5.23.0", "peft==0.21.2", "bitsandbytes==0.50.2", "torch==2.13.0")
RATE, RANK, SEED = 2e-3, 16, 7


def main() -> None:
    """Run the rounds and print a table or JSON."""
    options = parse()
    if options.one:
        print(json.dumps({"ours": ours, "trl": trl}[options.one](options)))
        return
    python = {"ours": sys.executable}
    if options.method == "sft":
        python["trl"] = options.trl_python or make_trl()
    results: dict[str, list[dict[str, Any]]] = {name: [] for name in python}
    for number in range(options.rounds):
        for name in list(python) if number % 2 == 0 else reversed(python):
            results[name].append(one_round(python[name], name, options))
    summary = {name: summarise(rounds) for name, rounds in results.items()}
    if "trl" in summary:
        summary["ratio"] = ratio(summary)
    print(json.dumps(summary | {"rounds": results}, indent=1) if options.json else table(summary))


def ratio(summary: dict[str, dict[str, float]]) -> dict[str, float]:
    """Return how much quicker ours is, and how much less memory it takes."""
    return {
        "tokens_per_cpu_second": summary["ours"]["tokens_per_cpu_second"] / summary["trl"]["tokens_per_cpu_second"],
        "peak_rss": summary["ours"]["peak_rss_mb"] / summary["trl"]["peak_rss_mb"],
    }


def parse() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--model", type=Path, default=ROOT / "fixtures/tiny-base")
    parser.add_argument("--data", type=Path, default=ROOT / "examples/english-to-sql/train.jsonl")
    parser.add_argument("--method", choices=["sft", "dpo"], default="sft")
    parser.add_argument("--examples", type=int, default=400)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--trl-python", help="an interpreter that has TRL; default: make an environment with pip")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--one", choices=["ours", "trl"], help=argparse.SUPPRESS)
    return parser.parse_args()


def make_trl() -> str:
    """Make an environment with TRL in the temporary folder, once."""
    folder = Path(tempfile.gettempdir()) / "anytune-bench-trl"
    python = folder / "bin" / "python"
    if not python.exists():
        print("installing TRL (once)", file=sys.stderr)
        venv.create(folder, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *TRL], check=True)
    return str(python)


def one_round(python: str, name: str, options: argparse.Namespace) -> dict[str, Any]:
    """Train once in a fresh process on one thread."""
    arguments = [
        f"--{key.replace('_', '-')}={getattr(options, key)}"
        for key in ("model", "data", "method", "examples", "epochs", "batch_size")
    ]
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
    print(f"{name}: {result['tokens'] / result['cpu_seconds']:.0f} tokens/CPU-s", file=sys.stderr)
    return result


def records(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Read the first examples of the data; for DPO, make pairs of them."""
    lines = options.data.read_text(encoding="utf-8").splitlines()
    chats = [json.loads(line) for line in lines[: options.examples]]
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
        "epochs": options.epochs,
        "batch_size": options.batch_size,
        "micro_batch_size": None,
        "learning_rate": RATE,
        "warmup_ratio": 0.0,
        "weight_decay": 0.0,
        "max_grad_norm": 1.0,
        "scheduler": "linear",
        "quantize": "nf4",
        "max_length": 512,
        "seed": SEED,
        "lora": {"rank": RANK, "alpha": 2 * RANK, "dropout": 0.0, "target_modules": "all-linear"},
        "beta": 0.1,  # read by DPO alone
    }
    request = {
        "job_id": "bench",
        "method": options.method,
        "model": str(options.model),
        "training": training,
        "training_file": f"file-{name}",
        "validation_file": None,
    }
    run = Run(home / "runs" / "bench")
    write_json(run.path / "request.json", request)
    result = train(run, home / "files", EventLog(run.path / "events.jsonl"), lambda: False)
    before = sum(event.data.get("cpu_seconds", 0.0) for event in read_events(run.path / "events.jsonl"))
    return figures(result["trained_tokens"], result["steps"], before + result["cpu_seconds"], result["train_loss"])


def trl(options: argparse.Namespace) -> dict[str, Any]:
    """Train with TRL's defaults."""
    import torch
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig
    from trl import SFTConfig, SFTTrainer

    torch.set_num_threads(1)
    quantization = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )
    net = AutoModelForCausalLM.from_pretrained(
        options.model, quantization_config=quantization, dtype=torch.bfloat16, device_map={"": "cpu"}
    )
    config = SFTConfig(
        output_dir=tempfile.mkdtemp(),
        num_train_epochs=options.epochs,
        seed=SEED,
        learning_rate=RATE,
        per_device_train_batch_size=options.batch_size,
        assistant_only_loss=True,
        report_to="none",
        save_strategy="no",
        logging_steps=10,
        use_cpu=True,
        disable_tqdm=True,
    )
    trainer = SFTTrainer(
        model=net,
        args=config,
        train_dataset=Dataset.from_list(records(options)),
        processing_class=AutoTokenizer.from_pretrained(options.model),
        peft_config=LoraConfig(
            r=RANK, lora_alpha=2 * RANK, target_modules="all-linear", bias="none", task_type="CAUSAL_LM"
        ),
    )
    tokens = options.epochs * sum(len(row["input_ids"]) for row in trainer.train_dataset)
    start = time.process_time()
    done = trainer.train()
    return figures(tokens, done.global_step, time.process_time() - start, done.training_loss)


def figures(tokens: int, steps: int, cpu_seconds: float, loss: float) -> dict[str, Any]:
    """Return what one round measured."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"tokens": tokens, "steps": steps, "cpu_seconds": cpu_seconds, "loss": loss, "peak_rss_bytes": peak}


def summarise(rounds: list[dict[str, Any]]) -> dict[str, float]:
    """Return the medians."""
    rates = [r["tokens"] / r["cpu_seconds"] for r in rounds]
    return {
        "tokens_per_cpu_second": statistics.median(rates),
        "slowest": min(rates),
        "fastest": max(rates),
        "peak_rss_mb": statistics.median(r["peak_rss_bytes"] for r in rounds) / 1e6,
        "tokens": rounds[0]["tokens"],
        "steps": rounds[0]["steps"],
        "loss": statistics.median(r["loss"] for r in rounds),
    }


def table(summary: dict[str, dict[str, float]]) -> str:
    """Return the figures for people."""
    head = f"{'':10}{'tokens/CPU-s':>14}{'(range)':>16}{'peak RSS':>11}{'steps':>7}{'tokens':>9}{'mean loss':>11}"
    lines = [head]
    for name in [name for name in summary if name != "ratio"]:
        s = summary[name]
        span = f"{s['slowest']:.0f}-{s['fastest']:.0f}"
        lines.append(
            f"{name:10}{s['tokens_per_cpu_second']:14.0f}{span:>16}{s['peak_rss_mb']:8.0f} MB{s['steps']:7.0f}"
            f"{s['tokens']:9.0f}{s['loss']:11.4f}"
        )
    if by := summary.get("ratio"):
        lines.append(f"ratio     {by['tokens_per_cpu_second']:13.2f}x{by['peak_rss']:24.2f}x")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
