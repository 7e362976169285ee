"""Keys come from the environment, a file that its owner alone may read, or the system's keyring, in this order."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from anytune.config import Keys
from anytune.config import keys as rooms
from anytune.errors import CredentialError, MissingExtraError, UsageError
from tests.vault import Vault, open_vault

NAME, KEY = "OPENAI_API_KEY", "sk-CANARY0123456789abcdef"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def vault() -> Iterator[Vault]:
    with open_vault() as vault:
        yield vault


def written(home: Path, text: str, *, mode: int = 0o600, folder: int = 0o700) -> Keys:
    home.mkdir(exist_ok=True)
    (home / "credentials").write_text(text)
    (home / "credentials").chmod(mode)
    home.chmod(folder)
    return Keys(home, {})


def test_the_environment_goes_before_the_file_and_the_file_before_the_keyring(home: Path, vault: Vault) -> None:
    environment: dict[str, str] = {}
    keys = Keys(home, environment)
    assert keys.find(NAME) is None
    vault.set_password("anytune", NAME, "from the keyring")
    assert keys.find(NAME) == rooms.Key("from the keyring", "keyring")
    keys.keep(NAME, "from-the-file", to="file")
    assert keys.find(NAME) == rooms.Key("from-the-file", "file")
    environment[NAME] = " from the environment\n"
    assert keys.find(NAME) == rooms.Key("from the environment", "environment")


def test_what_is_kept_can_be_found_and_forgotten(home: Path, vault: Vault) -> None:
    keys = Keys(home, {})
    for place in ("file", "keyring"):
        assert not keys.forget(NAME, at=place)
        keys.keep(NAME, "first", to=place)
        keys.keep(NAME, KEY, to=place)
        assert keys.find(NAME) == rooms.Key(KEY, place)
        assert keys.forget(NAME, at=place)
        assert keys.find(NAME) is None
    assert vault.kept == {}


def test_the_file_and_its_folder_are_for_their_owner_alone_whatever_the_umask(home: Path) -> None:
    before = os.umask(0)
    try:
        Keys(home, {}).keep(NAME, KEY, to="file")
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o777 for path in (home, *home.iterdir())}
    assert modes == {"home": 0o700, "credentials": 0o600, "credentials.lock": 0o600}


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o620, 0o602, 0o610, 0o777])
def test_a_file_that_others_may_open_is_refused_with_the_chmod_to_type(home: Path, mode: int) -> None:
    with pytest.raises(CredentialError, match=f"others may open it .mode {mode:04o}.") as caught:
        written(home, f"{NAME}={KEY}\n", mode=mode).find(NAME)
    assert caught.value.fix == f"chmod 600 {home}/credentials"


@pytest.mark.parametrize("mode", [0o755, 0o750, 0o701, 0o777])
def test_a_file_in_a_folder_that_others_may_open_is_refused_too(home: Path, mode: int) -> None:
    with pytest.raises(CredentialError) as caught:
        written(home, f"{NAME}={KEY}\n", folder=mode).find(NAME)
    assert caught.value.fix == f"chmod 700 {home}"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_file_of_another_user_is_refused(home: Path) -> None:
    keys = written(home, f"{NAME}={KEY}\n")
    os.chown(home / "credentials", 12345, 12345)
    with pytest.raises(CredentialError, match="belongs to another user"):
        keys.find(NAME)


def test_a_pipe_or_a_folder_in_the_place_of_the_file_is_refused_and_not_waited_for(home: Path) -> None:
    home.mkdir(mode=0o700)
    os.mkfifo(home / "credentials", 0o600)
    with pytest.raises(CredentialError, match="is no file"):
        Keys(home, {}).find(NAME)
    (home / "credentials").unlink()
    (home / "credentials").mkdir(mode=0o700)
    with pytest.raises(CredentialError, match="is no file"):
        Keys(home, {}).find(NAME)


def test_a_key_in_the_environment_is_found_whatever_the_file_is_like(home: Path) -> None:
    written(home, "nonsense", mode=0o666)
    assert Keys(home, {NAME: KEY}).find(NAME) == rooms.Key(KEY, "environment")


def test_blanks_and_remarks_may_stand_in_the_file(home: Path) -> None:
    keys = written(home, f"# mine\n\n {NAME} = {KEY} \nHF_TOKEN=hf_a=b==\n")
    assert keys.names() == (NAME, "HF_TOKEN")
    assert keys.find(NAME) == rooms.Key(KEY, "file")
    assert keys.find("HF_TOKEN") == rooms.Key("hf_a=b==", "file")


@pytest.mark.parametrize("line", [KEY, f"export {NAME}={KEY}", f"{NAME}=", f"{NAME} {KEY}", f"{KEY}={KEY}"])
def test_a_line_that_is_none_is_named_and_not_shown(home: Path, line: str) -> None:
    with pytest.raises(CredentialError, match="credentials:2: this is not NAME=value") as caught:
        written(home, f"A=b\n{line}\n").find(NAME)
    assert KEY not in caught.value.message + str(caught.value.fix)


def test_bytes_that_are_no_text_are_told(home: Path) -> None:
    written(home, "")
    (home / "credentials").write_bytes(b"\xff\xfe")
    with pytest.raises(CredentialError, match="cannot be read as text"):
        Keys(home, {}).find(NAME)


@pytest.mark.parametrize("value", ["", " a", "a\n", "a\nB=c", "a\0b", "a\x1b[2J"])
def test_what_is_no_key_is_not_kept(home: Path, vault: Vault, value: str) -> None:
    for place in ("file", "keyring"):
        with pytest.raises(UsageError, match="that is no key"):
            Keys(home, {}).keep(NAME, value, to=place)
    assert vault.kept == {}
    assert not home.exists()


def test_keys_that_are_kept_at_the_same_time_are_all_there(home: Path) -> None:
    names = [f"KEY_{number}" for number in range(24)]
    with ThreadPoolExecutor(8) as crowd:
        list(crowd.map(lambda name: Keys(home, {}).keep(name, name.lower(), to="file"), names))
    assert sorted(Keys(home, {}).names()) == sorted(names)


def test_a_locked_keyring_is_told_without_what_it_said(home: Path, vault: Vault) -> None:
    vault.locked = True
    for act in (
        lambda keys: keys.find(NAME),
        lambda keys: keys.keep(NAME, KEY, to="keyring"),
        lambda keys: keys.forget(NAME, at="keyring"),
    ):
        with pytest.raises(CredentialError, match="the keyring cannot be used: KeyringLocked") as caught:
            act(Keys(home, {}))
        assert KEY not in caught.value.message
        assert caught.value.__cause__ is None


def test_a_keyring_that_the_library_does_not_recommend_is_neither_asked_nor_given_a_key(
    home: Path, vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    vault.kept["anytune", NAME] = KEY
    monkeypatch.setattr(Vault, "priority", 0.5)  # as one that writes plain files has it
    assert Keys(home, {}).find(NAME) is None
    with pytest.raises(CredentialError, match="no keyring to trust"):
        Keys(home, {}).keep(NAME, KEY, to="keyring")


def test_the_library_is_needed_only_by_who_uses_a_keyring(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str, *rest: Any) -> Any:
        return None if name == "keyring" else found(name, *rest)

    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", missing)
    monkeypatch.setitem(sys.modules, "keyring", None)
    assert Keys(home, {}).find(NAME) is None
    with pytest.raises(MissingExtraError) as caught:
        Keys(home, {}).keep(NAME, KEY, to="keyring")
    assert caught.value.fix == "pip install 'anytune[keyring]'"


def test_a_key_does_not_show_in_what_holds_it() -> None:
    assert KEY not in repr(rooms.Key(KEY, "file"))
