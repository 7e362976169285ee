"""Show what is on offer: providers, models, and how this machine is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import date

from rich.console import Console
from rich.table import Table
from rich.text import Text

from anytune import ageing
from anytune.config import Settings
from anytune.schema.catalog import Catalog, Closed, Entry, Layer, stated
from anytune.ui import plan, terminal, words
from anytune.ui.nouns import Asked, Finding, Readiness

STYLES = {"ok": "green", "ready": "green", "not ready": "yellow", "note": "yellow", "bad": "red"}

WIDE, NARROW = 80, ("methods", "context", "closes")  # what a screen that is not wide does not show


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


def closed(found: Iterable[Closed], *, on: Console) -> None:
    """Show who takes no jobs any more, since when and why."""
    told = [f"{one.name}, since {one.since}: {one.why} (as of {one.as_of})" for one in found]
    if told:
        on.print()
        on.print(Text("closed", style="bold"))
        terminal.listed(on, told, style="dim")


def asked(found: Sequence[Asked], *, on: Console) -> None:
    """Show what each provider answered when it was asked for its models."""
    for one in found:
        if not one.ok:
            terminal.say(on, one.said if one.said.startswith(one.provider) else f"{one.provider}: {one.said}")
            continue
        told = f"{one.provider}: {words.count(one.models, 'model')} of {one.said}"
        told += f"; new here: {', '.join(one.new)}" if one.new else ""
        told += f"; not in it any more: {', '.join(one.lost)}" if one.lost else ""
        terminal.say(on, told)


def models(catalogs: Sequence[Catalog], *, today: date, on: Console) -> None:
    """Show each provider's models: price per million tokens, how they can be tuned, how long, until when."""
    for number, catalog in enumerate(catalogs):
        if number:
            on.print()
        on.print(Text.assemble((catalog.provider, "bold"), (f"  as of {catalog.as_of}", "dim")))
        if catalog.takes_any and not catalog.models:
            terminal.listed(on, _any_model(catalog))
        if catalog.provider == "local":
            continue
        if catalog.models:
            terminal.put(on, _models(catalog, on.width))
        terminal.listed(on, _facts(catalog), style="dim")
        terminal.listed(on, remarks(catalog, today), mark="!", style="yellow")
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
    names += ["context"] if any(entry.max_length for entry in catalog.models.values()) else []
    names += ["closes", "shuts down"] if any(e.closed or e.shutdown for e in catalog.models.values()) else []
    names = names if width >= WIDE else [n for n in names if n not in NARROW]
    table = terminal.columns(*names, right=("context",), whole=("methods", "closes", "shuts down"))
    for name, entry in catalog.models.items():
        closes = entry.closed or catalog.accepts_jobs_until
        cells = {
            "  model": f"  {name}",
            "methods": " ".join(entry.methods) or "none",
            "$ per million": _prices(entry),
            "context": f"{entry.max_length:,}" if entry.max_length else "",
            "closes": str(closes or ""),
            "shuts down": str(entry.shutdown or ""),
        }
        table.add_row(*(cells[column] for column in names))
    return table


def _prices(entry: Entry) -> str:
    if len(set(entry.price.values())) == 1:
        return str(next(iter(entry.price.values())))
    return ", ".join(f"{method} {usd}" for method, usd in entry.price.items()) or "unknown"


def _facts(catalog: Catalog) -> Iterator[str]:
    yield f"tuned weights {'can be downloaded' if catalog.weights_downloadable else 'stay with the provider'}"
    if catalog.hosting is not None:
        yield f"to ask a tuned model: {plan.hosting(catalog.hosting)}"
    if catalog.minimum:
        yield f"a job costs at least {words.money(catalog.minimum)}"
    for source in dict.fromkeys(entry.source for entry in catalog.models.values() if entry.source):
        said = [name for name, entry in catalog.models.items() if entry.source == source]
        yield f"{source}: {words.count(len(said), 'model')}" if len(said) > 3 else f"{source}: {', '.join(said)}"
    yield from catalog.notes


def remarks(catalog: Catalog, today: date) -> list[str]:
    """Say what of a catalogue is old, ends soon or has ended."""
    return [*ageing.ageing(catalog.as_of, today), *_closing(catalog, today), *_unlisted(catalog)]


def _closing(catalog: Catalog, today: date) -> Iterator[str]:
    if (until := catalog.accepts_jobs_until) is not None:
        yield f"{catalog.provider} takes new jobs {ageing.until(until, today)}"
    ends = sorted({entry.shutdown for entry in catalog.models.values() if entry.shutdown and entry.shutdown >= today})
    for end in ends:
        gone = [name for name, entry in catalog.models.items() if entry.shutdown == end]
        if ageing.is_soon(end, today):
            models = words.count(len(gone), "model")
            yield f"{models} and what is tuned from them shut down on {end}, {ageing.in_days(end, today)}"


def _unlisted(catalog: Catalog) -> Iterator[str]:
    if catalog.unlisted:
        yield f"not in the provider's own list of {catalog.listed_on}: {', '.join(catalog.unlisted)}"


def settings(found: Settings, *, on: Console) -> None:
    """Show the settings that hold here."""
    policy = found.policy
    rows: list[tuple[str, str | Text]] = [("home", str(found.home)), ("residency", policy.residency)]
    rows[1:1] = [("store", found.store)] if found.store is not None else []
    rows += [("providers", ", ".join(policy.providers))] if policy.providers is not None else []
    rows += [("budget", words.money(policy.budget_usd))] if policy.budget_usd is not None else []
    for whose, layers in (("prices", found.catalog), ("the project's", found.project_catalog)):
        rows += [(whose, f"of {name}: {_in_layer(layer)}") for name, layer in layers.items()]
    for name, profile in found.profiles.items():
        said = (f"{key}: {value}" for key, value in profile.model_dump(exclude_defaults=True).items())
        rows.append((name, "; ".join(said) or "defaults"))
    terminal.put(on, terminal.pairs(rows))


def _in_layer(layer: Layer) -> str:
    told = [f"{name} {words.value(value)}" for name, value in stated(layer).items() if name != "models"]
    return "; ".join([*layer.models, *told]) or "nothing"
