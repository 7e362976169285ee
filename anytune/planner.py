"""Decide what a submit would do: pure; the same values give the same plan."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from datetime import date
from typing import Any

from anytune import ageing, refusals
from anytune import cost as reckoning
from anytune import policy as rules
from anytune.schema.data import DataReport
from anytune.schema.plan import (
    Capabilities,
    CostEstimate,
    Plan,
    Policy,
    ResourceEstimate,
    Rule,
    Setting,
)
from anytune.schema.spec import TuneSpec
from anytune.schema.trainer import Trainer
from anytune.schema.training import Lora


def make(
    spec: TuneSpec,
    data: DataReport,
    capabilities: Capabilities,
    *,
    policy: Policy,
    today: date,
    machines: Sequence[ResourceEstimate | None] = (),
    request: dict[str, Any] | None = None,
    force: bool = False,
) -> Plan:
    """Put spec, data, capabilities and policy together; every reason against it is named, not the first.

    `force` turns what the catalogue may be wrong about (an unknown model, a closing date) into warnings; a model that
    was shut down is beyond it. `machines` says what a local run needs: on this machine, then on others asked about.
    """
    resources, *others = machines or (None,)
    settings = () if capabilities.opaque else tuple(_settings(spec, capabilities))
    cost = reckoning.estimate(spec, data, capabilities, resources)
    over, closed = tuple(refusals.shut_down(capabilities, today)), tuple(refusals.closed(capabilities, today))
    doubtful = (*refusals.unheard(capabilities), *closed)
    too_small = tuple(_too_small(resources))
    barred = (
        *withheld(spec, sent(data), capabilities, policy),
        *rules.reports(spec, policy),
        *rules.budget(spec, cost, policy),
    )
    refused = (
        *refusals.of_data(data),
        *((capabilities.opaque,) if capabilities.opaque else ()),
        *capabilities.problems,
        *(f"{s.path} = {_shown(s.value)}: {s.why}" for s in settings if s.outcome == "refused"),
        *refusals.of_length(spec, data),
        *refusals.of_method(spec, capabilities),
        *refusals.of_size(data, capabilities),
        *over,
        *refusals.of_chats(data, capabilities),
        *barred,
        *(() if force else (*doubtful, *too_small)),
    )
    return Plan(
        spec=rules.bounded(spec, policy),
        capabilities=capabilities,
        data=data,
        files=tuple(r.file for r in data.files if r.file is not None and r.file.role != "test"),
        settings=settings,
        cost=cost,
        resources=resources,
        machines=tuple(one for one in others if one is not None),
        request=request,
        refused=refused,
        closed=(*over, *(() if force else closed)),
        barred=barred,
        warnings=(
            *((*doubtful, *too_small) if force else ()),
            *_reported(spec, capabilities),
            *_run_here(spec),
            *_unpriced(cost, capabilities),
            *_warnings(data, capabilities, resources, today),
        ),
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
        include={"provider", "model", "method", "training", "suffix", "name", "integrations", "from_checkpoint"},
        exclude_defaults=True,
    )
    hashes = {r.file.role: r.file.sha256 for r in data.files if r.file is not None and r.file.role != "test"}
    if spec.rewards:  # what their files held counts, not where these lie
        content["rewards"] = [r.model_dump(mode="json", exclude={"file"}, exclude_defaults=True) for r in spec.rewards]
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
    for reward in spec.rewards:
        for name, field in type(reward).model_fields.items():
            if (value := getattr(reward, name)) != field.default and not (name == "text" and reward.file):
                yield f"rewards.{name}", value if isinstance(value, float) else str(value)
    for name in ("from_checkpoint", "suffix"):
        if (value := getattr(spec, name)) is not None:
            yield name, value
    for told in spec.integrations:
        for name, field in type(told.wandb).model_fields.items():
            if (value := getattr(told.wandb, name)) != field.default:
                yield f"integrations.wandb.{name}", value


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
    """Fill in where each setting stands in the request and with what, where the provider's own name is found there."""
    return tuple(
        setting.model_copy(
            update={"to": _place(setting.to, request), "sent": _found(setting.to.rpartition(".")[2], request)}
        )
        if setting.to
        else setting
        for setting in settings
    )


def _place(to: str, request: dict[str, Any]) -> str:
    """Return the one of the places `a.{b|c}.d` that the request has."""
    before, _, rest = to.partition("{")
    names, _, after = rest.partition("}")
    there = next((name for name in names.split("|") if _found(name, request) is not None), None)
    return f"{before}{there}{after}" if rest and there else to


def _found(name: str, body: dict[str, Any]) -> Any:
    """Return the value of a key at the first place where it stands, from the outside in; None where it does not."""
    if name in body:
        return body[name]
    parts = (part for value in body.values() for part in (value if isinstance(value, list) else [value]))
    inner = (_found(name, part) for part in parts if isinstance(part, dict))
    return next((value for value in inner if value is not None), None)


def _unpriced(cost: CostEstimate, capabilities: Capabilities) -> Iterator[str]:
    """Say aloud that no price is known, what that does, and where the user can say one."""
    if cost.expected is not None or capabilities.local:
        return
    place = f"catalog.{capabilities.provider}.models.{capabilities.listed_as or capabilities.model}.price"
    can = "" if capabilities.trainer else f": say it under {place} in your settings, in dollars per million tokens"
    yield f"{cost.basis}, so nothing bounds what this may cost, and any budget refuses it{can}"


def _reported(spec: TuneSpec, capabilities: Capabilities) -> Iterator[str]:
    for told in spec.integrations:
        yield f"{capabilities.provider} will report the job to Weights & Biases, into the project {told.wandb.project}"


def _run_here(spec: TuneSpec) -> Iterator[str]:
    for reward in spec.rewards:
        if reward.function is not None:
            whose = f" ({reward.file})" if reward.file else ""
            yield f"your own function {reward.function}{whose} will be run here, on every answer that is tried"


def _warnings(
    data: DataReport, capabilities: Capabilities, resources: ResourceEstimate | None, today: date
) -> Iterator[str]:
    yield from ageing.endings(capabilities, today)
    yield from ageing.stale(capabilities, today)
    for report in data.files:
        for code in dict.fromkeys(issue.code for issue in report.warnings):
            first = next(issue for issue in report.warnings if issue.code == code)
            count = report.counts.get(code, 1)
            yield f"{report.path.name}: {first.message} [{code}]" + (f" ({count} times)" if count > 1 else "")
    if resources is not None and not (resources.fits == "yes" or _sure(resources)):
        yield _short_of_memory(resources)
    yield from capabilities.notes


def _too_small(resources: ResourceEstimate | None) -> Iterator[str]:
    """Say that this machine's memory is surely too small, and what would fit."""
    if resources is not None and _sure(resources):
        yield _short_of_memory(resources)


def _sure(resources: ResourceEstimate) -> bool:
    return resources.fits == "no" and resources.how != "guess"


def _short_of_memory(resources: ResourceEstimate) -> str:
    low, high, free = (
        amount / 2**30 for amount in (resources.memory_low, resources.memory_high, resources.memory_available)
    )
    word = "may need" if resources.fits == "tight" or resources.how == "guess" else "needs"
    said = f"a run {word} {low:.1f} to {high:.1f} GiB of memory, and {free:.1f} GiB are free ({resources.device})"
    fitting = " or ".join(f"{one.flags} ({one.memory_expected / 2**30:.1f} GiB)" for one in resources.instead)
    return f"{said}; {f'it would fit with {fitting}' if fitting else 'no setting makes it fit: take a smaller model'}"


def _shown(value: Any) -> str:
    return "null" if value is None else str(value)
