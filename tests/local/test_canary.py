"""No code that comes with a model or lies about is run, and a job on this machine connects to nothing, all its life.

Every file that some library would run or unpickle if it were let leaves a mark when it is. `strace` watches whole
commands, with all that they start, under the variables that make libraries call home.
"""

from __future__ import annotations

import json
import os
import pickle
import shutil
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytestmark = pytest.mark.local

from tests.local.conftest import chat, write_lines  # noqa: E402

ROOT = Path(__file__).parents[2]
CLASSES = {
    "AutoConfig": "modeling_canary.CanaryConfig",
    "AutoModelForCausalLM": "modeling_canary.CanaryForCausalLM",
    "AutoTokenizer": [None, "modeling_canary.CanaryTokenizer"],
}
# Modules that a worker imports: in the folder where the user stands, they would come first if Python looked there.
SHADOWS = ("torch", "transformers", "peft", "safetensors", "jinja2", "tokenizers", "bitsandbytes", "sitecustomize")
# What makes libraries call home, or send elsewhere what was meant for here.
TEMPTING = {
    "WANDB_API_KEY": "0" * 40,
    "WANDB_PROJECT": "leak",
    "WANDB_BASE_URL": "http://192.0.2.1",
    "HF_TOKEN": "hf_" + "x" * 34,
    "HF_ENDPOINT": "http://192.0.2.1",
    "HF_HUB_OFFLINE": "0",
    "TRANSFORMERS_OFFLINE": "0",
    "HTTP_PROXY": "http://192.0.2.1:3128",
    "HTTPS_PROXY": "http://192.0.2.1:3128",
    "ALL_PROXY": "http://192.0.2.1:3128",
    "OPENAI_BASE_URL": "http://192.0.2.1/v1",
    "OPENAI_API_KEY": "sk-" + "x" * 20,
    "TOGETHER_BASE_URL": "http://192.0.2.1",
    "MLFLOW_TRACKING_URI": "http://192.0.2.1:5000",
    "COMET_API_KEY": "x",
    "OTEL_EXPORTER_OTLP_ENDPOINT": "http://192.0.2.1:4317",
}
COMMANDS = {
    "plan": ["plan"],
    "preview": ["preview", "finetune.yaml"],
    "run": ["run", "-y"],  # trains and compares
    "chat": ["chat", "last", "--once", "Which is 3?"],
    "export": ["export", "last", "--to", "merged", "--out", "tuned"],
}


@dataclass(frozen=True)
class Unpickled:
    """Leave a mark when it is unpickled."""

    mark: Path

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.system, (f"touch {self.mark}",))


@dataclass(frozen=True)
class Lived:
    """Be what the commands left: exit codes, what was printed, journals of connects, and where marks would be."""

    codes: dict[str, int]
    said: dict[str, str]
    journals: dict[str, str]
    marks: Path


def trap(folder: Path, marks: Path, *names: str) -> None:
    """Put Python files there that leave a mark when they are run."""
    for name in names:
        (folder / f"{name}.py").write_text(f"open({str(marks / name)!r}, 'w').close()\nraise SystemExit('run')\n")


