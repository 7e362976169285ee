"""Decide what a submit would do: pure; the same values give the same plan."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from datetime import date
from decimal import ROUND_HALF_UP, ROUND_UP, Decimal
from typing import Any

from anytune import policy as rules
from anytune.schema.data import DataReport, FileReport
from anytune.schema.plan import (
    Capabilities,
    CostEstimate,
    Deviation,
    Plan,
    Policy,
    Price,
    ResourceEstimate,
    Rule,
    Setting,
)
from anytune.schema.spec import Lora, TuneSpec
from anytune.schema.trainer import Trainer

CENT = Decimal("0.01")
HUNDREDTH = CENT / 100  # of a cent
MINUTE = Decimal(1) / 60  # of an hour: machines are billed by it
SHORT_LIFE_DAYS = 90
STALE_DAYS = 60


def make(
    spec: TuneSpec,
    data: DataReport,
    capabilities: Capabilities,
    *,
    policy: Policy,
    today: date,
    resources: ResourceEstimate | None = None,
    request: dict[str, Any] | None = None,
    force: bool = False,
) -> Plan:
    """Put spec, data, capabilities and policy together; every reason against it is named, not the first.

    `force` turns what the catalogue may be wrong about (an unknown model, a closing date) into warnings; a model that
    was shut down is beyond it.
    """
    settings = tuple(_settings(spec, capabilities))
    cost = _cost(spec, data, capabilities, resources)
    over, closed = tuple(_shut_down(capabilities, today)), tuple(_closed(capabilities, today))
    doubtful = (*_unheard(capabilities), *closed)
    refused = (
        *_data_refusals(data),
        *capabilities.problems,
        *(f"{s.path} = {_shown(s.value)}: {s.why}" for s in settings if s.outcome == "refused"),
        *_method_refusals(spec, capabilities),
        *_too_large(data, capabilities),
        *over,
        *_chat_refusals(data, capabilities),
        *withheld(spec, sent(data), capabilities, policy),
        *rules.budget(spec, cost, policy),
        *(() if force else doubtful),
    )
    return Plan(
        spec=rules.bounded(spec, policy),
        capabilities=capabilities,
        data=data,
        files=tuple(r.file for r in data.files if r.file is not None and r.file.role != "test"),
        settings=settings,
        cost=cost,
        resources=resources,
        request=request,
        refused=refused,
        closed=(*over, *(() if force else closed)),
        warnings=(*(doubtful if force else ()), *_warnings(data, capabilities, resources, today)),
        fingerprint=fingerprint(spec, data, trainer=capabilities.trainer),
        made_on=today,
    )


def withheld(spec: TuneSpec, data: DataReport, capabilities: Capabilities, policy: Policy) -> tuple[str, ...]:
    """Return why these data may not go to this provider: where they may be, and what stands in them."""
    return (*rules.residency(spec, capabilities, policy), *_private(spec, data, capabilities, policy))


def sent(data: DataReport) -> DataReport:
    """Return what a job sends: all but the data that are held out."""
    return data.model_copy(update={"files": tuple(r for r in data.files if r.file is None or r.file.role != "test")})


def _private(spec: TuneSpec, data: DataReport, capabilities: Capabilities, policy: Policy) -> Iterator[str]:
    """Yield why the private data in the files may not leave this machine; what was not looked for counts as there."""
    block = frozenset({*spec.data.privacy.block, *policy.privacy.block})
    if capabilities.local or not block:
        return
    from anytune.data.privacy.block import blocked  # all patterns are behind it

    for report in data.files:
        if report.file is None:
            continue
        if report.privacy is None:
            kinds = ", ".join(sorted(block))
            yield f"{report.path} was not looked through for private data, and privacy blocks {kinds}"
        else:
            yield from blocked(report.privacy, block)


def fingerprint(spec: TuneSpec, data: DataReport, *, trainer: Trainer | None = None) -> str:
    """Hash what makes a job the same job: its settings and the bytes of its data, not where they lie.

    What a trainer is given besides belongs to the settings.
    """
    content = spec.model_dump(
        mode="json",
        include={"provider", "model", "method", "training", "suffix", "name"},
        exclude_defaults=True,
    )
    hashes = {r.file.role: r.file.sha256 for r in data.files if r.file is not None and r.file.role != "test"}
    besides = [trainer.model_dump(mode="json", exclude_defaults=True)] if trainer is not None else []
    return hashlib.sha256(json.dumps([content, hashes, *besides], sort_keys=True).encode()).hexdigest()


def _settings(spec: TuneSpec, capabilities: Capabilities) -> Iterator[Setting]:
    for path, value in chosen(spec):
        rule = capabilities.settings.get(path)
        yield _judge(path, value, rule, provider=capabilities.provider)


def chosen(spec: TuneSpec) -> Iterator[tuple[str, Any]]:
    """Yield each setting that the user made, by its path; what is left on `auto` is not among them."""
    training = spec.training
    for name in type(training).model_fields:
        value = getattr(training, name)
        if isinstance(value, Lora):
            yield from _chosen_lora(value)
        elif value != "auto" and (name in training.model_fields_set or name == "epochs"):
            yield f"training.{name}", value
    if spec.suffix is not None:
        yield "suffix", spec.suffix


def _chosen_lora(lora: Lora) -> Iterator[tuple[str, Any]]:
    for name in type(lora).model_fields:
        value = getattr(lora, name)
        if value != "auto" and (name in lora.model_fields_set or name == "rank"):
            yield f"training.lora.{name}", value


def _judge(path: str, value: Any, rule: Rule | None, *, provider: str) -> Setting:
    if rule is None:
        return Setting(path=path, value=value, outcome="refused", why=f"{provider} has no such setting")
    why = rule.why
    outcome = rule.outcome
    if outcome != "refused" and (fault := _out_of_bounds(value, rule, provider=provider)):
        outcome, why = "refused", fault
    return Setting(path=path, value=value, outcome=outcome, to=rule.to, why=why)


def _out_of_bounds(value: Any, rule: Rule, *, provider: str) -> str | None:
    number = value if isinstance(value, int | float) and not isinstance(value, bool) else None
    if number is not None and rule.minimum is not None and number < rule.minimum:
        return f"the least that {provider} takes is {rule.minimum:g}"
    if number is not None and rule.maximum is not None and number > rule.maximum:
        return f"the most that {provider} takes is {rule.maximum:g}"
    if rule.choices and str(value) not in rule.choices:
        return f"{provider} takes {', '.join(rule.choices)}"
    return None


def as_sent(settings: tuple[Setting, ...], request: dict[str, Any]) -> tuple[Setting, ...]:
    """Fill in what stands for each setting in the request, where the provider's own name of it is found there."""
    return tuple(
        setting.model_copy(update={"sent": _found(setting.to.rpartition(".")[2], request)}) if setting.to else setting
        for setting in settings
    )


