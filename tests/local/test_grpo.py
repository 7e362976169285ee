"""Reinforcement: the loop computes what the paper says, its rewards rise, and it survives what the others survive."""

from __future__ import annotations

import os
import signal
import statistics
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.local

from anytune.local.provider import LocalProvider  # noqa: E402
from anytune.local.runs import Run  # noqa: E402
from anytune.schema.job import JobState, RemoteJob  # noqa: E402
from anytune.schema.reward import Reward  # noqa: E402
from tests.local import conftest  # noqa: E402
from tests.local.conftest import chat, data_file, ended, new_provider, wait, write_lines  # noqa: E402
from tests.local.test_dpo import exact  # noqa: E402, F401
from tests.local.test_life import begin, folder, result, run_now  # noqa: E402

VOWELS = """\
def grade(sample, item):
    text = sample["output_text"]
    return sum(c in item["wanted"] for c in text) / max(1, len(text))
"""
SHARE = {"type": "python", "function": "vowels.py:grade", "file": "/x/vowels.py", "text": VOWELS}


def task(number: int) -> dict[str, Any]:
    return {"messages": chat(number)["messages"][:-1], "wanted": "aeiou"}


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_lines(tmp_path_factory.mktemp("data") / "tasks.jsonl", [task(n) for n in range(16)])


def request(
    provider: LocalProvider, model: Path, data: Path, job_id: str, *rewards: dict[str, Any], **training: Any
) -> dict[str, Any]:
    """Render a request on questions that tells of every step."""
    values = {
        "learning_rate": 3e-2,
        "group_size": 8,
        "max_new_tokens": 8,
        "batch_size": 8,
        "scheduler": "constant",
        "beta": 0.01,
    } | training
    asked = conftest.spec(model, data)
    document = asked.model_dump(mode="json", exclude_unset=True)
    document |= {"method": "rft", "rewards": rewards or [SHARE]}
    document["training"] |= values
    file = provider.upload(data_file(data))
    made = type(asked).model_validate(document)
    body = provider.render(made, job_id=job_id, training_file=file, validation_file=file)
    return body | {"checkpoint_seconds": 0, "event_seconds": 0}


@pytest.fixture(scope="module")
def finished(base: Path, tasks: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[LocalProvider, RemoteJob]:
    """Train once through the provider, in a real worker process."""
    provider = new_provider(tmp_path_factory.mktemp("home"))
    provider.create(request(provider, base, tasks, "whole", epochs=6))
    job = wait(provider, "whole", ended)
    assert job.error is None, job.error
    return provider, job


def test_the_reward_rises_and_each_step_tells_of_it(finished: tuple[LocalProvider, RemoteJob]) -> None:
    provider, job = finished
    assert job.state == JobState.SUCCEEDED
    told = [e.data for e in provider.events("whole") if "reward" in e.data]
    assert len(told) == 12
    assert {"reward", "rewards/python", "reward_std", "kl", "answer_tokens", "ended", "loss"} <= told[0].keys()
    rewards = [data["reward"] for data in told]
    assert statistics.fmean(rewards[-4:]) > statistics.fmean(rewards[:2]) + 0.15, rewards
    assert told[0]["kl"] == 0
    assert told[-1]["kl"] > 0
    got = result(Run(provider.home / "runs" / "whole"))
    assert got["valid_reward"] == told[-1]["valid_reward"] > told[1]["valid_reward"]
    assert got["supervised_tokens"] > 0


def test_what_it_made_is_an_adapter_that_answers(finished: tuple[LocalProvider, RemoteJob]) -> None:
    from anytune.local.generate import open_speaker

    provider, _ = finished
    speaker = open_speaker("", provider.home / "runs" / "whole" / "model", None)
    said = list(speaker.answer([task(3)["messages"]], max_new_tokens=8))
    assert len(said) == 1


def test_a_run_killed_between_steps_ends_with_the_same_weights(base: Path, tasks: Path, tmp_path: Path) -> None:
    provider = new_provider(tmp_path)
    wanted = run_now(provider, folder(provider, request(provider, base, tasks, "calm")))
    run = folder(provider, request(provider, base, tasks, "killed"))
    child = begin(provider, run)
    wait(provider, "killed", lambda _: any("step 2 of" in e.message for e in provider.events("killed")))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert run.result() is None
    got = run_now(provider, run)
    assert any("going on from step" in e.message for e in provider.events("killed"))
    for name in ("adapter_sha256", "trained_tokens", "supervised_tokens", "train_loss", "valid_reward", "steps"):
        assert got[name] == wanted[name], name


def test_a_run_that_is_cancelled_while_it_answers_saves_and_stops(base: Path, tasks: Path, tmp_path: Path) -> None:
    provider = new_provider(tmp_path)
    provider.create(request(provider, base, tasks, "cut", epochs=100))
    wait(provider, "cut", lambda _: any("step 1 of" in e.message for e in provider.events("cut")))
    provider.cancel("cut")
    assert wait(provider, "cut", ended).state == JobState.CANCELLED
    assert result(Run(provider.home / "runs" / "cut"))["saved_step"] >= 1


def test_the_gradient_is_that_of_the_formula(exact: None, base: Path) -> None:  # noqa: F811
    from anytune.local import loading
    from anytune.local.encode import Encoded
    from anytune.local.training.adapters import trainable
    from anytune.local.training.batches import collate
    from anytune.local.training.grpo import Grpo, Tried
    from anytune.local.training.head import HeadFilter
    from anytune.local.training.objective import Stage

    lora = {"rank": 4, "alpha": 8, "dropout": 0.0, "target_modules": "all-linear"}
    torch.manual_seed(0)
    net = trainable(loading.open_base(str(base), quantize=None, dtype="float32"), str(base), {"lora": lora}).double()
    learnt = [p for p in net.parameters() if p.requires_grad]
    with torch.no_grad():
        for p in learnt:
            p.add_(torch.randn_like(p) * 0.05)
    grpo = Grpo(None, beta=0.3, group_size=2, room=4)  # type: ignore[arg-type]
    stage = Stage(None, net, HeadFilter(net), None, lambda: False, 4096, None)  # type: ignore[arg-type]
    grpo.before(stage, [], role="training")
    before = [p.detach().clone() for p in learnt]
    with torch.no_grad():
        for p in learnt:
            p.add_(torch.randn_like(p) * 0.05)
    rows = [
        Encoded([5, 6, 7, 8, 9, 2], [False] * 3 + [True] * 3, 1),
        Encoded([5, 6, 9, 4], [False] * 2 + [True] * 2, 1),
    ]
    tried = [Tried(row, "", ended=True, advantage=a) for row, a in zip(rows, (0.7, -1.1), strict=True)]
    outcome = grpo.outcome(stage, collate(tried))
    got = torch.autograd.grad(outcome.loss, learnt)

    def logs(row: Encoded) -> Any:
        ids = torch.tensor([row.ids])
        said = torch.log_softmax(net(input_ids=ids).logits[0, :-1], -1)
        each = said.gather(1, ids[0, 1:, None])[:, 0]
        return each[torch.tensor(row.trained[1:])]

    now = [p.detach().clone() for p in learnt]
    with torch.no_grad():
        for p, value in zip(learnt, before, strict=True):
            p.copy_(value)
        reference = [logs(row) for row in rows]
        for p, value in zip(learnt, now, strict=True):
            p.copy_(value)
    wanted: Any = 0
    for one, row, ref in zip(tried, rows, reference, strict=True):
        d = ref - logs(row)
        wanted = wanted + (-one.advantage * logs(row) + 0.3 * (d.exp() - d - 1)).sum()
    for mine, plain in zip(got, torch.autograd.grad(wanted, learnt), strict=True):
        torch.testing.assert_close(mine, plain, rtol=1e-8, atol=1e-10)


def test_advantages_are_rewards_beside_those_of_the_same_question(base: Path, tasks: Path) -> None:
    from anytune.local.training.grpo import SMALL, Grpo, Tried

    grpo = Grpo(None, beta=0.1, group_size=3, room=4)  # type: ignore[arg-type]
    worth = [1.0, 0.0, 0.5, 2.0, 2.0, 2.0]
    grpo.tried = lambda *_, **__: [Tried(ROW, "", ended=True)] * 6  # type: ignore[method-assign, assignment]
    grpo.worth = lambda *_: (worth, [[w] for w in worth])  # type: ignore[method-assign, assignment]
    grpo.rewards = type("Named", (), {"names": ["python"]})()
    found, told = grpo.act(None, [None, None])  # type: ignore[arg-type, list-item]
    assert [round(one.advantage, 6) for one in found] == [
        *(round((w - 0.5) / (0.5 + SMALL), 6) for w in worth[:3]),
        0,
        0,
        0,
    ]
    assert told["reward"] == 1.25
    assert told["reward_std"] == 0.25


FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "a chat with its answer": (chat(1), "training file, line 1: it ends with an answer, and rft asks for one"),
    "no messages": ({"wanted": "a"}, "training file, line 1: no list of messages"),
    "nothing for the reward": (
        {"messages": task(1)["messages"]},
        "training file, line 1: the record has no item.wanted, which rewards[0].reference names",
    ),
}


