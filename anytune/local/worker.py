"""The worker process: the only place from which torch is reached.

python -m anytune.local.worker run FOLDER
python -m anytune.local.worker follow FOLDER
python -m anytune.local.worker join HOST:PORT --machine N [--patience SECONDS]
python -m anytune.local.worker generate --base B [--tuned T] [--quantize Q]
python -m anytune.local.worker serve --base B --alone NAME [--tuned NAME T]… [--quantize Q]
python -m anytune.local.worker export --tuned T --to T --out FOLDER
python -m anytune.local.worker fit --model M --asked JSON
python -m anytune.local.worker preview --model M --file F --max-length N --over-length P [--line N]… [--first N]
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import resource
import sys
import time
import traceback
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, get_args

from anytune.errors import AnytuneError
from anytune.local import confine, crew, parent, spread
from anytune.local.ending import SPARE, TERMINATED, Told, explain, finish, stopped
from anytune.local.memory import shortage
from anytune.local.muster import AGAIN, PATIENCE, Muster
from anytune.local.runs import LOCK_FD, Run, take_lock, write_json
from anytune.local.target import TARGETS
from anytune.local.training.events import EventLog
from anytune.schema.training import OverLength, Quantize


def main(arguments: list[str]) -> int:
    """Parse and dispatch."""
    parser = argparse.ArgumentParser(prog="anytune.local.worker")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("run").add_argument("folder", type=Path)
    commands.add_parser("follow").add_argument("folder", type=Path)
    joins = commands.add_parser("join")
    joins.add_argument("where")
    joins.add_argument("--machine", type=int, required=True)
    joins.add_argument("--patience", type=float, default=PATIENCE)
    generate = commands.add_parser("generate")
    generate.add_argument("--base", required=True)
    generate.add_argument("--tuned", type=Path)
    generate.add_argument("--quantize", choices=get_args(Quantize))
    endpoint = commands.add_parser("serve")
    endpoint.add_argument("--base", required=True)
    endpoint.add_argument("--alone", required=True)
    endpoint.add_argument("--tuned", nargs=2, action="append", default=[])
    endpoint.add_argument("--quantize", choices=get_args(Quantize))
    export = commands.add_parser("export")
    export.add_argument("--tuned", type=Path, required=True)
    export.add_argument("--to", choices=TARGETS, required=True)
    export.add_argument("--out", type=Path, required=True)
    step = commands.add_parser("fit")
    step.add_argument("--model", type=Path, required=True)
    step.add_argument("--asked", type=json.loads, required=True)
    preview = commands.add_parser("preview")
    preview.add_argument("--model", required=True)
    preview.add_argument("--file", type=Path, required=True)
    preview.add_argument("--max-length", type=int, required=True)
    preview.add_argument("--over-length", choices=get_args(OverLength), required=True)
    preview.add_argument("--method", choices=["sft", "dpo"])
    preview.add_argument("--line", type=int, action="append", default=[])
    preview.add_argument("--first", type=int, default=0)
    preview.add_argument("--sample", type=int)
    given = parser.parse_args(arguments)
    parent.die_with_it()
    if given.command == "run":
        return run_folder(Run(given.folder.absolute()))
    if given.command == "follow":
        return follow(Run(given.folder.absolute()))
    if given.command != "join":
        stay_alone(lambda whom: print(f"refused a connection to {whom}", file=sys.stderr))
    try:
        if given.command == "join":
            from anytune.config.settings import home_of
            from anytune.local.join import join

            where = spread.place(given.where, named="the rendezvous")
            return join(where, given.machine, home=home_of(os.environ), patience=given.patience)
        if given.command == "generate":
            from anytune.local.generate import serve

            serve(given.base, given.tuned, given.quantize)
        elif given.command == "fit":
            measure(given.model, given.asked)
        elif given.command == "serve":
            from anytune.local.endpoint import serve as answer

            answer(given.base, {n: Path(f) for n, f in given.tuned}, given.quantize, alone=given.alone)
        elif given.command == "preview":
            look(given)
        else:
            from anytune.local.export import export as write

            write(given.tuned, given.to, given.out)
    except AnytuneError as error:
        print(f"{error.message}; {error.fix}" if error.fix else error.message, file=sys.stderr)
        return error.exit_code
    return 0


def measure(model: Path, asked: dict[str, Any]) -> None:
    """Take a step of a model without its weights, and print what it needs."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    from anytune.local.memory.exact import step_bytes

    training, way = asked.pop("training"), asked.pop("way")
    out.write(json.dumps(step_bytes(model, training, way, **asked)))
    out.close()


def look(given: argparse.Namespace) -> None:
    """Answer what a preview asks, without torch: nothing is computed, and the start takes a third of the time."""
    sys.modules["torch"] = None  # type: ignore[assignment]  # an import of it fails, as where it is not installed
    from anytune.local.preview import Question, answer
    from anytune.local.records import Limit

    answer(
        Question(
            file=given.file,
            model=given.model,
            limit=Limit(given.max_length, given.over_length),
            method=given.method,
            lines=tuple(given.line),
            first=given.first,
            sample=given.sample,
        )
    )


def stay_alone(told: confine.Refused) -> None:
    """Keep every library from the network; must come before they are imported. `told` hears of each try."""
    confine.offline_switches()
    confine.seclude(told)
    quiet()


def quiet() -> None:
    """Keep libraries from telling others or the terminal what is done here."""
    os.environ.update(
        HF_HUB_DISABLE_TELEMETRY="1",
        DISABLE_TELEMETRY="1",
        DO_NOT_TRACK="1",
        HF_HUB_DISABLE_PROGRESS_BARS="1",
        TOKENIZERS_PARALLELISM="false",
        TRANSFORMERS_VERBOSITY="error",
        TORCHDYNAMO_DISABLE="1",  # nothing is compiled here, and bitsandbytes would load the compiler for a second
    )


