"""Reward models: scores as the paper, PEFT and transformers have them, and a job that is judged by one."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.local

from anytune.errors import RefusedError, RejectedError, UsageError  # noqa: E402
from anytune.local.provider import LocalProvider  # noqa: E402
from anytune.local.runs import Run  # noqa: E402
from anytune.schema.data import DataReport, FileReport, Tokens  # noqa: E402
from anytune.schema.model import TunedModel  # noqa: E402
from anytune.schema.spec import TuneSpec  # noqa: E402
from tests.local import conftest, test_grpo  # noqa: E402
from tests.local.conftest import chat, data_file, new_provider, wait  # noqa: E402
from tests.local.test_dpo import encoder, exact, pair  # noqa: E402, F401
from tests.local.test_life import begin, folder, result, run_now  # noqa: E402

Trained = tuple[LocalProvider, Run]


def request(provider: LocalProvider, base: Path, pairs: Path, job_id: str, **training: Any) -> dict[str, Any]:
    body = conftest.request(provider, base, pairs, job_id, method="reward", **training)
    return body | {"event_seconds": 0}


@pytest.fixture(scope="module", params=["adapter", "whole"])
def trained(
    request: pytest.FixtureRequest, base: Path, pairs: Path, tmp_path_factory: pytest.TempPathFactory
) -> Trained:
    provider = new_provider(tmp_path_factory.mktemp("home"))
    return provider, made(provider, base, pairs, "judge", whole=request.param == "whole")


def made(provider: LocalProvider, base: Path, pairs: Path, job_id: str, *, whole: bool = False) -> Run:
    settings = {"lora": None, "learning_rate": 5e-4} if whole else {}
    run = folder(provider, request(provider, base, pairs, job_id, epochs=3, **settings))
    got = run_now(provider, run)
    assert got["state"] == "succeeded", got
    return run


def theirs(run: Run, base: Path) -> Any:
    """Open a reward model with transformers and PEFT alone."""
    from peft import PeftModel
    from transformers import AutoModelForSequenceClassification

    from anytune.local.loading import open_base

    if not (run.path / "model/adapter_config.json").exists():
        return AutoModelForSequenceClassification.from_pretrained(run.path / "model", num_labels=1).eval()
    net = open_base(str(base), quantize="nf4", dtype="float32", says="score")
    return PeftModel.from_pretrained(net, run.path / "model").eval()


def rows(base: Path) -> list[Any]:
    return [row for n in range(4) for row in encoder(base).example(pair(n), where="x", line=n).rows]


def test_it_prefers_what_is_preferred_and_tells_so(trained: Trained) -> None:
    provider, run = trained
    told = [e.data for e in provider.events("judge") if "margin" in e.data]
    assert told[-1]["valid_margin"] > told[0]["margin"]
    assert result(run)["valid_accuracy"] >= 0.9
    assert {"rewards/chosen", "rewards/rejected", "accuracy"} <= told[0].keys()


def test_transformers_and_peft_give_the_scores_that_were_trained(trained: Trained, base: Path) -> None:
    from anytune.local import judge
    from anytune.local.training.scorer import Scorer

    provider, run = trained
    scorer = Scorer(judge.told("judge", provider.home), name="rewards[0]")
    chats = [[*pair(n)["input"]["messages"], *pair(n)[side]] for n in range(4) for side in SIDES]
    ours, net = scorer.scores(chats), theirs(run, base)
    with torch.no_grad():
        one_by_one = [net(input_ids=torch.tensor([row.ids])).logits.item() for row in rows(base)]
        wide = max(map(len, rows(base)))
        ids = torch.tensor([row.ids + [0] * (wide - len(row)) for row in rows(base)])
        together = net(input_ids=ids, attention_mask=(ids != 0).long()).logits[:, 0].tolist()
    assert ours == pytest.approx(one_by_one, abs=2e-4)
    assert ours == pytest.approx(together, abs=2e-4)
    assert all(better > worse for better, worse in zip(ours[::2], ours[1::2], strict=True))


SIDES = ("preferred_output", "non_preferred_output")


@pytest.mark.parametrize("most_tokens", [4096, 128])
def test_loss_and_gradients_are_those_of_transformers_scores(
    exact: None,  # noqa: F811
    base: Path,
    most_tokens: int,
) -> None:
    from anytune.local.loading import open_base
    from anytune.local.training.adapters import prepare
    from anytune.local.training.batches import micro_batches
    from anytune.local.training.preference import Preference, ScoreHead
    from tests.local.test_dpo import LORA, moved

    def model(*, lean: bool) -> Any:
        net = open_base(str(base), quantize=None, dtype="float32", says="score").double()
        torch.manual_seed(1)
        torch.nn.init.normal_(net.score.weight)
        if lean:
            machine = {"recompute": False, "products": "float64"}
            net = prepare(net, str(base), {"lora": LORA}, machine, says="score")
        else:
            from anytune.local.training.adapters import trainable

            net = trainable(net, str(base), {"lora": LORA}, says="score")
        return moved(net.double()).train()

    batch = [encoder(base).example(pair(n), where="x", line=n) for n in range(5)]
    net = model(lean=True)
    stage, loss = type("Stage", (), {"head": ScoreHead(net)})(), 0.0
    for part in micro_batches(batch, most_tokens=most_tokens, most_examples=None):
        outcome = Preference().outcome(stage, part)
        outcome.loss.backward()
        loss += outcome.loss.item()
    other, wanted = model(lean=False), torch.zeros((), dtype=torch.float64)
    for one in batch:
        better, worse = (other(input_ids=torch.tensor([row.ids])).logits[0, 0] for row in one.rows)
        wanted = wanted - torch.log(torch.sigmoid(better - worse))
    wanted.backward()
    assert loss == pytest.approx(wanted.item(), rel=1e-10)
    plain = {name: p.grad for name, p in other.named_parameters() if p.requires_grad}
    assert any("score" in name for name in plain)
    for name, p in net.named_parameters():
        if p.requires_grad:
            assert (p.grad - plain[name]).norm() <= 1e-10 * plain[name].norm(), name


def test_the_plan_reckons_pairs_and_what_a_judge_takes(trained: Trained, base: Path, pairs: Path) -> None:
    provider, _ = trained
    tokens = Tokens(low=900, expected=900, high=900, longest=90, basis="counted", trained=400, masked=500)
    report = DataReport(files=(FileReport(path=pairs, examples=16, tokens=tokens, file=data_file(pairs)),))
    found = provider.estimate(conftest.spec(base, pairs, method="reward"), report)
    assert found is not None
    assert found.basis.endswith("; pairs")
    document = conftest.spec(base, pairs).model_dump(mode="json", exclude_unset=True) | {"method": "rft"}
    alone, judged = (
        provider.estimate(TuneSpec.model_validate(document | {"rewards": rewards}), report)
        for rewards in ([{"type": "regex", "pattern": "x"}], [{"type": "model", "model": "judge"}])
    )
    assert alone is not None
    assert judged is not None
    assert judged.memory_expected > alone.memory_expected


def test_a_run_that_was_killed_ends_with_the_same_weights(
    trained: Trained, base: Path, pairs: Path, tmp_path: Path
) -> None:
    if not (trained[1].path / "model/adapter_config.json").exists():
        pytest.skip("the loop is the same for whole weights")
    provider = new_provider(tmp_path)
    run = folder(provider, request(provider, base, pairs, "cut", epochs=3))
    child = begin(provider, run)
    wait(provider, "cut", lambda _: any("step 4 of" in e.message for e in provider.events("cut")))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert run_now(provider, run)["adapter_sha256"] == result(trained[1])["adapter_sha256"]


def test_it_answers_nothing_and_is_handed_out_as_it_is(trained: Trained, tmp_path: Path) -> None:
    from anytune.local.export import export
    from anytune.local.generate import open_speaker

    model = trained[1].path / "model"
    with pytest.raises(UsageError, match="it is a reward model, which scores answers and gives none"):
        open_speaker("", model, None)
    tuned = TunedModel(provider="local", base="", name=str(model), path=str(model), job_id="judge")
    with pytest.raises(RejectedError, match="it is a reward model"):
        trained[0].endpoint({"judge": tuned})
    for to in ("merged", "gguf", "ollama", "vllm"):
        with pytest.raises(UsageError, match=f"gives none: {to} has no place for that"):
            export(model, to, tmp_path / to)
    if (model / "adapter_config.json").exists():
        assert json.loads((model / "adapter_config.json").read_text())["task_type"] == "SEQ_CLS"
        assert "adapter_model.safetensors" in export(model, "adapter", tmp_path / "adapter")["files"]


def test_answers_are_judged_by_it_and_a_judge_that_changed_ends_the_job(
    trained: Trained, base: Path, tmp_path: Path
) -> None:
    provider, _ = trained
    tasks = conftest.write_lines(tmp_path / "tasks.jsonl", [{"messages": chat(n)["messages"][:-1]} for n in range(8)])
    body = test_grpo.request(provider, base, tasks, f"judged-{tmp_path.name}", {"type": "model", "model": "judge"})
    assert body["training"]["beside_bytes"] > 100_000
    judged = folder(provider, body)
    got = run_now(provider, judged)
    assert got["state"] == "succeeded", got
    told = [e.data for e in provider.events(judged.id) if "reward" in e.data]
    assert told[0]["reward"] == pytest.approx(told[0]["rewards/model"])
    assert told[0]["reward_std"] > 0
    changed = body | {"job_id": f"changed-{tmp_path.name}"}
    file = next(iter(body["rewards"][0]["judge"]["sha256"]))
    changed["rewards"][0]["judge"]["sha256"][file] = "0" * 64
    failed = run_now(provider, folder(provider, changed))
    assert (failed["state"], failed["cause"]) == ("failed", "user")
    assert "rewards[0]: the reward model is gone or has changed" in failed["error"]


def test_a_job_without_a_model_or_with_one_that_answers_is_no_judge(
    trained: Trained, base: Path, tmp_path: Path
) -> None:
    provider, _ = trained
    tasks = conftest.write_lines(tmp_path / "tasks.jsonl", [{"messages": chat(1)["messages"][:-1]}])
    for named, said in (("nobody", "no local job is called 'nobody'"), (str(base), "is no reward model")):
        with pytest.raises(RefusedError, match=said):
            test_grpo.request(provider, base, tasks, "x", {"type": "model", "model": named})
