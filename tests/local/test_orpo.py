"""ORPO: the loss is the paper's, no base is asked, and it survives what DPO survives."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.local

from anytune.local.runs import Run  # noqa: E402
from tests.local.conftest import new_provider, wait  # noqa: E402
from tests.local.test_dpo import encoded, exact, log_probability, model, moved, request, stage_of  # noqa: E402, F401
from tests.local.test_life import begin, folder, run_now  # noqa: E402


def test_loss_and_gradients_are_those_of_the_paper(exact: None, base: Path, tmp_path: Path) -> None:  # noqa: F811
    from anytune.local.training.orpo import Orpo

    batch, objective = encoded(), Orpo(weight=0.4)
    net = moved(model(base, lean=True, lora=True))
    stage = stage_of(Run(tmp_path), net, 4096)
    (part,) = stage.batches(objective.before(stage, batch, role="training"))
    outcome = objective.outcome(stage, part)
    outcome.loss.backward()
    other = moved(model(base, lean=False, lora=True))
    wanted, figures = 0, {"nll": 0.0, "margin": 0.0, "accuracy": 0.0}
    for one in batch:
        chosen, rejected = (torch.exp(log_probability(other, row) / row.supervised) for row in one.rows)
        ratio = chosen / (1 - chosen) / (rejected / (1 - rejected))
        wanted = wanted - torch.log(chosen) - 0.4 * torch.log(torch.sigmoid(torch.log(ratio)))
        figures["nll"] -= torch.log(chosen).item()
        figures["margin"] += torch.log(ratio).item()
        figures["accuracy"] += float(ratio > 1)
    wanted.backward()
    torch.testing.assert_close(outcome.loss, wanted, rtol=1e-10, atol=0)
    assert outcome.figures == pytest.approx(figures, rel=1e-10)
    plain = {name: p.grad for name, p in other.named_parameters() if p.requires_grad}
    for name, p in net.named_parameters():
        if p.requires_grad:
            torch.testing.assert_close(p.grad, plain[name], rtol=1e-8, atol=1e-10)


def test_an_answer_that_is_certain_has_a_loss_and_a_finite_slope() -> None:
    from anytune.local.training.orpo import log_odds

    means = torch.tensor([0.0, -1e-9, -1e-3, -30.0], requires_grad=True)
    found = log_odds(means)
    found.sum().backward()
    assert torch.isfinite(found).all()
    assert means.grad is not None
    assert torch.isfinite(means.grad).all()


def test_a_run_learns_answers_and_preferences_asks_no_base_and_is_the_same_after_a_kill(
    base: Path, pairs: Path, tmp_path: Path
) -> None:
    provider = new_provider(tmp_path)
    run = folder(provider, request(provider, base, pairs, "orpo", orpo_lambda=0.5))
    assert "beta" not in run.request()["training"]
    got = run_now(provider, run)
    assert got["state"] == "succeeded", got
    told = [e for e in provider.events("orpo") if "margin" in e.data]
    assert told[-1].data["valid_margin"] > told[0].data["margin"]
    assert told[-1].data["valid_nll"] < told[0].data["nll"]
    assert not list(run.path.glob("reference-*"))
    cut = folder(provider, request(provider, base, pairs, "cut", orpo_lambda=0.5))
    child = begin(provider, cut)
    wait(provider, "cut", lambda _: any("step 4 of" in e.message for e in provider.events("cut")))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    again = run_now(provider, cut)
    assert (again["adapter_sha256"], again["valid_loss"]) == (got["adapter_sha256"], got["valid_loss"])
