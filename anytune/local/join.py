"""A machine that trains along with another one: it comes to where that one listens, and starts what it is told to.

python -m anytune.local.worker join HOST:PORT --machine N

It watches the processes that it starts, says if one of them dies, and ends them when the machine that leads is gone. It
writes nothing into the run's folder, which must be there under the same path, and believes nobody who has not the
secret of its own home. No torch is here.
"""

from __future__ import annotations

import os
import socket
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from anytune.errors import AnytuneError
from anytune.local import secret
from anytune.local.crew import Crew, Place
from anytune.local.ending import Told
from anytune.local.muster import AGAIN, GREETING, PATIENCE, Line, Message, interface_of, versions

OVER = 120.0  # seconds for which the end of a run is waited for when one of our own processes is dead
GONE = 7  # the status of a run that can go on, as `anytune run` has it
STATUS = {"succeeded": 0, "cancelled": GONE, "interrupted": GONE}


def join(where: tuple[str, int], machine: int, *, home: Path, patience: float = PATIENCE) -> int:
    """Train along until the run is over; return the status to end with."""
    wish = Told()
    while True:
        line = connected(where, wish, home, patience)
        if line is None:
            return GONE if wish() else 1
        if not trusted(line, home, wish):
            line.close()
            if not wish():
                said = f"who listens at {where[0]}:{where[1]} does not know the secret of {home}"
                print(f"{said}: set ANYTUNE_HOME to the same on all machines", file=sys.stderr)
            return GONE if wish() else 1
        word = served(line, machine, wish)
        line.close()
        if word != AGAIN:
            return STATUS.get(word, 1)


def connected(where: tuple[str, int], wish: Told, home: Path, patience: float) -> Line | None:
    """Return the line to who listens there; None, and say why, if nobody does in that time, or no secret is there."""
    end = time.monotonic() + patience
    while not wish() and time.monotonic() < end:
        if secret.read(home) is not None:
            with suppress(OSError):
                return Line(socket.create_connection(where, timeout=5))
        time.sleep(0.2)
    if secret.read(home) is None:
        print(f"no secret is in {home}: set ANYTUNE_HOME to the same on all machines", file=sys.stderr)
    else:
        print(f"nobody listens at {where[0]}:{where[1]}", file=sys.stderr)
    return None


def trusted(line: Line, home: Path, wish: Told) -> bool:
    """Tell whether who listens has the secret of our home, once it asks whether we have."""
    shared, asked = secret.read(home), line.awaited(float("inf"), wish)
    return shared is not None and asked is not None and secret.shown_to(line, shared, asked, GREETING)


def served(line: Line, machine: int, wish: Told) -> str:
    """Do what the machine that leads asks for, and return how the run ended, by its word."""
    line.tell({"machine": machine, "versions": versions()})
    told = line.awaited(float("inf"), wish) or {}
    if "refused" in told:
        print(f"the machine that leads refuses this one: {told['refused']}", file=sys.stderr)
        return "refused"
    if "run" not in told:
        return _ending(line, told, wish)
    folder = Path(told["run"])
    if not (folder / "request.json").is_file():
        error = f"{socket.gethostname()} does not see {folder}"
        line.tell({"status": 1, "error": error, "cause": "user", "fix": "put ANYTUNE_HOME where all machines see it"})
        return _ending(line, line.awaited(OVER) or {}, wish)
    with tempfile.TemporaryDirectory(prefix="anytune-join-") as reports:
        try:
            interface = interface_of(line.address) or ""
            place = Place(told["first"], told["beside"], told["size"], told["host"], told["port"], interface)
            crew = Crew(folder, place, dict(os.environ), reports=Path(reports))
        except AnytuneError as error:
            line.tell({"status": 1, "error": f"{socket.gethostname()}: {error.message}", "cause": "user"})
            return _ending(line, line.awaited(OVER) or {}, wish)
        try:
            return watched(line, crew, wish)
        finally:
            crew.end()


def watched(line: Line, crew: Crew, wish: Told) -> str:
    """Watch the processes of this machine until the one that leads says how the run ended."""
    asked = False
    while True:
        for message in line.heard():
            if "end" in message:
                return str(message["end"])
        if line.lost:
            return _ending(line, {}, wish)
        if wish() and not asked:
            crew.terminate()
            asked = True
        if (death := crew.death()) is not None:
            time.sleep(0.3)  # others may die after the first
            line.tell(crew.death() or death)
            crew.end()
            return _ending(line, line.awaited(OVER) or {}, wish)
        time.sleep(0.1)


def _ending(line: Line, told: Message, wish: Told) -> str:
    """Return the word of the end; a line that is lost without one means that a run can go on."""
    if "end" in told:
        return str(told["end"])
    if line.lost:
        print("the machine that leads is gone", file=sys.stderr)
    return "interrupted" if line.lost or wish() else "failed"
