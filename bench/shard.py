"""Train with the frozen base whole in each process, and dealt out over them: memory, speed, and the same bits.

    python bench/shard.py [--size 300M|1B|8B|70B | --model FOLDER] [--processes N] [--steps N] [--rounds N] [--json]

Each side is a real run of the local provider on one machine, NF4 kept packed and layers computed twice, with one batch
a process in each step; sides take turns. Measured are the most that each process holds of its own (on a CPU; files that
are mapped are not counted) or of its GPU, tokens a second after the first step, and the adapter's hash. Beside them
stands what the plan foretells. With --size the weights are random; 8B and 70B are for GPUs, and are written to disk.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import statistics
import tempfile
import time
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from anytune.local import spread
from anytune.local.machine import hardware
from anytune.local.memory import fit
from anytune.local.memory.fit import Pass, Way
from anytune.local.memory.shape import read_shape
from anytune.local.processes import start_worker
from anytune.local.provider import LocalProvider
from anytune.local.runs import new_run, write_json
from anytune.providers.base import Profile
from anytune.schema.data import DataFile
from anytune.schema.spec import DataSpec, TuneSpec
from anytune.schema.training import Lora, Training

TOKENIZER = Path(__file__).resolve().parents[1] / "fixtures" / "tiny-base"
SIZES = {  # hidden, inner, layers, heads, keys
    "300M": (1536, 4096, 12, 12, 4),
    "1B": (2048, 8192, 16, 32, 8),
    "8B": (4096, 14336, 32, 32, 8),
    "70B": (8192, 28672, 80, 64, 8),
}
SIDES = ("whole", "dealt")


def main() -> None:
    """Parse, train, show."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--size", choices=SIZES, default="300M")
    parser.add_argument("--model", type=Path)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--length", type=int, default=96, help="tokens of an example, about")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="anytune-shard-") as place:
        home = Path(place)
        model = given.model or made(home / "model", *SIZES[given.size])
        data = written(home / "train.jsonl", 2 * given.processes * given.steps, words=given.length * 2 // 3)
        found: dict[str, list[dict[str, Any]]] = {side: [] for side in SIDES}
        for number in range(given.rounds):
            for side in SIDES:
                found[side].append(run(home, model, data, f"{side}-{number}", given.processes, dealt=side == "dealt"))
        print(json.dumps(found, indent=1) if given.json else table(found))


def made(folder: Path, hidden: int, inner: int, layers: int, heads: int, keys: int) -> Path:
    """Write a Llama of random weights."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        hidden_size=hidden, intermediate_size=inner, num_hidden_layers=layers, num_attention_heads=heads,
        num_key_value_heads=keys, vocab_size=1024, max_position_embeddings=2048, tie_word_embeddings=True,
        pad_token_id=0, bos_token_id=1, eos_token_id=2, dtype=torch.bfloat16,
    )  # fmt: skip
    torch.set_default_dtype(torch.bfloat16)
    LlamaForCausalLM(config).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copy(TOKENIZER / name, folder)
    return folder


def written(path: Path, count: int, *, words: int) -> Path:
    """Write chats that begin differently."""
    records = (
        {
            "messages": [
                {"role": "user", "content": f"{n * 7919} " + " ".join(f"w{n * k % 97}" for k in range(words // 4))},
                {"role": "assistant", "content": " ".join(f"x{n + k}" for k in range(words // 4))},
            ]
        }
        for n in range(1, count + 1)
    )
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def run(home: Path, model: Path, data: Path, name: str, processes: int, *, dealt: bool) -> dict[str, Any]:
    """Train once, and return what was measured."""
    provider = LocalProvider(Profile(name="local", home=home, key=lambda: "", processes=processes, shard=dealt))
    training = Training(epochs=1, batch_size=2 * processes, micro_batch_size=2, lora=Lora(rank=16), max_length=1024)
    spec = TuneSpec(name="x", provider="local", model=str(model), data=DataSpec(train=data), training=training)
    digest = hashlib.sha256(data.read_bytes()).hexdigest()
    file = provider.upload(DataFile(role="train", path=data, sha256=digest, bytes=data.stat().st_size, examples=1))
    body = provider.render(spec, job_id=name, training_file=file, validation_file=None)
    folder, lock = new_run(home / "runs", name, body | {"event_seconds": 0, "checkpoint_seconds": 9999})
    assert lock is not None
    machine = hardware(processes)
    dtype = "bfloat16" if machine.bfloat16 else "float32"
    way = Way(dtype, dtype, unpack=False, micro_tokens=4096, recompute=True, shards=processes if dealt else 1)
    threads = max(1, machine.cores if machine.device == "cpu" else 1)
    write_json(folder.path / "machine.json", {**asdict(way), "threads": threads, "today": "2026-01-01"})
    start_worker(folder, lock, parted=spread.told(processes, dealt))
    most: dict[int, int] = {}
    while not provider.retrieve(name).state.is_terminal:
        sample(str(folder.path), most)
        time.sleep(0.02)
    result = folder.result() or {}
    assert result.get("state") == "succeeded", result
    told = [event.data for event in provider.events(name) if "loss" in event.data]
    shape = read_shape(model)
    largest = result["computed_tokens"] // (result["steps"] * processes)
    return {
        "held": sorted(most.values()),
        "gpu": max(row.get("peak_memory_bytes", 0) for row in told) if machine.device == "cuda" else None,
        "foretold": shape and fit.need(shape, body["training"], way, Pass(largest, largest // 2)).peak(machine.device),
        "tokens_per_second": told[-1]["tokens_per_second"],
        "seconds": result["process_seconds"],
        "adapter": result["adapter_sha256"],
        "device": machine.name,
    }


def sample(folder: str, most: dict[int, int]) -> None:
    """Note how much each process of a run holds of its own, if that is more than before."""
    for command in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError, StopIteration):
            if folder in (said := command.read_text()) and "anytune.local.worker" in said:
                lines = (command.parent / "status").read_text().splitlines()
                held = next(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))
                pid = int(command.parent.name)
                most[pid] = max(most.get(pid, 0), held << 10)


def table(found: dict[str, list[dict[str, Any]]]) -> str:
    """Return what was measured, a line a side."""
    lines = []
    for side, runs in found.items():
        held = statistics.median(row["gpu"] or max(row["held"]) for row in runs) / 2**20
        speed = statistics.median(row["tokens_per_second"] for row in runs)
        foretold = (runs[0]["foretold"] or 0) / 2**20
        lines.append(f"{side}: {held:,.0f} MiB a process (foretold {foretold:,.0f}), {speed:,.1f} tokens/s")
    same = len({row["adapter"] for runs in found.values() for row in runs}) == 1
    return "\n".join([*lines, f"the adapters are {'the same, bit by bit' if same else 'NOT the same'}"])


if __name__ == "__main__":
    main()
