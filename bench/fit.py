"""Hold the memory that `plan` foretells against memory measured: runs here, and figures that others published.

    python bench/fit.py [--only NAME]… [--json]

Each run is the trainer's own worker in a fresh process, on a model of random weights (5 to 125 million) with a given
micro-batch; measured is the most that its memory ever was. `plan` is the closed form, `exact` one step of the real
model class under fake tensors, both from config.json alone, made before the run. Beside them stands what `accelerate
estimate-memory` says of the same model, which asks for neither adapters nor lengths.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from anytune.local.memory import fit
from anytune.local.memory.fit import Need, Pass, Way
from anytune.local.memory.shape import read_shape

ROOT = Path(__file__).resolve().parents[1]
TOKENIZER = ROOT / "fixtures" / "tiny-base"
BF16 = {"dtype": "bfloat16", "products": "bfloat16"}
F32 = {"dtype": "float32", "products": "float32"}
MIXED = {"dtype": "float32", "products": "bfloat16"}


@dataclass(frozen=True)
class Case:
    """Be one run: a model, a micro-batch of so many rows and tokens, and how it is computed."""

    name: str
    family: str
    sizes: dict[str, Any]
    rows: int
    length: int
    way: dict[str, Any]
    unpack: bool = True
    recompute: bool = False
    rank: int | None = 16
    quantize: str | None = "nf4"
    answer: float = 0.5
    tie: bool = True
    more: dict[str, Any] = field(default_factory=dict)


def sized(hidden: int, inner: int, layers: int, heads: int, keys: int, vocabulary: int) -> dict[str, Any]:
    """Return a configuration's sizes."""
    return {
        "hidden_size": hidden, "intermediate_size": inner, "num_hidden_layers": layers, "num_attention_heads": heads,
        "num_key_value_heads": keys, "vocab_size": vocabulary,
    }  # fmt: skip


LLAMA40, LLAMA125 = sized(512, 1408, 8, 8, 4, 32000), sized(768, 2048, 12, 12, 4, 32000)
QWEN2, QWEN3 = sized(448, 1216, 10, 7, 1, 48000), sized(384, 1152, 10, 8, 4, 48000)
MISTRAL, GEMMA, PHI = (
    sized(640, 2240, 8, 10, 5, 16000),
    sized(320, 1024, 9, 4, 1, 64000),
    sized(512, 1536, 8, 8, 8, 32064),
)
CASES = [
    Case("llama 5M", "llama", sized(256, 704, 6, 4, 2, 2048), 16, 128, MIXED),
    Case("llama 40M", "llama", LLAMA40, 8, 256, BF16),
    Case("llama 40M, packed, recomputed", "llama", LLAMA40, 8, 256, BF16, unpack=False, recompute=True),
    Case("llama 40M, rank 64", "llama", LLAMA40, 2, 512, BF16, rank=64),
    Case("llama 40M, float32, no quantisation", "llama", LLAMA40, 4, 256, F32, quantize=None),
    Case("llama 40M, all weights", "llama", LLAMA40, 4, 256, F32, rank=None, quantize=None),
    Case("llama 125M", "llama", LLAMA125, 4, 512, BF16, tie=False, rank=8),
    Case("llama 125M, recomputed", "llama", LLAMA125, 1, 4096, BF16, tie=False, recompute=True, answer=0.1),
    Case("qwen2 39M", "qwen2", QWEN2, 4, 512, BF16),
    Case("qwen3 44M", "qwen3", QWEN3, 8, 256, BF16, rank=32, more={"head_dim": 96}),
    Case("qwen3 44M, recomputed", "qwen3", QWEN3, 4, 512, BF16, recompute=True, more={"head_dim": 96}),
    Case("mistral 54M", "mistral", MISTRAL, 2, 1024, BF16, more={"sliding_window": None}),
    Case("gemma 35M", "gemma", GEMMA, 4, 384, BF16, more={"head_dim": 128}),
    Case("gemma 35M, short answers", "gemma", GEMMA, 1, 2048, BF16, answer=0.05, more={"head_dim": 128}),
    Case("phi3 43M", "phi3", PHI, 4, 256, BF16),
]


def main() -> None:
    """Run the cases and print a table or JSON."""
    options = parse()
    if options.make:
        make(json.loads(options.make))
        return
    if options.accelerate:
        print(accelerate(options.accelerate))
        return
    cases = [case for case in CASES if not options.only or case.name in options.only]
    found = []
    for case in cases:
        found.append(one(case))
        print(json.dumps(found[-1]), file=sys.stderr, flush=True)
    print(json.dumps(found, indent=1) if options.json else table(found))


