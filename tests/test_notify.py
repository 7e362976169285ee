"""Those whom the user named are told of an end: signed, once, and without harm where that fails."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from anytune import webhook
from anytune.config import Keys, NotifySettings
from anytune.errors import UsageError
from anytune.notify import REST, TRIES, Notifier
from anytune.schema.job import News
from anytune.testing import FakeClock
from tests.stubs._http import Call, Reply, StubServer

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
JOB = {"id": "sums-0123456789", "state": "succeeded", "name": "sums"}
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
END = News(id="sums-0123456789-succeeded", job_id="sums-0123456789", what="succeeded", at=NOW, body=json.dumps(JOB))
PAST = END.model_copy(update={
    "id": "sums-0123456789-past_estimate",
    "what": "past_estimate",
    "body": json.dumps({**JOB, "state": "running", "alarm": {"now": "8.0", "most": "6"}}),
})  # fmt: skip


class Ear(StubServer):
    """Listen to webhooks."""

    def __init__(self) -> None:
        super().__init__(key="none")
        self.reply = Reply(204, b"")
        self.replies: list[Reply] = []

    def answer(self, call: Call) -> Reply:
        return self.replies.pop(0) if self.replies else self.reply


@pytest.fixture
def ear() -> Iterator[Ear]:
    with Ear() as ear:
        yield ear


def tell(environment: dict[str, str] | None = None, **settings: Any) -> list[str]:
    keys = Keys(Path("/nowhere"), environment or {})
    notifier = Notifier(NotifySettings(**settings), keys, clock=FakeClock(NOW))
    return [*heard(notifier), *heard(notifier)]


def heard(notifier: Notifier, news: News = END) -> list[str]:
    """Tell by every way and return what went wrong."""
    return [said for way in notifier.ways() if (said := notifier.tell(news, way)[1])]


def test_a_webhook_is_signed_and_says_which_job(ear: Ear) -> None:
    assert tell({"HOOK": SECRET}, webhook=f"{ear.origin}/hook?a=b", secret_variable="HOOK") == []
    first, second = ear.journal
    assert webhook.verify(first.body, first.headers, secret=SECRET, now=NOW) == "anytune-sums-0123456789-succeeded"
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert first.json == {"type": "job.succeeded", "timestamp": NOW.isoformat(), "data": JOB}
    assert SECRET not in first.body.decode() + str(first.headers)


def test_a_redirect_is_not_followed_and_told_once(ear: Ear) -> None:
    with Ear() as other:
        ear.reply = Reply(307, b"", {"Location": f"{other.origin}/elsewhere"})
        said = tell({"HOOK": SECRET}, webhook=ear.origin, secret_variable="HOOK")
        assert said == ["notify.webhook: HTTP 307: redirected, which is not followed"]
        assert other.journal == []


def test_a_webhook_that_fails_is_told_without_its_address(ear: Ear) -> None:
    ear.reply = Reply(500, b"")
    assert tell({"HOOK": SECRET}, webhook=ear.origin, secret_variable="HOOK") == ["notify.webhook: HTTP 500"]
    (said,) = tell({"HOOK": SECRET}, webhook="http://127.0.0.1:9/token-in-path", secret_variable="HOOK")
    assert "token-in-path" not in said


def test_a_webhook_that_is_out_of_order_for_a_moment_is_sent_again_under_its_id_and_signed_anew(ear: Ear) -> None:
    clock, faults = FakeClock(NOW), [Reply(503, b""), Reply(429, b"", {"Retry-After": "7"})]
    ear.replies = faults
    settings = NotifySettings(webhook=ear.origin, secret_variable="HOOK")
    notifier = Notifier(settings, Keys(Path("/nowhere"), {"HOOK": SECRET}), clock=clock)
    assert heard(notifier) == []
    assert len(ear.journal) == 3
    assert {call.headers["webhook-id"] for call in ear.journal} == {"anytune-sums-0123456789-succeeded"}
    last = ear.journal[-1]
    assert int(last.headers["webhook-timestamp"]) >= NOW.timestamp() + 7
    webhook.verify(last.body, last.headers, secret=SECRET, now=clock.now())


@pytest.mark.parametrize(("status", "times"), [(500, TRIES), (404, 1), (410, 1)])
def test_a_webhook_is_tried_for_a_while_and_one_that_is_refused_is_not_sent_again(
    ear: Ear, status: int, times: int
) -> None:
    ear.reply = Reply(status, b"")
    clock = FakeClock(NOW)
    settings = NotifySettings(webhook=ear.origin, secret_variable="HOOK")
    notifier = Notifier(settings, Keys(Path("/nowhere"), {"HOOK": SECRET}), clock=clock)
    assert heard(notifier) == [f"notify.webhook: HTTP {status}"]
    assert len(ear.journal) == times
    assert sum(clock.slept) <= 30


def test_without_its_secret_nothing_is_sent(ear: Ear) -> None:
    assert "HOOK is not set" in tell(webhook=ear.origin, secret_variable="HOOK")[0]
    assert "secret_variable" in tell(webhook=ear.origin)[0]
    assert ear.journal == []


@pytest.mark.parametrize("address", ["http://hooks.example/a", "ftp://hooks.example/a", "hooks.example"])
def test_an_address_that_anybody_could_read_along_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match="https address") as caught:
        NotifySettings(webhook=address)
    assert "hooks.example" not in str(caught.value)


def test_a_command_gets_the_document_on_stdin(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    assert tell(command=(sys.executable, "-c", f"import sys; open({str(kept)!r}, 'w').write(sys.stdin.read())")) == []
    assert json.loads(kept.read_text())["data"] == JOB


def test_a_command_that_fails_is_told_once_with_what_it_said() -> None:
    said = tell(command=(sys.executable, "-c", "import sys; sys.exit('no such room')"))
    assert len(said) == 1
    assert said[0].endswith("ended with status 1: no such room")


def test_a_secret_that_is_none_is_told(ear: Ear) -> None:
    said = tell({"HOOK": "hush hush"}, webhook=ear.origin, secret_variable="HOOK")
    assert len(said) == 1
    assert "hush" not in said[0]
    with pytest.raises(UsageError):
        webhook.key_of("hush hush")


@pytest.fixture
def desktop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Have a notify-send that writes down what it is to show."""
    shown = tmp_path / "shown"
    program = tmp_path / "bin" / "notify-send"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nprintf "%s|" "$@" >> {shown}\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent))
    monkeypatch.setattr(sys, "platform", "linux")
    return shown


