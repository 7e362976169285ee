"""A real Ray on loopback: the main job by `anytune run`, killed in the middle; a submit repeated; a job stopped.

`make test-ray` brings Ray into an environment of its own and names it (ANYTUNE_RAY); this process needs none of it.
"""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from anytune.errors import KeyRefusedError, NotFoundError, RejectedError
from anytune.local.ray_jobs import RayProvider
from anytune.providers.base import Profile
from anytune.schema.cluster import Cluster
from anytune.schema.job import JobState
from tests.local.test_ray_job import ADAPTER, adapter, asked, steps_told, trained_here, until, watched

RAY = os.environ.get("ANYTUNE_RAY", "")
pytestmark = [
    pytest.mark.ray,
    pytest.mark.timeout(900),
    pytest.mark.skipif(not Path(RAY).is_file(), reason="Ray is not tested: ANYTUNE_RAY names no ray program"),
]
ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Head:
    """Be a cluster of one machine."""

    url: str
    token: str
    depot: Path

    def provider(self, **changes: Any) -> RayProvider:
        cluster = Cluster(folder=str(self.depot), python=sys.executable, gpus=0)
        told = {"key": lambda: self.token, "base_url": self.url, "cluster": cluster, **changes}
        return RayProvider(Profile(name="ray", home=self.depot, **told))

    def jobs(self) -> list[dict[str, Any]]:
        headers = {"Authorization": f"Bearer {self.token}"}
        listed = httpx.get(f"{self.url}/api/jobs/", headers=headers, timeout=30).json()
        return [job for job in listed if job["submission_id"]]


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Head]:
    """Start a head that wants a token; its own folder has a short name, for sockets lie in it."""
    with socket.socket() as one, socket.socket() as other:
        one.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        port, unused = one.getsockname()[1], other.getsockname()[1]
    made = Head(f"http://127.0.0.1:{port}", secrets.token_hex(32), tmp_path_factory.mktemp("depot"))
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ANYTUNE", "PYTHONPATH"))}
    environment = {**kept, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": made.token, "RAY_USAGE_STATS_ENABLED": "0"}
    options = [
        *("--head", "--block", "--node-ip-address=127.0.0.1", "--port=0", f"--ray-client-server-port={unused}"),
        *("--dashboard-host=127.0.0.1", f"--dashboard-port={port}", "--include-dashboard=true"),
        *("--min-worker-port=0", "--max-worker-port=0", "--num-cpus=2", "--num-gpus=0", "--disable-usage-stats"),
        "--object-store-memory=80000000",
    ]
    with tempfile.TemporaryDirectory(prefix="ray", dir="/tmp", ignore_cleanup_errors=True) as folder:
        with (Path(folder) / "said").open("wb") as said:
            process = subprocess.Popen(
                [RAY, "start", *options, f"--temp-dir={folder}/r"],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                start_new_session=True,
            )
        try:
            until(lambda: _answers(made), 180)
            yield made
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                process.wait(60)
            _end_all(folder)


def _answers(head: Head) -> bool:
    try:
        head.jobs()
    except (httpx.HTTPError, ValueError):
        return False
    return True


def _end_all(folder: str) -> None:
    """Kill what the head has left behind: processes that were told its folder."""
    for command in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            if f"{folder}/r".encode() in command.read_bytes():
                os.kill(int(command.parent.name), signal.SIGKILL)


def command(head: Head, folder: Path, *words: str) -> subprocess.Popen[str]:
    """Start anytune as a user does."""
    (folder / "config" / "anytune").mkdir(parents=True, exist_ok=True)
    profile = {
        "base_url": head.url,
        "region": "eu",
        "cluster": {"folder": str(head.depot), "python": sys.executable, "gpus": 0},
    }
    (folder / "config" / "anytune" / "config.yaml").write_text(yaml.safe_dump({"profiles": {"ray": profile}}))
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "XDG_CONFIG_HOME": str(folder / "config"),
        "ANYTUNE_HOME": str(folder / "home"),
        "RAY_AUTH_TOKEN": head.token,
    }
    return subprocess.Popen(
        [sys.executable, "-m", "anytune", *words],
        env=environment,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_a_run_whose_anytune_was_killed_is_taken_up_and_makes_what_a_local_run_makes(
    head: Head, base: Path, chats: Path, tmp_path: Path
) -> None:
    training = {"epochs": 40, "batch_size": 4, "learning_rate": 2e-3, "seed": 7}
    job = {"name": "tides", "provider": "ray", "model": str(base), "training": training}
    job["data"] = {"train": str(chats), "residency": "eu"}
    (tmp_path / "finetune.yaml").write_text(yaml.safe_dump(job))
    started = time.monotonic()
    first = command(head, tmp_path, "run", "finetune.yaml", "-y", "--no-eval")
    assert first.stdout is not None
    for line in first.stdout:
        if "step " in line and " of 240" in line:
            break
    first.kill()
    first.wait()
    second = command(head, tmp_path, "run", "finetune.yaml", "-y", "--no-eval")
    said, _ = second.communicate(timeout=300)
    assert second.returncode == 0, said
    print(f"anytune run on Ray, killed and taken up: {time.monotonic() - started:.1f} s")
    (there,) = [each for each in head.jobs() if each["submission_id"].startswith("tides-")]
    assert there["status"] == "SUCCEEDED"
    weights = (head.depot / "jobs" / there["submission_id"] / "model" / ADAPTER).read_bytes()
    assert weights == trained_here(base, chats, tmp_path / "here", **training)[1]


def test_a_repeated_submit_is_the_same_job_and_another_of_its_name_is_refused(
    head: Head, base: Path, chats: Path
) -> None:
    provider = head.provider()
    request = asked(provider, base, chats, "twice")
    one, two = provider.create(request), provider.create(request)
    assert one.id == two.id == "twice"
    assert [job["submission_id"] for job in head.jobs() if job["submission_id"].startswith("twice")] == ["twice"]
    with pytest.raises(RejectedError, match="another one"):
        provider.create(asked(provider, base, chats, "twice", epochs=3))
    started = time.monotonic()
    assert watched(provider, two).state is JobState.SUCCEEDED
    print(f"a job of 12 steps: {time.monotonic() - started:.1f} s")


def test_a_job_is_stopped_and_one_that_was_ended_goes_on_with_the_same_bits(
    head: Head, base: Path, chats: Path, tmp_path: Path
) -> None:
    provider = head.provider()
    job = provider.create(asked(provider, base, chats, "stopped", epochs=100))
    until(lambda: steps_told(provider, job))
    started = time.monotonic()
    provider.cancel(job.id)
    assert watched(provider, job).state is JobState.CANCELLED
    print(f"stopped in {time.monotonic() - started:.1f} s")
    assert provider.cancel(job.id).state is JobState.CANCELLED

    job = provider.create(asked(provider, base, chats, "ended", epochs=40))
    until(lambda: steps_told(provider, job))
    os.kill(_pid_of("ended"), signal.SIGTERM)
    assert watched(provider, job).state is JobState.PAUSED
    provider.resume(job.id)
    done = watched(provider, job)
    assert done.state is JobState.SUCCEEDED, done
    assert adapter(provider, base, done, tmp_path / "there") == trained_here(base, chats, tmp_path / "h", epochs=40)[1]


def _pid_of(job_id: str) -> int:
    """Find the process that carries out a job on the cluster."""
    for command in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            if b"anytune.local.ray_job" not in command.read_bytes().split(b"\0"):
                continue
            if f'"job_id": "{job_id}"'.encode() in command.with_name("environ").read_bytes():
                return int(command.parent.name)
    raise AssertionError(f"no process carries out {job_id}")


def test_a_wrong_token_and_an_unknown_job_are_told_apart(head: Head) -> None:
    with pytest.raises(KeyRefusedError):
        head.provider(key=lambda: "0" * 64).retrieve("nobody-knows-this")
    with pytest.raises(NotFoundError):
        head.provider().retrieve("nobody-knows-this")
    assert head.provider().find("nobody-knows-this") is None


def test_an_interpreter_that_is_not_there_is_told_with_the_log(head: Head, base: Path, chats: Path) -> None:
    cluster = Cluster(folder=str(head.depot), python="/opt/nowhere/python", gpus=0)
    provider = head.provider(cluster=cluster)
    job = provider.create(asked(provider, base, chats, "nobody"))
    done = watched(provider, job)
    assert done.state is JobState.FAILED
    assert "/opt/nowhere/python" in (done.error or "")
    assert any("not found" in event.message for event in provider.events(job.id))
