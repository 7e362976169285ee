"""What a run learns from its examples: to say what they say, or to prefer answers (`dpo.py`, `grpo.py`)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from torch import Tensor

from anytune.local.encode import ChatEncoder, Encoder, Item
from anytune.local.loading import Says
from anytune.local.runs import Run
from anytune.local.training.batches import MicroBatch, collate, micro_batches
from anytune.local.training.events import EventLog
from anytune.local.training.head import HeadFilter
from anytune.local.training.team import Team


@dataclass(frozen=True)
class Outcome:
    """Be the loss of a batch, summed over what it is the mean of, and what else is told of it, summed likewise."""

    loss: Tensor
    figures: dict[str, float] = field(default_factory=dict)


@dataclass
class Tally:
    """Add up the outcomes of several batches."""

    loss: float = 0.0
    figures: dict[str, float] = field(default_factory=dict)

    def add(self, outcome: Outcome) -> None:
        """Add one."""
        self.loss += outcome.loss.item()
        for name, value in outcome.figures.items():
            self.figures[name] = self.figures.get(name, 0.0) + value

    @classmethod
    def of(cls, several: Iterable[Tally]) -> Tally:
        """Return the sum of several."""
        whole = cls()
        for each in several:
            whole.loss += each.loss
            for name, value in each.figures.items():
                whole.figures[name] = whole.figures.get(name, 0.0) + value
        return whole

    def means(self, share: int) -> dict[str, float]:
        """Return the figures without the loss, as means."""
        return {name: value / share for name, value in self.figures.items()}


@dataclass(frozen=True)
class Stage:
    """Hold a run's model and how it is computed on this machine; with `trees`, sequences share their beginnings."""

    run: Run
    net: Any
    head: Any
    events: EventLog
    stop: Callable[[], bool]
    micro_tokens: int
    micro_examples: int | None
    trees: bool = False
    team: Team = field(default_factory=Team)

    def own(self, examples: Sequence[Item]) -> list[MicroBatch]:
        """Cut examples into batches that fit the memory, and return those that this process computes."""
        most = self.team.most_examples(len(examples), self.micro_examples)
        cut = micro_batches(examples, most_tokens=self.micro_tokens, most_examples=most, trees=self.trees)
        return self._in_step(cut) if self.team.in_step else self.team.deal(cut, tokens)

    def shared(self, examples: Sequence[Item]) -> list[MicroBatch]:
        """Cut examples into the batches that one process would make, and return as many for this one as for each."""
        return self._in_step(self.batches(examples))

    def _in_step(self, batches: Sequence[MicroBatch]) -> list[MicroBatch]:
        return [_idle(batches) if batch is None else batch for batch in self.team.rounds(batches, tokens)]

    def halts(self) -> bool:
        """Tell whether any process is told to stop; each must ask at the same place."""
        return self.team.agreed(self.stop())

    def batches(self, examples: Sequence[Item]) -> list[MicroBatch]:
        """Cut examples into batches that fit the memory."""
        return micro_batches(
            examples, most_tokens=self.micro_tokens, most_examples=self.micro_examples, trees=self.trees
        )


def _idle(batches: Sequence[MicroBatch]) -> MicroBatch:
    """Return the shortest of their examples as a batch that counts for nothing."""
    shortest = min((item for batch in batches for item in batch.items), key=len)
    return replace(collate([shortest]), idle=True)


def tokens(batch: MicroBatch) -> int:
    """Return how many tokens a batch computes."""
    return batch.ids.numel()


class Objective(Protocol):
    """Say how records become examples, and what their loss is.

    It `opens` a model that says words or a score, and computes its loss by a `head`; sequences may share beginnings.
    `rows` is how many sequences an example has, `lost` says why one is left out, `kind` what an example is called.
    """

    rows: int
    kind: str
    lost: str
    opens: Says
    head: Callable[[Any], Any]
    shares_beginnings: bool

    def encoder(self, chats: ChatEncoder) -> Encoder[Item]:
        """Return what reads the records."""

    def before(self, stage: Stage, examples: list[Item], *, role: str) -> list[Item]:
        """Do what has to be done before the first step, and return the examples as they are trained."""

    def act(self, stage: Stage, examples: Sequence[Item]) -> tuple[Sequence[Item], dict[str, float]]:
        """Return what is learnt from these examples in this step, and what is told of it."""

    def share(self, examples: Sequence[Item]) -> int:
        """Return over how many (tokens, pairs) the loss of these examples is a mean."""

    def outcome(self, stage: Stage, batch: MicroBatch) -> Outcome:
        """Return the summed loss of a batch."""

    def validate(self, stage: Stage, examples: Sequence[Item]) -> tuple[float | None, Mapping[str, float]]:
        """Return the mean loss of the validation examples, None where there is none, and the other figures."""


class Given:
    """Learn from the examples as they are given."""

    opens: Says = "words"
    head: Callable[[Any], Any] = HeadFilter
    shares_beginnings = True

    def act(self, stage: Stage, examples: Sequence[Item]) -> tuple[Sequence[Item], dict[str, float]]:  # noqa: ARG002
        """Return the examples."""
        return examples, {}

    def validate(self: Objective, stage: Stage, examples: Sequence[Item]) -> tuple[float, Mapping[str, float]]:
        """Return the mean loss and the other figures."""
        examples, _ = self.act(stage, examples)
        tally, share = Tally(), self.share(examples)
        for batch in stage.own(examples):
            outcome = self.outcome(stage, batch)
            if not batch.idle:
                tally.add(outcome)
        tally = Tally.of(Tally(*each) for each in stage.team.all([tally.loss, tally.figures]))
        return tally.loss / share, tally.means(share)


class Sft(Given):
    """Learn to say what the assistant says: the cross-entropy of its tokens."""

    rows, kind = 1, "examples"
    lost = "have no answer and are left out"

    def encoder(self, chats: ChatEncoder) -> Encoder[Item]:
        """Return what reads the records."""
        return chats

    def before(self, stage: Stage, examples: list[Item], *, role: str) -> list[Item]:  # noqa: ARG002
        """Leave the examples as they are."""
        return examples

    def act(self, stage: Stage, examples: Sequence[Item]) -> tuple[Sequence[Item], dict[str, float]]:  # noqa: ARG002
        """Return the texts of the examples, so that those of one chat need not be computed together."""
        return [row for example in examples for row in example.rows], {}

    def share(self, examples: Sequence[Item]) -> int:
        """Count the supervised tokens."""
        return sum(e.supervised for e in examples)

    def outcome(self, stage: Stage, batch: MicroBatch) -> Outcome:
        """Return the summed cross-entropy."""
        return Outcome(stage.head.loss(stage.net, batch))