def test_the_desktop_shows_an_end_and_an_alarm(desktop: Path) -> None:
    notifier = Notifier(NotifySettings(desktop=True), Keys(Path("/nowhere"), {}), clock=FakeClock(NOW))
    assert [*heard(notifier), *heard(notifier, PAST)] == []
    told = desktop.read_text()
    assert "sums-0123456789 succeeded" in told
    assert "sums-0123456789 past its estimate: $8.00, at most $6.00 was expected" in told


def test_a_machine_without_a_desktop_says_what_is_missing_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(sys, "platform", "linux")
    assert tell(desktop=True) == ["notify.desktop: notify-send is not installed"]


def test_an_alarm_is_another_news_than_the_state(ear: Ear) -> None:
    settings = NotifySettings(webhook=ear.origin, secret_variable="HOOK")
    notifier = Notifier(settings, Keys(Path("/nowhere"), {"HOOK": SECRET}), clock=FakeClock(NOW))
    assert heard(notifier, PAST) == []
    (call,) = ear.journal
    assert call.json["type"] == "job.past_estimate"
    assert call.headers["webhook-id"] == "anytune-sums-0123456789-past_estimate"


def test_a_webhook_that_could_not_be_reached_is_still_to_be_told_and_left_alone_for_a_while(ear: Ear) -> None:
    ear.reply, clock = Reply(503, b""), FakeClock(NOW)
    settings = NotifySettings(webhook=ear.origin, secret_variable="HOOK", command=("true",))
    notifier = Notifier(settings, Keys(Path("/nowhere"), {"HOOK": SECRET}), clock=clock)
    assert notifier.tell(END, "webhook") == (False, "notify.webhook: HTTP 503")
    assert notifier.ways() == ("command",)
    clock.sleep(REST)
    assert notifier.ways() == ("command", "webhook")
    ear.reply = Reply(410, b"")
    assert notifier.tell(END, "webhook") == (True, "notify.webhook: HTTP 410"), "who refuses it is not sent it again"


def test_a_way_that_rests_is_not_tried_whatever_is_due_by_it(ear: Ear) -> None:
    ear.reply = Reply(503, b"")
    settings = NotifySettings(webhook=ear.origin, secret_variable="HOOK")
    notifier = Notifier(settings, Keys(Path("/nowhere"), {"HOOK": SECRET}), clock=FakeClock(NOW))
    assert notifier.tell(END, "webhook")[1] == "notify.webhook: HTTP 503"
    assert [notifier.tell(news, "webhook") for news in (END, PAST)] == [(False, None)] * 2
    assert len(ear.journal) == TRIES


def test_what_a_command_could_not_tell_is_still_to_be_told(tmp_path: Path) -> None:
    there, clock = tmp_path / "there", FakeClock(NOW)
    settings = NotifySettings(command=("test", "-e", str(there)))
    notifier = Notifier(settings, Keys(Path("/nowhere"), {}), clock=clock)
    assert notifier.tell(END, "command")[0] is False
    there.touch()
    clock.sleep(REST)
    assert notifier.tell(END, "command") == (True, None)


def test_without_the_secret_here_another_process_may_tell_it(ear: Ear) -> None:
    settings, clock = NotifySettings(webhook=ear.origin, secret_variable="HOOK"), FakeClock(NOW)
    without = Notifier(settings, Keys(Path("/nowhere"), {}), clock=clock)
    assert without.tell(END, "webhook")[0] is False
    clock.sleep(10 * REST)
    assert without.ways() == ()
    assert Notifier(settings, Keys(Path("/nowhere"), {"HOOK": SECRET}), clock=clock).tell(END, "webhook") == (
        True,
        None,
    )
