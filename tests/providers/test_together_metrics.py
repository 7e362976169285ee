"""The figures of a run at Together: among the events, each once, with the names that the screen knows."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from anytune.errors import RateLimitedError
from anytune.providers.together import metrics as metrics
from anytune.schema.job import Event
from tests.providers._together import TogetherRig, running
from tests.stubs.together import TogetherStub

METRICS = "GET /v1/fine-tunes/*/metrics"


@pytest.fixture
def stub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TogetherStub]:
    with running(tmp_path, monkeypatch) as stub:
        yield stub


@pytest.fixture
def rig(tmp_path: Path, stub: TogetherStub) -> TogetherRig:
    return TogetherRig(tmp_path, stub)


def trained(rig: TogetherRig) -> str:
    rig.stub.life = ("pending", "running", "completed")
    remote_id = rig.start()
    rig.provider.retrieve(remote_id)
    return remote_id


def test_losses_stand_among_the_events_by_step(rig: TogetherRig) -> None:
    remote_id = trained(rig)
    told = [(event.data["type"], event.data["step"]) for event in rig.provider.events(remote_id)]
    saved, figures = "checkpoint_save", "metrics"
    assert told == [("job_pending", 0), ("job_start", 0), (saved, 1), (figures, 1), (saved, 2), (figures, 2)]
    losses = [event.data["loss"] for event in rig.provider.events(remote_id) if "loss" in event.data]
    assert losses == [2.0, 1.0]
    assert rig.provider.events(remote_id)[-1].message == "step 2: loss 1.0000"


def test_the_loss_on_validation_data_has_the_name_that_the_screen_knows(rig: TogetherRig) -> None:
    remote_id = trained(rig)
    rig.stub.set(remote_id, n_evals=1)
    last = rig.provider.events(remote_id)[-1]
    assert (last.data, last.message) == (
        {"type": "metrics", "step": 2, "valid_loss": 1.5},
        "step 2: validation loss 1.5000",
    )


def test_events_that_were_told_keep_their_place_when_more_come(rig: TogetherRig) -> None:
    remote_id = trained(rig)
    first = [event.id for event in rig.provider.events(remote_id)]
    rig.stub.tell(remote_id, "checkpoint_save", "Checkpoint saved at step 3", step=3)
    rig.stub.finish(remote_id)
    second = [event.id for event in rig.provider.events(remote_id)]
    assert second[: len(first)] == first
    assert len(set(second)) == len(second) > len(first)


def test_no_figures_are_asked_for_before_training_begins(rig: TogetherRig) -> None:
    rig.provider.events(rig.start())
    assert rig.calls(METRICS) == 0


@pytest.mark.parametrize("status", [400, 404, 500])
def test_events_are_told_although_the_figures_cannot_be_had(rig: TogetherRig, status: int) -> None:
    remote_id = trained(rig)
    rig.stub.fail_next(METRICS, status=status)
    assert len(rig.provider.events(remote_id)) == 4
    assert len(rig.provider.events(remote_id)) == 6


def test_a_rate_limit_on_the_figures_is_obeyed(rig: TogetherRig) -> None:
    remote_id = trained(rig)
    rig.stub.fail_next(METRICS, status=429, headers={"Retry-After": "9"})
    with pytest.raises(RateLimitedError):
        rig.provider.events(remote_id)


def test_the_figures_of_a_restarted_job_are_others(rig: TogetherRig) -> None:
    old = trained(rig)
    new = rig.stub.restart(old)
    rig.provider.retrieve(new)
    ids = [{event.id for event in rig.provider.events(job) if event.data["type"] == "metrics"} for job in (old, new)]
    assert ids[0]
    assert ids[1]
    assert not ids[0] & ids[1]


def test_an_event_whose_step_is_no_number_hides_no_figures(rig: TogetherRig) -> None:
    remote_id = trained(rig)
    rig.stub.tell(remote_id, "epoch_complete", "Epoch 1", step="one")
    assert len(rig.provider.events(remote_id)) == 7


def read(*rows: Any) -> list[Event]:
    return metrics.events_of(rows, among=[], remote_id="ft-1")


def test_strange_rows_are_read_as_far_as_they_go() -> None:
    nan = float("nan")
    assert read({}, {"train/loss": 1.0}, {"train/global_step": 1}, {"train/global_step": nan, "train/loss": 1}) == []
    assert read({"train/global_step": True, "train/loss": 1}, {"train/global_step": 1, "train/loss": nan}) == []
    assert [e.data["step"] for e in read({"eval/global_step": 4.0, "eval/loss": 1}, {"step": 3, "eval/loss": 1})] == [4]
    assert len(read(*[{"train/global_step": 7, "train/loss": 1.0}] * 2)) == 1


def test_a_row_that_says_when_it_was_logged_is_believed() -> None:
    (event,) = read({"train/global_step": 7, "train/loss": 1.0, "timestamp": 1_790_000_000.5})
    assert event.at == datetime.fromtimestamp(1_790_000_000.5, UTC)
    (event,) = read({"train/global_step": 7, "train/loss": 1.0, "timestamp": 12.0})
    assert event.at.year == 1970
