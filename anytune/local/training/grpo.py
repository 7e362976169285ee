"""Learn from rewards: try several answers to a question, and make those likelier that were worth more than the others.

Group relative policy optimisation (Shao et al. 2024, DeepSeekMath, arXiv:2402.03300). The advantage of an answer is its
reward less the mean of its group, over the group's standard deviation; every token of the answer bears it, with a
penalty of β times the estimate e^d − d − 1 of the divergence from the weights that training began with, d being the
difference of the two log-probabilities (there, eq. 4). The loss is a mean over all tokens of a step, so that a token
of a long answer counts as much as one of a short answer (Yu et al. 2025, DAPO, arXiv:2503.14476).

Each step tries its answers with the weights as they are, and learns from them once. So the ratio of the two policies is
1, nothing has to be clipped, and a step depends on nothing but weights, optimiser and (seed, step), as everywhere here.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import GenerationConfig

from anytune.local.encode import ChatEncoder, Encoded, Encoder, Item
from anytune.local.loading import Says
from anytune.local.training.attention import padded
from anytune.local.training.batches import MicroBatch
from anytune.local.training.head import HeadFilter
from anytune.local.training.objective import Outcome, Stage
from anytune.local.training.reward import Given, Rewards
from anytune.local.training.task import Task, TaskEncoder
from anytune.local.training.team import Stopped

SMALL = 1e-4  # added to a standard deviation, which is 0 where all answers of a group are worth the same


@dataclass(frozen=True)
class Tried:
    """Be one answer to a question with what it is worth beside the others; `ended` says that it came to its end."""

    row: Encoded
    text: str
    ended: bool
    advantage: float = 0.0

    def __len__(self) -> int:
        return len(self.row)

    @property
    def rows(self) -> tuple[Encoded, ...]:
        """Return the sequence that is computed for it."""
        return (self.row,)

    @property
    def supervised(self) -> int:
        """Return how many tokens it has."""
        return self.row.supervised

    @property
    def teaches(self) -> bool:
        """Tell that it counts."""
        return True


class Grpo:
    """Prefer what is rewarded."""

    rows, kind = 1, "questions"
    opens: Says = "words"
    head: Callable[[Any], Any] = HeadFilter
    shares_beginnings = True
    lost = "teach nothing and are left out"

    def __init__(self, rewards: Rewards, *, beta: float, group_size: int, room: int) -> None:
        self.rewards = rewards
        self.beta = beta
        self.group_size = group_size
        self.room = room
        self._chats: ChatEncoder | None = None
        self._first: dict[torch.nn.Parameter, Tensor] = {}

    @property
    def chats(self) -> ChatEncoder:
        """Return what reads and writes text."""
        assert self._chats is not None, "the encoder is asked for first"
        return self._chats

    def encoder(self, chats: ChatEncoder) -> Encoder[Item]:
        """Return what reads the records."""
        self._chats = chats
        return TaskEncoder(chats, self.rewards, room=self.room)

    def before(self, stage: Stage, examples: list[Item], *, role: str) -> list[Item]:  # noqa: ARG002
        """Keep the weights that training begins with: they are few, as adapters alone are trained."""
        self._first = {p: p.detach().clone() for p in stage.net.parameters() if p.requires_grad}
        return examples

    def share(self, examples: Sequence[Item]) -> int:
        """Count the tokens of the answers."""
        return sum(e.supervised for e in examples)

    def act(self, stage: Stage, examples: Sequence[Item]) -> tuple[Sequence[Item], dict[str, float]]:
        """Try answers to questions, and return them with what they are worth, and what is told of them."""
        tasks: Any = examples
        asked = [task for task in tasks for _ in range(self.group_size)]
        tried = self.tried(stage, asked, by_chance=True)
        worth, each = self.worth(asked, tried)
        spread, found = [], []
        for start in range(0, len(tried), self.group_size):
            group = worth[start : start + self.group_size]
            mean, deviation = statistics.fmean(group), statistics.stdev(group)
            spread.append(deviation)
            found += [
                Tried(one.row, one.text, one.ended, (value - mean) / (deviation + SMALL))
                for one, value in zip(tried[start : start + self.group_size], group, strict=True)
            ]
        return found, {**self.told(tried, worth, each), "reward_std": statistics.fmean(spread)}

    def told(self, tried: Sequence[Tried], worth: Sequence[float], each: Sequence[list[float]]) -> dict[str, float]:
        """Return the figures of some answers: what they are worth, and how long they are."""
        means = {
            f"rewards/{name}": statistics.fmean(numbers[at] for numbers in each)
            for at, name in enumerate(self.rewards.names)
        }
        return {
            "reward": statistics.fmean(worth),
            **means,
            "answer_tokens": statistics.fmean(one.supervised for one in tried),
            "ended": statistics.fmean(one.ended for one in tried),
        }

    def worth(self, asked: Sequence[Task], tried: Sequence[Tried]) -> tuple[list[float], list[list[float]]]:
        """Return what each answer is worth, and the numbers of the single rewards."""
        pairs = zip(asked, tried, strict=True)
        judged = self.rewards.of([Given(one.text, task.item, task.line, task.messages) for task, one in pairs])
        return [total for total, _ in judged], [numbers for _, numbers in judged]

    @torch.no_grad()
    def tried(self, stage: Stage, asked: Sequence[Task], *, by_chance: bool) -> list[Tried]:
        """Answer questions, by chance as probable as the model finds each token, or always with the likeliest."""
        stage.net.eval()
        stops = self.chats.stop_ids
        config = GenerationConfig(
            do_sample=by_chance,
            **({"temperature": 1.0, "top_p": 1.0, "top_k": 0} if by_chance else {}),
            eos_token_id=sorted(stops),
            pad_token_id=min(stops, default=0),
            use_cache=True,
            max_new_tokens=self.room,
        )
        found: dict[int, Tried] = {}
        for places in self.together(stage, asked):
            if stage.stop():
                raise Stopped
            prompts = [asked[at].asked.ids for at in places]
            with padded(stage.net):
                said = answers(stage.net, prompts, config)
            for at, answer in zip(places, said, strict=True):
                found[at] = self.one(asked[at], answer)
        stage.net.train()
        return [found[at] for at in range(len(asked))]

    def together(self, stage: Stage, asked: Sequence[Task]) -> Iterator[list[int]]:
        """Yield the places of questions that are answered together: no more tokens than a pass in training has."""
        order = sorted(range(len(asked)), key=lambda at: len(asked[at]))
        while order:
            many = 1
            while many < len(order) and (many + 1) * (len(asked[order[many]]) + self.room) <= stage.micro_tokens:
                many += 1
            yield order[:many]
            order = order[many:]

    def one(self, task: Task, answer: list[int]) -> Tried:
        """Return an answer's tokens up to and with the one that ends it, behind the question."""
        stops = self.chats.stop_ids
        end = next((at for at, token in enumerate(answer) if token in stops), None)
        ids = answer if end is None else answer[: end + 1]
        text = self.chats.tokenizer.decode(answer[:end], skip_special_tokens=True)
        asked = task.asked.ids
        row = Encoded([*asked, *ids], [False] * len(asked) + [True] * len(ids), task.line)
        return Tried(row, text, ended=end is not None)

    def outcome(self, stage: Stage, batch: MicroBatch) -> Outcome:
        """Return the summed loss of the batch's tokens, and the divergence from the first weights."""
        with torch.no_grad(), self.at_first(stage.net):
            reference = stage.head.each_log_probability(stage.net, batch)
        found = stage.head.each_log_probability(stage.net, batch)
        counts = torch.tensor(batch.counts, device=found.device)
        advantages = torch.tensor([one.advantage for one in batch.items], device=found.device, dtype=found.dtype)
        ratio = torch.exp(found - found.detach())  # 1, with the gradient of the log-probability
        apart = reference - found
        divergence = torch.exp(apart) - apart - 1
        loss = self.beta * divergence - ratio * advantages.repeat_interleave(counts)
        return Outcome(loss.sum(), {"kl": float(divergence.detach().sum())})

    @contextmanager
    def at_first(self, net: Any) -> Iterator[None]:
        """Compute with the weights that training began with, and without dropout."""
        now = {parameter: parameter.data for parameter in self._first}
        net.eval()
        try:
            for parameter, value in self._first.items():
                parameter.data = value
            yield
        finally:
            net.train()
            for parameter, value in now.items():
                parameter.data = value

    def validate(self, stage: Stage, examples: Sequence[Item]) -> tuple[float | None, Mapping[str, float]]:
        """Answer the validation questions, each once with the likeliest tokens; return what that is worth."""
        tasks: Any = examples
        tried = self.tried(stage, tasks, by_chance=False)
        return None, self.told(tried, *self.worth(tasks, tried))


def answers(net: Any, prompts: Sequence[list[int]], config: GenerationConfig) -> list[list[int]]:
    """Return the new tokens of each prompt, as far as the longest answer goes."""
    length, device, filler = max(map(len, prompts)), net.device, int(config.pad_token_id)
    ids = torch.tensor([[filler] * (length - len(p)) + p for p in prompts], device=device)
    mask = torch.tensor([[0] * (length - len(p)) + [1] * len(p) for p in prompts], device=device)
    out: Tensor = net.generate(input_ids=ids, attention_mask=mask, generation_config=config)
    return [[int(token) for token in row] for row in out[:, length:].tolist()]
