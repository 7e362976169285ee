"""Data that may not leave do not, whichever way is tried, and whatever the environment tempts the libraries with.

Each way is tried at a real stand-in of a provider, and with a trap under every address that the environment can name:
neither may hear a word of it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Said, Type
from tests.stubs._http import Call, Reply, StubServer
from tests.stubs.fireworks import FireworksStub
from tests.stubs.openai import OpenAIStub
from tests.stubs.together import TogetherStub

STUBS: dict[str, Any] = {"openai": OpenAIStub, "together": TogetherStub, "fireworks": FireworksStub}
MODELS = {"openai": "gpt-4.1-mini-2025-04-14", "together": "Qwen/Qwen3.5-9B", "fireworks": "qwen3p5-9b"}
JOB = """name: sums
provider: {provider}
models: {{{models}, local: {local}}}
data: {{train: train.jsonl, test: test.jsonl{residency}}}
{more}
"""
LOCAL = Path(__file__).parents[2] / "fixtures" / "tiny-base"
TEMPTING = (
    *("OPENAI_BASE_URL", "TOGETHER_BASE_URL", "FIREWORKS_BASE_URL", "HF_ENDPOINT", "WANDB_BASE_URL"),
    *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"),
)
ROW = "What is"  # stands in every record of the data


class Trap(StubServer):
    """Take every request, and answer none usefully."""

    def answer(self, call: Call) -> Reply:
        return Reply(200, b"{}")


@pytest.fixture
def trap(monkeypatch: pytest.MonkeyPatch) -> Iterator[Trap]:
    """Stand under every address that the environment can name."""
    with Trap(key="none") as trap:
        for name in TEMPTING:
            monkeypatch.setenv(name, trap.origin)
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
        yield trap


@pytest.fixture
def far_side(trap: Trap, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """Serve all providers on this machine, with keys."""
    made = {name: stub() for name, stub in STUBS.items()}
    for name, stub in made.items():
        stub.__enter__()
        monkeypatch.setenv(f"{name.upper()}_API_KEY", stub.key)
    profiles = {name: {"base_url": stub.base_url} for name, stub in made.items()}
    (folder / "anytune.yaml").write_text(json.dumps({"profiles": profiles}))
    yield made
    for stub in made.values():
        stub.__exit__(None, None, None)


def job(folder: Path, provider: str, *, residency: str = ", residency: local", more: str = "") -> None:
    models = ", ".join(f"{name}: {model}" for name, model in MODELS.items())
    text = JOB.format(provider=provider, models=models, local=LOCAL, residency=residency, more=more)
    (folder / "finetune.yaml").write_text(text)


def forbid(folder: Path) -> None:
    """Let nothing leave this machine from now on."""
    settings = json.loads((folder / "anytune.yaml").read_text())
    (folder / "anytune.yaml").write_text(json.dumps({**settings, "policy": {"residency": "local"}}))


def told(far_side: dict[str, Any]) -> int:
    return sum(len(stub.journal) for stub in far_side.values())


def refused(said: Said) -> None:
    assert said.code == 3, said.out + said.err
    assert "may not leave this machine" in said.err


@pytest.mark.parametrize("provider", STUBS)
@pytest.mark.parametrize("line", ["run -y", "submit -y --force --again", "submit -y --provider {other}"])
def test_no_submit_takes_data_out(
    anytune: Type, folder: Path, far_side: dict[str, Any], trap: Trap, provider: str, line: str
) -> None:
    job(folder, provider)
    other = next(name for name in STUBS if name != provider)
    refused(anytune(*(part.format(other=other) for part in line.split())))
    assert (told(far_side), trap.journal) == (0, [])


def test_what_is_set_on_the_command_line_does_not_loosen_the_users_policy(
    anytune: Type, folder: Path, far_side: dict[str, Any], trap: Trap
) -> None:
    job(folder, "together", residency="")
    forbid(folder)
    refused(anytune("submit", "-y", "--set", "data.residency=any"))
    assert (told(far_side), trap.journal) == (0, [])


def test_no_quote_and_no_budget_takes_data_out(
    anytune: Type, folder: Path, far_side: dict[str, Any], trap: Trap
) -> None:
    """Together names an exact price only for data that lie there."""
    job(folder, "together", more="budget: {usd: 50}")
    refused(anytune("submit", "-y"))
    assert (told(far_side), trap.journal) == (0, [])


def test_no_failover_takes_data_out(anytune: Type, folder: Path, far_side: dict[str, Any], trap: Trap) -> None:
    job(folder, "openai", more="fallback: [together, fireworks]")
    refused(anytune("run", "-y"))
    assert (told(far_side), trap.journal) == (0, [])


def test_looking_before_a_submit_asks_nobody(anytune: Type, folder: Path, far_side: dict[str, Any], trap: Trap) -> None:
    """Checks, plans and previews are about the data, and made here; so are those for a hosted provider."""
    job(folder, "together")
    for line in ("check train.jsonl", "check train.jsonl --for together", "plan", "plan --all", "models", "doctor"):
        assert anytune(*line.split()).code in {0, 3}, line
    assert anytune("preview", "finetune.yaml", "--model", "somebody/elses").code == 2  # not fetched: named instead
    assert (told(far_side), trap.journal) == (0, [])


@pytest.mark.parametrize(
    "line", ["submit -y", "run -y", "resume last", "watch last", "watch --all --timeout 5", "show last"]
)
def test_no_rescue_takes_data_out(
    anytune: Type, folder: Path, far_side: dict[str, Any], trap: Trap, monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    """A submit that broke off is finished by the next command and by any watch: not when the policy forbids it now."""
    job(folder, "openai", residency="")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-wrong")
    assert anytune("submit", "-y").code == 6
    monkeypatch.setenv("OPENAI_API_KEY", far_side["openai"].key)
    forbid(folder)
    before = told(far_side)
    anytune(*line.split())
    assert (told(far_side), trap.journal) == (before, [])


def test_no_question_of_an_evaluation_or_a_chat_takes_data_out(
    anytune: Type, folder: Path, far_side: dict[str, Any], trap: Trap
) -> None:
    job(folder, "openai", residency="")
    assert anytune("run", "-y", "--no-eval").code == 0
    forbid(folder)
    before = len([call for call in far_side["openai"].journal if call.method != "GET"])
    for line in ("eval last", "chat last --once Hello", "chat last --base --once Hello"):
        refused(anytune(*line.split()))
    after = [call for call in far_side["openai"].journal if call.method != "GET"]
    assert (len(after), trap.journal) == (before, [])


@pytest.mark.parametrize("provider", STUBS)
def test_where_data_may_go_they_go_there_alone_and_no_other_key_with_them(
    anytune: Type, folder: Path, far_side: dict[str, Any], trap: Trap, provider: str
) -> None:
    """Neither proxies nor the addresses of the environment see a byte, nor is a key of W&B's handed on."""
    job(folder, provider, residency="")
    assert anytune("run", "-y", "--no-eval").code == 0
    assert trap.journal == []
    assert [name for name, stub in far_side.items() if stub.journal] == [provider]
    sent = b"".join(call.body for call in far_side[provider].journal)
    assert ROW.encode() in sent
    assert b"0" * 40 not in sent


