"""Show what is on offer: providers, models, and how this machine is."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from anytune.catalog import Catalog, Entry
from anytune.config import Settings
from anytune.ui import terminal, words
from anytune.ui.nouns import Finding, Readiness

STYLES = {"ok": "green", "ready": "green", "not ready": "yellow", "note": "yellow", "bad": "red"}

WIDE, NARROW = 80, ("methods", "closes")  # what a screen that is not wide does not show


def providers(found: Sequence[Readiness], *, on: Console) -> None:
    """Show each provider with what it still needs."""
    for number, ready in enumerate(found):
        if number:
            on.print()
        mark = Text("ready" if ready.ready else "not ready", style="green" if ready.ready else "yellow")
        on.print(Text.assemble((ready.name, "bold"), "  ", mark))
        rows: list[tuple[str, str | Text]] = [("  packages", ready.packages), ("  key", ready.key)]
        rows += [("  address", Text(ready.lacks, style="yellow"))] if ready.lacks else []
        rows += [("  address", ready.base_url)] if ready.base_url else []
        terminal.put(on, terminal.pairs([*rows, ("  data", ready.place)]))


def models(catalogs: Sequence[Catalog], *, on: Console) -> None:
    """Show each provider's models with price per million tokens, how they can be tuned and until when."""
    for number, catalog in enumerate(catalogs):
        if number:
            on.print()
        on.print(Text.assemble((catalog.provider, "bold"), (f"  as of {catalog.as_of}", "dim")))
        if not catalog.models:
            terminal.listed(on, _any_model(catalog))
            continue
        terminal.put(on, _models(catalog, on.width))
        terminal.listed(on, _remarks(catalog), style="dim")
    if on.width < WIDE and any(catalog.models for catalog in catalogs):
        terminal.left_out(NARROW)


def findings(found: Sequence[Finding], *, on: Console) -> None:
    """Show what is well, what is worth knowing, and what is broken."""
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True, style="bold")
    table.add_column(overflow="fold")
    for finding in found:
        said = Text(finding.said)
        if finding.fix:
            said.append(f"\nfix: {finding.fix}", style="dim")
        table.add_row(Text(finding.level, style=STYLES[finding.level]), finding.name, said)
    terminal.put(on, table)


def _any_model(catalog: Catalog) -> list[str]:
    """Say what a provider takes that lists no models, and what its machines cost."""
    if not catalog.flavors:
        return ["any folder with a causal language model, or a Hugging Face name"]
    machines = ", ".join(f"{name} {price}" for name, price in catalog.flavors.items())
    return ["any model of the Hugging Face Hub (owner/name) that the local trainer takes", f"$ per hour: {machines}"]


def _models(catalog: Catalog, width: int) -> Table:
    names = ["  model", "methods", "$ per million"]
    names += ["closes", "shuts down"] if any(e.closed or e.shutdown for e in catalog.models.values()) else []
    names = names if width >= WIDE else [n for n in names if n not in NARROW]
    table = terminal.columns(*names, whole=("methods", "closes", "shuts down"))
    for name, entry in catalog.models.items():
        closes = entry.closed or catalog.accepts_jobs_until
        cells = {
            "  model": f"  {name}",
            "methods": " ".join(entry.methods) or "none",
            "$ per million": _prices(entry),
            "closes": str(closes or ""),
            "shuts down": str(entry.shutdown or ""),
        }
        table.add_row(*(cells[column] for column in names))
    return table


def _prices(entry: Entry) -> str:
    if len(set(entry.price.values())) == 1:
        return str(next(iter(entry.price.values())))
    return ", ".join(f"{method} {usd}" for method, usd in entry.price.items())


def _remarks(catalog: Catalog) -> list[str]:
    weights = "can be downloaded" if catalog.weights_downloadable else "stay with the provider"
    until = catalog.accepts_jobs_until
    closing = [f"takes jobs until {until}"] if until else []
    least = [f"a job costs at least {words.money(catalog.minimum)}"] if catalog.minimum else []
    return [f"tuned weights {weights}", *closing, *least, *catalog.notes]


def settings(found: Settings, *, on: Console) -> None:
    """Show the settings that hold here."""
    policy = found.policy
    rows: list[tuple[str, str | Text]] = [("home", str(found.home)), ("residency", policy.residency)]
    rows[1:1] = [("store", found.store)] if found.store is not None else []
    rows += [("providers", ", ".join(policy.providers))] if policy.providers is not None else []
    rows += [("budget", words.money(policy.budget_usd))] if policy.budget_usd is not None else []
    for name, profile in found.profiles.items():
        said = (f"{key}: {value}" for key, value in profile.model_dump(exclude_defaults=True).items())
        rows.append((name, "; ".join(said) or "defaults"))
    terminal.put(on, terminal.pairs(rows))