class StopWish(Told):
    """Remember that somebody wants the run to end: also by the cancel mark."""

    def __init__(self, run: Run) -> None:
        super().__init__()
        self._run = run

    def __call__(self) -> bool:
        """Tell whether to stop."""
        return super().__call__() or self._run.cancel_mark.exists()


def run_folder(run: Run) -> int:
    """Carry out one run and leave a result whatever happens, unless we are killed."""
    lock = int(os.environ.pop(LOCK_FD)) if LOCK_FD in os.environ else take_lock(run.path)
    if lock is None or (run.result() or {}).get("state") == "succeeded":
        return 0  # another worker has it, or it is done
    fcntl.fcntl(lock, fcntl.F_SETFD, fcntl.FD_CLOEXEC)  # a child of ours must not outlive us with the lock
    stop = StopWish(run)
    (run.path / "worker.pid").write_text(str(os.getpid()))
    (run.path / "spare").write_bytes(bytes(SPARE))
    events = EventLog(run.path / "events.jsonl", interval=run.request().get("event_seconds", 0.2))
    offline, muster = run.request().get("offline", True), None
    start, cpu = time.monotonic(), time.process_time()
    try:
        spread.require_named(os.environ, run.request())
        muster = Muster.of(os.environ, run.path.parent.parent, partial(events.tell, level="warning"))
        stay_alone(Once(events)) if offline else quiet()
        events.tell("the worker has started", pid=os.getpid(), network=network(offline=offline))
        shortage.fall_after_kill(run, events, now=shortage.kills())
        outcome = {"state": "succeeded", **carry_out(run, events, stop, muster)}
    except BaseException as error:  # the one edge: whatever it was, the folder must say how the run ended
        traceback.print_exc()
        fell = shortage.fall(run, error, events)
        if fell and not stop():
            dismiss(muster, AGAIN)
            shortage.begin_anew(run, lock)
        outcome = stopped(run) if fell else explain(error, run)
    outcome |= {
        "finished_at": datetime.now(UTC).isoformat(),
        "process_seconds": time.monotonic() - start,
        "process_cpu_seconds": time.process_time() - cpu,
        "peak_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }
    finish(run, events, outcome)
    dismiss(muster, outcome["state"])
    return {"succeeded": 0, "cancelled": TERMINATED, "interrupted": TERMINATED}.get(outcome["state"], 1)


def dismiss(muster: Muster | None, word: str) -> None:
    """Tell the other machines, if there are any, how it ended."""
    if muster is not None:
        muster.dismiss(word)


def carry_out(run: Run, events: EventLog, stop: StopWish, muster: Muster | None) -> dict[str, Any]:
    """Train and return the figures."""
    size, beside = spread.everywhere(os.environ), spread.wanted(os.environ)
    if size > 1 and run.request().get("method") == "rft":  # the answers of a step are tried by one
        events.tell(f"one process trains, not {size}: learning from rewards knows no more", level="warning")
        size, beside, muster = 1, 1, None
    if size > 1 and muster is None:
        confine.raise_loopback()
    if muster is not None:
        events.tell(f"waiting for {muster.machines - 1} more machines at {muster.where[0]}:{muster.where[1]}")
    from anytune.local.training.qlora import train
    from anytune.local.training.team import Gathering, Stopped

    gather = Gathering(run, beside, muster, stop)
    try:
        if stop():
            raise Stopped
        figures = train(run, run.path.parent.parent / "files", events, stop, gather)
    except Stopped:
        return stopped(run)
    except Exception as error:
        if gather.crew is not None and (death := gather.crew.cause()) is not None:
            if "gone" in death:
                events.tell(death["error"], level="error")
                return stopped(run)
            raise crew.another_died(death) from error
        raise
    finally:
        gather.end()
    packages = ("torch", "transformers", "peft", "bitsandbytes", "safetensors")
    return {**figures, "versions": {name: version(name) for name in packages}}


def follow(run: Run) -> int:
    """Train along with the process that leads; what goes wrong is left for it to tell."""
    crew.die_with_the_parent()
    stop, offline = StopWish(run), run.request().get("offline", True)
    stay_alone(lambda whom: print(f"refused a connection to {whom}", file=sys.stderr)) if offline else quiet()
    rank = int(os.environ["ANYTUNE_RANK"])
    from anytune.local.training.qlora import train
    from anytune.local.training.team import Stopped, followed

    try:
        train(run, run.path.parent.parent / "files", EventLog(Path(os.devnull)), stop, followed)
    except Stopped:
        return 0
    except BaseException as error:  # as for the leader: whatever it was, it must be said
        traceback.print_exc()
        fell = {"opening": error.opening, "tokens": error.tokens} if isinstance(error, shortage.ShortOfMemory) else {}
        write_json(crew.report(Path(os.environ[crew.REPORTS]), rank), {**explain(error, run), **fell})
        return 1
    return 0


def network(*, offline: bool) -> str:
    """Say what this worker could reach: `none` as the kernel sees it, `refused` by Python alone, or `open`."""
    if not confine.has_network():
        return "none"
    return "refused" if offline else "open"


class Once:
    """Write an event the first time that somebody beyond this machine is tried."""

    def __init__(self, events: EventLog) -> None:
        self._events = events
        self._told: set[str] = set()

    def __call__(self, whom: str) -> None:
        """Tell of one try."""
        if whom not in self._told:
            self._told.add(whom)
            self._events.tell(f"a library wanted to reach {whom}: refused", level="warning", refused=whom)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
