"""Write a first job file and a sample data set, never over anything that is there."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from string import Template
from textwrap import indent
from typing import TYPE_CHECKING

from anytune.errors import UsageError
from anytune.ui.words import short

if TYPE_CHECKING:
    from anytune.catalog import Catalog

LOCAL_MODEL = "HuggingFaceTB/SmolLM2-135M-Instruct"  # small enough to train on a laptop's CPU
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")  # as the job file takes it
SYSTEM = "Sort the message: billing, bug or question. Answer with that one word."
TRAIN = (
    ("I was charged twice this month.", "billing"),
    ("The app closes as soon as I open a photo.", "bug"),
    ("Can I use my account on two phones?", "question"),
    ("Please send the invoice to our new address.", "billing"),
    ("Search shows nothing, whatever I type.", "bug"),
    ("Do you have a student discount?", "question"),
    ("My card was refused although it is valid.", "billing"),
    ("The export button does nothing.", "bug"),
    ("Where can I change my password?", "question"),
    ("I want my money back for last week.", "billing"),
    ("Since the update every page is blank.", "bug"),
    ("Which file formats can I upload?", "question"),
    ("Why is the tax on my bill higher than before?", "billing"),
    ("Notifications arrive hours too late.", "bug"),
    ("Is there a way to share a folder?", "question"),
    ("The receipt names the wrong company.", "billing"),
)
TEST = (
    ("You took the yearly fee a second time.", "billing"),
    ("Uploading stops at ninety percent.", "bug"),
    ("How many people can join one project?", "question"),
    ("I need a copy of the March invoice.", "billing"),
    ("The date picker shows last year only.", "bug"),
    ("Can I read my notes without a connection?", "question"),
    ("The discount is missing from my invoice.", "billing"),
    ("Sound stops after a few seconds.", "bug"),
    ("What does the blue icon mean?", "question"),
    ("Please stop the charges to my old card.", "billing"),
)
JOB = Template("""\
# What to learn, and who teaches it. Begin with: anytune plan
$name

# local, openai, azure, nebius, together, fireworks, hf-jobs or ray: another word here is all that a switch takes.
provider: $provider
models:
$models

method: sft              # sft: learn to answer as the examples do

data:                    # chats, one JSON object a line
  train: train.jsonl     # learned from
  test: test.jsonl       # held out: base and tuned model are compared on it
  # validation: validation.jsonl   # watched during training; or split: 0.1
  # residency: eu                  # where the data may be; or local

training:
  epochs: 3              # passes over the training file
  # What is left out is the provider's own choice.
  # learning_rate: 2.0e-4
  # lora: {rank: 16, alpha: 32}    # null trains all weights
  # quantize: nf4                  # with lora: QLoRA

# budget: {usd: 5}       # a plan above it is refused
""")


@dataclass(frozen=True)
class Wish:
    """Be what the flags said, or what is to be written."""

    provider: str | None
    model: str | None
    name: str | None


def settled(wish: Wish, *, ask: Callable[[str], str] | None) -> Wish:
    """Fill in what the flags left open: by questions where somebody can answer, by defaults elsewhere."""
    from anytune.tuner import Tuner

    def answered(question: str, default: str) -> str:
        return (ask(f"{question} [{default}] ") if ask else "") or default

    name = wish.name or answered("What is the job called?", "sort-messages")
    if not NAME.fullmatch(name):
        allowed = "1 to 64 of A-Z a-z 0-9 . _ -, the first a letter or a digit"
        raise UsageError(f"a job cannot be called {name!r}", fix=f"--name takes {allowed}")
    tuner = Tuner()
    provider = wish.provider or answered(f"Where to train: {', '.join(tuner.reach.names())}?", "local")
    tuner.provider(provider)  # a wrong name ends here, before anything is written
    default = cheapest(tuner.catalogs()).get(provider, "")
    model = wish.model or (answered("Which base model?", default) if default else "")
    if not model:
        raise UsageError(f"there is no default model for {provider}", fix="give --model")
    return Wish(provider=provider, model=model, name=name)


def cheapest(catalogs: list[Catalog]) -> dict[str, str]:
    """Return for each provider the model with the lowest price among those that are open; unpriced, the first."""
    found = dict.fromkeys(("local", "hf-jobs", "ray"), LOCAL_MODEL)
    for catalog in catalogs:
        open_ones = {name: entry for name, entry in catalog.models.items() if "sft" in entry.methods}
        prices = {name: entry.price["sft"] for name, entry in open_ones.items() if "sft" in entry.price}
        if open_ones:
            found[catalog.provider] = min(prices, key=lambda name: prices[name]) if prices else next(iter(open_ones))
    return found


def write(folder: Path, wish: Wish) -> list[Path]:
    """Write job file, training and test data; raise `UsageError` before the first byte if one is there."""
    contents = {
        "finetune.yaml": _job(wish),
        "train.jsonl": "".join(_chats(TRAIN)),
        "test.jsonl": "".join(_chats(TEST)),
    }
    paths = {folder / name: text for name, text in contents.items()}
    elsewhere = "anytune init FOLDER writes into another folder"
    try:
        if folder.exists() and not folder.is_dir():
            raise UsageError(f"{folder} is a file, not a folder", fix=elsewhere)
        there = [path for path in paths if path.exists() or path.is_symlink()]
        if there:
            raise UsageError(f"{there[0]} is there already; nothing was written", fix=elsewhere)
        folder.mkdir(parents=True, exist_ok=True)
        for path, text in paths.items():
            with path.open("x", encoding="utf-8") as out:
                out.write(text)
    except OSError as error:
        place = short(str(error.filename or folder), 80)
        raise UsageError(f"{place}: cannot be written: {error.strerror}", fix=elsewhere) from error
    return list(paths)


def _job(wish: Wish) -> str:
    import yaml

    from anytune.tuner import Tuner

    models = {**cheapest(Tuner().catalogs()), str(wish.provider): str(wish.model)}
    written = indent(yaml.safe_dump(models, sort_keys=False).rstrip(), "  ")
    name = yaml.safe_dump({"name": wish.name}).rstrip()  # quoted where YAML would take it for something else
    return JOB.substitute(name=name, provider=wish.provider, models=written)


def _chats(pairs: tuple[tuple[str, str], ...]) -> Iterator[str]:
    for question, answer in pairs:
        said = (("system", SYSTEM), ("user", question), ("assistant", answer))
        yield json.dumps({"messages": [{"role": role, "content": text} for role, text in said]}) + "\n"
