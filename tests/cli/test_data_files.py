"""A data file that cannot be used is refused with exit 3 in one set of words, whatever the verb that was given it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from anytune.local import processes
from anytune.testing.fake import FakeService
from tests.cli.conftest import Type

VERBS = {
    "check": "check BAD",
    "check beside a good one": "check train.jsonl BAD",
    "check of a leak": "check train.jsonl --against BAD",
    "check with a copy": "check BAD --redact copy.jsonl",
    "fix": "fix BAD --out new.jsonl",
    "fix -y": "fix BAD --out new.jsonl -y",
    "fix foreseen": "fix BAD --dry-run",
    "convert": "convert BAD --out new.jsonl",
    "split": "split BAD --out-dir sides",
    "dedupe": "dedupe BAD --out new.jsonl",
    "near dedupe": "dedupe BAD --out new.jsonl --kind near",
    "preview": "preview BAD --model MODEL",
    "plan": "plan --set data.train=BAD",
    "plan of a split": "plan --set data.train=BAD --set data.split=0.1",
    "plan with validation": "plan --set data.validation=BAD",
    "plan with a test": "plan --set data.test=BAD",
    "run": "run -y --set data.train=BAD",
    "run with a test": "run -y --set data.test=BAD",
    "submit": "submit -y --set data.train=BAD",
    "eval": "eval last --test BAD",
}


def missing(path: Path) -> Path:
    return path


def below_a_file(path: Path) -> Path:
    path.write_text("{}\n")
    return path / "train.jsonl"


def directory(path: Path) -> Path:
    path.mkdir()
    return path


def pipe(path: Path) -> Path:
    os.mkfifo(path)
    return path


def device(path: Path) -> Path:
    path.symlink_to(os.devnull)
    return path


def link_to_itself(path: Path) -> Path:
    path.symlink_to(path)
    return path


def broken_disk(path: Path) -> Path:
    """Return a regular file of which no byte can be read, even by root: a process has nothing at address 0."""
    if not Path("/proc/self/mem").exists():
        pytest.skip("there is no such file here")
    path.symlink_to("/proc/self/mem")
    return path


def forbidden(path: Path) -> Path:
    if os.geteuid() == 0:
        pytest.skip("root may read everything")
    path.write_text("{}\n")
    path.chmod(0)
    return path


def empty(path: Path) -> Path:
    path.touch()
    return path


def blank(path: Path) -> Path:
    path.write_bytes(b"\n  \r\n\n")
    return path


STATES: dict[Callable[[Path], Path], str] = {
    missing: "there is no such file",
    below_a_file: "there is no such file",
    directory: "this is not a regular file",
    pipe: "this is not a regular file",
    device: "this is not a regular file",
    link_to_itself: "the file cannot be read: Too many levels of symbolic links",
    broken_disk: "the file cannot be read: Input/output error",
    forbidden: "the file cannot be read: Permission denied",
    empty: "the file is empty",
    blank: "the file has only blank lines",
}


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder that passes for a model, and nothing that reads for it."""

    def answer(*_: str) -> None:
        raise AssertionError("the worker was asked in vain")

    monkeypatch.setattr(processes, "worker_answer", answer)
    monkeypatch.setattr(processes, "demand_packages", lambda _: None)
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text('{"max_position_embeddings": 256}')
    return folder


@pytest.mark.parametrize("state", STATES, ids=lambda state: state.__name__)
def test_a_data_file_that_cannot_be_used_is_refused_alike_by_every_verb(
    anytune: Type, folder: Path, model: Path, service: FakeService, state: Callable[[Path], Path]
) -> None:
    assert anytune("run", "-y", "--no-eval").code == 0
    sent = len(service.jobs)
    bad = state(folder / "bad.jsonl")
    before = {path: path.lstat().st_mtime_ns for path in folder.iterdir()}
    for verb, line in VERBS.items():
        if (verb, state) == ("preview", blank):
            continue  # the trainer's process reads it: tests/local/test_preview.py
        words = line.replace("BAD", str(bad)).replace("MODEL", str(model)).split()
        said = anytune(*words)
        told = " ".join((said.out + said.err).split())
        assert said.code == 3, (verb, told)
        assert STATES[state] in told, (verb, told)
        assert bad.name in told, (verb, told)
        assert "Traceback" not in told, verb
        document = anytune(*words, "--json").document
        assert document["ok"] is False, verb
        assert "error" not in document or document["error"]["exit_code"] == 3, verb
    assert {path: path.lstat().st_mtime_ns for path in folder.iterdir()} == before
    assert len(service.jobs) == sent


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("packed.jsonl", b"\x1f\x8b\x08\x00not really"),
        ("table.jsonl", b"a,b\n1,2\n"),
        ("wide.jsonl", "{}\n".encode("utf-16")),
    ],
)
def test_a_file_that_is_no_lines_is_refused_alike_too(anytune: Type, folder: Path, name: str, content: bytes) -> None:
    (folder / name).write_bytes(content)
    for line in (
        "check BAD",
        "check train.jsonl --against BAD",
        "split BAD",
        "dedupe BAD",
        "plan --set data.train=BAD",
    ):
        assert anytune(*line.replace("BAD", name).split()).code == 3, line


def test_eval_names_the_line_that_is_no_test(anytune: Type, folder: Path) -> None:
    anytune("run", "-y", "--no-eval")
    (folder / "odd.jsonl").write_text((folder / "test.jsonl").read_text() + '{"messages": []}\n')
    said = anytune("eval", "last", "--test", "odd.jsonl")
    assert said.code == 3
    assert "odd.jsonl:12: cannot be used as a test" in said.err
