"""Compare `anytune check` with the checks of Together's client: CPU seconds, wall seconds and peak memory, same files.

    python bench/data.py [--rounds N] [--megabytes N] [--kinds KIND ...] [--folder PATH] [--json]
    python bench/data.py --make PATH [--megabytes N] [--faulty KIND]

Each run is a fresh process; all variants of a round are interleaved, so that other load falls on all alike; minimums
are quoted, and only ratios of one run should be trusted. Ours reads a file once, for every provider; together 3.1.1
looks for UTF-8 and one object a line, 2.13.0 checks records by the rules of one provider, up to the first fault; both
read twice. With a fault on every line the comparison is with 3.1.1: most of these faults it does not see, so it reads
on; where it stops at the first, its time on the clean file stands for it. The files, and environments with both
versions of together, are made once in `--folder`. `anytune` is measured as it stands, from a compiled copy.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import tempfile
from collections.abc import Iterable
from itertools import islice
from pathlib import Path

import data_file
import data_part
import data_table
from data_process import Process, Spent, machine, snapshot, spend, together
from data_table import BARE, COMPILED, FULL, IMPORTS, ONE, STOPS, TWO, UNCOMPILED, WHOLE, Found, Seen

OURS_IN_ALL = (ONE, TWO, WHOLE)
SMALL_CHATS, SMALL_RUNS = 100, 10
SHORT_CHATS = 1_000_000
PRIVATE_SHARE = 0.25  # of the size of the other files: the scan is slower than the check
PEER = """
import sys
from together.lib.utils.files import check_file
if len(sys.argv) > 1:
    assert check_file(sys.argv[1])["is_check_passed"], "the check fails"
"""
OURS = """
import json, sys
from pathlib import Path
from anytune.data.check import check
if len(sys.argv) > 1:
    report = check([Path(sys.argv[1])], **json.loads(sys.argv[3]))
    assert report.ok == (sys.argv[2] == "clean"), report.files[0].counts
