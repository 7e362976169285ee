"""Bad input to a hosted provider, one table: each fault is one line that says how to mend it, and nothing is sent."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from anytune import catalog, providers
from tests.cli.conftest import Type
from tests.cli.test_bad_input import mistaken
from tests.models import VERSION
from tests.stubs._http import Trap

HOSTED = [name for name in providers.BUILT_IN if name not in {"fake", "local"}]
FAULTS: dict[str, tuple[Any, ...]] = {
    "an unknown provider": ("--provider {near}", 2, "no provider is called '{near}'", "did you mean {provider}?"),
    "an unknown model": (
        "--model {model}x",
        3,
        "{provider} tunes no model '{model}x' that the catalogue knows; did you mean {model}?",
        "anytune plan finetune.yaml --all",
    ),
    "no key": ("", 6, "{provider} needs a key: {key} is not set", "export {key}="),
    "a setting that the provider has not": ("--set training.micro_batch_size=3", 3, "training.micro_batch_size = 3: "),
    "a method that the model has not": (
        "--set method=dpo --set data.train=pairs.jsonl --model only-sft",
        3,
        "method dpo: {provider} trains only-sft by sft only",
    ),
    "a file too large": ("", 3, "train.jsonl has 1,2", "takes at most 99 in a file"),
    "a region that cannot be promised": ("--set data.residency=mars", 3, "data.residency is mars: ", "{provider}"),
    "data that may not leave": ("--set data.residency=local", 3, "the data may not leave this machine"),
    "a budget": ("--set budget.usd=0", 3, "the job's budget is $0.00"),
    "too many epochs": ("--set training.epochs=101", 2, "training.epochs: 101: ", "100"),
    "a seed that is none": ("--set training.seed=-1", 2, "training.seed: -1: ", "0"),
    "an unknown key": ("--set training.epoch=1", 2, "unknown key 'training.epoch'", "did you mean 'epochs'?"),
    "no data": ("--set data.train=nowhere.jsonl", 3, "nowhere.jsonl"),
}

# Of providers whose catalogue lists no models that they tune by themselves: what is said there instead.
OTHERWISE: dict[str, dict[str, tuple[Any, ...]]] = {
    "replicate": {
        "an unknown model": (
            "--model acme/other",
            3,
            "what the trainer 'acme/other' takes is not known",
            "as owner/name:version",
        ),
        "no version": ("--model acme/trainer", 3, "one version of a model, by the 64 digits"),
        "data of another shape": ("--model acme/plain:{version}", 3, "anytune convert --to prompt-completion"),
        "a setting of which no input is known": ("--set training.seed=3", 3, "no input of acme/trainer is known"),
        "a method that the model has not": ("--set method=dpo --set data.train=pairs.jsonl", 3, "by sft only"),
        "a budget": ("--set budget.usd=5", 3, "the job's budget is $5.00 and the price is not known"),
    },
    "hf-jobs": {
        "an unknown model": ("--model nowhere", 3, "hf-jobs trains models of the Hub (owner/name); 'nowhere' is none"),
        "a setting that the provider has not": (
            "--set training.learning_rate_multiplier=2",
            3,
            "training.learning_rate_multiplier = 2",
        ),
        "a budget": ("--set budget.usd=0.5", 3, "the job's budget is $0.50; this may cost up to $"),
        "quantised weights": ("--set training.lora=null --set training.quantize=nf4", 3, "cannot be trained"),
    },
    "ray": {
        "an unknown model": ("--model nowhere", 3, "ray trains a model of the Hub (owner/name), or a folder"),
        "a setting that the provider has not": (
            "--set training.learning_rate_multiplier=2",
            3,
            "training.learning_rate_multiplier = 2",
        ),
        "a budget": ("--set budget.usd=5", 3, "the job's budget is $5.00 and the price is not known"),
        "quantised weights": ("--set training.lora=null --set training.quantize=nf4", 3, "cannot be trained"),
    },
}
NEEDS_NONE = {("ray", "no key")}  # a cluster on this machine may want no token
MODELS = {"replicate": f"acme/trainer:{VERSION}", "hf-jobs": "acme/tiny-chat", "ray": "acme/tiny-chat"}
TRAINERS = {"acme/trainer": {"data": "train_data", "fields": {"training.epochs": "epochs"}}, "acme/plain": {
    "data": "train_data", "fields": {"training.epochs": "epochs"}, "chats": False
}}  # fmt: skip


def table() -> Iterator[tuple[str, str]]:
    for name in HOSTED:
        other = OTHERWISE.get(name, {})
        unlisted = {"a method that the model has not"} if other else set()
        yield from (
            (name, fault)
            for fault in dict.fromkeys((*FAULTS, *other))
            if (fault not in unlisted or fault in other) and (name, fault) not in NEEDS_NONE
        )


def pair(number: int) -> dict[str, object]:
    answers = (f"{number + number}.", f"Who knows {number}?")
    preferred, other = ([{"role": "assistant", "content": answer}] for answer in answers)
    question = [{"role": "user", "content": f"What is {number} plus {number}?"}]
    return {"input": {"messages": question}, "preferred_output": preferred, "non_preferred_output": other}


@pytest.fixture
def trap() -> Iterator[Trap]:
    with Trap() as running:
        yield running


@pytest.mark.parametrize(("name", "fault"), list(table()))
def test_each_fault_is_told_in_one_line_before_anything_is_sent(
    anytune: Type, folder: Path, trap: Trap, monkeypatch: pytest.MonkeyPatch, name: str, fault: str
) -> None:
    known = catalog.load(name)
    model = MODELS.get(name) or next(model for model, entry in known.models.items() if "sft" in entry.methods)
    given = {"provider": name, "near": f"{name}x", "model": model, "key": str(known.key), "version": VERSION}
    if fault == "no key":
        monkeypatch.delenv(given["key"], raising=False)
    else:
        monkeypatch.setenv(given["key"], "a-key-0123456789")
    if name == "ray":
        own = Path(os.environ["XDG_CONFIG_HOME"]) / "anytune"
        own.mkdir(parents=True)
        (own / "config.yaml").write_text(f"profiles: {{ray: {{cluster: {{folder: '{folder}'}}}}}}\n")
    models = "models: {only-sft: {methods: [sft]}}"
    most = ", max_file_bytes: 99" if fault == "a file too large" else ""
    trainers = f", trainers: {json.dumps(TRAINERS)}" if name == "replicate" else ""
    profile = f"profiles: {{{name}: {{base_url: '{trap.base_url}'{trainers}}}}}"
    (folder / "anytune.yaml").write_text(f"{profile}\ncatalog: {{{name}: {{{models}{most}}}}}\n")
    (folder / "finetune.yaml").write_text(f"name: s\nprovider: {name}\nmodel: {model}\ndata: {{train: train.jsonl}}\n")
    (folder / "pairs.jsonl").write_text("".join(json.dumps(pair(number)) + "\n" for number in range(12)))
    more, code, *wanted = {**FAULTS, **OTHERWISE.get(name, {})}[fault]
    arguments = ("run", "-y", *more.format(**given).split())
    said = anytune(*arguments)
    mistaken(said, code=code)
    for words in wanted:
        assert words.format(**given) in said.err
    reasons = [line for line in said.err.splitlines() if line.startswith("  - ")]
    assert len(reasons) == (1 if code == 3 else 0), reasons
    assert "a-key-0123456789" not in said.out + said.err
    assert trap.journal == []
    assert anytune(*arguments, "--json").document["error"]["exit_code"] == code


@pytest.mark.parametrize("verb", ["run", "submit"])
def test_a_missing_key_is_told_before_the_plan(
    anytune: Type, folder: Path, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    monkeypatch.delenv("TOGETHER_API_KEY", raising=False)
    (folder / "finetune.yaml").write_text(
        "name: s\nprovider: together\nmodel: Qwen/Qwen3.5-9B\ndata: {train: train.jsonl}\n"
    )
    for more in (("-y",), ()):
        said = anytune(verb, *more)
        mistaken(said, code=6)
        assert said.err.startswith("error: together needs a key: TOGETHER_API_KEY is not set")
    said = anytune(verb, "-y", "--set", "budget.usd=0")
    mistaken(said, code=3)
    assert "the job's budget is $0.00" in said.err


def test_a_provider_that_cannot_be_planned_at_all_does_not_hide_the_others(anytune: Type, folder: Path) -> None:
    base = Path(__file__).resolve().parents[2] / "fixtures" / "tiny-base"
    models = f"models: {{local: '{base}', fake: fake-1}}"
    (folder / "finetune.yaml").write_text(f"name: s\nprovider: local\n{models}\ndata: {{train: train.jsonl}}\n")
    said = anytune("plan", "--all", "--set", "training.lora=null", "--set", "training.quantize=nf4", "--json")
    told = {plan["provider"]: plan["refused"] for plan in said.document["plans"]}
    assert "quantised weights cannot be trained themselves" in told["local"][0]
    assert len(told["fake"]) > 0
