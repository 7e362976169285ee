"""The life of a run: a whole one in a real worker, killed ones, cancelled ones, failing ones."""

from __future__ import annotations

import ctypes
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytestmark = pytest.mark.local

from anytune.local import confine  # noqa: E402
from anytune.local.provider import LocalProvider  # noqa: E402
from anytune.local.runs import Run, new_run, read_json  # noqa: E402
from anytune.schema.job import JobState, RemoteJob  # noqa: E402
from tests.local.conftest import chat, ended, new_provider, request, wait, write_lines  # noqa: E402

Finished = tuple[LocalProvider, RemoteJob]


def begin(
    provider: LocalProvider, run: Run, *, lock: int | None = None, first: Callable[[], None] = lambda: None
) -> int:
    """Start the worker as a copy of this process, which has torch loaded already; return its process id."""
    from anytune.local import worker

    child = os.fork()
    if child:
        return child
    os.setsid()
    log = os.open(run.path / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    code = 99
    try:
        first()
        code = worker.run_folder(run)
    finally:
        os._exit(code)


def folder(provider: LocalProvider, body: dict[str, Any]) -> Run:
    run, lock = new_run(provider.home / "runs", body["job_id"], body)
    assert lock is not None
    os.close(lock)
    return run


def result(run: Run) -> dict[str, Any]:
    found = run.result()
    assert found is not None, (run.path / "log").read_text()[-2000:]
    return found


def run_now(provider: LocalProvider, run: Run, *, first: Callable[[], None] = lambda: None) -> dict[str, Any]:
    """Run a worker to its end and return its result."""
    os.waitpid(begin(provider, run, first=first), 0)
    return result(run)


def test_a_run_in_its_own_process_ends_with_a_model_and_its_figures(finished: Finished) -> None:
    provider, job = finished
    run = provider.home / "runs" / "whole"
    assert (job.status, job.state) == ("succeeded", JobState.SUCCEEDED)
    assert job.model == str(run / "model")
    assert job.seen_job_id == "whole"
    assert job.finished_at is not None
    figures = json.loads((run / "result.json").read_text())
    assert figures["steps"] == 12
    assert figures["trained_tokens"] == job.trained_tokens > figures["supervised_tokens"] > 0
    assert figures["valid_loss"] < 7
    assert figures["peak_rss_bytes"] > 10**8
    assert set(figures["versions"]) == {"torch", "transformers", "peft", "bitsandbytes", "safetensors"}
    assert sorted(p.name for p in (run / "checkpoints").iterdir()) == ["step-00000011", "step-00000012"]


def test_events_tell_the_course_of_a_run(finished: Finished) -> None:
    provider, _ = finished
    events = provider.events("whole")
    assert len({e.id for e in events}) == len(events)
    last = [e for e in events if e.data.get("step") == 12][-1].data
    assert last["total_steps"] == 12
    assert last["epoch"] == 2.0
    assert last["eta_seconds"] == 0
    assert {"loss", "valid_loss", "learning_rate", "tokens_per_second"} <= last.keys()
    assert events[-1].message == "succeeded"
    losses = [e.data["valid_loss"] for e in events if e.data.get("valid_loss") is not None]
    assert len(losses) == 2
    assert losses[1] < losses[0]


def test_a_second_create_is_the_same_run(finished: Finished) -> None:
    provider, job = finished
    body = read_json(provider.home / "runs" / "whole" / "request.json")
    assert body is not None
    assert provider.create(body) == job
    assert provider.resume("whole") == job
    assert provider.cancel("whole") == job
    assert provider.find("whole") == job


def test_the_adapter_opens_in_peft(finished: Finished, base: Path) -> None:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    _, job = finished
    net = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), job.model)
    ups = [p for name, p in net.named_parameters() if "lora_B" in name]
    assert len(ups) == 14
    assert all(torch.any(p != 0) for p in ups)


