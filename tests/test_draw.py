"""Figures of a job are drawn elsewhere, once, from its events; nobody beyond this machine is told what stays here."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from anytune import curves
from anytune.errors import CredentialError, MissingExtraError, ProviderError, RefusedError, UsageError
from anytune.schema.job import Event, Job, JobState
from anytune.testing.store import sample_job
from anytune.tuner import Tuner

START = datetime(2026, 11, 28, tzinfo=UTC)


def event(number: int, **data: Any) -> Event:
    return Event(id=f"event-{number:07d}", at=START + timedelta(seconds=number), message="x", data=data)


EVENTS = [
    event(0, pid=7),
    event(1, step=1, total_steps=3, loss=2.5, learning_rate=1e-4, valid_loss=None, eta_seconds=9.0),
    event(2, step=2, total_steps=3, loss=float("nan"), note="odd", late=True),
    event(3, step=3, total_steps=3, loss=1.5, gradient_norm=0.2),
]


def job(**changes: Any) -> Job:
    return sample_job("tides-0123456789").model_copy(update={"state": JobState.SUCCEEDED, **changes})


def opened(where: curves.Where, place: Path, **more: Any) -> curves.Board:
    given = {"place": str(place), "project": "tides", "key": lambda: None, "offline": True, **more}
    return curves.board(where, job(), **given)


def test_the_finite_numbers_of_each_step_are_drawn_and_nothing_else() -> None:
    found = [(point.step, dict(point.values)) for point in curves.points(EVENTS)]
    assert found == [(1, {"loss": 2.5, "learning_rate": 1e-4}), (3, {"loss": 1.5, "gradient_norm": 0.2})]


def test_a_folder_of_tensorboard_has_each_step_once_however_often_it_is_drawn(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for _ in range(2):
        board = opened("tensorboard", tmp_path)
        assert curves.drawn(board, EVENTS[:2]) == 1
        assert curves.drawn(board, EVENTS) == 1
        board.close(ended=True, well=True)
    read = EventAccumulator(board.place)
    read.Reload()
    told = [(e.step, float(e.tensor_proto.float_val[0]), e.wall_time) for e in read.Tensors("loss")]
    assert told == [(1, 2.5, START.timestamp() + 1), (3, 1.5, START.timestamp() + 3)]


def test_a_run_of_mlflow_is_found_again_and_told_only_what_is_new(tmp_path: Path) -> None:
    mlflow = pytest.importorskip("mlflow")
    place = tmp_path / "mlruns"
    for events, steps in ((EVENTS[:2], 1), (EVENTS, 1), (EVENTS, 0)):
        board = opened("mlflow", place)
        assert curves.drawn(board, events) == steps
        board.close(ended=events is EVENTS, well=True)
    client = mlflow.MlflowClient(tracking_uri=board.place)
    (run,) = client.search_runs([client.get_experiment_by_name("tides").experiment_id])
    assert [(m.step, m.value) for m in client.get_metric_history(run.info.run_id, "loss")] == [(1, 2.5), (3, 1.5)]
    assert run.info.status == "FINISHED"
    assert run.data.params["method"] == "sft"


def test_a_run_of_weights_and_biases_is_written_here_when_it_is_offline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    board = opened("wandb", tmp_path)
    assert curves.drawn(board, EVENTS) == 2
    board.close(ended=True, well=True)
    assert list(tmp_path.rglob("*.wandb"))


@pytest.mark.parametrize(
    ("where", "place", "leaves"),
    [
        ("tensorboard", "runs", False),
        ("mlflow", "mlruns", False),
        ("mlflow", "sqlite:///m.db", False),
        ("mlflow", "https://mlflow.example", True),
        ("mlflow", "databricks://x", True),
        ("wandb", None, True),
    ],
)
def test_what_leaves_this_machine_is_known(where: curves.Where, place: str | None, leaves: bool) -> None:
    assert curves.remote(where, place) is leaves


@pytest.mark.parametrize(("where", "place"), [("wandb", None), ("mlflow", "https://mlflow.example")])
def test_a_residency_forbids_to_tell_others(tmp_path: Path, where: curves.Where, place: str | None) -> None:
    made = Tuner(folder=tmp_path, environment={"ANYTUNE_HOME": str(tmp_path / "home")})
    plain = job()
    data = plain.plan.spec.data.model_copy(update={"residency": "local"})
    spec = plain.plan.spec.model_copy(update={"data": data})
    made.store.add(plain.model_copy(update={"plan": plain.plan.model_copy(update={"spec": spec})}))
    with pytest.raises(RefusedError) as caught:
        made.draw(plain.id, where=where, place=place, project="tides")
    assert caught.value.reasons == (f"data.residency is local: where {where} keeps what it is told is unknown",)
    ((link,), broken) = made.audit(plain.id)
    assert broken is None
    told = link.decision
    assert (told.act, told.provider, told.answer, told.reasons) == ("draw", where, "refused", caught.value.reasons)
    assert told.rules["data.residency"] == "local"


@pytest.mark.parametrize("where", ["mlflow", "wandb"])
def test_no_library_tells_its_makers_even_of_a_folder_on_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: curves.Where
) -> None:
    """Both would: MLflow from its import on, Weights & Biases in its own process, offline, too."""
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "false")
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "true")
    monkeypatch.delitem(sys.modules, where, raising=False)
    (tmp_path / f"{where}.py").write_text("import os\nSEEN = dict(os.environ)\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises((ProviderError, AttributeError)):
        opened(where, tmp_path / "runs")
    seen = sys.modules.pop(where).SEEN
    assert (seen["MLFLOW_DISABLE_TELEMETRY"], seen["WANDB_ERROR_REPORTING"]) == ("true", "false")


@pytest.mark.parametrize("where", ["mlflow", "wandb"])
def test_what_is_drawn_into_a_folder_makes_no_connection(tmp_path: Path, where: curves.Where) -> None:
    pytest.importorskip(where)
    if shutil.which("strace") is None:
        pytest.skip("strace is not here")
    program = f"""
from pathlib import Path
from tests.test_draw import EVENTS, opened
from anytune import curves
board = opened({where!r}, Path({str(tmp_path / "runs")!r}))
assert curves.drawn(board, EVENTS) == 2
board.close(ended=True, well=True)
"""
    traced = ["strace", "-f", "-e", "trace=connect", "-o", str(tmp_path / "trace"), sys.executable, "-c", program]
    environment = {name: value for name, value in os.environ.items() if "CI" not in name and "PYTEST" not in name}
    environment["PYTHONPATH"] = str(Path(__file__).parents[1])
    done = subprocess.run(
        traced, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "AF_INET" not in (tmp_path / "trace").read_text()


def test_a_library_that_is_missing_is_named_with_what_brings_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard.summary", None)
    with pytest.raises(MissingExtraError) as caught:
        opened("tensorboard", tmp_path)
    assert caught.value.fix == "pip install 'anytune[tensorboard]'"


def test_weights_and_biases_needs_a_project_and_a_key(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="keeps runs in projects"):
        opened("wandb", tmp_path, project=None)
    pytest.importorskip("wandb")
    with pytest.raises(CredentialError, match="needs a key"):
        opened("wandb", tmp_path, offline=False)