def changed(path: Path, **values: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def canary(base: Path, folder: Path, marks: Path) -> Path:
    """Make a model that can be trained from, with all that could be run beside its weights."""
    shutil.copytree(base, folder)
    trap(folder, marks, "modeling_canary", "configuration_canary", "tokenization_canary", "setup", "generate")
    (folder / "custom_generate").mkdir()
    trap(folder / "custom_generate", marks, "generate")
    for name in ("pytorch_model.bin", "adapter_model.bin", "training_args.bin", "optimizer.pt", "scheduler.pt"):
        (folder / name).write_bytes(pickle.dumps(Unpickled(marks / name)))
    return folder


def typed(
    work: Path, *arguments: str, journal: Path | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Type a command, as a process that leaves its journal of connects."""
    watch = ["strace", "-f", "--seccomp-bpf", "-qq", "-e", "trace=connect,sendto", "-e", "signal=none", "-o"]
    return subprocess.run(
        [*([*watch, str(journal)] if journal else []), sys.executable, "-P", "-m", "anytune", *arguments],
        cwd=work,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


@pytest.fixture(scope="module")
def lived(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Lived:
    """Take a job through its whole life, among canaries."""
    root = tmp_path_factory.mktemp("canary")
    marks, work = root / "marks", root / "work"
    marks.mkdir()
    work.mkdir()
    trap(work, marks, *SHADOWS)
    write_lines(work / "train.jsonl", [chat(n) for n in range(12)])
    write_lines(work / "test.jsonl", [chat(n) for n in range(20, 23)])
    model = canary(base, root / "model", marks)
    (work / "finetune.yaml").write_text(
        f"name: canary\nprovider: local\nmodel: {model}\n"
        "data: {train: train.jsonl, test: test.jsonl, residency: local}\n"
        "training: {epochs: 1, batch_size: 4}\nevaluation: {max_new_tokens: 8}\n"
    )
    home = {"ANYTUNE_HOME": str(root / "home"), "XDG_CONFIG_HOME": str(root / "config"), **TEMPTING}
    strace = shutil.which("strace") is not None
    done = {
        verb: typed(work, *line, journal=root / f"{verb}.journal" if strace else None, **home)
        for verb, line in COMMANDS.items()
    }
    return Lived(
        codes={verb: one.returncode for verb, one in done.items()},
        said={verb: one.stdout + one.stderr for verb, one in done.items()},
        journals={verb: (root / f"{verb}.journal").read_text() for verb in COMMANDS} if strace else {},
        marks=marks,
    )


@pytest.mark.parametrize("verb", COMMANDS)
def test_nothing_that_lies_with_a_model_or_about_the_user_is_run_by(lived: Lived, verb: str) -> None:
    assert lived.codes[verb] == 0, lived.said[verb]
    assert list(lived.marks.iterdir()) == []


@pytest.mark.parametrize("verb", COMMANDS)
def test_with_data_that_stay_here_no_address_is_reached_by(lived: Lived, verb: str) -> None:
    if not lived.journals:
        pytest.skip("strace is not installed: that a job connects to nothing was not watched")
    assert "AF_INET" not in lived.journals[verb]


def only_code(folder: Path) -> None:
    changed(folder / "config.json", auto_map=CLASSES, model_type="nobodys")


def code_beside_a_known_kind(folder: Path) -> None:
    changed(folder / "config.json", auto_map=CLASSES)


def code_of_the_tokenizer(folder: Path) -> None:
    changed(folder / "tokenizer_config.json", auto_map=CLASSES, tokenizer_class="CanaryTokenizer")


def only_pickles(folder: Path) -> None:
    for path in folder.glob("*.safetensors"):
        path.unlink()


def an_index_of_pickles(folder: Path) -> None:
    only_pickles(folder)
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": {"x": "pytorch_model.bin"}}))


@pytest.mark.parametrize(
    "spoil", [only_code, code_beside_a_known_kind, code_of_the_tokenizer, only_pickles, an_index_of_pickles]
)
def test_a_model_that_needs_its_own_code_or_pickles_is_refused_and_there_is_no_way_round(
    base: Path, tmp_path: Path, spoil: Any
) -> None:
    """By the plan, and by what opens models, too, if a plan were passed by."""
    from anytune.errors import UsageError
    from anytune.local import base_model, loading

    marks = tmp_path / "marks"
    marks.mkdir()
    folder = canary(base, tmp_path / "model", marks)
    spoil(folder)
    assert [reason for reason in base_model.problems(folder) if "code" in reason]
    with suppress(UsageError):
        loading.open_tokenizer(str(folder))
    with suppress(UsageError):
        loading.open_base(str(folder), quantize=None, dtype="float32")
    assert list(marks.iterdir()) == []


def test_an_adapter_in_the_folder_of_a_base_leads_nowhere(base: Path, tmp_path: Path) -> None:
    """The libraries would take it up by themselves, with whatever base it names."""
    from anytune.local import base_model

    folder = tmp_path / "model"
    shutil.copytree(base, folder)
    told = {"peft_type": "LORA", "base_model_name_or_path": "somebody/else", "r": 4, "target_modules": ["q_proj"]}
    (folder / "adapter_config.json").write_text(json.dumps(told))
    assert [reason for reason in base_model.problems(folder) if "adapter" in reason]


@pytest.mark.parametrize(
    "attack",
    [
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ cycler.__init__.__globals__.os.system('touch ' ~ '%s') }}",
        "{{ messages.__class__.__base__ }}",
        "{% include '/etc/passwd' %}",
    ],
)
def test_a_chat_template_cannot_reach_beyond_its_messages(base: Path, tmp_path: Path, attack: str) -> None:
    from anytune.errors import UsageError
    from anytune.local import loading
    from anytune.local.encode import ChatEncoder

    folder, mark = tmp_path / "model", tmp_path / "mark"
    shutil.copytree(base, folder)
    (folder / "chat_template.jinja").write_text(attack.replace("%s", str(mark)))
    encoder = ChatEncoder(loading.open_tokenizer(str(folder)), stop_ids=frozenset({2}))
    with pytest.raises(UsageError, match="the chat template refuses the messages"):
        encoder.example(chat(1), where="line 1", line=1)
    assert not mark.exists()


def test_a_worker_that_stays_alone_holds_no_keys() -> None:
    from anytune.local.processes import worker_environment

    secrets = {"OPENAI_API_KEY": "a", "WANDB_API_KEY": "b", "HF_TOKEN": "c", "PGPASSWORD": "d", "AWS_SECRET": "e"}
    script = (
        "import os; from anytune.local.processes import worker_environment as w;"
        f"had = set({list(secrets)!r}); print(sorted(had & w(alone=True).keys()), sorted(had & w(alone=False).keys()),"
        "'TOKENIZERS_PARALLELISM' in w())"
    )
    env = {**worker_environment(), **secrets, "TOKENIZERS_PARALLELISM": "false"}
    done = subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"[] {sorted(secrets)} True"
