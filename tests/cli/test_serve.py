"""`serve` at the command line, without a model: what it refuses, and webhooks that lead to a look at the provider."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from anytune import webhook
from tests.cli.conftest import Type
from tests.stubs.openai import OpenAIStub

pytest.importorskip("uvicorn")

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
KEY = "sk-CANARY0123456789abcdef"
JOB = "name: sums\nprovider: openai\nmodel: gpt-4.1-mini-2025-04-14\ndata: {train: train.jsonl}\n"


@pytest.fixture
def openai(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[OpenAIStub]:
    with OpenAIStub(key=KEY) as stub:
        (folder / "anytune.yaml").write_text(json.dumps({"profiles": {"openai": {"base_url": stub.base_url}}}))
        (folder / "finetune.yaml").write_text(JOB)
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
        monkeypatch.setenv("OPENAI_WEBHOOK_SECRET", SECRET)
        yield stub


def begun(*arguments: str) -> tuple[subprocess.Popen[str], dict[str, Any]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "anytune", "serve", *arguments, "--port", "0", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    document = ""
    assert process.stdout is not None
    try:
        while (line := process.stdout.readline()).rstrip() not in ("}", ""):
            document += line
        return process, json.loads(document + line)
    except BaseException:
        process.kill()
        raise


def send(url: str, remote_id: str, *, id: str, secret: str = SECRET) -> int:
    body = json.dumps({"type": "fine_tuning.job.succeeded", "data": {"id": remote_id}}).encode()
    headers = webhook.signed(body, id=id, at=datetime.now(UTC), secret=secret)
    return httpx.post(url, content=body, headers=headers, timeout=30).status_code


@pytest.mark.engine
def test_a_webhook_makes_the_provider_be_asked_about_that_job_and_no_other(anytune: Type, openai: OpenAIStub) -> None:
    assert anytune("submit", "-y").code == 0
    remote_id = anytune("show", "last", "--json").document["job"]["remote"]["id"]
    process, told = begun("--webhooks")
    try:
        before = len(openai.calls("GET *"))
        assert send(told["webhooks"], remote_id, id="a", secret="whsec_" + "A" * 32) == 401  # forged
        assert send(told["webhooks"], "ftjob-nobodys", id="b") == 200
        time.sleep(0.3)
        assert len(openai.calls("GET *")) == before
        assert [send(told["webhooks"], remote_id, id="c") for _ in range(3)] == [200, 200, 200]
        end = time.monotonic() + 30
        while f"/{remote_id}" not in str(openai.calls("GET *")[before:]) and time.monotonic() < end:
            time.sleep(0.05)
        time.sleep(0.3)
        asked = [call for call in openai.calls("GET *")[before:] if str(call.path).endswith(remote_id)]
        assert len(asked) == 1
        assert httpx.get(told["webhooks"].replace("/webhooks/openai", "/v1/models")).status_code == 404
    finally:
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in err
    assert "is " in err
    assert not [secret for secret in (KEY, SECRET, SECRET.removeprefix("whsec_")) if secret in out + err]


def test_without_its_secret_no_webhook_is_taken(
    anytune: Type, openai: OpenAIStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_WEBHOOK_SECRET")
    said = anytune("serve", "--webhooks")
    assert (said.code, "fix: anytune keys add OPENAI_WEBHOOK_SECRET" in said.err) == (6, True)
    monkeypatch.setenv("OPENAI_WEBHOOK_SECRET", "hush-hush")
    said = anytune("serve", "--webhooks")
    assert (said.code, "hush" in said.err) == (2, False)


def test_a_model_at_a_provider_is_served_there(anytune: Type, openai: OpenAIStub) -> None:
    assert anytune("run", "-y", "--no-eval").code == 0
    said = anytune("serve", "last")
    assert (said.code, "models at openai are served there" in said.err) == (2, True)


@pytest.mark.parametrize("line", ["", "last", "nobody"])
def test_a_job_that_there_is_not_is_told(anytune: Type, line: str) -> None:
    assert anytune("serve", *line.split()).code == 2


@pytest.mark.parametrize(
    ("content", "mode", "says"),
    [
        ("short", 0o600, "too short"),
        ("", 0o600, "is empty"),
        ("x" * 40, 0o644, "chmod 600"),
        (None, 0o600, "no such file"),
    ],
)
def test_a_token_that_protects_nothing_is_refused(
    anytune: Type, folder: Path, content: str | None, mode: int, says: str
) -> None:
    file = folder / "serve.token"
    if content is not None:
        file.write_text(content)
        file.chmod(mode)
    said = anytune("serve", "--token-file", str(file))
    assert (said.code, says in said.err) == (6, True)
    assert "x" * 40 not in said.err


def test_an_address_that_others_reach_is_not_served_without_a_token(anytune: Type) -> None:
    said = anytune("serve", "--host", "0.0.0.0")
    assert (said.code, "it needs a token" in said.err) == (6, True)


def test_the_packages_are_named_where_they_are_missing(anytune: Type, monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.util

    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "uvicorn" else found(name))
    said = anytune("serve")
    assert (said.code, "pip install 'anytune[serve]'" in said.err) == (2, True)
