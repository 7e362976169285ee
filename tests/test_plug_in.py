"""The example of a third-party provider is what its page says: it keeps the contract, and anytune knows it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).resolve().parent.parent / "examples" / "plug-in"


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Plug the example in as an installed package would be, with no key."""
    info = tmp_path / "site" / "anytune_acme-0.1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: anytune-acme\nVersion: 0.1.0\n")
    (info / "entry_points.txt").write_text("[anytune.providers]\nacme = anytune_acme:AcmeProvider\n")
    path = os.pathsep.join(filter(None, (str(info.parent), str(EXAMPLE), os.environ.get("PYTHONPATH"))))
    return {**os.environ, "PYTHONPATH": path, "ANYTUNE_HOME": str(tmp_path / "home"), "NO_COLOR": "1"}


@pytest.mark.engine
def test_the_example_keeps_the_contract(environment: dict[str, str], tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", "-c", os.devnull]
    command += ["--rootdir", str(EXAMPLE), "--basetemp", str(tmp_path / "tests"), str(EXAMPLE / "tests")]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    skipped = [line for line in done.stdout.splitlines() if line.startswith("SKIPPED")]
    known = ("removes no files", "lists no jobs", "small-pages")
    assert all(any(word in line for word in known) for line in skipped), "what it does not offer, and nothing else"


@pytest.mark.engine
def test_the_command_line_knows_a_plugged_in_provider(environment: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "train.jsonl").write_text(
        "".join(
            json.dumps(
                {
                    "messages": [
                        {"role": "user", "content": f"What is {number} plus one?"},
                        {"role": "assistant", "content": f"{number + 1}."},
                    ]
                }
            )
            + "\n"
            for number in range(12)
        )
    )
    job = {"name": "sums", "provider": "acme", "model": "acme-7b", "data": {"train": "train.jsonl"}}
    (tmp_path / "finetune.yaml").write_text(json.dumps({**job, "training": {"epochs": 2, "learning_rate": 1e-4}}))

    def anytune(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "anytune", *arguments]
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    planned = anytune("plan", "--json")
    assert planned.returncode == 0, planned.stderr
    plan = json.loads(planned.stdout)
    assert {setting["path"]: setting["to"] for setting in plan["settings"]} == {
        "training.epochs": "passes",
        "training.learning_rate": "rate",
    }
    assert "acme" in anytune("providers").stdout
    run = anytune("run", "-y")
    assert run.returncode == 6
    assert "ACME_API_KEY" in run.stderr
    assert "Traceback" not in run.stderr
