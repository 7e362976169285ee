"""Show a plan: what would happen, what it costs, and what stands against it."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from anytune import spending
from anytune.errors import UsageError
from anytune.schema.data import FileReport
from anytune.schema.plan import Capabilities, CostEstimate, Hosting, Plan, ResourceEstimate, Setting
from anytune.ui import length, terminal, words
from anytune.ui.nouns import Given

NAMES, COLUMN = 10, 28  # characters that a fact's name takes, and that each provider needs beside the others
FITS = {"yes": ("fits", "green"), "tight": ("may not fit", "yellow"), "no": ("does not fit", "red")}
STYLES = {"kept": "green", "translated": "yellow", "refused": "red"}


def summary(plan: Plan, *, on: Console) -> None:
    """Show data, cost, time, places, settings and warnings."""
    spec = plan.spec
    head = Text(spec.name, style="bold")
    head.append(f"   {spec.method} of {words.model(spec.model)} at {spec.provider}", style="default not bold")
    on.print(head)
    on.print()
    terminal.put(on, terminal.pairs(_facts(plan)))
    machines(plan, on=on)
    if plan.settings:
        on.print()
        terminal.put(on, settings(plan.settings))
        if plan.capabilities.settings_source:
            terminal.say(on, f"settings go by {plan.capabilities.settings_source}", style="dim")
    if plan.warnings:
        on.print()
        on.print(Text("warnings", style="yellow"))
        terminal.listed(on, plan.warnings, mark="!", style="yellow")


def verdict(plan: Plan, *, on: Console) -> None:
    """Show every reason against the plan, or that there is none."""
    on.print()
    if plan.ok:
        on.print(Text("This can run; nothing was sent so far.", style="green"))
        return
    on.print(Text(f"refused for {words.count(len(plan.refused), 'reason')}; nothing was sent", style="red"))
    terminal.listed(on, plan.refused, mark="x", style="red")


def every(plans: Sequence[tuple[str, Plan | UsageError]], *, on: Console) -> None:
    """Show every provider side by side, or below each other where the screen is narrow; a line for who has no plan."""
    made = [(name, plan) for name, plan in plans if isinstance(plan, Plan)]
    if made and on.width >= NAMES + COLUMN * len(made):
        _side_by_side(made, on)
    else:
        _below_each_other(made, on)
    without = [(name, Text(_reason(plan), style="red")) for name, plan in plans if not isinstance(plan, Plan)]
    if made and without:
        on.print()
    terminal.put(on, terminal.pairs(without))


def _below_each_other(plans: Sequence[tuple[str, Plan]], on: Console) -> None:
    for number, (name, plan) in enumerate(plans):
        if number:
            on.print()
        on.print(Text.assemble((name, "bold"), "  ", _mark(plan)))
        facts = ((f"  {name}", said) for name, said in _short_facts(plan))
        terminal.put(on, terminal.pairs(facts))


def place(capabilities: Capabilities) -> str:
    """Say where the data goes."""
    if capabilities.local:
        return "stays on this machine"
    where = "region unknown" if capabilities.regions is None else ", ".join(capabilities.regions)
    return f"{where} ({capabilities.region_note})" if capabilities.region_note else where


def price(cost: CostEstimate) -> str:
    """Say what it costs, from low to high."""
    if cost.expected is None:
        return "unknown"
    figures, rounded = (cost.expected, cost.low, cost.high), cost.as_of is not None  # metered, then rounded to cents
    expected, low, high = (words.money(amount, rounded=rounded) for amount in figures)
    return expected if low == high else f"{expected} ({low} to {high})"


def hosting(found: Hosting) -> str:
    """Say what a tuned model costs while it waits to be asked."""
    if not found.needed:
        return f"nothing by the hour: {found.what} (as of {found.as_of})"
    if found.low is None or found.high is None:
        return f"{found.what}: price not known"
    low, high = words.money(found.low), words.money(found.high)
    return f"{low if low == high else f'{low} to {high}'} an hour: {found.what} (as of {found.as_of})"


def _facts(plan: Plan) -> Iterator[tuple[str, str | Text]]:
    for report in plan.data.files:
        yield (report.file.role if report.file else "" if report.part else "data"), _file(report)
        if over := length.over(plan, report):
            yield "", Text(over, style="yellow")
    cost = plan.cost
    dated = f"; price of {cost.as_of}" if cost.as_of else ""
    yield "cost", Text.assemble((price(cost), "bold"), f"  {cost.basis}{dated}")
    for found in plan.months:
        taken, whole = words.money(found.spent), words.money(found.limit.usd)
        said = f"{taken} of {whole} taken, {words.money(found.left)} left until {found.renews} (UTC)"
        yield "month", f"{spending.whose(found.limit)}: {said}"
    if plan.capabilities.hosting is not None:
        yield "serving", hosting(plan.capabilities.hosting)
    if plan.capabilities.cancelling is not None and not plan.capabilities.local:
        yield "cancelling", f"{plan.capabilities.cancelling.what} (as of {plan.capabilities.cancelling.as_of})"
    if plan.resources is not None:
        yield from _resources(plan.resources)
    yield "data", place(plan.capabilities)
    yield "weights", _weights(plan.capabilities)
    if plan.spec.fallback:
        yield "fallback", f"{', '.join(plan.spec.fallback)}; each is planned anew"
    if closing := _closing(plan.capabilities):
        yield "closes", closing


def _file(report: FileReport) -> str:
    said = f"{words.place(report.path)}: {words.count(report.examples, 'example')}"
    if report.part is not None:
        return f"of these {report.part.taken:,}: {said}, weight {report.part.weight:g}"
    return f"{said}, about {report.tokens.expected:,} tokens" if report.tokens is not None else said


def _resources(need: ResourceEstimate) -> Iterator[tuple[str, str | Text]]:
    low, high = words.duration(need.seconds_low), words.duration(need.seconds_high)
    yield "time", Text.assemble((words.duration(need.seconds_expected), "bold"), f"  {low} to {high} on {need.device}")
    yield "", Text(need.basis, style="dim")
    yield "memory", Text.assemble(*_memory(need))
    yield "", Text(way(need), style="dim")


def _memory(need: ResourceEstimate) -> Iterator[str | tuple[str, str]]:
    """Say the memory that a run needs, and whether it is there."""
    low, high, free = map(words.size, (need.memory_low, need.memory_high, need.memory_available))
    yield (words.size(need.memory_expected), "bold")
    yield f"  {low} to {high} of {free} free: "
    yield FITS[need.fits]
    yield {"known": "", "guess": " (a guess)", "exact": " (by a step of the model)"}[need.how]


def way(need: ResourceEstimate) -> str:
    """Say how a run would use the memory."""
    if not need.way:
        return ""
    said = [f"passes of up to {need.way['micro_tokens']:,} tokens"]
    said += ["layers computed twice"] if need.way["recompute"] else []
    said += [] if need.way["unpack"] else ["weights unpacked at each use"]
    said += [f"base dealt out over {need.way['shards']} processes"] if need.way["shards"] > 1 else []
    return ", ".join(said)


def machines(plan: Plan, *, on: Console) -> None:
    """Show the GPUs that were asked about, one a line, with what would fit where this does not."""
    if not plan.machines:
        return
    on.print()
    table = terminal.columns("GPU", "memory", "needs", "fits", "time", "how", right=("memory",), whole=("GPU", "fits"))
    for need in plan.machines:
        low, high = words.size(need.memory_low), words.size(need.memory_high)
        table.add_row(
            need.device, words.size(need.memory_available), f"{words.size(need.memory_expected)} ({low} to {high})",
            Text(*FITS[need.fits]), words.duration(need.seconds_expected), way(need),
        )  # fmt: skip
    terminal.put(on, table)
    for need in plan.machines:
        for one in need.instead:
            terminal.say(on, f"{need.device}: {one.flags} would fit, with {words.size(one.memory_expected)}")


def foreseen(plan: Callable[[], Plan], *, exact: bool) -> Plan:
    """Make a plan; one that takes its time says so meanwhile."""
    from anytune.ui import asking

    return asking.waiting("taking a step of the model without its weights", plan) if exact else plan()


def _weights(capabilities: Capabilities) -> str:
    if capabilities.local:
        return "yours, on this machine"
    return "can be downloaded" if capabilities.weights_downloadable else "stay with the provider"


def _closing(capabilities: Capabilities) -> str:
    until, end = capabilities.accepts_jobs_until, capabilities.model_shutdown
    said = [f"takes jobs until {until}"] if until else []
    return "; ".join([*said, f"model shuts down on {end}"] if end else said)


def settings(given: Sequence[Setting]) -> Table:
    """Lay out what becomes of each setting."""
    table = terminal.columns("setting", "value", "what becomes of it", whole=("setting",))
    for setting in given:
        name = setting.path.removeprefix("training.")
        shown = Text(setting.outcome, style=STYLES[setting.outcome])
        translated = setting.outcome == "translated" and setting.sent is not None
        if setting.to and (setting.to != name or translated):
            shown.append(f" as {setting.to}", style="default")
        if translated:
            shown.append(f" = {words.value(setting.sent)}", style="default")
        if setting.why:
            shown.append(f": {setting.why}", style="default")
        table.add_row(name, words.value(setting.value), shown)
    return table


def _mark(plan: Plan) -> Text:
    return Text("ok" if plan.ok else "refused", style="green" if plan.ok else "red")


def _reason(plan: Plan | UsageError) -> str:
    if isinstance(plan, UsageError):
        return plan.message
    more = f" (and {len(plan.refused) - 1} more)" if len(plan.refused) > 1 else ""
    return f"{plan.refused[0]}{more}" if plan.refused else ""


def _short_facts(plan: Plan) -> Iterator[tuple[str, str | Text]]:
    yield "model", words.model(plan.spec.model)
    yield "cost", price(plan.cost)
    if plan.resources is not None:
        yield "time", words.duration(plan.resources.seconds_expected)
    yield "data", place(plan.capabilities)
    yield "weights", _weights(plan.capabilities)
    if closing := _closing(plan.capabilities):
        yield "closes", closing
    if reason := _reason(plan):
        yield "why not", Text(reason, style="red")


def _side_by_side(plans: Sequence[tuple[str, Plan]], on: Console) -> None:
    facts = [{"": _mark(plan), **dict(_short_facts(plan))} for _, plan in plans]
    table = terminal.columns("", *(name for name, _ in plans), whole=("",))
    for column in table.columns[1:]:
        column.ratio = 1
    table.expand = True
    for name in ("", "model", "cost", "time", "data", "weights", "closes", "why not"):
        if any(name in found for found in facts):
            table.add_row(Text(name, style="dim"), *(found.get(name, "") for found in facts))
    terminal.put(on, table)


def then(plan: Plan, given: Given) -> list[terminal.Command]:
    """Name the commands that may follow a plan."""
    if plan.ok:
        return [(given.command("run"), "do it")]
    if not plan.data.ok:
        names = [words.place(report.path) for report in plan.data.files if report.errors]
        also = [
            "--for",
            plan.spec.provider,
            *([] if plan.spec.method == "sft" else ["--method", plan.spec.data_method]),
        ]
        return [(shlex.join(["anytune", "check", *names, *also]), "every fault in the data")]
    return [(given.command("plan", "--all", everywhere=True), "who else could train it")]


def mend(plan: Plan, given: Given) -> str:
    """Name the command that helps with a refused plan."""
    return then(plan, given)[0][0]


def row(name: str, plan: Plan | UsageError) -> dict[str, Any]:
    """Return one provider's plan as a part of the document of `plan --all --json`."""
    if isinstance(plan, UsageError):
        return {"provider": name, "ok": False, "refused": [plan.message], "model": None}
    can = plan.capabilities
    return {
        "provider": name,
        "ok": plan.ok,
        "refused": list(plan.refused),
        "warnings": list(plan.warnings),
        "model": plan.spec.model,
        "cost": plan.cost.model_dump(mode="json"),
        "hosting": can.hosting.model_dump(mode="json") if can.hosting else None,
        "resources": plan.resources.model_dump(mode="json") if plan.resources else None,
        "local": can.local,
        "regions": can.regions,
        "weights_downloadable": can.weights_downloadable,
        "accepts_jobs_until": can.accepts_jobs_until,
        "model_shutdown": can.model_shutdown,
    }
