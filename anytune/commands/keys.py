"""Keys: where each is taken from, and keeping or forgetting one. None is shown, nor taken from the command line."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from anytune.commands import options

if TYPE_CHECKING:
    from anytune.tuner import Tuner

Name = Annotated[str, typer.Argument(metavar="NAME", help="A provider, or a key's name, e.g. OPENAI_API_KEY.")]
InKeyring = Annotated[bool, typer.Option("--keyring", help="In the system's keyring, not in anytune's file.")]
Surplus = Annotated[list[str] | None, typer.Argument(metavar="", hidden=True)]


def listed(as_json: bool) -> None:
    """Say for each key where it is taken from."""
    from dataclasses import asdict

    from anytune.tuner import Tuner
    from anytune.ui import keys as ui
    from anytune.ui import terminal

    tuner = Tuner()
    found = [ui.Place(name, tuple(wanted), *_place(tuner, name)) for name, wanted in _wanted(tuner).items()]
    lacking = next((place for place in found if place.source is None), None)
    then = [(f"anytune keys add {lacking.name}", "keep it in a file that only you may read")] if lacking else []
    if as_json:
        places = {"file": str(tuner.reach.keys.file), "keyring": _keyring()}
        terminal.emit({"keys": [asdict(place) for place in found], **places}, then=then)
        return
    ui.show(found, file=tuner.reach.keys.file, keyring=_keyring(), on=terminal.result())
    terminal.next_commands(then)


def add(name: Name, surplus: Surplus = None, keyring: InKeyring = False, as_json: options.Json = False) -> None:
    """Keep a key: asked for without showing it, or the one line on stdin."""
    from anytune.commands.order import leaving
    from anytune.tuner import Tuner
    from anytune.ui import terminal

    _refuse(surplus)
    tuner = Tuner()
    variable = _variable(tuner, name)
    with leaving("stopped; no key was kept", fix=f"anytune keys add {name}"):
        value = _typed(variable) if sys.stdin.isatty() else sys.stdin.read(1 << 16).strip()
    tuner.reach.keys.keep(variable, value, to="keyring" if keyring else "file")
    found = tuner.reach.keys.find(variable)
    kept = "keyring" if keyring else "file"
    then = [("anytune keys", "where each key is taken from")]
    if as_json:
        terminal.emit({"name": variable, "kept": kept, "source": found and found.source}, then=then)
        return
    where = "the system's keyring" if keyring else str(tuner.reach.keys.file)
    terminal.say(terminal.result(), f"{variable} is kept in {where}")
    if found is not None and found.source != kept:
        terminal.note(f"the {found.source} has it, too, and goes first", style="yellow")
    terminal.next_commands(then)


def remove(name: Name, surplus: Surplus = None, keyring: InKeyring = False, as_json: options.Json = False) -> None:
    """Forget a key that was kept."""
    from anytune.errors import CredentialError
    from anytune.tuner import Tuner
    from anytune.ui import terminal

    _refuse(surplus)
    tuner = Tuner()
    variable, place = _variable(tuner, name), "keyring" if keyring else "file"
    if not tuner.reach.keys.forget(variable, at="keyring" if keyring else "file"):
        raise CredentialError(f"{variable} is not in the {place}", fix="anytune keys")
    left = tuner.reach.keys.find(variable)
    if as_json:
        terminal.emit({"name": variable, "removed": place, "source": left and left.source})
        return
    terminal.say(terminal.result(), f"{variable} is no longer in the {place}")
    if left is not None:
        terminal.note(f"the {left.source} still has it", style="yellow")


def _wanted(tuner: Tuner) -> dict[str, list[str]]:
    """Return the names of all keys that something here may need, and who: providers, the notifier, the file's own."""
    found: dict[str, list[str]] = {}
    for provider in tuner.reach.names():
        if (variable := tuner.reach.key_variable(provider)) is not None:
            found.setdefault(variable, []).append(provider)
    if secret := tuner.settings.notify.secret_variable:
        found.setdefault(secret, []).append("notify")
    for name in _in_file(tuner):
        found.setdefault(name, [])
    return found


def _in_file(tuner: Tuner) -> tuple[str, ...]:
    from anytune.errors import CredentialError

    try:
        return tuner.reach.keys.names()
    except CredentialError:
        return ()  # told for each key that is looked for there


def _place(tuner: Tuner, name: str) -> tuple[str | None, str | None]:
    """Return where a key is found, and what keeps it from being looked for."""
    from anytune.errors import CredentialError

    try:
        found = tuner.reach.keys.find(name)
    except CredentialError as error:
        return None, f"{error.message}; {error.fix}"
    return found.source if found else None, None


def _keyring() -> str:
    from anytune.config import keys
    from anytune.errors import AnytuneError

    try:
        return keys.keyring_name()
    except AnytuneError as error:
        return error.message


def _variable(tuner: Tuner, name: str) -> str:
    """Return the name of a key; what is neither is not shown, for it may be the key itself."""
    from anytune.config.keys import NAME
    from anytune.errors import UsageError

    if name in tuner.reach.names():
        variable = tuner.reach.key_variable(name)
        if variable is None:
            raise UsageError(f"{name} needs no key")
        return variable
    if NAME.fullmatch(name) is None:
        raise UsageError("NAME is neither a provider nor the name of a key, such as OPENAI_API_KEY", fix="anytune keys")
    return name


def _refuse(surplus: list[str] | None) -> None:
    from anytune.errors import UsageError

    if surplus:
        raise UsageError(
            "a key is not taken from the command line, where others can see it",
            fix="leave it out: it is asked for, or read from stdin",
        )


def _typed(variable: str) -> str:
    import getpass

    return getpass.getpass(f"{variable} (not shown): ", stream=sys.stderr).strip()