def _found(name: str, body: dict[str, Any]) -> Any:
    """Return the value of a key at the first place where it stands, from the outside in; None where it does not."""
    if name in body:
        return body[name]
    inner = (_found(name, part) for part in body.values() if isinstance(part, dict))
    return next((value for value in inner if value is not None), None)


def _data_refusals(data: DataReport) -> Iterator[str]:
    yield from _shared(data)
    for report in data.files:
        if report.errors:
            first = report.errors[0]
            place = f" line {first.line}" if first.line else ""
            count = sum(report.counts.get(code, 0) for code in {issue.code for issue in report.errors})
            more = f" (and {count - 1} more: anytune check)" if count > 1 else ""
            yield f"{report.path.name}{place}: {first.message} [{first.code}]{more}"


def _shared(data: DataReport) -> Iterator[str]:
    """Name files of two roles with one content: what was trained on is not held out."""
    seen: dict[str, str] = {}
    for file in (report.file for report in data.files if report.file is not None and report.examples):
        if file.sha256 in seen:
            yield f"data.{file.role} has the same content as data.{seen[file.sha256]}: it is not held out"
        seen.setdefault(file.sha256, file.role)


def _method_refusals(spec: TuneSpec, capabilities: Capabilities) -> Iterator[str]:
    if capabilities.methods and spec.method not in capabilities.methods:
        offered = ", ".join(capabilities.methods)
        yield f"method {spec.method}: {capabilities.provider} trains {capabilities.model} by {offered} only"


def _too_large(data: DataReport, capabilities: Capabilities) -> Iterator[str]:
    most = capabilities.max_file_bytes
    for report in data.files:
        file, told = report.file, "file-too-large" in report.counts
        if most is not None and file is not None and file.role != "test" and file.bytes > most and not told:
            yield f"{file.path.name} has {file.bytes:,} bytes: {capabilities.provider} takes at most {most:,} in a file"


