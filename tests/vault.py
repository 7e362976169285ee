"""A keyring in memory, as the `keyring` library takes any: it lives as long as the test that unlocks it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import keyring
from keyring.backend import KeyringBackend
from keyring.errors import KeyringLocked, PasswordDeleteError


class Vault(KeyringBackend):
    """Keep passwords in a dictionary; `locked` refuses all."""

    priority = 5.0  # type: ignore[assignment]

    def __init__(self) -> None:
        super().__init__()
        self.kept: dict[tuple[str, str], str] = {}
        self.locked = False

    def get_password(self, service: str, username: str) -> str | None:
        self._look(service, username)
        return self.kept.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        self._look(service, username, password)
        self.kept[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        self._look(service, username)
        if self.kept.pop((service, username), None) is None:
            raise PasswordDeleteError(username)

    def _look(self, *asked: str) -> None:
        if self.locked:
            raise KeyringLocked(f"cannot unlock for {asked}")


@contextmanager
def open_vault() -> Iterator[Vault]:
    """Put a new one in the place of the system's."""
    before = keyring.get_keyring()
    made = Vault()
    keyring.set_keyring(made)
    try:
        yield made
    finally:
        keyring.set_keyring(before)