"""


def main() -> None:
    """Make a file, or run all rounds and print the tables."""
    options = parse()
    if options.make:
        print(data_file.make(options.make, megabytes=options.megabytes, faulty=options.faulty), "lines")
        return
    options.folder.mkdir(parents=True, exist_ok=True)
    files, before = make_files(options), machine()
    with tempfile.TemporaryDirectory() as scratch:
        bench = Bench(files, Path(scratch), options)
        figures = bench.figures()
        parts = data_part.measure(files, bench.compiled, rounds=options.rounds)
        found = Found(figures, bench.small(), bench.memory(), parts)
    if options.json:
        print(json.dumps({"machine": before, **data_table.document(found)}, indent=1))
    else:
        command = " ".join(["python bench/data.py", *sys.argv[1:]])
        print(f"`{command}` on {before}", data_table.text(found), sep="\n\n")


def parse() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--make", type=Path, metavar="PATH", help="only write a file of chats")
    makes = (*data_file.KINDS, data_file.PRIVATE)
    parser.add_argument("--faulty", choices=makes, help="with --make: every line's fault, or private data in some")
    parser.add_argument("--megabytes", type=float, default=200, help="size of a file in MiB")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--kinds", nargs="*", choices=data_file.KINDS, default=data_file.KINDS, help="faulty files")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "anytune-bench-data")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def make_files(options: argparse.Namespace) -> dict[str, Path]:
    """Return the file of each kind, made once for each size and each version of its maker."""
    maker = hashlib.sha256(Path(data_file.__file__).read_bytes()).hexdigest()[:8]
    files: dict[str, Path] = {}
    for kind in ("clean", *options.kinds, data_file.PRIVATE, "short", "small"):
        files[kind] = path = options.folder / f"{kind}-{options.megabytes:g}-{maker}.jsonl"
        if not path.exists():
            print(f"making {path}", file=sys.stderr)
            part = path.with_suffix(".part")
            make_file(kind, part, files["clean"], options.megabytes)
            part.rename(path)
    return files


def make_file(kind: str, path: Path, clean: Path, megabytes: float) -> None:
    """Make the file of one kind."""
    if kind == "small":
        with clean.open("rb") as stream:
            path.write_bytes(b"".join(islice(stream, SMALL_CHATS)))
    elif kind == "short":
        data_file.make_short(path, chats=SHORT_CHATS)
    elif kind == data_file.PRIVATE:
        data_file.make(path, megabytes=megabytes * PRIVATE_SHARE, faulty=kind)
    else:
        data_file.make(path, megabytes=megabytes, faulty=None if kind == "clean" else kind)


class Bench:
    """Hold the commands of all variants; `compiled` is the environment of ours."""

    def __init__(self, files: dict[str, Path], scratch: Path, options: argparse.Namespace) -> None:
        self._files, self._rounds, self._kinds = files, options.rounds, options.kinds
        self._python = {BARE: together(options.folder, "3.1.1"), FULL: together(options.folder, "2.13.0")}
        self.compiled = snapshot(scratch, compiled=True)
        self._uncompiled = snapshot(scratch, compiled=False)

    def figures(self) -> dict[tuple[str, str], Seen]:
        """Measure every variant once a round, every other round backwards."""
        pairs = [(who, kind) for kind in (IMPORTS, "clean") for who in (BARE, FULL, *OURS_IN_ALL)]
        pairs += [(who, kind) for kind in self._kinds for who in (BARE, ONE) if who == ONE or kind not in STOPS]
        found: dict[tuple[str, str], list[Spent]] = {pair: [] for pair in pairs}
        for number in range(self._rounds):
            for pair in pairs if number % 2 == 0 else reversed(pairs):
                found[pair].append(spend(self._process(*pair)))
            print(f"round {number + 1} of {self._rounds} done", file=sys.stderr)
        return {pair: least(runs) for pair, runs in found.items()}

    def small(self) -> dict[str, Seen]:
        """Measure the whole command on a small file, beside Python that does nothing."""
        command = [sys.executable, "-m", "anytune", "check", str(self._files["small"])]
        processes = [
            Process("`python -c pass`", [sys.executable, "-c", "pass"]),
            Process(COMPILED, command, self.compiled),
            Process(UNCOMPILED, command, self._uncompiled),
        ]
        found: dict[str, list[Spent]] = {process.name: [] for process in processes}
        for _ in range(SMALL_RUNS):
            for process in processes:
                found[process.name].append(spend(process))
        return {name: least(runs) for name, runs in found.items()}

    def memory(self) -> dict[str, float]:
        """Return the peaks in MB of our processes: large, many short chats, faulty."""
        peaks: dict[str, float] = {}
        for who in OURS_IN_ALL:
            for kind in ("clean", "short", *self._kinds[-1:]):
                process = self._process(who, kind)
                peaks[process.name] = spend(process).peak
        return peaks

    def _process(self, who: str, kind: str) -> Process:
        name, path = f"{who}: {kind}", [] if kind == IMPORTS else [str(self._files[kind])]
        if who in self._python:
            return Process(name, [self._python[who], "-c", PEER, *path])
        if who == WHOLE:
            command = ["-m", "anytune", "check", *(path or [str(self._files["small"])])]
            return Process(name, [sys.executable, *command], self.compiled, (0, 3))
        keywords = {"workers": 1 if who == ONE else 2}
        state = "clean" if kind in ("clean", "short") else "faulty"
        rest = [*path, state, json.dumps(keywords)] if path else []
        return Process(name, [sys.executable, "-c", OURS, *rest], self.compiled)


def least(runs: Iterable[Spent]) -> Seen:
    """Return the least seconds and the most memory."""
    runs = list(runs)
    return Seen(min(r.cpu for r in runs), min(r.wall for r in runs), max(r.peak for r in runs))


if __name__ == "__main__":
    main()
