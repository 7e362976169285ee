"""What was decided about data that would leave, each decision sealed with the one before it."""

import hashlib
from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime
from typing import Literal, Self

from pydantic import ValidationError

from anytune.schema.base import Value
from anytune.schema.data import Role

START = "0" * 64  # what stands before the first decision

Act = Literal["submit", "resume", "evaluate", "ask", "draw", "push"]


class Datum(Value):
    """Be one file that was decided about, by its content: SHA-256, bytes and examples."""

    role: Role
    sha256: str
    bytes: int
    examples: int


class Decision(Value):
    """Say whether data might go to a provider, `by` whom it was asked, which `rules` held, and why not.

    What is drawn are a job's figures and settings, without its data; `provider` is then who draws them.

    `place` is where the provider keeps data as far as was known; `rules` are those of the job and of the project, by
    the names that they have there.
    """

    at: datetime
    job_id: str
    act: Act
    provider: str
    place: str
    data: tuple[Datum, ...] = ()
    rules: dict[str, str] = {}
    answer: Literal["allowed", "refused"]
    reasons: tuple[str, ...] = ()
    by: str


class Link(Value):
    """Be a decision in the chain: `seal` is the SHA-256 of the seal `before` it and of `text`, the decision as written.

    A decision that is changed, dropped or slipped in later breaks every seal from there on. No key is in a seal: that
    the last ones are missing, or that the chain was sealed anew from some place on, shows only to whoever has noted a
    later seal.
    """

    text: str
    before: str
    seal: str

    @classmethod
    def after(cls, before: str, decision: Decision) -> Self:
        """Seal a decision behind another."""
        text = decision.model_dump_json()
        return cls(text=text, before=before, seal=_seal(before, text))

    @property
    def decision(self) -> Decision:
        """Read the decision; raise pydantic's `ValidationError` for a text that is none."""
        return Decision.model_validate_json(self.text)

    @property
    def told(self) -> Decision | None:
        """Read the decision, None for a text that is none any more."""
        with suppress(ValidationError):
            return self.decision
        return None

    @property
    def holds(self) -> bool:
        """Tell whether the seal is that of this text."""
        return self.seal == _seal(self.before, self.text)


def first_broken(links: Iterable[Link]) -> int | None:
    """Return where (from 0) a whole chain is broken, None if nowhere."""
    before = START
    for position, link in enumerate(links):
        if link.before != before or not link.holds:
            return position
        before = link.seal
    return None


def _seal(before: str, text: str) -> str:
    return hashlib.sha256(f"{before}\n{text}".encode()).hexdigest()