def test_a_run_killed_at_any_moment_ends_with_the_same_weights(
    finished: Finished, base: Path, chats: Path, tmp_path: Path
) -> None:
    _, whole = finished
    wanted = read_json(Path(str(whole.model)).parent / "result.json")
    assert wanted is not None
    provider = new_provider(tmp_path)
    run = folder(provider, request(provider, base, chats, "killed"))
    chance, kills = random.Random(5), 0
    while run.result() is None:
        child, steps = begin(provider, run), chance.randint(1, 4)
        start = len(provider.events("killed"))
        while len(provider.events("killed")) < start + steps and os.waitpid(child, os.WNOHANG)[0] == 0:
            time.sleep(0.002)
        time.sleep(chance.random() * 0.05)
        try:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            kills += 1
        except (ProcessLookupError, ChildProcessError):
            break
        if run.result() is None:
            job = provider.retrieve("killed")
            assert job.state == JobState.PAUSED
            assert "resume goes on from step" in str(job.error)
        if kills == 8:
            run_now(provider, run)
    got = result(run)
    assert kills >= 3
    for name in ("adapter_sha256", "trained_tokens", "supervised_tokens", "train_loss", "valid_loss", "steps"):
        assert got[name] == wanted[name], name


def test_a_killed_run_whose_chats_share_a_prompt_ends_with_the_same_weights(base: Path, tmp_path: Path) -> None:
    prompt = {"role": "system", "content": "Answer in few words, and only what was asked. " * 3}
    told = [{"messages": [prompt, *chat(n)["messages"][1:]]} for n in range(8)]
    data, results = write_lines(tmp_path / "shared.jsonl", told), []
    for name in ("whole", "killed"):
        provider = new_provider(tmp_path / name)
        run = folder(provider, request(provider, base, data, name, epochs=6))
        while run.result() is None:
            child = begin(provider, run)
            if name == "killed" and not list(run.path.glob("checkpoints/step-*")):
                wait(provider, name, lambda _, run=run: any(run.path.glob("checkpoints/step-*")))
                os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        results.append(result(run))
    whole, killed = results
    assert any("going on from step" in e.message for e in provider.events("killed"))
    assert whole["computed_tokens"] < 0.6 * whole["trained_tokens"]
    for name in ("adapter_sha256", "trained_tokens", "computed_tokens", "train_loss", "valid_loss", "steps"):
        assert killed[name] == whole[name], name


def test_a_damaged_checkpoint_costs_one_interval_and_is_told(
    finished: Finished, base: Path, chats: Path, tmp_path: Path
) -> None:
    source, _ = finished
    provider = new_provider(tmp_path)
    run = folder(provider, request(provider, base, chats, "damaged"))
    shutil.copytree(source.home / "runs" / "whole" / "checkpoints", run.path / "checkpoints")
    shutil.copy(source.home / "runs" / "whole" / "machine.json", run.path)
    (run.path / "checkpoints" / "step-00000012" / "optimizer.safetensors").write_bytes(b"")
    got = run_now(provider, run)
    messages = [e.message for e in provider.events("damaged")]
    assert any("step-00000012 is damaged and passed over" in m for m in messages)
    assert "going on from step 11" in messages
    assert got["adapter_sha256"] == result(Run(source.home / "runs" / "whole"))["adapter_sha256"]


def test_cancel_saves_and_a_cancelled_run_can_go_on(
    finished: Finished, base: Path, chats: Path, tmp_path: Path
) -> None:
    provider = new_provider(tmp_path)
    run = folder(provider, request(provider, base, chats, "stopped", epochs=50))
    child = begin(provider, run)
    wait(provider, "stopped", lambda _: any("step 1 of" in e.message for e in provider.events("stopped")))
    assert provider.retrieve("stopped").state == JobState.RUNNING
    assert provider.cancel("stopped").state in {JobState.CANCELLING, JobState.CANCELLED}
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 143
    job = wait(provider, "stopped", ended)
    assert job.state == JobState.CANCELLED
    saved = result(run)["saved_step"]
    assert 1 <= saved < 300
    provider.resume("stopped")  # a real worker
    wait(
        provider,
        "stopped",
        lambda _: any(f"going on from step {saved}" in e.message for e in provider.events("stopped")),
    )
    provider.cancel("stopped")
    assert wait(provider, "stopped", ended).state == JobState.CANCELLED


