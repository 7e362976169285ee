"""Quote the user's data in messages: short, and masked where it looks personal or secret."""

from __future__ import annotations

import re
from functools import cache

LONGEST = 40
_LOOKED_AT = 400  # a secret that begins within the quoted part is seen to its end
_PERSONAL = (
    (r"[\w.+-]+@[\w-]+\.[\w.-]*\w|[\w.+-]+@[\w.-]*$", "<e-mail>"),
    (r"(?<!\d)(?:\d[ -]?){12,18}\d(?!\d)", "<card>"),
    (r"\b(?:sk|pk|rk|hf|gh[opsu]|github_pat|xox[abps]|glpat|AKIA|ASIA|AIza|tgp)[-_]?[\w-]{8,}", "<key>"),
    (r"(?=[\w+/=-]*\d)(?=[\w+/=-]*[A-Za-z])[\w+/=-]{24,}", "<key>"),
)


class Plain(str):
    """Be a word of ours, which needs neither quotes nor a mask."""


def quote(value: object) -> str:
    """Describe a JSON value in at most LONGEST characters of its content."""
    if isinstance(value, Plain):
        return str(value)
    if isinstance(value, str):
        return f'"{_short(value)}"'
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value) if value.bit_length() <= 64 else "a huge number"
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, list):
        return f"a list of {len(value)}" if value else "an empty list"
    return "an object"


def _short(text: str) -> str:
    looked_at = text[:_LOOKED_AT]
    for pattern, mask in _masks():
        looked_at = pattern.sub(mask, looked_at)
    visible = "".join(c if c.isprintable() else "\ufffd" for c in looked_at)
    return visible if len(visible) <= LONGEST and len(text) <= _LOOKED_AT else visible[: LONGEST - 1] + "…"


@cache
def _masks() -> tuple[tuple[re.Pattern[str], str], ...]:
    """Compile what is masked when something is quoted for the first time: most files have nothing to quote."""
    return tuple((re.compile(pattern), mask) for pattern, mask in _PERSONAL)
