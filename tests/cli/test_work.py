"""The way of a job: plan, run, watch, look, compare, take away."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from anytune.errors import RejectedError
from anytune.schema.job import RemoteJob
from anytune.store import SqliteStore
from anytune.testing.fake import FakeService
from anytune.ui import terminal
from tests.cli.conftest import JOB, Said, Type
from tests.cli.far_side import LastingFake


def test_a_plan_shows_data_cost_settings_and_the_next_command(anytune: Type) -> None:
    said = anytune("plan")
    assert said.code == 0
    for words in ("train.jsonl: 12 examples", "<$0.01", "epochs", "kept", "eu", "This can run"):
        assert words in said.out
    assert "next: anytune run finetune.yaml" in said.err


def test_a_refused_plan_exits_3_and_lists_every_reason(anytune: Type) -> None:
    said = anytune("plan", "--set", "training.seed=1", "--set", "training.quantize=nf4", "--set", "data.residency=us")
    assert said.code == 3
    assert "refused for 2 reasons" in said.out
    assert "training.quantize = nf4" in said.out
    assert "keeps the data in eu" in said.out


def test_plan_all_shows_every_provider_and_succeeds_if_one_can(anytune: Type) -> None:
    said = anytune("plan", "--all", "--json")
    assert said.code == 0
    verdicts = {plan["provider"]: plan["ok"] for plan in said.document["plans"]}
    assert verdicts["fake"] is True
    assert set(verdicts) >= {"local", "openai", "together", "fireworks", "replicate", "hf-jobs", "ray"}


def test_a_run_ends_with_the_comparison_and_three_answers(anytune: Type, service: FakeService) -> None:
    said = anytune("run", "finetune.yaml", "-y")
    assert said.code == 0
    assert "base versus tuned" in said.out
    assert "exact match" in said.out
    assert said.out.count("wanted") == 3
    assert "step 3 of 3" in said.err
    assert "anytune export sums-" in said.err
    assert service.calls.count("create") == 1


def test_a_second_run_is_the_same_job_and_shows_the_kept_result(anytune: Type, service: FakeService) -> None:
    first = anytune("run", "-y", "--json").document
    said = anytune("run", "--json")
    assert said.code == 0, "nothing is paid twice, so nobody is asked"
    assert said.document["job"]["id"] == first["job"]["id"]
    assert said.document["evaluation"] == first["evaluation"]
    assert "is not made again" in said.err
    assert "was made before" in said.err
    assert service.calls.count("create") == 1


def test_again_makes_another_job(anytune: Type, service: FakeService) -> None:
    anytune("run", "-y", "--no-eval")
    assert anytune("run", "-y", "--no-eval", "--again").code == 0
    assert service.calls.count("create") == 2


def test_an_interrupted_job_says_resume_and_a_second_run_takes_it_up(anytune: Type, service: FakeService) -> None:
    service.polls_to_end = 99
    job = anytune("submit", "-y").out.strip()
    service.jobs["remote-1"]["status"] = "interrupted"
    said = anytune("watch", job)
    assert said.code == 7
    assert f"anytune resume {job}" in said.err
    service.polls_to_end = 2
    again = anytune("run", "-y", "--no-eval")
    assert again.code == 0
    assert "was interrupted and goes on" in again.err


def test_resume_goes_on_and_names_watch(anytune: Type, service: FakeService) -> None:
    service.polls_to_end = 99
    job = anytune("submit", "-y").out.strip()
    service.jobs["remote-1"]["status"] = "interrupted"
    said = anytune("resume", job, "-y")
    assert (said.code, said.out) == (0, f"{job} running\n")
    assert f"anytune watch {job}" in said.err


def test_a_failed_job_exits_4(anytune: Type, service: FakeService) -> None:
    job = anytune("submit", "-y").out.strip()
    service.jobs["remote-1"]["status"] = "broken"
    assert anytune("watch", job).code == 4
    said = anytune("run")
    assert said.code == 4
    assert "--again" in said.err


def test_a_cancelled_job_exits_4_and_cancelling_twice_is_harmless(anytune: Type, service: FakeService) -> None:
    service.polls_to_end = 99
    job = anytune("submit", "-y").out.strip()
    assert anytune("cancel", job).out == f"{job} cancelled\n"
    assert anytune("cancel", job).code == 0
    assert anytune("watch", job).code == 4


def test_other_content_under_the_same_name_is_a_conflict(anytune: Type, service: FakeService) -> None:
    service.polls_to_end = 99
    anytune("submit", "-y")
    said = anytune("submit", "-y", "--set", "training.epochs=2")
    assert said.code == 5
    assert "--again" in said.err


def test_a_passed_deadline_exits_7_and_says_how_to_go_on(anytune: Type, service: FakeService) -> None:
    service.polls_to_end = 10**6
    job = anytune("submit", "-y").out.strip()
    said = anytune("watch", "last", "--timeout", "0.05")
    assert said.code == 7
    assert f"anytune watch {job}" in said.err


def test_list_begins_with_the_way_to_begin(anytune: Type) -> None:
    said = anytune("list")
    assert (said.code, said.out) == (0, "no jobs so far\n")
    assert "anytune init" in said.err


def test_list_show_and_events_tell_of_a_job(anytune: Type) -> None:
    anytune("run", "-y", "--no-eval")
    assert "succeeded" in anytune("list").out
    assert "tuned-remote-1" in anytune("show", "sums").out
    assert "step 2" in anytune("events", "last").out


def test_show_falls_back_on_the_record_when_the_provider_is_away(
    anytune: Type, monkeypatch: pytest.MonkeyPatch
) -> None:
    anytune("submit", "-y")
    monkeypatch.delenv("FAKE_API_KEY")
    said = anytune("show")
    assert said.code == 0
    assert "queued" in said.out
    assert "as last seen" in said.err


def test_eval_takes_other_data_and_leaves_the_kept_comparison(anytune: Type, folder: Path) -> None:
    anytune("run", "-y")
    (folder / "other.jsonl").write_text((folder / "test.jsonl").read_text().replace("What is", "Say"))
    said = anytune("eval", "last", "--test", "other.jsonl", "--limit", "5", "--json")
    assert said.document["evaluation"]["examples"] == 5
    assert anytune("run", "--json").document["evaluation"]["examples"] == 11


def test_chat_answers_once_and_each_line_of_a_pipe(
    anytune: Type, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    anytune("run", "-y", "--no-eval")
    assert anytune("chat", "last", "--once", "What is 2 plus 2?").out == "4.\n"
    assert anytune("chat", "last", "--base", "--once", "What is 2 plus 2?").out == "I do not know.\n"
    questions = tmp_path / "questions"
    questions.write_text("What is 3 plus 3?\n\nWhat is 4 plus 4?\n")
    with questions.open() as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        assert anytune("chat").out == "6.\n\n8.\n", "a blank line in is a blank line out"


def test_export_names_the_folder(anytune: Type, folder: Path) -> None:
    anytune("run", "-y", "--no-eval")
    said = anytune("export", "last", "--to", "adapter", "--out", "mine")
    assert said.code == 0
    assert "wrote mine" in said.out
    assert (folder / "mine").is_dir()


EVERY = """plan/plan --all/check train.jsonl/run -y/list/show/watch/events/cancel last/resume/eval/chat --once hi
/export/providers/models/doctor/config show/submit -y/init new"""


def test_json_is_one_document_with_its_version(anytune: Type) -> None:
    anytune("run", "-y", "--no-eval")
    for line in EVERY.split("/"):
        said = anytune(*line.split(), "--json")
        assert said.code == 0, f"{line}: {said.err}"
        assert said.document["schema"] == 1, line
        assert "next" in said.document, line
        assert "next:" not in said.err, line


def asked(monkeypatch: pytest.MonkeyPatch, answer: str) -> list[str]:
    questions: list[str] = []

    def answered(question: str) -> str:
        questions.append(question)
        return answer

    monkeypatch.setattr(terminal, "can_ask", lambda: True)
    monkeypatch.setattr(terminal, "ask", answered)
    return questions


def test_money_and_data_leave_only_after_a_yes(
    anytune: Type, service: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    questions = asked(monkeypatch, "no")
    said = anytune("run")
    assert (said.code, service.calls) == (3, [])
    assert "nothing was sent" in said.err
    assert "Send 12 examples to fake" in questions[0]
    asked(monkeypatch, "y")
    assert anytune("run", "--no-eval").code == 0


def test_nobody_at_the_terminal_and_no_yes_is_refused_with_the_way_out(anytune: Type, service: FakeService) -> None:
    said = anytune("run")
    assert (said.code, service.calls) == (2, [])
    assert "fix: anytune run finetune.yaml -y" in said.err


@pytest.mark.parametrize("provider", ["local", "openai", "together", "fireworks", "hf-jobs"])
def test_init_writes_a_job_that_its_provider_takes(anytune: Type, provider: str) -> None:
    assert anytune("init", "new", "--provider", provider).code == 0
    said = anytune("plan", "new/finetune.yaml")
    assert said.code == 0, said.out
    assert anytune("check", "new/train.jsonl", "new/test.jsonl").code == 0


def test_init_asks_on_a_terminal(anytune: Type, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    assert len(asked(monkeypatch, "")) == 0
    assert anytune("init", "new").code == 0
    assert "provider: local" in (folder / "new" / "finetune.yaml").read_text()


def test_init_never_writes_over_anything(anytune: Type, folder: Path) -> None:
    (folder / "test.jsonl").unlink()
    before = (folder / "finetune.yaml").read_text()
    said = anytune("init")
    assert said.code == 2
    assert "is there already" in said.err
    assert (folder / "finetune.yaml").read_text() == before
    assert not (folder / "test.jsonl").exists()


def test_doctor_names_an_address_that_is_not_heeded(anytune: Type, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "http://elsewhere.test")
    said = anytune("doctor")
    assert said.code == 0
    assert "OPENAI_BASE_URL" in said.out
    assert "elsewhere" not in said.out


def test_no_verb_shows_a_key(anytune: Type, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret")
    shown = [anytune(*line.split()) for line in ("providers", "doctor", "config show", "providers --json")]
    assert not any("very-secret" in said.out + said.err for said in shown)
    assert "OPENAI_API_KEY is set" in shown[0].out


def test_sixty_columns_are_enough(anytune: Type, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    anytune("run", "-y")
    (folder / "bad.jsonl").write_text('{"messages": [{"role": "usr", "content": "hello there, how are you?"}]}\n' * 3)
    monkeypatch.setenv("COLUMNS", "60")
    for line in ("plan", "plan --all", "list", "show", "check bad.jsonl", "run", "providers", "models", "doctor"):
        said = anytune(*line.split())
        assert said.out, line
        assert [text for text in said.out.splitlines() if len(text) > 60] == [], line


def test_a_job_record_survives_being_looked_at_by_every_verb(anytune: Type) -> None:
    anytune("run", "-y")
    for verb in ("list", "show", "events", "watch"):
        said = anytune(verb)
        assert said.code == 0, said.err
    assert json.loads(anytune("show", "--json").out)["job"]["state"] == "succeeded"
    assert os.listdir(os.environ["ANYTUNE_HOME"])


def next_of(said: Said) -> str:
    """Return the first command that a verb names."""
    return next(line for line in said.err.splitlines() if line.startswith("next: ")).removeprefix("next: ")


def test_another_check_keeps_what_was_given(anytune: Type, folder: Path) -> None:
    (folder / "pairs.jsonl").write_text("{}\n")
    said = anytune("check", "pairs.jsonl", "--method", "dpo", "--for", "openai")
    assert "anytune check pairs.jsonl --for openai --method dpo" in said.err
    assert next_of(anytune("check", "train.jsonl")).startswith("anytune plan")
    (folder / "finetune.yaml").unlink()
    assert next_of(anytune("check", "train.jsonl")).startswith("anytune init")


def test_a_refused_plan_keeps_job_file_and_settings(anytune: Type, folder: Path) -> None:
    (folder / "other.yaml").write_text(JOB)
    line = ("other.yaml", "--provider", "fake", "--model", "fake-2", "--set", "training.epochs=1")
    wanted = "anytune plan other.yaml --all --model fake-2 --set training.epochs=1"
    assert next_of(anytune("plan", *line)).startswith(wanted)
    assert f"fix: {wanted}" in anytune("run", *line).err
    assert anytune(*wanted.split()[1:], "--json").document["plans"][-1]["model"] == "fake-2"


def test_refused_data_names_a_check_for_its_method(anytune: Type, folder: Path) -> None:
    (folder / "train.jsonl").write_text("{}\n")
    assert "--method dpo" in next_of(anytune("plan", "--set", "method=dpo"))


def test_a_path_with_a_blank_is_quoted_in_the_next_command(anytune: Type) -> None:
    assert next_of(anytune("init", "sp ace/x")).startswith("anytune plan 'sp ace/x/finetune.yaml'")


def test_show_takes_in_the_events_of_a_job_that_nobody_watched(anytune: Type, service: FakeService) -> None:
    service.polls_to_end = 99
    anytune("submit", "-y")
    said = anytune("show")
    assert "loss" in said.out
    assert "1 of 99" in said.out


def test_a_finished_run_is_not_submitted_again_and_its_comparison_not_offered(anytune: Type) -> None:
    first = anytune("run", "-y")
    assert "anytune eval" not in first.err
    assert "submitting" not in anytune("run").err


def test_a_narrow_list_says_what_it_leaves_out(anytune: Type, monkeypatch: pytest.MonkeyPatch) -> None:
    anytune("submit", "-y")
    monkeypatch.setenv("COLUMNS", "48")
    assert "left out here: model, cost" in anytune("list").err
    monkeypatch.setenv("COLUMNS", "60")
    assert "left out here: methods, context, closes" in anytune("models").err


def test_doctor_and_providers_use_the_same_word(anytune: Type, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    assert "not ready  openai" in anytune("doctor").out


def test_an_address_that_only_the_user_knows_is_asked_for_in_one_line(
    anytune: Type, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    said = "profiles.azure.base_url is not set: https://<resource>.openai.azure.com"
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", "of-nobody")
    for line in ("providers", "doctor"):
        assert anytune(line).out.count(said) == 1
    (folder / "anytune.yaml").write_text(
        "profiles: {azure: {base_url: 'https://a.openai.azure.com'}, mine: {like: openai, base_url: 'https://b/v1'}}\n"
    )
    shown = anytune("providers").out
    assert said not in shown
    assert {"https://a.openai.azure.com", "https://b/v1"} <= set(shown.split())
    azure, mine = (
        row for row in anytune("providers", "--json").document["providers"] if row["name"] in ("azure", "mine")
    )
    assert (azure["ready"], mine["ready"], mine["key"]) == (True, True, "none needed")


def test_a_second_submit_of_a_job_that_was_refused_says_so_by_its_exit_code(
    anytune: Type, service: FakeService
) -> None:
    service.faults["create"] = [RejectedError("fake: create: a faulty file")]
    assert anytune("submit", "-y").code == 3
    said = anytune("submit", "-y", "--json")
    assert (said.code, said.document["job"]["state"], said.document["error"]["exit_code"]) == (4, "failed", 4)
    assert "anytune submit finetune.yaml --again" in said.err


def test_two_that_resume_at_once_resume_once(
    anytune: Type, service: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A provider may start a machine for each, and not show the first at once."""
    anytune("submit", "-y")
    service.jobs["remote-1"]["status"] = "interrupted"
    resume, asked, late = LastingFake.resume, [], [False, True]

    def counted(self: LastingFake, remote_id: str) -> RemoteJob:
        asked.append(remote_id)
        return resume(self, remote_id)

    acting = SqliteStore.acting

    @contextmanager
    def overtaken(self: SqliteStore, job_id: str) -> Iterator[None]:
        if late and late.pop(0):
            anytune("resume", "last", "-y")
        with acting(self, job_id):
            yield

    monkeypatch.setattr(LastingFake, "resume", counted)
    monkeypatch.setattr(SqliteStore, "acting", overtaken)
    assert anytune("resume", "last", "-y").code == 0
    assert asked == ["remote-1"]


def test_a_hosted_job_that_is_paused_goes_on_only_when_somebody_agrees(anytune: Type, service: FakeService) -> None:
    anytune("submit", "-y")
    service.jobs["remote-1"]["status"] = "interrupted"
    said = anytune("run", "--no-eval")
    assert (said.code, "nobody is here to agree" in said.err) == (2, True)
    assert "anytune run finetune.yaml -y" in said.err
    assert service.jobs["remote-1"]["status"] == "interrupted"
    assert anytune("run", "-y", "--no-eval").code == 0
