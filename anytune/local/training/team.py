"""Several processes that take each step together, so that it is the very step that one would take.

The batches of a step are dealt out; each process adds up the gradients of its own, summed over tokens and divided by
how many the whole step has; what they found is summed over the processes. The mean is then over all supervised tokens
of the step, not a mean of means, and differs from one process's only by the order in which numbers are added.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from anytune.local.crew import WHO, Crew, gpus, own_gpu
from anytune.local.runs import Run

HOST = "127.0.0.1"
LONG = timedelta(days=7)  # a process that died is noticed by the leader; slow ones are waited for
Batch = TypeVar("Batch")


class Team:
    """Be the processes of a run as one of them sees it; one that is alone has nobody to ask."""

    def __init__(self, rank: int = 0, size: int = 1) -> None:
        self.rank, self.size = rank, size

    def most_examples(self, examples: int, most: int | None) -> int | None:
        """Return how many examples a batch may have, so that there is one for each process."""
        if self.size == 1:
            return most
        share = -(-examples // self.size)
        return share if most is None else min(most, share)

    def deal(self, batches: Sequence[Batch], cost: Callable[[Batch], int]) -> list[Batch]:
        """Return this process's batches: each, the costliest first, goes to who has least to do."""
        if self.size == 1:
            return list(batches)
        load, owner = [0] * self.size, [0] * len(batches)
        for index in sorted(range(len(batches)), key=lambda i: cost(batches[i]), reverse=True):
            owner[index] = load.index(min(load))
            load[owner[index]] += cost(batches[index])
        return [batch for batch, whose in zip(batches, owner, strict=True) if whose == self.rank]

    def agreed(self, wish: bool) -> bool:
        """Tell whether any process wishes it."""
        return wish if self.size == 1 else any(self._all(wish))

    def all(self, mine: Any) -> list[Any]:
        """Return what each process has, in their order."""
        return [mine] if self.size == 1 else self._all(mine)

    def _all(self, mine: Any) -> list[Any]:
        found: list[Any] = [None] * self.size
        dist.all_gather_object(found, mine)
        return found

    def add_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Sum the gradients over the processes; one that had no batch adds nothing."""
        if self.size == 1:
            return
        with torch.no_grad():
            for group in _alike(parameters):
                flat = torch.cat([_gradient(p).flatten() for p in group])
                dist.all_reduce(flat)
                for parameter, part in zip(group, flat.split([p.numel() for p in group]), strict=True):
                    parameter.grad = part.view_as(parameter).clone()

    def same(self, parameters: Iterable[nn.Parameter]) -> None:
        """Give all processes the leader's numbers."""
        if self.size > 1:
            with torch.no_grad():
                for parameter in parameters:
                    dist.broadcast(parameter.data, 0)

    @contextmanager
    def leader_first(self) -> Iterator[None]:
        """Let the leader go first, and the others when it is through."""
        if self.size > 1 and self.rank > 0:
            dist.barrier()
        yield
        if self.size > 1 and self.rank == 0:
            dist.barrier()

    def join(self, store: Any) -> None:
        """Wait until all are there."""
        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
        dist.init_process_group(backend, store=store, rank=self.rank, world_size=self.size, timeout=LONG)


def _gradient(parameter: nn.Parameter) -> Tensor:
    return torch.zeros_like(parameter) if parameter.grad is None else parameter.grad


def _alike(parameters: Iterable[nn.Parameter], most: int = 1 << 26) -> Iterator[list[nn.Parameter]]:
    """Yield parameters of one kind, of so many numbers together at most: each such group is sent at once."""
    group: list[nn.Parameter] = []
    for parameter in parameters:
        full = sum(p.numel() for p in group) + parameter.numel() > most
        if group and (full or parameter.dtype != group[0].dtype):
            yield group
            group = []
        group.append(parameter)
    if group:
        yield group


class Gathering:
    """Bring the team of a run together, once the leader has decided how the machine is used."""

    def __init__(self, run: Run, size: int) -> None:
        self._run, self._size = run, size
        self.crew: Crew | None = None

    def __call__(self) -> Team:
        """Return the team as the leader sees it."""
        team = Team(0, self._size)
        if self._size > 1:
            store = dist.TCPStore(HOST, 0, self._size, is_master=True, wait_for_workers=False, timeout=LONG)
            seen = dict(os.environ)
            found = gpus(seen)
            self.crew = Crew(self._run.path, self._size, store.port, {**seen, **_named(found)})
            os.environ.update(own_gpu(0, self._size, {**seen, **_named(found)}))
            team.join(store)
        return team

    def end(self) -> None:
        """Let the others go."""
        if self.crew is not None:
            self.crew.end()
        if dist.is_initialized():
            dist.destroy_process_group()


def _named(found: Sequence[str]) -> dict[str, str]:
    return {"CUDA_VISIBLE_DEVICES": ",".join(found)} if found else {}


def followed() -> Team:
    """Return the team as one of those sees it who follow."""
    rank, size, port = (int(os.environ[name]) for name in WHO)
    team = Team(rank, size)
    team.join(dist.TCPStore(HOST, port, size, is_master=False, timeout=LONG))
    return team
