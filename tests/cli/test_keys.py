"""`anytune keys`: where keys are taken from, and how they get there; none is shown or typed as an argument."""

from __future__ import annotations

import io
import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import KEY, Type
from tests.vault import open_vault

MARK = "sk-CANARY0123456789abcdef"


@pytest.fixture
def home() -> Path:
    return Path(os.environ["ANYTUNE_HOME"])


@pytest.fixture
def piped(monkeypatch: pytest.MonkeyPatch, anytune: Type) -> Type:
    """Type a command with a key on stdin."""

    def typed(*arguments: str, stdin: str = f"{MARK}\n"):  # type: ignore[no-untyped-def]
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        return anytune(*arguments)

    return typed


def sources(anytune: Type) -> dict[str, str | None]:
    return {one["name"]: one["source"] for one in anytune("keys", "--json").document["keys"]}


def test_each_key_is_named_with_the_place_that_it_is_taken_from(anytune: Type, piped: Type) -> None:
    assert sources(anytune)["OPENAI_API_KEY"] is None
    said = piped("keys", "add", "openai")
    assert (said.code, MARK in said.out + said.err) == (0, False)
    assert "OPENAI_API_KEY is kept in " in said.out
    assert sources(anytune)["OPENAI_API_KEY"] == "file"
    shown = anytune("keys")
    assert "OPENAI_API_KEY        file" in shown.out
    assert MARK not in shown.out + shown.err


def test_a_key_of_the_file_is_used_and_one_of_the_environment_goes_before_it(
    anytune: Type, piped: Type, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FAKE_API_KEY")
    assert anytune("submit", "-y").code == 6
    assert piped("keys", "add", "fake", stdin=KEY).code == 0
    assert anytune("submit", "-y").code == 0
    monkeypatch.setenv("FAKE_API_KEY", KEY)
    assert "the environment has it, too, and goes first" in piped("keys", "add", "fake").err


def test_a_key_of_the_keyring_is_used(anytune: Type, piped: Type, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FAKE_API_KEY")
    with open_vault() as vault:
        assert piped("keys", "add", "fake", "--keyring", stdin=KEY).code == 0
        assert vault.kept == {("anytune", "FAKE_API_KEY"): KEY}
        assert anytune("keys", "--json").document["keyring"] == "vault Vault"
        assert anytune("submit", "-y").code == 0
        assert anytune("keys", "remove", "fake", "--keyring").code == 0
        assert vault.kept == {}


def test_what_is_not_there_cannot_be_removed(anytune: Type, piped: Type) -> None:
    assert anytune("keys", "remove", "openai").code == 6
    piped("keys", "add", "OPENAI_API_KEY")
    removed = anytune("keys", "remove", "openai", "--json")
    assert removed.document["removed"] == "file"
    assert sources(anytune)["OPENAI_API_KEY"] is None


@pytest.mark.parametrize(
    "arguments",
    [("openai", MARK), (MARK,), (f"OPENAI_API_KEY={MARK}",), ("hf_CANARYabcdefghijkl",), ("openai", "--keyring", MARK)],
)
def test_a_key_among_the_arguments_is_refused_and_not_repeated(
    anytune: Type, home: Path, arguments: tuple[str, ...]
) -> None:
    said = anytune("keys", "add", *arguments)
    assert said.code == 2
    assert "CANARY" not in said.out + said.err
    assert not (home / "credentials").exists()


@pytest.mark.parametrize("stdin", ["", "\n", "two\nlines\n", "\x1b[31mred\n"])
def test_what_is_no_key_is_told_and_not_kept(piped: Type, home: Path, stdin: str) -> None:
    said = piped("keys", "add", "openai", stdin=stdin)
    assert (said.code, "that is no key" in said.err) == (2, True)
    assert not (home / "credentials").exists()


@pytest.mark.engine
def test_at_a_terminal_a_key_is_asked_for_without_being_shown(folder: Path) -> None:
    here, there = pty.openpty()
    child = subprocess.Popen(
        [sys.executable, "-m", "anytune", "keys", "add", "openai"], stdin=there, stdout=there, stderr=there,
        start_new_session=True, preexec_fn=lambda: None,
    )  # fmt: skip
    os.close(there)
    shown = b""
    while b"not shown" not in shown:
        shown += os.read(here, 1024)
    os.write(here, f"{MARK}\n".encode())
    assert child.wait(timeout=60) == 0
    shown += os.read(here, 65536)
    os.close(here)
    assert MARK.encode() not in shown
    assert MARK in (Path(os.environ["ANYTUNE_HOME"]) / "credentials").read_text()


def test_a_file_that_others_may_read_stops_what_needs_a_key_and_nothing_else(
    anytune: Type, piped: Type, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FAKE_API_KEY")
    piped("keys", "add", "fake", stdin=KEY)
    (home / "credentials").chmod(0o644)
    said = anytune("submit", "-y")
    assert (said.code, f"fix: chmod 600 {home}/credentials" in said.err) == (6, True)
    assert anytune("plan").code == 0
    listed = json.loads(anytune("keys", "--json").out)["keys"]
    assert all("chmod 600" in one["fault"] for one in listed if one["source"] is None)
    for verb in ("doctor", "providers"):
        assert "chmod 600" in " ".join(anytune(verb).out.split())
