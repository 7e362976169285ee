"""A webhook is a hint to ask: forged, stale and replayed ones lead to no question, and none changes a state itself."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from anytune import webhook
from anytune.errors import UnavailableError
from anytune.server.hooks import LONGEST, Hooks
from tests.server.conftest import Here, served

SECRET, OTHER = (f"whsec_{base64.b64encode(bytes([fill] * 24)).decode()}" for fill in (1, 2))
EVENT = {"id": "evt_1", "object": "event", "type": "fine_tuning.job.succeeded", "data": {"id": "ftjob-1"}}


class Ear:
    """Be a server that takes webhooks, and the ids that it looked at."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.fails = False
        self.tests = 0
        self.here: Here

    def look(self, remote_id: str) -> str | None:
        self.asked.append(remote_id)
        if self.fails:
            raise UnavailableError("openai: HTTP 503")
        return f"{remote_id} is running"

    def send(self, event: Any = EVENT, *, id: str = "wh_1", secret: str = SECRET, **how: Any) -> httpx.Response:
        body = event if isinstance(event, bytes) else json.dumps(event).encode()
        at = datetime.now(UTC) - timedelta(seconds=how.get("age", 0))
        headers = {**webhook.signed(body, id=f"{id}-{self.tests}", at=at, secret=secret), **how.get("headers", {})}
        return httpx.post(f"{self.here.origin}/webhooks/openai", content=how.get("sent", body), headers=headers)

    def settled(self, count: int) -> list[str]:
        end = time.monotonic() + 5
        while len(self.asked) < count and time.monotonic() < end:
            time.sleep(0.01)
        time.sleep(0.05)
        return self.asked


@pytest.fixture(scope="module")
def open_ear() -> Iterator[Ear]:
    ear = Ear()
    hooks = Hooks(ear.look, secret=f"{OTHER} {SECRET}", told=lambda line: ear.here.told.append(line))
    with served(hooks=hooks, token="x" * 40) as here:  # a token is for those who ask models
        ear.here = here
        yield ear


@pytest.fixture
def ear(open_ear: Ear) -> Ear:
    """Return it with nothing heard, to which no id has come."""
    open_ear.asked, open_ear.fails, open_ear.tests = [], False, open_ear.tests + 1
    return open_ear


def test_a_good_one_makes_us_ask_about_that_job_at_once(ear: Ear) -> None:
    said = ear.send()
    assert (said.status_code, said.json()) == (200, {"received": True, "new": True})
    assert ear.settled(1) == ["ftjob-1"]
    assert "webhook: ftjob-1 is running" in ear.here.told
    assert ear.send(id="wh_2", secret=OTHER).status_code == 200  # while the secret is changed
    assert ear.settled(2) == ["ftjob-1", "ftjob-1"]


def test_the_name_under_which_it_comes_does_not_matter(ear: Ear) -> None:
    """It comes by a tunnel or a proxy; its signature says who sent it."""
    assert ear.send(headers={"Host": "hooks.example", "Content-Type": "application/json"}).status_code == 200
    assert ear.settled(1) == ["ftjob-1"]


@pytest.mark.parametrize(
    "how",
    [
        {"secret": f"whsec_{base64.b64encode(bytes(24)).decode()}"},
        {"age": 400},
        {"age": -400},
        {"sent": b'{"type": "fine_tuning.job.succeeded", "data": {"id": "ftjob-2"}}'},
        {"headers": {"webhook-signature": "v1,"}},
        {"headers": {"webhook-signature": ""}},
        {"headers": {"webhook-id": "wh_other"}},
        {"headers": {"webhook-timestamp": "soon"}},
    ],
)
def test_forged_changed_and_stale_ones_are_refused_and_nobody_is_asked(ear: Ear, how: dict[str, Any]) -> None:
    said = ear.send(**how)
    assert said.status_code == 401
    assert ear.settled(0) == []
    assert SECRET not in said.text + "".join(ear.here.told)


def test_one_that_comes_again_leads_to_no_second_question(ear: Ear) -> None:
    for _ in range(3):
        assert ear.send().status_code == 200  # or the sender would go on for days
    assert ear.settled(1) == ["ftjob-1"]
    assert ear.send().json() == {"received": True, "new": False}


@pytest.mark.parametrize(
    ("event", "status"),
    [
        ({**EVENT, "type": "response.completed"}, 200),
        ({**EVENT, "data": {"id": 7}}, 200),
        ({"type": "fine_tuning.job.succeeded"}, 400),
        ({**EVENT, "data": []}, 400),
        (b"not json", 400),
        (b"null", 400),
        (b'"' + b"x" * LONGEST + b'"', 413),
    ],
)
def test_what_is_about_no_job_of_ours_asks_nobody(ear: Ear, event: Any, status: int) -> None:
    assert ear.send(event).status_code == status
    assert ear.settled(0) == []


def test_a_question_that_fails_is_told_and_the_next_hint_is_taken(ear: Ear) -> None:
    ear.fails = True
    ear.send()
    ear.settled(1)
    ear.fails = False
    ear.send(id="wh_2")
    assert ear.settled(2) == ["ftjob-1", "ftjob-1"]
    assert "webhook: openai: HTTP 503" in ear.here.told
