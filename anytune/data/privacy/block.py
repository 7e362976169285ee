"""Say why private data may not go to a hosted provider."""

from __future__ import annotations

from anytune.data.privacy.kind import chosen
from anytune.schema.data import PrivacyReport

_WAY = "train it on this machine (provider: local), or on a redacted copy"


def blocked(report: PrivacyReport, block: frozenset[str]) -> tuple[str, ...]:
    """Return a sentence for each blocked kind that the file holds, or of which that is not known.

    `block` is what `privacy: {block: [card, key]}` names; raise UsageError at a kind that there is not.
    """
    wanted = chosen(block)
    reasons = [
        f"{report.path} holds {_values(report.counts[kind], kind)}, and privacy blocks {kind}: {_WAY}"
        for kind in sorted(wanted & report.counts.keys())
    ]
    reasons += [
        f"{report.path} was not looked through for {kind}, and privacy blocks {kind}: {_WAY}"
        for kind in sorted(wanted - set(report.kinds))
    ]
    if wanted and report.unread:
        lines = f"{report.unread:,} line{'' if report.unread == 1 else 's'}"
        reasons.append(f"{report.path} has {lines} too long to look for {', '.join(sorted(wanted))}: {_WAY}")
    return tuple(reasons)


def _values(count: int, kind: str) -> str:
    return f"{count:,} value{'' if count == 1 else 's'} of the kind {kind}"