def _shut_down(capabilities: Capabilities, today: date) -> Iterator[str]:
    end = capabilities.model_shutdown
    if end is not None and today > end:
        place = f"say so under catalog.{capabilities.provider}.models in your settings"
        yield f"{capabilities.model} was shut down on {end}, what was tuned from it, too (if that was put off: {place})"


def _chat_refusals(data: DataReport, capabilities: Capabilities) -> Iterator[str]:
    trainer = capabilities.trainer
    for report in data.files if trainer is not None and not trainer.chats else ():
        if report.file is not None and report.file.role != "test" and report.statistics and report.statistics.roles:
            yield (
                f"{report.path.name} holds chats, and {capabilities.model} reads prompts with completions: "
                "anytune convert --to prompt-completion"
            )


def _unheard(capabilities: Capabilities) -> Iterator[str]:
    if not capabilities.known:
        near = f"; did you mean {capabilities.similar[0]}?" if capabilities.similar else ""
        yield f"{capabilities.provider} tunes no model {capabilities.model!r} that the catalogue knows{near}"
    elif capabilities.unlisted_on is not None:
        yield f"{capabilities.provider}'s own list of {capabilities.unlisted_on} has no model {capabilities.model!r}"


def _closed(capabilities: Capabilities, today: date) -> Iterator[str]:
    until = capabilities.accepts_jobs_until
    if until is not None and today > until:
        yield f"{capabilities.provider} takes no new jobs on {capabilities.model} since {until}"


def _warnings(
    data: DataReport, capabilities: Capabilities, resources: ResourceEstimate | None, today: date
) -> Iterator[str]:
    yield from _endings(capabilities, today)
    yield from _stale(capabilities, today)
    for report in data.files:
        for code in dict.fromkeys(issue.code for issue in report.warnings):
            first = next(issue for issue in report.warnings if issue.code == code)
            count = report.counts.get(code, 1)
            yield f"{report.path.name}: {first.message} [{code}]" + (f" ({count} times)" if count > 1 else "")
    if resources is not None and resources.memory_expected > resources.memory_available:
        need, have = resources.memory_expected / 2**30, resources.memory_available / 2**30
        yield f"needs about {need:.1f} GiB of memory, {have:.1f} GiB are there: try a smaller micro_batch_size"
    yield from capabilities.notes


def _endings(capabilities: Capabilities, today: date) -> Iterator[str]:
    """Yield what ends soon: the model's life, and the days on which jobs are taken."""
    end, last = capabilities.model_shutdown, capabilities.accepts_jobs_until
    if end is not None and is_soon(end, today):
        yield f"{capabilities.model} and what is tuned from it shut down on {end}, {in_days(end, today)}"
    if last is not None and is_soon(last, today):
        yield f"{capabilities.provider} takes new jobs on {capabilities.model} {until(last, today)}"


def is_soon(end: date, today: date) -> bool:
    """Tell whether a day is close ahead."""
    return 0 <= (end - today).days < SHORT_LIFE_DAYS


def in_days(end: date, today: date) -> str:
    """Say how far ahead a day is."""
    days = (end - today).days
    return f"in {days} day{'' if days == 1 else 's'}" if days else "today"


def until(last: date, today: date) -> str:
    """Say until when jobs are taken, or that they are not any more."""
    return f"until {last} ({in_days(last, today)})" if last >= today else f"no more since {last}"


def ageing(read_on: date, today: date, *, what: str = "prices and models") -> Iterator[str]:
    """Yield that what was read that day may be otherwise by now."""
    days = (today - read_on).days
    if days > STALE_DAYS:
        yield f"{what} were read on {read_on}, {days} days ago: they may be others by now"


def _stale(capabilities: Capabilities, today: date) -> Iterator[str]:
    read = {"models": capabilities.as_of, "prices": capabilities.price.as_of if capabilities.price else None}
    for on in dict.fromkeys(day for day in read.values() if day is not None):
        what = " and ".join(name for name, day in read.items() if day == on)
        yield from ageing(on, today, what=f"{what} of {capabilities.provider}")