def test_a_system_that_shuts_down_interrupts_a_run_and_does_not_end_it(base: Path, chats: Path, tmp_path: Path) -> None:
    provider = new_provider(tmp_path)
    run = folder(provider, request(provider, base, chats, "shut", epochs=50))
    child = begin(provider, run)
    wait(provider, "shut", lambda _: any("step 1 of" in e.message for e in provider.events("shut")))
    os.kill(child, signal.SIGTERM)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 143
    job = provider.retrieve("shut")
    assert job.state == JobState.PAUSED
    assert "resume goes on from step" in str(job.error)


def test_sigterm_during_the_start_cancels_before_any_step(base: Path, chats: Path, tmp_path: Path) -> None:
    provider = new_provider(tmp_path)
    run = folder(provider, request(provider, base, chats, "early"))
    run.cancel_mark.touch()
    assert run_now(provider, run)["state"] == "cancelled"
    assert not (run.path / "checkpoints").exists()


@pytest.mark.parametrize("training", [{"quantize": None}, {"lora": None}], ids=["LoRA", "full"])
def test_without_quantising_and_without_lora(base: Path, chats: Path, tmp_path: Path, training: dict[str, Any]) -> None:
    from transformers import AutoModelForCausalLM

    provider = new_provider(tmp_path)
    run = folder(provider, request(provider, base, chats, "plain", **training))
    got = run_now(provider, run)
    assert got["state"] == "succeeded", got
    events = provider.events("plain")
    losses = [e.data["valid_loss"] for e in events if e.data.get("valid_loss") is not None]
    assert losses[-1] < losses[0]
    if training == {"lora": None}:
        net = AutoModelForCausalLM.from_pretrained(got["model_path"])
        assert sum(p.numel() for p in net.parameters()) == got["trainable_parameters"]


def test_too_little_memory_is_named_with_what_to_do(base: Path, chats: Path, tmp_path: Path) -> None:
    provider = new_provider(tmp_path)
    run = folder(provider, request(provider, base, chats, "small", lora={"rank": 1024}, batch_size=24))

    def starve() -> None:
        from anytune.local.memory import shortage

        shortage.fall = lambda *_: False  # at the foot of the ladder: begun anew, it may need less than this process
        ctypes.CDLL(None).malloc_trim(0)  # what earlier tests have freed would be room enough
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used, used))

    got = run_now(provider, run, first=starve)
    assert (got["state"], got["cause"], got["error"]) == ("failed", "user", "out of memory"), got
    assert "max_length" in got["fix"]
    assert "max_length" in str(provider.retrieve("small").error)


def test_a_full_disk_is_named_and_the_run_can_go_on(
    finished: Finished, base: Path, chats: Path, tmp_path: Path
) -> None:
    _, whole = finished
    provider = new_provider(tmp_path)
    run = folder(provider, request(provider, base, chats, "full"))

    def no_room() -> None:
        from anytune.local.training import checkpoint

        keep = checkpoint.save

        def save(path: Path, step: int, files: Any) -> Any:
            if step == 5:
                raise OSError(28, "No space left on device")
            return keep(path, step, files)

        checkpoint.save = save

    got = run_now(provider, run, first=no_room)
    assert (got["state"], got["error"], got["saved_step"]) == ("failed", "the disk is full", 4)
    (run.path / "result.json").unlink()
    wanted = read_json(Path(str(whole.model)).parent / "result.json")
    assert wanted is not None
    assert run_now(provider, run)["adapter_sha256"] == wanted["adapter_sha256"]