@pytest.mark.parametrize(("record", "said"), FAULTS.values(), ids=FAULTS.keys())
def test_a_record_that_cannot_be_used_fails_a_run_with_its_line(
    base: Path, tmp_path: Path, record: dict[str, Any], said: str
) -> None:
    provider = new_provider(tmp_path)
    data = write_lines(tmp_path / "t.jsonl", [record])
    wanted = Reward(type="string_check", operation="eq", reference="{{ item.wanted }}").model_dump(mode="json")
    got = run_now(provider, folder(provider, request(provider, base, data, "bad", wanted)))
    assert (got["state"], got["cause"], got["error"]) == ("failed", "user", said)


def test_a_function_that_fails_ends_the_run_as_the_users_fault(base: Path, tasks: Path, tmp_path: Path) -> None:
    provider = new_provider(tmp_path)
    broken = SHARE | {"text": "def grade(sample, item):\n    return item['nothing']"}
    got = run_now(provider, folder(provider, request(provider, base, tasks, "bad", broken)))
    assert (got["state"], got["cause"]) == ("failed", "user")
    assert "vowels.py:grade failed: KeyError: 'nothing'" in got["error"]
    assert got["error"].startswith("rewards[0], record on line ")


from anytune.local.encode import Encoded  # noqa: E402

ROW = Encoded([1, 2], [False, True], 1)


def test_prompts_of_several_lengths_are_answered_as_each_alone(base: Path) -> None:
    from transformers import GenerationConfig

    from anytune.local import loading
    from anytune.local.training.attention import NAME, arrange, padded
    from anytune.local.training.grpo import answers

    net = loading.open_base(str(base), quantize=None, dtype="float32").eval()
    assert arrange(net, longest=64) is None
    prompts = [[5, 6, 7], [9, 8, 7, 6, 5, 40, 41, 42, 43], [77]]
    config = GenerationConfig(do_sample=False, eos_token_id=[2], pad_token_id=2, max_new_tokens=6)
    with torch.no_grad(), padded(net):
        together = answers(net, prompts, config)
        assert together == [answers(net, [prompt], config)[0] for prompt in prompts]
    assert net.config._attn_implementation == NAME, "training goes on by trees"
