"""What hosted providers cost here: a plan without a key, transfers against plain curl, calls for each look at a job.

    python bench/providers.py [--upload-mb 400] [--download-mb 2000] [--rounds 3] [--only plan,upload,download,calls]

Goals: `plan --all` in at most 0.6 s as a whole process, without an SDK; an upload of 400 MB and a download of 8 GB in
at most 80 MB of memory; an upload at least 0.9 times as quick as curl's on the same loopback; one call a job and look,
plus events where something changed. Transfers are timed at the far side, from their first byte to their last; whole
processes, which import, hash, unpack and look at what came, are given beside them. Variants are interleaved; machines
are noisy, so trust ratios of one run. A download of N MB takes 3 N MB of disk for a while.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "bench")]

from data_process import Process, Spent, spend  # noqa: E402

JOB = ROOT / "examples" / "english-to-sql" / "finetune.yaml"
PARTS = ("plan", "upload", "download", "calls")
SDKS = re.compile(r"\|\s+(openai|together|httpx2?|huggingface_hub|torch)$", re.MULTILINE)
MB = 1_000_000

CLIENT = """
import sys, time
from pathlib import Path
from anytune.providers.base import Profile
from anytune.providers.together import TogetherProvider
from anytune.schema.data import DataFile
from anytune.schema.model import TunedModel
act, url, path, sha256 = sys.argv[1:]
at = TogetherProvider(Profile(name="together", home=Path("."), key=lambda: "bench-key", base_url=url))
path = Path(path)
if act == "upload":
    size = path.stat().st_size
    at.upload(DataFile(role="train", path=path, sha256=sha256, bytes=size, examples=size // 1000))
else:
    names = {"name": "bench/model", "job_id": "bench-0123456789", "remote_id": "ft-bench"}
    made = TunedModel(provider="together", base="base", **names)
    at.export(made, to="adapter", out=path)
"""


class Run(NamedTuple):
    """Say what one transfer took: seconds at the far side, wall and CPU seconds of the process, its peak in MB."""

    transfer: float
    whole: float
    cpu: float
    peak: float


def main() -> None:
    """Measure what was asked for and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--upload-mb", type=int, default=400)
    parser.add_argument("--download-mb", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default=",".join(PARTS))
    given = parser.parse_args()
    wanted = given.only.split(",")
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as folder:
        place = Path(folder)
        if "plan" in wanted:
            plan(place, rounds=given.rounds)
        if "upload" in wanted:
            upload(place, size=given.upload_mb * MB, rounds=given.rounds)
        if "download" in wanted:
            download(place, size=given.download_mb * MB, rounds=given.rounds)
        if "calls" in wanted:
            calls(place)


def plan(place: Path, *, rounds: int) -> None:
    """Time `plan --all` as a whole process without any key, and look which SDKs it imports."""
    keyless = {name: "" for name in os.environ if name.endswith("_API_KEY")}
    # An installed package has compiled files; a checkout may lack them, so that the first round, which does not count,
    # makes them.
    compiled = {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(place / "compiled")}
    around = {"ANYTUNE_HOME": str(place / "home"), "PYTHONPATH": str(ROOT), **keyless, **compiled}
    command = ["-m", "anytune", "plan", str(JOB), "--all"]
    kinds = {"plan": Process("plan --all", [sys.executable, *command], around)}
    kinds["bare"] = Process("bare", [sys.executable, "-c", "pass"], compiled)
    runs = [{name: spend(kind) for name, kind in kinds.items()} for _ in range(rounds + 1)][1:]
    looking = [sys.executable, "-X", "importtime", *command]
    told = subprocess.run(looking, env={**os.environ, **around}, capture_output=True, text=True, check=True)
    wall, cpu, bare = (statistics.median(values) for values in zip(*map(_figures, runs), strict=True))
    best, peak = min(run["plan"].cpu for run in runs), max(run["plan"].peak for run in runs)
    figures = (
        f"{wall:.2f} s, CPU {cpu:.2f} s (at best {best:.2f} s, {cpu / bare:.1f} times bare Python), peak {peak:.0f} MB"
    )
    say("plan --all, whole process, no key", figures)
    say("SDKs that it imports", ", ".join(sorted(set(SDKS.findall(told.stderr)))) or "none")


def _figures(run: dict[str, Spent]) -> tuple[float, float, float]:
    return run["plan"].wall, run["plan"].cpu, run["bare"].cpu


def upload(place: Path, *, size: int, rounds: int) -> None:
    """Send a file by Together's adapter and by curl, in turns."""
    path = place / "train.jsonl"
    sha256 = made("chats", path, size)
    ours, curl = [], []
    with far_side(path) as (url, journal):
        for _ in range(rounds):
            ours.append(timed(client("upload", url, path, sha256), journal))
            curl.append(timed(["curl", "-sS", "-T", str(path), f"{url}/storage"], journal))
    path.unlink()
    compare(f"upload of {size // MB} MB", size, ours, curl)


def download(place: Path, *, size: int, rounds: int) -> None:
    """Fetch and unpack an archive by Together's adapter, fetch it by curl, in turns."""
    archive, out = place / "model.tar.zst", place / "model"
    made("archive", archive, size)
    ours, curl = [], []
    with far_side(archive) as (url, journal):
        for _ in range(rounds):
            ours.append(timed(client("download", url, out, ""), journal))
            subprocess.run(["rm", "-r", str(out)], check=True)
            target = str(place / "curl")
            curl.append(timed(["curl", "-sS", "-o", target, f"{url}/v1/finetune/download"], journal))
            os.unlink(target)
    compare(f"download of {archive.stat().st_size // MB} MB", archive.stat().st_size, ours, curl)
    archive.unlink()


def compare(what: str, size: int, ours: list[Run], curl: list[Run]) -> None:
    """Print medians, the quickest, and the ratio of what both reached."""
    for name, runs in (("anytune", ours), ("curl", curl)):
        middle, whole = (statistics.median(run[n] for run in runs) for n in (0, 1))
        best, cpu, peak = min(r.transfer for r in runs), min(r.cpu for r in runs), max(r.peak for r in runs)
        rate = f"{size / MB / middle:,.0f} MB/s, at best {size / MB / best:,.0f}"
        say(f"{what}: {name}", f"{rate}; whole process {whole:.2f} s, CPU {cpu:.2f} s, peak {peak:.0f} MB")
    middle = statistics.median(r.transfer for r in curl) / statistics.median(r.transfer for r in ours)
    best = min(r.transfer for r in curl) / min(r.transfer for r in ours)
    say(f"{what}: anytune / curl", f"{middle:.2f} by medians, {best:.2f} by the quickest")


def client(act: str, url: str, path: Path, sha256: str) -> list[str]:
    """Return the command of one transfer by our adapter."""
    return [sys.executable, "-c", CLIENT, act, url, str(path), sha256]


def timed(command: list[str], journal: IO[str]) -> Run:
    """Run one transfer and take its time at the far side."""
    spent = spend(Process(command[0], command, {"PYTHONPATH": str(ROOT)}))
    return Run(json.loads(journal.readline())["seconds"], spent.wall, spent.cpu, spent.peak)


@contextmanager
def far_side(archive: Path) -> Iterator[tuple[str, IO[str]]]:
    """Serve in a process of its own."""
    command = [sys.executable, str(ROOT / "bench" / "providers_side.py"), str(archive)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield f"http://127.0.0.1:{int(process.stdout.readline())}", process.stdout
        finally:
            process.kill()


def made(kind: str, path: Path, size: int) -> str:
    """Have a file made by a process of its own: what this one holds would count as the peak of those it starts."""
    command = [sys.executable, str(ROOT / "bench" / "providers_files.py"), kind, str(path), str(size)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def calls(place: Path) -> None:
    """Count the calls of one job's life at each stand-in: while it waits, while it runs, by look."""
    from providers_calls import counted

    for name, phase, looks, asked in counted(place):
        each = ", ".join(f"{number / looks:.2f} {what}" for what, number in asked.items() if number)
        say(f"calls for each look, {name}, {phase}", f"{sum(asked.values()) / looks:.2f} ({each})")


def say(what: str, figure: str) -> None:
    """Print one line."""
    print(f"{what:<58} {figure}", flush=True)


if __name__ == "__main__":
    main()
