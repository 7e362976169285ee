"""What a user gets for a mistake: one line with what and where, one with the fix, never a traceback."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from anytune import cli
from anytune.errors import RejectedError
from anytune.testing.fake import FakeService
from tests.cli.conftest import JOB, KEY, Said, Type


def mistaken(said: Said, *, code: int) -> str:
    """Return the error line after checking that it is one, with a fix, and without a traceback."""
    assert said.code == code, said.err
    assert "Traceback" not in said.err
    lines = [line for line in said.err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, said.err
    return lines[0]


def test_a_missing_job_file_says_where_one_comes_from(process: Type) -> None:
    said = process("plan", "nowhere.yaml")
    assert "nowhere.yaml: no such file" in mistaken(said, code=2)
    assert "  fix: anytune init" in said.err


def test_an_unknown_key_gets_its_place_and_a_suggestion(anytune: Type, folder: Path) -> None:
    (folder / "finetune.yaml").write_text(JOB + "trainning: {epochs: 2}\n")
    assert "finetune.yaml:5:1" in (line := mistaken(anytune("plan"), code=2))
    assert "did you mean 'training'" in line


def test_an_unknown_provider_gets_a_suggestion(anytune: Type) -> None:
    said = anytune("plan", "--provider", "opnai")
    assert "opnai" in mistaken(said, code=2)
    assert "fix: did you mean openai?" in said.err


def test_an_unknown_model_is_refused_with_a_suggestion(anytune: Type) -> None:
    said = anytune("run", "-y", "--model", "fake-2")
    mistaken(said, code=3)
    assert "did you mean fake-1" in said.err


def test_a_missing_data_file_is_refused_by_name(anytune: Type, folder: Path) -> None:
    (folder / "train.jsonl").unlink()
    said = anytune("run", "-y")
    mistaken(said, code=3)
    assert "train.jsonl" in said.err
    assert anytune("plan").code == 3


def test_an_empty_data_file_and_broken_json_are_reported_with_their_line(anytune: Type, folder: Path) -> None:
    (folder / "empty.jsonl").write_text("")
    assert anytune("check", "empty.jsonl").code == 3
    (folder / "broken.jsonl").write_text('{"messages": [\n')
    said = anytune("check", "broken.jsonl")
    assert said.code == 3
    assert "line 1:" in said.out
    assert "fix" in said.out


def test_the_report_of_a_check_has_the_promised_shape(anytune: Type, folder: Path) -> None:
    (folder / "bad.jsonl").write_text('{"messages": [{"role": "usr", "content": "x"}]}\n')
    said = anytune("check", "bad.jsonl", "train.jsonl", "--json")
    assert said.code == 3
    document = said.document
    assert document["ok"] is False
    bad, good = document["files"]
    assert set(bad) == {"path", "examples", "errors", "warnings", "counts", "tokens", "statistics", "privacy"}
    assert set(bad["errors"][0]) == {"code", "level", "line", "column", "offset", "path", "message", "fix", "providers"}
    assert good["errors"] == []


def test_check_annotates_for_github(anytune: Type, folder: Path) -> None:
    (folder / "bad.jsonl").write_text('{"messages": [{"role": "usr", "content": "x"}]}\n')
    said = anytune("check", "bad.jsonl", "--format", "github")
    assert "\n::error file=bad.jsonl,line=1,col=24,title=role-unknown::" in said.out


def test_check_speaks_sarif(anytune: Type, folder: Path) -> None:
    (folder / "bad.jsonl").write_text('{"messages": [{"role": "usr", "content": "x"}]}\n')
    (run,) = anytune("check", "bad.jsonl", "--format", "sarif").document["runs"]
    found = {result["ruleId"]: result for result in run["results"]}
    region = found["role-unknown"]["locations"][0]["physicalLocation"]["region"]
    assert region == {"startLine": 1, "startColumn": 24, "byteOffset": 23}


@pytest.mark.parametrize(("name", "uri"), [("a b%,:é.jsonl", "a%20b%25%2C%3A%C3%A9.jsonl"), ("d/b.jsonl", "d/b.jsonl")])
def test_sarif_names_a_file_by_a_uri(anytune: Type, folder: Path, name: str, uri: str) -> None:
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text("{}\n")
    (run,) = anytune("check", name, "--format", "sarif").document["runs"]
    places = {result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] for result in run["results"]}
    assert places == {uri}


def test_a_check_for_an_unknown_provider_gets_a_suggestion(anytune: Type) -> None:
    said = anytune("check", "train.jsonl", "--for", "togther")
    mistaken(said, code=2)
    assert "did you mean together?" in said.err


@pytest.mark.parametrize("record", ['{"prompt": "Tide?", "completion": "5.9 m"}', '[{"messages": []}]'])
def test_what_is_in_another_format_is_to_be_converted(anytune: Type, folder: Path, record: str) -> None:
    (folder / "old.jsonl").write_text(f"{record}\n")
    said = anytune("check", "old.jsonl", "--for", "openai", "--json")
    assert said.document["next"] == ["anytune convert old.jsonl"]


def test_an_unknown_rule_to_ignore_is_a_wrong_usage(anytune: Type) -> None:
    mistaken(anytune("check", "train.jsonl", "--ignore", "no-such-code"), code=2)


def test_a_missing_key_names_its_variable(anytune: Type, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FAKE_API_KEY")
    said = anytune("run", "-y")
    assert "FAKE_API_KEY" in mistaken(said, code=6)
    assert "fix: export FAKE_API_KEY=" in said.err


def test_a_refused_key_is_not_shown(anytune: Type, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_API_KEY", "wrong-key-42")
    said = anytune("run", "-y")
    mistaken(said, code=6)
    assert "wrong-key-42" not in said.err


@pytest.mark.engine
def test_a_missing_extra_names_what_to_install(process: Type, tmp_path: Path) -> None:
    blocker = tmp_path / "blocker"
    blocker.mkdir()
    (blocker / "sitecustomize.py").write_text(
        "import sys\n"
        "class Blocker:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'openai': raise ModuleNotFoundError(name, name=name)\n"
        "sys.meta_path.insert(0, Blocker())\n"
    )
    assert process("init", "new", "--provider", "openai").code == 0
    said = process("run", "new/finetune.yaml", "-y", PYTHONPATH=str(blocker), OPENAI_API_KEY="sk-x")
    mistaken(said, code=2)
    assert "pip install 'anytune[openai]'" in said.err


def test_no_test_data_says_how_to_give_some(anytune: Type, folder: Path) -> None:
    (folder / "finetune.yaml").write_text(JOB.replace(", test: test.jsonl", ""))
    said = anytune("run", "-y")
    assert said.code == 0
    assert "no comparison" in said.err
    mistaken(failed := anytune("eval"), code=2)
    assert "--test FILE" in failed.err


@pytest.mark.parametrize("verb", ["list", "run -y", "show"])
def test_an_unwritable_home_is_told(anytune: Type, monkeypatch: pytest.MonkeyPatch, verb: str) -> None:
    monkeypatch.setenv("ANYTUNE_HOME", "/proc/x")
    said = anytune(*verb.split())
    assert "/proc/x" in mistaken(said, code=1)
    assert "fix: set ANYTUNE_HOME" in said.err


def test_doctor_fails_on_an_unwritable_home(anytune: Type, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANYTUNE_HOME", "/proc/x")
    said = anytune("doctor")
    assert said.code == 1
    assert "bad" in said.out


@pytest.mark.parametrize(
    "line",
    [
        "frobnicate",
        "plan --frob",
        "export last --to onnx",
        "chat --max-tokens 0",
        "check",
        "check a.jsonl --method ppo",
        "watch --timeout -1",
    ],
)
def test_wrong_usage_is_one_line_and_exits_2(anytune: Type, line: str) -> None:
    said = anytune(*line.split())
    assert "Value error" not in mistaken(said, code=2)
    assert "--help" in said.err


def test_an_unknown_job_points_to_the_list(anytune: Type) -> None:
    said = anytune("show", "nothing")
    assert "'nothing'" in mistaken(said, code=2)
    assert "anytune list" in said.err


def test_an_error_is_a_document_too_when_json_was_asked_for(anytune: Type) -> None:
    said = anytune("show", "nothing", "--json")
    assert said.document["error"]["exit_code"] == 2
    assert said.document["ok"] is False


def test_a_defect_asks_for_a_report_and_keeps_its_traceback(anytune: Type, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("by nought")

    for name in ("all_jobs", "all_documents"):
        monkeypatch.setattr(f"anytune.tuner.Tuner.{name}", broken)
    said = anytune("list")
    assert "ZeroDivisionError: by nought" in mistaken(said, code=1)
    error = anytune("list", "--json").document["error"]
    assert (error["exit_code"], error["message"]) == (1, "a defect of anytune: ZeroDivisionError: by nought")
    monkeypatch.setenv("ANYTUNE_DEBUG", "1")
    assert "Traceback" in anytune("list").err


def plugged_in(folder: Path) -> str:
    """Return a folder for PYTHONPATH that plugs the fake provider in, as an installed package would."""
    info = folder / "plug" / "fake_plug-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: fake-plug\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[anytune.providers]\nfake = anytune.testing.fake:FakeProvider\n")
    return os.pathsep.join(filter(None, (str(info.parent), os.environ.get("PYTHONPATH"))))


@pytest.mark.engine
def test_ctrl_c_in_watch_leaves_the_job_and_says_how_to_come_back(tmp_path: Path, process: Type) -> None:
    environment = {**os.environ, "PYTHONPATH": plugged_in(tmp_path), "FAKE_API_KEY": KEY, "PYTHONUNBUFFERED": "1"}
    child = subprocess.Popen(
        [sys.executable, "-m", "anytune", "run", "-y"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
    assert child.stderr is not None
    for line in child.stderr:
        if " running" in line or " queued" in line:
            break
    time.sleep(0.2)
    child.send_signal(signal.SIGINT)
    _, err = child.communicate(timeout=20)
    assert child.returncode == 130
    assert "goes on without you" in err
    assert "come back: anytune watch sums-" in err
    assert "Traceback" not in err
    assert "queued" in process("list").out or "running" in process("list").out


def test_a_closed_pipe_is_quiet(folder: Path) -> None:
    command = f"{sys.executable} -m anytune config schema | head -c 1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert done.stdout == "{"
    assert done.stderr == ""


@pytest.mark.engine
def test_an_ascii_terminal_loses_a_letter_not_the_result(process: Type) -> None:
    said = process("plan", "--provider", "openai", "--model", "gpt-4.1-mini-2025-04-14", PYTHONIOENCODING="ascii")
    assert said.code in (0, 3)
    assert "Traceback" not in said.err


def test_a_pipe_gets_no_colours_and_no_bars(anytune: Type) -> None:
    said = anytune("run", "-y")
    assert "\x1b" not in said.out + said.err


def test_every_verb_is_registered_once() -> None:
    names = [name for name, *_ in cli.COMMANDS]
    assert len(names) == len(set(names))


def test_a_job_that_ended_badly_is_one_json_document(anytune: Type, service: FakeService) -> None:
    job = anytune("submit", "-y").out.strip()
    service.jobs["remote-1"]["status"] = "broken"
    said = anytune("watch", "last", "--json")
    assert said.code == 4
    assert (said.document["ok"], said.document["job"]["id"]) == (False, job)
    assert said.document["error"]["exit_code"] == 4


@pytest.mark.parametrize("line", ["check", "plan --bogus", "check --method foo f", "check f --format sarif"])
def test_wrong_usage_is_a_json_document_too(anytune: Type, line: str) -> None:
    said = anytune(*line.split(), "--json")
    assert mistaken(said, code=2)
    assert said.document["error"]["exit_code"] == 2


@pytest.mark.parametrize(
    ("line", "broken", "back"),
    [
        ("run -y --set training.epochs=1", "read", "anytune run finetune.yaml --set training.epochs=1"),
        ("submit -y --json", "plan", "anytune submit finetune.yaml"),
        ("eval sums --limit 5", "evaluate", "anytune eval sums --limit 5"),
        ("export sums --out there", "export", "anytune export sums --to merged --out there"),
        ("list", "all_jobs", ""),
    ],
)
def test_ctrl_c_is_always_told(
    anytune: Type, monkeypatch: pytest.MonkeyPatch, line: str, broken: str, back: str
) -> None:
    anytune("run", "-y", "--no-eval")

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(f"anytune.tuner.Tuner.{broken}", interrupted)
    said = anytune(*line.split())
    assert said.code == 130
    assert said.err.splitlines()[-2 if back else -1].startswith("stopped")
    assert not back or f"  come back: {back}\n" in said.err
    assert "--json" not in line or said.document["error"]["exit_code"] == 130


def test_a_job_that_ended_badly_cannot_be_resumed(anytune: Type, service: FakeService) -> None:
    service.polls_to_end = 99
    job = anytune("submit", "-y").out.strip()
    anytune("cancel", job)
    said = anytune("resume", job)
    assert f"{job} cancelled and cannot be resumed" in mistaken(said, code=4)
    assert "anytune run FILE --again" in said.err


def test_a_job_that_failed_unsent_has_no_events_to_look_at(anytune: Type, service: FakeService) -> None:
    service.faults["create"] = [RejectedError("fake: no")]
    assert anytune("submit", "-y").code == 3
    said = anytune("watch", "last")
    assert "anytune run FILE --again" in said.err
    assert "anytune events" not in said.err
    service.faults.clear()
    assert "anytune events" not in anytune("events").err


@pytest.mark.parametrize("verb", ["run", "submit"])
def test_the_way_to_another_job_names_the_job_file_where_it_is_known(
    anytune: Type, service: FakeService, verb: str
) -> None:
    service.faults["create"] = [RejectedError("fake: no")]
    assert anytune("submit", "-y").code == 3
    document = anytune(verb, "-y", "--json").document
    wanted = f"anytune {verb} finetune.yaml --again"
    assert wanted in document["next"]
    assert wanted in document["error"]["fix"]


@pytest.mark.parametrize("line", ["show", "watch", "eval", "cancel last"])
def test_no_jobs_at_all_is_said_as_such(anytune: Type, line: str) -> None:
    said = anytune(*line.split())
    assert "no jobs so far" in mistaken(said, code=2)
    assert "fix: anytune run finetune.yaml" in said.err


@pytest.mark.parametrize("name", ["ünï", "-x", "a b", "x" * 65])
def test_init_refuses_a_name_that_the_job_file_would_not_take(anytune: Type, folder: Path, name: str) -> None:
    said = anytune("init", "new", f"--name={name}")
    assert "cannot be called" in mistaken(said, code=2)
    assert not (folder / "new").exists()


def test_init_says_that_its_target_is_a_file_or_too_long(anytune: Type) -> None:
    assert "train.jsonl is a file, not a folder" in mistaken(anytune("init", "train.jsonl"), code=2)
    assert "name too long" in mistaken(anytune("init", "x" * 300), code=2)
    assert "no provider is called 'nope'" in mistaken(anytune("init", "new", "--provider", "nope"), code=2)


@pytest.mark.engine
def test_an_output_that_cannot_be_written_is_one_honest_line() -> None:
    for target, code in (("/dev/full", 1), ("&-", 0)):
        command = f"{sys.executable} -m anytune list >{target}"
        done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
        assert done.returncode == code, done.stderr
        assert ("error: cannot write the output: No space left on device\n" in done.stderr) == bool(code)
        assert "defect" not in done.stderr
        assert "ignored" not in done.stderr


@pytest.mark.engine
def test_a_reader_that_leaves_a_table_is_quiet() -> None:
    plan = "plan --provider together --model Qwen/Qwen3.5-9B"
    command = f"{sys.executable} -m anytune {plan} | head -c 5; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert not {"error:", "Traceback", "Exception"} & set(done.stderr.split())
    assert done.stdout


def test_doctor_goes_on_after_broken_settings(anytune: Type, folder: Path) -> None:
    (folder / "anytune.yaml").write_text("profils: {}\n")
    said = anytune("doctor")
    assert said.code == 1
    assert "anytune.yaml" in "".join(said.out.split())
    assert "memory" in said.out