def _cost(
    spec: TuneSpec, data: DataReport, capabilities: Capabilities, resources: ResourceEstimate | None
) -> CostEstimate:
    if capabilities.local:
        return _own_cost(capabilities, resources)
    price = capabilities.price
    if price is not None and price.per_hour is not None and price.hours is not None:
        return _rent(price.per_hour, price.hours, price)
    rate, epochs = _rate(spec, price), spec.training.epochs
    train = data.role("train")
    if price is None or rate is None or train is None or train.tokens is None:
        return CostEstimate(low=None, expected=None, high=None, basis=f"no price known for {capabilities.model}")
    billed = [train, *([v] if price.bills_validation and (v := data.role("validation")) else [])]
    low, expected, high = (
        max(price.minimum, _metered(tokens * epochs, rate)).quantize(CENT, rounding)
        for tokens, rounding in zip(_tokens(billed), (ROUND_HALF_UP, ROUND_HALF_UP, ROUND_UP), strict=True)
    )
    minimum = f", at least ${price.minimum}" if price.minimum else ""
    times = f"{train.tokens.basis} x {epochs} {'epoch' if epochs == 1 else 'epochs'}"
    said = f" ({price.stated})" if price.stated else ""
    basis = f"{times} at ${rate} per million{said}{minimum}"
    return CostEstimate(low=low, expected=expected, high=high, basis=basis, as_of=price.as_of)


def _own_cost(capabilities: Capabilities, need: ResourceEstimate | None) -> CostEstimate:
    """Price a run on the user's own machine: nothing, unless the settings say what its hours or its power cost."""
    hour, kwh = capabilities.usd_per_hour, capabilities.usd_per_kwh
    energy = f", about {need.watt_hours:.2g} Wh" if need else ""
    if need is None or (hour is None and kwh is None):
        nothing = Decimal(0)
        return CostEstimate(low=nothing, expected=nothing, high=nothing, basis=f"your own machine{energy}")
    a_second = own_rate(capabilities, need) or Decimal(0)
    low, expected, high = (
        (Decimal(seconds) * a_second).quantize(HUNDREDTH, ROUND_HALF_UP)
        for seconds in (need.seconds_low, need.seconds_expected, need.seconds_high)
    )
    rates = [f"${hour} an hour"] if hour is not None else []
    rates += [f"${kwh} a kWh"] if kwh is not None else []
    basis = f"your own machine{energy}, at {' and '.join(rates)} (as your settings say)"
    return CostEstimate(low=low, expected=expected, high=high, basis=basis)


def own_rate(capabilities: Capabilities, need: ResourceEstimate | None) -> Decimal | None:
    """Return what a second on the user's own machine costs in US dollars, None where the settings do not say."""
    hour, kwh = capabilities.usd_per_hour, capabilities.usd_per_kwh
    if need is None or (hour is None and kwh is None):
        return None
    kilowatts = Decimal(need.watt_hours / max(need.seconds_expected, 1e-9) * 3.6)
    return ((hour or 0) + kilowatts * (kwh or 0)) / 3600


def deviation(estimate: CostEstimate, cost: Decimal) -> Deviation | None:
    """Say how far a bill is off its estimate, None where there was none."""
    if estimate.low is None or estimate.expected is None or estimate.high is None:
        return None
    off, cents = cost - estimate.expected, cost.quantize(CENT, ROUND_HALF_UP)
    share = float(off / estimate.expected) if estimate.expected else None
    within = estimate.low <= cost <= estimate.high or estimate.low <= cents <= estimate.high
    return Deviation(usd=off, share=share, within=within)


def _rent(per_hour: Decimal, hours: Decimal, price: Price) -> CostEstimate:
    """Return the bill of a whole machine: how long it will train there is not known, when it is ended is."""
    least, most = ((per_hour * time).quantize(CENT, ROUND_HALF_UP) for time in (MINUTE, hours))
    basis = f"at most {hours.normalize():f} hours of a machine at ${per_hour} an hour; what is not used is not billed"
    return CostEstimate(low=least, expected=most, high=most, basis=basis, as_of=price.as_of)


def bill(tokens: int, spec: TuneSpec, price: Price | None) -> Decimal | None:
    """Price so many billed tokens, all epochs together; None where no price is known."""
    rate = _rate(spec, price)
    return None if price is None or rate is None else max(price.minimum, _metered(tokens, rate))


def _metered(tokens: int, rate: Decimal) -> Decimal:
    return tokens * rate / 1_000_000


def _rate(spec: TuneSpec, price: Price | None) -> Decimal | None:
    if price is None:
        return None
    lora = price.per_million.get(spec.method)
    return price.per_million.get(f"{spec.method}-full", lora) if spec.training.lora is None else lora


def _tokens(reports: list[FileReport]) -> tuple[int, int, int]:
    counted = [r.tokens for r in reports if r.tokens is not None]
    return sum(t.low for t in counted), sum(t.expected for t in counted), sum(t.high for t in counted)


def _shown(value: Any) -> str:
    return "null" if value is None else str(value)
