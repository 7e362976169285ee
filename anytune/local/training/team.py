"""Several processes that take each step together, so that it is the very step that one would take.

The batches of a step are dealt out; each process adds up the gradients of its own, summed over tokens and divided by
how many the whole step has; what they found is summed over the processes. The mean is then over all supervised tokens
of the step, not a mean of means, and differs from one process's only by the order in which numbers are added.
What they say to each other is JSON: a pickle that came over a network could be any code.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from anytune.errors import UsageError
from anytune.local.crew import INTERFACE, LOOPBACK, WHO, Crew, Place
from anytune.local.muster import Muster, interface_of
from anytune.local.runs import Run
from anytune.local.spread import gpus, own_gpu

ONE_HOME = "put ANYTUNE_HOME and the base model where all machines see the same files"
LONG = timedelta(days=7)  # a process that died is noticed by the leader; slow ones are waited for
Batch = TypeVar("Batch")


class Stopped(Exception):
    """Be told to stop; the last step is saved."""


class Team:
    """Be the processes of a run as one of them sees it; one that is alone has nobody to ask."""

    def __init__(self, rank: int = 0, size: int = 1, *, beside: int = 1) -> None:
        self.rank, self.size = rank, size
        self.beside = beside  # how many of them are on this machine
        self.in_step = False  # whether all have to compute the same number of batches

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

    def rounds(self, batches: Sequence[Batch], cost: Callable[[Batch], int]) -> list[Batch | None]:
        """Return this process's batches, as many as each has: like ones in a round, None where none is left."""
        order = sorted(range(len(batches)), key=lambda i: cost(batches[i]), reverse=True)
        count = -(-len(batches) // self.size)
        mine = [batches[i] for i in order[self.rank :: self.size]]
        return mine + [None] * (count - len(mine))

    def agreed(self, wish: bool) -> bool:
        """Tell whether any process wishes it."""
        return wish if self.size == 1 else any(self._all(wish))

    def told(self, found: Callable[[], Any]) -> Any:
        """Return what the leader finds, and only it looks for: something that JSON can hold."""
        if self.size == 1:
            return found()
        said = _bytes(found()) if self.rank == 0 else torch.empty(0, dtype=torch.uint8)
        length = torch.tensor([len(said)])
        dist.broadcast(length, 0)
        said = said if self.rank == 0 else torch.empty(int(length), dtype=torch.uint8)
        dist.broadcast(said, 0)
        return _read(said)

    def all(self, mine: Any) -> list[Any]:
        """Return what each process has, in their order: something that JSON can hold."""
        return [mine] if self.size == 1 else self._all(mine)

    def _all(self, mine: Any) -> list[Any]:
        said = _bytes(mine)
        lengths = [torch.zeros(1, dtype=torch.int64) for _ in range(self.size)]
        dist.all_gather(lengths, torch.tensor([len(said)]))
        most = max(map(int, lengths))
        found = [torch.empty(most, dtype=torch.uint8) for _ in range(self.size)]
        dist.all_gather(found, nn.functional.pad(said, (0, most - len(said))))
        return [_read(each[: int(length)]) for each, length in zip(found, lengths, strict=True)]

    def require_same(self, mine: Any, what: str) -> None:
        """Raise `UsageError` where a process has something else: together they would make a model of neither."""
        if any(each != mine for each in self.all(mine)):
            raise UsageError(f"not all processes of the run see the same {what}", fix=ONE_HOME)

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

    def join(self, store: Any) -> None:
        """Wait until all are there."""
        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
        for name in ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"):
            if os.environ[INTERFACE]:  # else it is left to them
                os.environ.setdefault(name, os.environ[INTERFACE])
        dist.init_process_group(backend, store=store, rank=self.rank, world_size=self.size, timeout=LONG)


def _bytes(said: Any) -> Tensor:
    """Return JSON as bytes, of shape (bytes,), beside which nothing travels."""
    return torch.frombuffer(bytearray(json.dumps(said).encode()), dtype=torch.uint8)


def _read(told: Tensor) -> Any:
    return json.loads(told.numpy().tobytes())


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


Decide = Callable[[int], dict[str, Any]]
Gather = Callable[[Decide], tuple[Team, dict[str, Any]]]


def alone(decide: Decide) -> tuple[Team, dict[str, Any]]:
    """Return a team of one, and what it has decided."""
    return Team(), decide(1)


class Gathering:
    """Bring the team of a run together, once the leader has decided how the machine is used.

    So many processes are on each machine; `muster` holds the lines to the others, if there are any.
    """

    def __init__(self, run: Run, beside: int, muster: Muster | None, stop: Callable[[], bool]) -> None:
        self._run, self._beside, self._muster, self._stop = run, beside, muster, stop
        self._size = beside * (1 if muster is None else muster.machines)
        self.crew: Crew | None = None

    def __call__(self, decide: Decide) -> tuple[Team, dict[str, Any]]:
        """Return the team as the leader sees it, and what was decided."""
        team, decided = Team(0, self._size, beside=self._beside), decide(self._size)
        if self._size > 1:
            team.join(self._meet())
        return team, team.told(lambda: decided)

    def _meet(self) -> Any:
        """Start those on this machine, have the others started, and return the store where all meet."""
        muster, seen = self._muster, dict(os.environ)
        if muster is not None and not muster.gather(self._stop):
            raise Stopped
        host = LOOPBACK if muster is None else muster.address
        store = dist.TCPStore(host, 0, self._size, is_master=True, wait_for_workers=False, timeout=LONG)
        place = Place(0, self._beside, self._size, host, store.port, interface_of(host) or "")
        seen |= _named(gpus(seen))
        others = [] if muster is None else list(muster.away.values())
        self.crew = Crew(self._run.path, place, seen, reports=self._run.path, others=others)
        self.crew.watch()
        if muster is not None:
            muster.tell(lambda machine: {"run": str(self._run.path), **_place(place, machine)})
        os.environ.update({INTERFACE: place.interface, **own_gpu(0, self._beside, seen)})
        return store

    def end(self) -> None:
        """Let the others go."""
        if self.crew is not None:
            self.crew.end()
        if dist.is_initialized():
            dist.destroy_process_group()


def _named(found: Sequence[str]) -> dict[str, str]:
    return {"CUDA_VISIBLE_DEVICES": ",".join(found)} if found else {}


def _place(leader: Place, machine: int) -> dict[str, Any]:
    """Return where the processes of another machine stand."""
    first, beside = machine * leader.beside, leader.beside
    return {"first": first, "beside": beside, "size": leader.size, "host": leader.host, "port": leader.port}


def followed(decide: Decide) -> tuple[Team, dict[str, Any]]:  # noqa: ARG001
    """Return the team as one of those sees it who follow, and what the leader has decided."""
    rank, size, beside, host, port = (os.environ[name] for name in WHO)
    team = Team(int(rank), int(size), beside=int(beside))
    team.join(dist.TCPStore(host, int(port), team.size, is_master=False, timeout=LONG))
    return team, team.told(dict)