@pytest.mark.parametrize(
    ("provider", "status"),
    # 302 is how Together names the storage for a file (tests/providers/test_together_upload.py says which it may be)
    [(name, status) for name in STUBS for status in (302, 307, 308) if (name, status) != ("together", 302)],
)
def test_no_redirect_takes_data_out(
    anytune: Type, folder: Path, far_side: dict[str, Any], trap: Trap, provider: str, status: int
) -> None:
    job(folder, provider, residency="")
    away = {"Location": f"{trap.origin}/elsewhere", "X-Together-File-Id": "file-1"}
    far_side[provider].fail_next("POST *", status=status, times=999, headers=away)
    assert anytune("submit", "-y").code != 0
    assert trap.journal == []


@pytest.fixture
def elsewhere(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Go to a folder that belongs to no project and has the same providers: nothing is said there of what may leave."""

    def gone() -> None:
        other = folder.parent / "elsewhere"
        other.mkdir()
        settings = json.loads((folder / "anytune.yaml").read_text())
        (other / "anytune.yaml").write_text(json.dumps({"profiles": settings["profiles"]}))
        monkeypatch.chdir(other)

    return gone


def made_under(folder: Path, **policy: Any) -> None:
    settings = json.loads((folder / "anytune.yaml").read_text())
    (folder / "anytune.yaml").write_text(json.dumps({**settings, "policy": policy}))


def test_the_policy_of_the_project_holds_for_its_jobs_in_every_folder(
    anytune: Type, folder: Path, far_side: dict[str, Any], elsewhere: Callable[[], None]
) -> None:
    """A curve is told, or a file with private data asked about, from wherever the user stands: not of this job."""
    job(folder, "openai", residency="")
    made_under(folder, providers=["openai"], privacy={"block": ["email"]})
    assert anytune("run", "-y", "--no-eval").code == 0
    test = (folder / "test.jsonl").read_text()
    elsewhere()
    Path("other.jsonl").write_text(test.replace("What is", "Write to ada@example.com: what is", 1))
    asked = len(far_side["openai"].calls("POST */chat/completions"))
    for line in (
        "eval last --test other.jsonl",
        "draw last --to wandb --project sums",
        "draw last --to mlflow --out http://127.0.0.1:9",
    ):
        assert anytune(*line.split()).code == 3, line
    assert anytune("chat", "last", "--once", "Who is ada@example.com?").code == 3
    assert len(far_side["openai"].calls("POST */chat/completions")) == asked
    told = anytune("audit", "last", "--json").document["decisions"]
    assert [one["act"] for one in told if one["answer"] == "refused"] == ["evaluate", "draw", "draw", "ask"]


def test_a_rescue_from_another_folder_is_bound_by_the_policy_that_the_job_was_made_under(
    anytune: Type,
    folder: Path,
    far_side: dict[str, Any],
    elsewhere: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The region was the user's word when the job was made; then the word changed, and the broken submit is found."""
    own = Path(os.environ["XDG_CONFIG_HOME"]) / "anytune" / "config.yaml"
    own.parent.mkdir(parents=True, exist_ok=True)
    address = far_side["together"].base_url
    own.write_text(json.dumps({"profiles": {"together": {"base_url": address, "region": "eu"}}}))
    (folder / "anytune.yaml").write_text(json.dumps({"policy": {"residency": "eu"}}))
    job(folder, "together", residency="")
    monkeypatch.setenv("TOGETHER_API_KEY", "wrong-0123456789")
    assert anytune("submit", "-y").code == 6
    monkeypatch.setenv("TOGETHER_API_KEY", far_side["together"].key)
    own.write_text(json.dumps({"profiles": {"together": {"base_url": address}}}))
    other = folder.parent / "home"
    other.mkdir(exist_ok=True)
    monkeypatch.chdir(other)
    before = len(far_side["together"].journal)
    for line in ("resume last", "watch --all --timeout 5"):
        anytune(*line.split())
    assert "the project's policy is eu" in anytune("resume", "last").err
    assert len(far_side["together"].journal) == before