def test_bad_data_fails_with_one_line_that_names_it(base: Path, tmp_path: Path) -> None:
    bad = {"messages": [{"role": "user", "content": "x"}]}
    provider = new_provider(tmp_path)
    run = folder(provider, request(provider, base, write_lines(tmp_path / "bad.jsonl", [chat(1), bad]), "bad"))
    got = run_now(provider, run)
    assert (got["state"], got["cause"]) == ("failed", "user")
    assert got["error"] == "training file, line 2: nothing in it is trained"
    assert provider.events("bad")[-1].level == "error"
    assert "\n" not in str(provider.retrieve("bad").error)


def test_a_long_example_is_told_as_a_warning(base: Path, tmp_path: Path) -> None:
    long = {"messages": [{"role": "user", "content": "a " * 99}, {"role": "assistant", "content": "b"}]}
    provider = new_provider(tmp_path)
    data = write_lines(tmp_path / "long.jsonl", [chat(1), long])
    run = folder(provider, request(provider, base, data, "long", max_length=64, epochs=1))
    assert run_now(provider, run)["state"] == "succeeded"
    warning = next(e for e in provider.events("long") if e.level == "warning")
    assert (warning.data["over_length"], warning.data["dropped_lines"]) == (1, [2])
    lost = warning.data["tokens_dropped"]
    assert warning.message.startswith(
        f"training file: 1 examples are longer than max_length 64; 1 are left out, with {lost} tokens; "
    )
    told = []
    for policy in ("truncate_left", "refuse"):
        asked = request(provider, base, data, policy, max_length=64, over_length=policy, epochs=1)
        run_now(provider, folder(provider, asked))
        told.append(next(e for e in provider.events(policy) if e.level != "info"))
    assert "1 lose their beginning" in told[0].message
    assert (told[0].data["truncated"], told[0].data["dropped"]) == (1, 0)
    assert "1 examples longer" not in told[1].message
    assert f"an example longer than max_length 64: line 2 ({lost} tokens)" in told[1].message


def test_two_workers_never_share_a_run(base: Path, chats: Path, tmp_path: Path) -> None:
    provider = new_provider(tmp_path)
    run, lock = new_run(provider.home / "runs", "held", request(provider, base, chats, "held"))
    assert lock is not None
    from anytune.local import worker

    os.environ.pop("ANYTUNE_LOCK_FD", None)
    assert worker.run_folder(run) == 0
    assert run.result() is None
    os.close(lock)


def test_a_run_that_has_nothing_to_fetch_is_started_without_a_network(
    finished: Finished,
) -> None:
    """As the kernel sees it where it lets us; elsewhere Python alone refuses, and the run says so."""
    provider, job = finished
    began = next(event for event in provider.events(job.id) if event.message == "the worker has started")
    assert began.data["network"] == ("none" if confine.has_namespaces() or not confine.has_network() else "refused")


def test_a_run_asks_python_for_no_connection_and_no_name(base: Path, chats: Path, tmp_path: Path) -> None:
    """Watch from inside, which needs no strace: an audit hook writes down each address and each name looked up."""
    provider = new_provider(tmp_path)
    run = folder(provider, request(provider, base, chats, "watched", epochs=1))
    journal = tmp_path / "journal"
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\n"
        "def hook(event, told):\n"
        "    if event in {'socket.getaddrinfo', 'socket.gethostbyname'} or (\n"
        "        event in {'socket.connect', 'socket.sendto'} and isinstance(told[1], tuple)\n"
        "    ):\n"
        f"        open({str(journal)!r}, 'a').write(f'{{event}} {{told[1:]}}\\n')\n"
        f"open({str(journal)!r}, 'a').write('watching\\n')\n"
        "sys.addaudithook(hook)\n"
    )
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "TRANSFORMERS_"))}
    environment["PYTHONPATH"] = str(tmp_path)
    command = [sys.executable, "-m", "anytune.local.worker", "run", str(run.path)]
    subprocess.run(command, env=environment, capture_output=True, check=False)
    assert result(run)["state"] == "succeeded"
    assert set(journal.read_text().splitlines()) == {"watching"}
