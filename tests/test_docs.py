"""What the documents say holds: their commands run, their pages are those that the code makes."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import yaml

from anytune import config

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
OFFLINE = ("check", "plan")  # what the README shows that can run without training first


def module(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


def blocks(language: str = "") -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def shown_commands() -> list[list[str]]:
    lines = [line.split("#")[0].strip() for block in blocks() for line in block.splitlines()]
    return [shlex.split(line) for line in lines if line.startswith("anytune ")]


def test_the_readmes_job_file_is_one(tmp_path: Path) -> None:
    (text,) = blocks("yaml")
    (tmp_path / "finetune.yaml").write_text(text)
    for provider in yaml.safe_load(text)["models"]:
        assert config.load_job(tmp_path / "finetune.yaml", provider=provider).model


def test_the_readmes_make_targets_are_there() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    wanted = set(re.findall(r"^make ([a-z-]+)", README + (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE))
    assert wanted
    assert wanted <= targets


@pytest.mark.parametrize("command", shown_commands(), ids=" ".join)
def test_the_readmes_commands_run(command: list[str], tmp_path: Path) -> None:
    """Run what needs no training as it stands, on the demo's data; of the rest show that the verb takes these words."""
    if command[1] not in OFFLINE:
        command = [*command[:2], "--help"]
    environment = {**os.environ, "ANYTUNE_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=ROOT / "examples" / "english-to-sql",
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_readmes_python_is_python() -> None:
    for block in blocks("python"):
        compile(block, "README.md", "exec")


def test_the_readmes_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / target).exists(), target


@pytest.mark.parametrize(
    ("page", "maker"),
    [
        ("commands.md", "commands"),
        ("job-file.md", "job_file"),
        ("providers.md", "providers"),
    ],
)
def test_the_reference_is_what_the_code_says(page: str, maker: str) -> None:
    made = getattr(module(ROOT / "docs" / "make_reference.py"), maker)()
    assert (ROOT / "docs" / "reference" / page).read_text(encoding="utf-8") == made, "run docs/make_reference.py"


def test_each_test_that_the_reliability_page_names_is_there() -> None:
    page = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", page))
    assert len(named) >= 40
    for file, name in sorted(named):
        assert f"def {name}(" in (ROOT / file).read_text(encoding="utf-8"), f"{file}::{name}"


def test_the_reliability_page_has_every_row_of_the_fault_model() -> None:
    page = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+) \|(.*)$", page, flags=re.MULTILINE)
    assert [int(number) for number, _ in rows] == list(range(1, 24))
    assert all("`tests/" in row or "not yet" in row for _, row in rows)
