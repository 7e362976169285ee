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
from anytune.notify import Notifier
from tests.stubs._http import Call, Reply, StubServer

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
JOB = {"id": "sums-0123456789", "state": "succeeded", "name": "sums"}
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


class Ear(StubServer):
    """Listen to webhooks."""

    def __init__(self) -> None:
        super().__init__(key="none")
        self.reply = Reply(204, b"")

    def answer(self, call: Call) -> Reply:
        return self.reply


@pytest.fixture
def ear() -> Iterator[Ear]:
    with Ear() as ear:
        yield ear


def tell(environment: dict[str, str] | None = None, **settings: Any) -> list[str]:
    keys = Keys(Path("/nowhere"), environment or {})
    notifier = Notifier(NotifySettings(**settings), keys, now=lambda: NOW)
    return [*notifier.tell(JOB), *notifier.tell(JOB)]


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
