"""Verbs on a shelf: each is a name and a line of help until it is asked for, so that a call loads one verb alone."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup

CONTEXT: dict[str, Any] = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
PLAIN: dict[str, Any] = {
    "rich_markup_mode": None,
    "pretty_exceptions_enable": False,
    "context_settings": CONTEXT,
}
TYPE_OF_ARGUMENT = re.compile(r"^(  [^\s-]\S*) <[^>]+>", re.MULTILINE)
BRACES = re.compile(r"\{([A-Z.a-z]+)\}")


class Entry(NamedTuple):
    """Name a verb, its function (`module:function` of this package), the first line of its help, and an example."""

    name: str
    function: str
    summary: str
    example: str

    def load(self) -> Any:
        """Return the verb as a command, with all of its options."""
        module, _, function = self.function.partition(":")
        alone = typer.Typer(add_completion=False, **PLAIN)
        named = alone.command(self.name, cls=Verb, context_settings=CONTEXT, epilog=f"Example: {self.example}")
        named(getattr(import_module(f"{__package__}.{module}"), function))
        return typer.main.get_command(alone)


class Verb(TyperCommand):
    """Help without the types and braces that typer puts around an argument."""

    def get_help(self, ctx: Any) -> str:
        """Return the help text of a verb."""
        return BRACES.sub(r"\1", TYPE_OF_ARGUMENT.sub(r"\1", super().get_help(ctx)))


class Shelf(Mapping[str, Any]):
    """Hold commands by name; those that are entries are loaded each time when they are taken out."""

    def __init__(self, held: Mapping[str, Any]) -> None:
        self._held = held

    def __getitem__(self, name: str) -> Any:
        held = self._held[name]
        return held.load() if isinstance(held, Entry) else held

    def __contains__(self, name: object) -> bool:
        return name in self._held

    def __iter__(self) -> Iterator[str]:
        return iter(self._held)

    def __len__(self) -> int:
        return len(self._held)


class Verbs(TyperGroup):
    """A group of verbs, whose help loads none of them; a subclass names its `entries`."""

    entries: tuple[Entry, ...] = ()
    commands: Any

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        groups = self.commands
        self.commands = Shelf({**{entry.name: entry for entry in self.entries}, **groups})
        self._summaries = [(entry.name, entry.summary) for entry in self.entries]
        self._summaries += [(name, group.help) for name, group in groups.items()]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return the verb of that name, None if there is none; a fault in its module is not taken for that."""
        del ctx
        if cmd_name not in self.commands:
            return None
        return self.commands[cmd_name]

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write what each verb does."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl(self._summaries)
