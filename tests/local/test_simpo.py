"""SimPO: the loss is the paper's, no base is asked, and it survives what DPO survives."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.local

from anytune.local.runs import Run  # noqa: E402
from tests.local.conftest import new_provider  # noqa: E402
from tests.local.test_dpo import encoded, exact, log_probability, model, moved, request, stage_of  # noqa: E402, F401
from tests.local.test_life import folder, run_now  # noqa: E402


def test_loss_and_gradients_are_those_of_the_paper(exact: None, base: Path, tmp_path: Path) -> None:  # noqa: F811
    from anytune.local.training.dpo import Simpo

    batch, objective = encoded(), Simpo(beta=2.0, gamma=0.7)
    net = moved(model(base, lean=True, lora=True))
    stage = stage_of(Run(tmp_path), net, 4096)
    (part,) = stage.batches(objective.before(stage, batch, role="training"))
    outcome = objective.outcome(stage, part)
    outcome.loss.backward()
    other = moved(model(base, lean=False, lora=True))
    wanted = 0
    for one in batch:
        chosen, rejected = (2.0 * log_probability(other, row) / row.supervised for row in one.rows)
        wanted = wanted - torch.log(torch.sigmoid(chosen - rejected - 0.7))
    wanted.backward()
    torch.testing.assert_close(outcome.loss.double(), wanted, rtol=1e-6, atol=0)
    plain = {name: p.grad for name, p in other.named_parameters() if p.requires_grad}
    for name, p in net.named_parameters():
        if p.requires_grad:
            torch.testing.assert_close(p.grad, plain[name], rtol=1e-8, atol=1e-10)


def test_a_run_widens_the_margin_and_asks_no_base(base: Path, pairs: Path, tmp_path: Path) -> None:
    provider = new_provider(tmp_path)
    run = folder(provider, request(provider, base, pairs, "simpo", simpo_gamma=0.5))
    got = run_now(provider, run)
    assert got["state"] == "succeeded", got
    told = [e for e in provider.events("simpo") if "margin" in e.data]
    assert told[-1].data["valid_margin"] > told[0].data["margin"]
    assert not any("asking the base" in e.message for e in provider.events("simpo"))
    assert not list(run.path.glob("reference-*"))
