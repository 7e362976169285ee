"""Reckon what a job would cost, what it did cost, and how far the one was off the other: pure, in US dollars."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, ROUND_UP, Decimal

from anytune.schema.data import DataReport, FileReport
from anytune.schema.plan import Capabilities, CostEstimate, Deviation, Price, ResourceEstimate
from anytune.schema.spec import TuneSpec

CENT = Decimal("0.01")
HUNDREDTH = CENT / 100  # of a cent
MINUTE = Decimal(1) / 60  # of an hour: machines are billed by it


def estimate(
    spec: TuneSpec, data: DataReport, capabilities: Capabilities, resources: ResourceEstimate | None
) -> CostEstimate:
    """Return what a job would cost, and from what that is reckoned; on this machine, only what the settings price."""
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
