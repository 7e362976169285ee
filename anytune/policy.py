"""Where data may go and what a job may cost: pure rules, each answer a reason or none."""

from __future__ import annotations

from decimal import Decimal
from urllib.parse import urlsplit

from anytune.schema.plan import Capabilities, CostEstimate, Policy
from anytune.schema.spec import Budget, TuneSpec


def placed(capabilities: Capabilities, *, host: str | None, own_host: str | None, stated: str | None) -> Capabilities:
    """Return the capabilities with the regions that hold for a profile.

    What the catalogue says of a provider's regions holds for the provider's own host alone; elsewhere they are unknown
    unless the profile states one, which then is the user's own word. One of the provider's sites is none: it says where
    a job runs, not where the data that were uploaded for it are kept. Where a provider has a host for each region, the
    user's word counts at that host alone. A job that roams is in none.
    """
    if capabilities.local:
        return capabilities
    if capabilities.roams is not None:
        return capabilities.model_copy(update={"regions": None, "region_note": capabilities.roams})
    if stated is not None and capabilities.hosts and not _is_at(host, capabilities.hosts.get(stated)):
        note = _elsewhere(capabilities, stated)
        return capabilities.model_copy(update={"regions": None, "region_note": note})
    if stated is not None and stated not in capabilities.sites:
        regions = (stated, *capabilities.places.get(stated, ()))
        return capabilities.model_copy(update={"regions": regions, "region_note": "as the profile says"})
    if host is None or host == own_host:
        return capabilities
    note = f"the profile sends it to {host}"
    return capabilities.model_copy(update={"regions": None, "region_note": note, "notes": (*capabilities.notes, note)})


def _is_at(host: str | None, address: str | None) -> bool:
    return host is not None and address is not None and host.lower() == urlsplit(address).netloc


def _elsewhere(capabilities: Capabilities, stated: str) -> str:
    """Say why a region that the profile states does not count, and what would make it."""
    profile, address = f"profiles.{capabilities.provider}", capabilities.hosts.get(stated)
    if address is None:
        return f"{profile}.region: {stated}: it trains and keeps data in {' or '.join(capabilities.hosts)} at most"
    return f"{profile}.region: {stated} counts only at its own host: set {profile}.base_url to {address}"


def residency(spec: TuneSpec, capabilities: Capabilities, policy: Policy) -> tuple[str, ...]:
    """Return why the data may not go to this provider; unknown regions are refused, not hoped for."""
    reasons = [
        reason
        for wanted, whose in (
            (spec.data.residency, "data.residency"),
            (policy.residency, "the project's policy"),
        )
        if (reason := _place(wanted, whose, capabilities))
    ]
    if policy.providers is not None and spec.provider not in policy.providers:
        reasons.append(f"the project's policy allows only {', '.join(policy.providers) or 'no provider'}")
    return tuple(dict.fromkeys(reasons))


def reports(spec: TuneSpec, policy: Policy) -> tuple[str, ...]:
    """Return why the provider may not tell others how a job goes: where those keep what they are told is unknown."""
    found = []
    for kind in (told.type for told in spec.integrations):
        for wanted, whose in ((spec.data.residency, "data.residency"), (policy.residency, "the project's policy")):
            if wanted != "any":
                found.append(
                    f"{whose} is {wanted}: where {kind} keeps what it is told is unknown: leave out integrations"
                )
        if policy.providers is not None and kind not in policy.providers:
            found.append(f"the project's policy allows only {', '.join(policy.providers) or 'no provider'}, not {kind}")
    return tuple(dict.fromkeys(found))


def told(whom: str, spec: TuneSpec, policy: Policy) -> tuple[str, ...]:
    """Return why nobody beyond this machine may be told how a job goes."""
    reasons = [
        f"{whose} is {wanted}: where {whom} keeps what it is told is unknown"
        for wanted, whose in ((spec.data.residency, "data.residency"), (policy.residency, "the project's policy"))
        if wanted != "any"
    ]
    if policy.providers is not None and whom not in policy.providers:
        reasons.append(f"the project's policy allows only {', '.join(policy.providers) or 'no provider'}, not {whom}")
    return tuple(reasons)


def _place(wanted: str, whose: str, capabilities: Capabilities) -> str | None:
    if wanted == "any":
        return None
    if capabilities.local:
        return f"{whose} is {wanted}: {capabilities.fetches} would be fetched" if capabilities.fetches else None
    provider = capabilities.provider
    if wanted == "local":
        return f"{whose} is local: the data may not leave this machine, and {provider} is elsewhere"
    if capabilities.regions is None:
        note = f" ({capabilities.region_note})" if capabilities.region_note else ""
        return f"{whose} is {wanted}: where {provider} keeps the data is unknown{note}"
    if wanted not in capabilities.regions:
        return f"{whose} is {wanted}: {provider} keeps the data in {', '.join(capabilities.regions)}"
    return None


def budget(spec: TuneSpec, cost: CostEstimate, policy: Policy) -> tuple[str, ...]:
    """Return why the plan is too dear; a job with a budget but without a known price is refused, too."""
    limits = (
        (spec.budget.usd if spec.budget else None, "the job's budget"),
        (policy.budget_usd, "the project's budget"),
    )
    reasons = []
    for limit, whose in limits:
        if limit is None:
            continue
        if cost.high is None or cost.expected is None:
            reasons.append(f"{whose} is ${limit:.2f} and the price is not known: {cost.basis}")
        elif cost.high > limit:
            reasons.append(f"{whose} is ${limit:.2f}; this may cost up to ${cost.high:.2f} ({cost.basis})")
    return tuple(reasons)


def bounded(spec: TuneSpec, policy: Policy) -> TuneSpec:
    """Return the spec with the stricter of its own budget and the project's, which an exact quote has to meet."""
    limits = [limit for limit in (spec.budget.usd if spec.budget else None, policy.budget_usd) if limit is not None]
    if not limits:
        return spec
    return spec.model_copy(update={"budget": Budget(usd=max(Decimal(0), min(limits)))})
