"""Keys: from the environment, else from a file that its owner alone may read, else from the system's keyring.

A key is named as its environment variable is, wherever it lies. The file is `credentials` in anytune's home, one
NAME=value a line. The keyring is that of the `keyring` library, where that is installed; it is asked last, as it may
ask the user to unlock it.
"""

from __future__ import annotations

import fcntl
import importlib.util
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from anytune import private
from anytune.config import owned
from anytune.errors import CredentialError, MissingExtraError, UsageError

Source = Literal["environment", "file", "keyring"]
NAME = re.compile(r"[A-Z][A-Z0-9_]{0,99}")  # of a variable; most keys have small letters, and are no names
SERVICE = "anytune"  # under which the keyring keeps them
LEAST = 1  # priority from which the library itself recommends a keyring: one that writes plain files has less


@dataclass(frozen=True)
class Key:
    """Be a key and where it was found."""

    value: str = field(repr=False)
    source: Source


class Keys:
    """Look up keys by name, and put them where they can be looked up."""

    def __init__(self, home: Path, environment: Mapping[str, str]) -> None:
        self._home = home
        self._environment = environment
        self._told: dict[str, str] = {}  # by the keyring, in this process

    @property
    def file(self) -> Path:
        """Return where the file of keys is, or would be."""
        return self._home / "credentials"

    def find(self, name: str) -> Key | None:
        """Return the key of that name, None if it is nowhere; raise `CredentialError` where a place cannot be read."""
        if told := self._environment.get(name, "").strip():
            return Key(told, "environment")
        if told := self._written().get(name, ""):
            return Key(told, "file")
        if keyring_is_installed() and (told := _asked(name)):
            self._told[name] = told
            return Key(told, "keyring")
        return None

    def known(self, name: str) -> str | None:
        """Return the key of that name if it can be had without asking the keyring, which might ask the user."""
        with suppress(CredentialError):
            if told := self._environment.get(name, "").strip() or self._written().get(name, ""):
                return told
        return self._told.get(name)

    def names(self) -> tuple[str, ...]:
        """List the names that stand in the file."""
        return tuple(self._written())

    def keep(self, name: str, value: str, *, to: Source) -> None:
        """Put a key into the file or the keyring, in the place of the one that was there."""
        if not value or not value.isprintable() or value != value.strip():
            raise UsageError("that is no key: it should be one line without blanks around it")
        if to == "keyring":
            _in_keyring(lambda keyring: keyring.set_password(SERVICE, name, value))
            return
        with self._alone():
            self._write({**self._written(), name: value})

    def forget(self, name: str, *, at: Source) -> bool:
        """Take a key out of the file or the keyring; tell whether one was there."""
        if at == "keyring":
            there = _in_keyring(lambda keyring: keyring.get_password(SERVICE, name)) is not None
            if there:
                _in_keyring(lambda keyring: keyring.delete_password(SERVICE, name))
            return there
        if name not in self._written():
            return False
        with self._alone():
            self._write({each: value for each, value in self._written().items() if each != name})
        return True

    def _written(self) -> dict[str, str]:
        text = owned.read(self.file)
        if text is None:
            return {}
        owned.require_folder(self._home)
        found = {}
        for number, line in enumerate(text.splitlines(), 1):
            name, sign, value = (part.strip() for part in line.partition("="))
            if not name or name.startswith("#"):
                continue
            if not (sign and value and NAME.fullmatch(name)):  # the line itself is not shown: it may be a key
                raise CredentialError(
                    f"{self.file}:{number}: this is not NAME=value", fix=f"mend line {number} by hand"
                )
            found[name] = value
        return found

    def _write(self, keys: Mapping[str, str]) -> None:
        owned.write(self.file, "".join(f"{name}={value}\n" for name, value in keys.items()))

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Hold others off who would write the file at the same time."""
        try:
            private.home(self._home)
            handle = os.open(self._home / "credentials.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise CredentialError(f"cannot write in {self._home}: {error.strerror}") from error
        try:
            owned.require_folder(self._home)
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)


def key_source(provider: str, variable: str | None, keys: Keys) -> Callable[[], str]:
    """Return the function that looks a provider's key up when it is first needed."""

    def key() -> str:
        if variable is None:
            return ""
        found = keys.find(variable)
        if found is None:
            raise CredentialError(
                f"{provider} needs a key: {variable} is not set",
                fix=f"export {variable}=…, or anytune keys add {provider}",
            )
        return found.value

    return key


def keyring_is_installed() -> bool:
    """Tell whether the library is there; it is not loaded for that."""
    return importlib.util.find_spec("keyring") is not None


def keyring_name() -> str:
    """Say which keyring of the system would be asked; raise where there is none."""
    return str(_in_keyring(lambda keyring: keyring.get_keyring().name))


def _asked(name: str) -> str:
    """Ask the keyring for a key; a system without one has none, and that one stays locked is told."""
    import keyring
    from keyring.errors import KeyringError

    try:
        return (keyring.get_password(SERVICE, name) or "").strip() if _is_safe(keyring.get_keyring()) else ""
    except (KeyringError, OSError) as error:
        raise _told(error) from None


def _in_keyring(act: Callable[[Any], Any]) -> Any:
    """Do something with a keyring that keeps secrets as a secret should be kept."""
    if not keyring_is_installed():
        raise MissingExtraError(needs="keyring", extra="keyring")
    import keyring
    from keyring.errors import KeyringError

    fix = "keep it in the file: anytune keys add NAME"
    try:
        if not _is_safe(keyring.get_keyring()):
            raise CredentialError(f"this system has no keyring to trust ({keyring.get_keyring().name})", fix=fix)
        return act(keyring)
    except (KeyringError, OSError, RuntimeError) as error:
        raise _told(error) from None


def _is_safe(found: Any) -> bool:
    """Tell whether a keyring keeps secrets as one should: there is one, and it is none that writes plain files."""
    return bool(found.priority >= LEAST)


def _told(error: Exception) -> CredentialError:
    """Say that the keyring did not answer; what it said is not shown, for it may quote what it was asked."""
    return CredentialError(
        f"the keyring cannot be used: {type(error).__name__}",
        fix="unlock it, or use the file (anytune keys add NAME) or the environment",
    )