def parse() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", action="append", help="a case by its name; repeatable")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--make", help=argparse.SUPPRESS)
    parser.add_argument("--accelerate", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def one(case: Case) -> dict[str, Any]:
    """Foretell and measure one case."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        python(str(Path(__file__).resolve()), "--make", json.dumps(recipe(case, folder / "model")))
        batch = Pass(case.rows * case.length, write_data(case, folder))
        run = write_run(case, folder)
        request = json.loads((run / "request.json").read_text())
        way = Way(**case.way, unpack=case.unpack, micro_tokens=batch.tokens, recompute=case.recompute)
        told = foretold(folder / "model", request["training"], way, batch, rows=case.rows)
        done = python("-m", "anytune.local.worker", "run", str(run), check=False)
        result = json.loads((run / "result.json").read_text())
        if result["state"] != "succeeded":
            sys.exit(f"{case.name}: {result} {done.stderr[-2000:]}")
        return {"case": case.name, **told, "measured": result["peak_rss_bytes"]}


def foretold(model: Path, training: dict[str, Any], way: Way, batch: Pass, *, rows: int) -> dict[str, Any]:
    """Return the peak by arithmetic and by a step of the real class, and what accelerate says."""
    shape = read_shape(model)
    if shape is None:
        sys.exit(f"{model} has sizes that are not known")
    asked = {"training": training, "way": asdict(way), "rows": rows, "length": batch.tokens // rows,
             "supervised": batch.supervised}  # fmt: skip
    done = python("-m", "anytune.local.worker", "fit", "--model", str(model), "--asked", json.dumps(asked))
    answer = json.loads(done.stdout)
    need = fit.need(shape, training, way, batch)
    return {
        "parameters": answer["parameters"],
        "plan": need.peak("cpu"),
        "exact": Need(answer["still"], answer["peak"] - answer["still"], need.lost).peak("cpu"),
        "tensors": {"plan": need.still + need.step, "exact": answer["peak"], "still": answer["still"]},
        "accelerate": json.loads(python(str(Path(__file__).resolve()), "--accelerate", str(model)).stdout),
    }


def accelerate(model: Path) -> int:
    """Return the bytes that `accelerate estimate-memory` prints for training with Adam, in its largest row (float32).

    Its command looks the model up at the Hub, so its own functions are called on the very model.
    """
    import torch
    from accelerate.commands.estimate import estimate_training_usage
    from accelerate.utils import calculate_maximum_sizes
    from transformers import AutoConfig, AutoModelForCausalLM

    with torch.device("meta"):
        net = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(model))
    total, _ = calculate_maximum_sizes(net)
    return int(max(estimate_training_usage(total, "float32").values()))


def recipe(case: Case, folder: Path) -> dict[str, Any]:
    """Return what `make` needs to know of a model."""
    return {"folder": str(folder), "family": case.family, "tie": case.tie, **case.sizes, **case.more}


def make(wanted: dict[str, Any]) -> None:
    """Write a model of random weights, with the demonstration model's tokenizer."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    folder, family, tie = (wanted.pop(key) for key in ("folder", "family", "tie"))
    config = AutoConfig.for_model(
        family, **wanted, tie_word_embeddings=tie, max_position_embeddings=8192, pad_token_id=0, bos_token_id=1,
        eos_token_id=2,
    )  # fmt: skip
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copy(TOKENIZER / name, folder)


def write_data(case: Case, folder: Path) -> int:
    """Write chats that are all of the wanted length or a little longer; return the trained tokens of a micro-batch."""
    answer = round(case.length * case.answer)
    asked, said = "7" * (case.length - answer), "8" * answer  # each digit is a token
    chat = {"messages": [{"role": "user", "content": asked}, {"role": "assistant", "content": said}]}
    (folder / "files").mkdir()
    (folder / "files" / "x").write_text((json.dumps(chat) + "\n") * (4 * case.rows))
    return case.rows * answer


def write_run(case: Case, folder: Path) -> Path:
    """Write the run's folder: two optimiser steps of two micro-batches each."""
    run = folder / "runs" / "x"
    run.mkdir(parents=True)
    lora = {"rank": case.rank, "alpha": 16, "dropout": 0.0, "target_modules": "all-linear"} if case.rank else None
    training = {
        "epochs": 1, "batch_size": 2 * case.rows, "micro_batch_size": case.rows, "learning_rate": 1e-4,
        "warmup_ratio": 0.0, "weight_decay": 0.0, "max_grad_norm": 1.0, "scheduler": "linear", "lora": lora,
        "quantize": case.quantize, "max_length": case.length, "over_length": "drop", "seed": 0,
    }  # fmt: skip
    request = {
        "job_id": "x", "model": str(folder / "model"), "offline": True, "method": "sft", "suffix": None,
        "training": training, "training_file": "file-x", "validation_file": None, "checkpoint_seconds": 3600,
    }  # fmt: skip
    way = {**case.way, "threads": 1, "unpack": case.unpack, "micro_tokens": case.rows * (case.length + 16),
           "recompute": case.recompute}  # fmt: skip
    (run / "request.json").write_text(json.dumps(request))
    (run / "machine.json").write_text(json.dumps(way))
    return run


def python(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run this interpreter on one thread."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, *arguments], env=environment, capture_output=True, text=True, check=False)
    if check and done.returncode != 0:
        sys.exit(f"failed: {done.stderr[-3000:]}")
    return done


def table(found: list[dict[str, Any]]) -> str:
    """Return the figures as a table: megabytes, and how far off each is."""
    rows = ["| run | measured MB | plan | exact | accelerate |", "|---|---|---|---|---|"]
    for one in found:
        off = (
            f"{one[who] / 1e6:,.0f} ({one[who] / one['measured'] - 1:+.0%})" for who in ("plan", "exact", "accelerate")
        )
        rows.append(f"| {one['case']} | {one['measured'] / 1e6:,.0f} | {' | '.join(off)} |")
    return "\n".join(rows)


if __name__ == "__main__":
    main()
