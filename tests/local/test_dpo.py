"""Preferences: the lean loop computes what the paper says, learns what is preferred, and survives what SFT survives."""

from __future__ import annotations

import os
import random
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.local

from anytune.errors import UsageError  # noqa: E402
from anytune.local.provider import LocalProvider  # noqa: E402
from anytune.local.runs import Run  # noqa: E402
from anytune.schema.job import JobState, RemoteJob  # noqa: E402
from tests.local import conftest  # noqa: E402
from tests.local.conftest import TINY, chat, data_file, ended, new_provider, pair, spec, wait, write_lines  # noqa: E402
from tests.local.test_encode import UNMARKED  # noqa: E402
from tests.local.test_life import begin, folder, result, run_now  # noqa: E402

BETA = 0.3
LORA = {"rank": 8, "alpha": 16, "dropout": 0.0, "target_modules": "all-linear"}


def request(provider: LocalProvider, model: Path, data: Path, job_id: str, **training: Any) -> dict[str, Any]:
    """Render a request on pairs that tells of every step."""
    asked = conftest.request(provider, model, data, job_id, method="dpo", **{"learning_rate": 1e-3, **training})
    return asked | {"event_seconds": 0}


@pytest.fixture(scope="module")
def finished(base: Path, pairs: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[LocalProvider, RemoteJob]:
    """Train once through the provider, in a real worker process."""
    provider = new_provider(tmp_path_factory.mktemp("home"))
    provider.create(request(provider, base, pairs, "whole"))
    job = wait(provider, "whole", ended)
    assert job.error is None, job.error
    return provider, job


def encoder(model: Path = TINY) -> Any:
    from anytune.local.encode import ChatEncoder
    from anytune.local.loading import open_tokenizer
    from anytune.local.training.pair import PairEncoder

    return PairEncoder(ChatEncoder(open_tokenizer(str(model)), stop_ids=frozenset({2})))


def encoded(count: int = 5) -> list[Any]:
    return [encoder().example(pair(n), where="x", line=n) for n in range(count)]


# What is read, and what of it counts.


def test_each_side_is_encoded_as_the_chat_that_it_is() -> None:
    record = pair(3)
    found = encoder().example(record, where="x", line=3)
    for side, row in (("preferred_output", found.chosen), ("non_preferred_output", found.rejected)):
        alone = {"messages": [*record["input"]["messages"], *record[side]]}
        assert row == encoder().chats.example(alone, where="x", line=3)


def test_of_a_long_talk_only_the_compared_answer_counts() -> None:
    record = pair(1)
    record["input"]["messages"] = [*chat(1)["messages"], {"role": "user", "content": "And?"}]
    record["preferred_output"][0]["weight"] = 1
    coder = encoder()
    found = coder.example(record, where="x", line=1)
    counted = [token for token, on in zip(found.chosen.ids, found.chosen.trained, strict=True) if on]
    assert coder.chats.tokenizer.decode(counted) == record["preferred_output"][0]["content"] + "<|end|>"


def test_the_tools_of_the_input_are_read() -> None:
    tools = [{"type": "function", "function": {"name": "tide", "parameters": {"type": "object", "properties": {}}}}]
    record = pair(1)
    coder = encoder()
    coder.chats.tokenizer.chat_template = UNMARKED.replace("bos_token }}", "bos_token }}{{ tools | tojson if tools }}")
    record["input"]["tools"] = tools
    assert '"tide"' in coder.chats.tokenizer.decode(coder.example(record, where="x", line=1).chosen.ids)


BROKEN: dict[str, tuple[dict[str, Any], str]] = {
    "a chat": (chat(1), "line 7: no pair: input.messages is missing"),
    "TRL's keys": ({"prompt": "a", "chosen": "b", "rejected": "c"}, "line 7: no pair: input.messages is missing"),
    "no object": ({}, "line 7: no pair: input.messages is missing"),
    "input as text": (pair(1) | {"input": "Hello"}, "line 7: no pair: input.messages is missing"),
    "nothing asked": (pair(1) | {"input": {"messages": []}}, "line 7: no pair: input.messages is missing"),
    "odd messages": (pair(1) | {"input": {"messages": ["Hello"]}}, "line 7: input.messages holds what is no message"),
    "no worse answer": (
        {k: v for k, v in pair(1).items() if k != "non_preferred_output"},
        "line 7: non_preferred_output is not a list of one message",
    ),
    "two answers": (
        pair(1) | {"preferred_output": pair(1)["preferred_output"] * 2},
        "line 7: preferred_output is not a list of one message",
    ),
    "the user's": (
        pair(1) | {"preferred_output": [{"role": "user", "content": "x"}]},
        "line 7: preferred_output is not the assistant's",
    ),
}


@pytest.mark.parametrize(("record", "said"), BROKEN.values(), ids=BROKEN.keys())
def test_what_is_no_pair_is_an_error_with_its_line(record: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError) as caught:
        encoder().example(record, where="line 7", line=7)
    assert caught.value.message == said
    assert "anytune check --method dpo" in str(caught.value.fix)


def test_an_answer_without_content_is_an_error_that_names_the_side() -> None:
    record = pair(1) | {"non_preferred_output": [{"role": "assistant", "content": None}]}
    with pytest.raises(UsageError, match="line 2, non_preferred_output: "):
        encoder().example(record, where="line 2", line=2)


def test_pairs_that_cutting_leaves_nothing_of_are_left_out_and_counted(tmp_path: Path) -> None:
    from anytune.local.records import Limit, encode_file

    def said(preferred: str, other: str) -> dict[str, Any]:
        sides = {"preferred_output": preferred, "non_preferred_output": other}
        return pair(1) | {side: [{"role": "assistant", "content": text}] for side, text in sides.items()}

    alike = said("a " * 80 + "yes", "a " * 80 + "no")
    asked = pair(1) | {"input": {"messages": [{"role": "user", "content": "a " * 80}]}}
    same = said("yes", "yes")
    path = write_lines(tmp_path / "p.jsonl", [pair(0), alike, asked, same, said("b " * 80, "a")])
    got = encode_file(path, encoder(), name="training", limit=Limit(64, "truncate_right"))
    assert (got.left_out, got.idle, got.cut, [p.line for p in got.examples]) == ([2, 3], [4], 1, [1, 5])
    assert all(len(row) <= 64 for p in got.examples for row in p.rows)
    with pytest.raises(UsageError, match="no pair of different answers within max_length 64"):
        encode_file(
            write_lines(tmp_path / "q.jsonl", [alike]), encoder(), name="training", limit=Limit(64, "truncate_right")
        )


# What is computed.


@pytest.fixture
def exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the norm layers compute in float64, too; they come down to float32 by themselves."""
    from transformers.models.llama.modeling_llama import LlamaRMSNorm

    def forward(self: Any, states: Any) -> Any:
        return self.weight * states * torch.rsqrt(states.pow(2).mean(-1, keepdim=True) + self.variance_epsilon)

    monkeypatch.setattr(LlamaRMSNorm, "forward", forward)


def model(base: Path, *, lean: bool, lora: bool) -> Any:
    """Return the model in float64 as it is before the first step."""
    from peft import LoraConfig, get_peft_model

    from anytune.local.loading import open_base
    from anytune.local.training.adapters import prepare

    net = open_base(str(base), quantize=None, dtype="float32").double()
    torch.manual_seed(1)
    if lean:
        machine = {"recompute": False, "products": "float64"}
        return prepare(net, str(base), {"lora": LORA if lora else None}, machine).train()
    if not lora:
        return net.requires_grad_(True).train()
    config = LoraConfig(r=8, lora_alpha=16, target_modules="all-linear", task_type="CAUSAL_LM")
    return get_peft_model(net, config).train()


def moved(net: Any) -> Any:
    """Move what is trained away from where it began, always by the same."""
    torch.manual_seed(3)
    with torch.no_grad():
        for _, parameter in sorted((n, p) for n, p in net.named_parameters() if p.requires_grad):
            parameter.add_(torch.randn_like(parameter) * 0.05)
    return net


def log_probability(net: Any, row: Any) -> Any:
    """Return an answer's log-probability: one sequence, all logits, no tricks."""
    logits = net(input_ids=torch.tensor([row.ids])).logits[0, :-1]
    each = logits.log_softmax(-1).gather(1, torch.tensor(row.ids[1:])[:, None])[:, 0]
    return each[torch.tensor(row.trained[1:])].sum()


def plain(net: Any, batch: list[Any], reference: list[list[float]]) -> tuple[float, dict[str, Any]]:
    """Return loss and gradients as the paper has them: equation 7, a mean over pairs."""
    losses = []
    for found, known in zip(batch, reference, strict=True):
        chosen, rejected = (log_probability(net, row) for row in (found.chosen, found.rejected))
        losses.append(-torch.log(torch.sigmoid(BETA * ((chosen - known[0]) - (rejected - known[1])))))
    loss = torch.stack(losses).mean()
    loss.backward()
    return loss.item(), {n: p.grad for n, p in net.named_parameters() if p.requires_grad}


def stage_of(run: Run, net: Any, most_tokens: int) -> Any:
    from anytune.local.training.events import EventLog
    from anytune.local.training.head import HeadFilter
    from anytune.local.training.objective import Stage

    return Stage(run, net, HeadFilter(net), EventLog(run.path / "events"), lambda: False, most_tokens, None)


@pytest.mark.parametrize("lora", [True, False], ids=["LoRA", "full"])
@pytest.mark.parametrize(
    ("most_tokens", "trees"),
    [(4096, False), (200, False), (4096, True)],
    ids=["one pass", "many passes", "questions shared"],
)
def test_loss_and_gradients_are_those_of_the_plain_computation(
    exact: None, base: Path, tmp_path: Path, lora: bool, most_tokens: int, trees: bool
) -> None:
    from anytune.local.training import attention
    from anytune.local.training.dpo import Dpo
    from anytune.local.training.objective import Tally

    batch, objective = encoded(), Dpo(beta=BETA)
    net = model(base, lean=True, lora=lora)
    if trees:
        assert attention.arrange(net, longest=256) is None
    stage = replace(stage_of(Run(tmp_path), net, most_tokens), trees=trees)
    batch = objective.before(stage, batch, role="training")
    moved(net)
    tally, parts = Tally(), stage.batches(batch)
    for part in parts:
        outcome = objective.outcome(stage, part)
        (outcome.loss / objective.share(batch)).backward()
        tally.add(outcome)
    assert len(parts) == (1 if most_tokens == 4096 else 5)
    assert trees == (parts[0].tree is not None)

    other = model(base, lean=False, lora=lora)
    if lora:
        moved(other)
        with torch.no_grad(), other.disable_adapter():  # the base with the adapter off
            reference = [[log_probability(other, row).item() for row in found.rows] for found in batch]
    else:
        with torch.no_grad():
            reference = [[log_probability(other, row).item() for row in found.rows] for found in batch]
        moved(other)
    loss, gradients = plain(other, batch, reference)

    assert torch.allclose(torch.tensor([p.reference for p in batch]), torch.tensor(reference), rtol=1e-10, atol=0)
    assert tally.loss / len(batch) == pytest.approx(loss, rel=1e-10)
    assert loss > 0
    got = {name: p.grad for name, p in net.named_parameters() if p.requires_grad}
    assert got.keys() == gradients.keys()
    for name, gradient in gradients.items():
        assert gradient.norm() > 0 or not lora
        assert (got[name] - gradient).norm() <= 1e-10 * gradient.norm(), name


def test_the_figures_are_rewards_in_units_of_beta(base: Path, tmp_path: Path) -> None:
    from anytune.local.training.dpo import Dpo
    from anytune.local.training.objective import Tally

    net = model(base, lean=True, lora=True)
    stage = stage_of(Run(tmp_path), net, 4096)
    batch = Dpo(beta=BETA).before(stage, encoded(), role="training")

    def figures(beta: float) -> tuple[float, dict[str, float]]:
        tally = Tally()
        for part in stage.batches(batch):
            tally.add(Dpo(beta=beta).outcome(stage, part))
        return tally.loss / len(batch), tally.means(len(batch))

    loss, start = figures(BETA)
    assert loss == pytest.approx(0.6931472, abs=1e-6)
    assert start["margin"] == pytest.approx(0, abs=1e-6)
    moved(net)
    one, two = figures(BETA)[1], figures(2 * BETA)[1]
    for name in ("rewards/chosen", "rewards/rejected", "margin"):
        assert two[name] == pytest.approx(2 * one[name])
    assert two["accuracy"] == one["accuracy"]
    assert one["margin"] == pytest.approx(one["rewards/chosen"] - one["rewards/rejected"])


def test_both_answers_of_a_pair_are_computed_together() -> None:
    from anytune.local.training.batches import micro_batches

    batch = encoded(9)
    for part in micro_batches(batch, most_tokens=16, most_examples=3):
        assert part.ids.shape[0] == 2
        for at, found in enumerate(part.items):
            for row, side in enumerate(found.rows):
                assert part.ids[2 * at + row, : len(side)].tolist() == side.ids
    widest = micro_batches(batch, most_tokens=4096, most_examples=3)
    assert [len(part.items) for part in widest] == [3, 3, 3]


# What a run does.


def test_a_run_ends_with_a_model_and_the_figures_of_preferences(finished: tuple[LocalProvider, RemoteJob]) -> None:
    provider, job = finished
    assert job.state == JobState.SUCCEEDED
    figures = result(Run(provider.home / "runs" / "whole"))
    assert figures["steps"] == 8
    assert figures["trained_tokens"] == job.trained_tokens
    assert figures["valid_loss"] < 0.69
    assert figures["valid_accuracy"] > 0.5
    assert figures["valid_margin"] > 0


def test_the_estimate_is_within_threefold_of_a_measured_run(
    finished: tuple[LocalProvider, RemoteJob], base: Path, pairs: Path
) -> None:
    from anytune.schema.data import DataReport, FileReport, Tokens

    provider, _ = finished
    measured = result(Run(provider.home / "runs" / "whole"))
    rows = [encoder(base).example(pair(n), where="x", line=n).rows for n in range(16)]
    trained = sum(row.supervised for pair in rows for row in pair)
    masked = sum(len(pair[0]) - pair[0].supervised for pair in rows)
    total = trained + masked
    tokens = Tokens(low=total, expected=total, high=total, longest=90, basis="counted", trained=trained, masked=masked)
    assert measured["trained_tokens"] == 2 * (total + masked)
    report = DataReport(files=(FileReport(path=pairs, examples=16, tokens=tokens, file=data_file(pairs)),))
    found = provider.estimate(spec(base, pairs, method="dpo"), report)
    assert found is not None
    assert found.seconds_expected / 3 < measured["process_cpu_seconds"] < found.seconds_expected * 3
    assert found.memory_expected / 3 < measured["peak_rss_bytes"] < found.memory_expected * 3


def test_events_tell_rewards_margin_and_accuracy(finished: tuple[LocalProvider, RemoteJob]) -> None:
    provider, _ = finished
    events = [e for e in provider.events("whole") if "loss" in e.data]
    assert len(events) == 8
    for event in events:
        assert {"loss", "rewards/chosen", "rewards/rejected", "margin", "accuracy"} <= event.data.keys()
        assert 0 <= event.data["accuracy"] <= 1
    assert "margin" in events[-1].message
    validated = [e.data for e in events if e.data["valid_loss"] is not None]
    assert len(validated) == 2
    assert validated[1]["valid_margin"] > validated[0]["valid_margin"]
    names = {"valid_rewards/chosen", "valid_rewards/rejected", "valid_margin", "valid_accuracy"}
    assert all(names <= data.keys() for data in validated)


def test_the_adapter_is_exported_and_speaks(finished: tuple[LocalProvider, RemoteJob], tmp_path: Path) -> None:
    from anytune.schema.model import TunedModel

    provider, job = finished
    tuned = TunedModel(provider="local", base=str(job.base), name=str(job.model), path=job.model, job_id="whole")
    manifest = provider.export(tuned, to="merged", out=tmp_path / "merged")
    assert manifest["check"]["logits_relative_error"] < 0.03
    child = provider.generator(base=str(job.base), tuned=tuned)
    assert len(list(child.answer([chat(1)["messages"][:-1]], max_new_tokens=4))) == 1
    child.close()


def test_a_run_killed_at_any_moment_ends_with_the_same_weights(
    finished: tuple[LocalProvider, RemoteJob], base: Path, pairs: Path, tmp_path: Path
) -> None:
    source, _ = finished
    wanted = result(Run(source.home / "runs" / "whole"))
    provider = new_provider(tmp_path)
    run = folder(provider, request(provider, base, pairs, "killed"))
    chance, kills = random.Random(5), 0
    while run.result() is None and kills < 6:
        child, start = begin(provider, run), len(provider.events("killed"))
        while len(provider.events("killed")) < start + 1 + kills and os.waitpid(child, os.WNOHANG)[0] == 0:
            time.sleep(0.002)
        time.sleep(chance.random() * 0.05)
        try:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            kills += 1
        except (ProcessLookupError, ChildProcessError):
            break
    if run.result() is None:
        run_now(provider, run)
    assert kills >= 3
    got = result(run)
    names = ("adapter_sha256", "trained_tokens", "train_loss", "valid_loss", "valid_margin", "valid_accuracy", "steps")
    for name in names:
        assert got[name] == wanted[name], name
    said = [e.message for e in provider.events("killed")]
    assert said.count("the base was asked about the 16 pairs of the training file") == 1


@pytest.mark.parametrize("when", ["step 3 of", "asking the base"])
def test_a_system_that_shuts_down_interrupts_a_run_that_then_goes_on(
    finished: tuple[LocalProvider, RemoteJob], base: Path, pairs: Path, tmp_path: Path, when: str
) -> None:
    source, _ = finished
    provider = new_provider(tmp_path)
    run = folder(provider, request(provider, base, pairs, "shut"))
    child = begin(provider, run)
    wait(provider, "shut", lambda _: any(when in e.message for e in provider.events("shut")))
    os.kill(child, signal.SIGTERM)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 143
    assert provider.retrieve("shut").state == JobState.PAUSED
    got = run_now(provider, run)
    assert got["adapter_sha256"] == result(Run(source.home / "runs" / "whole"))["adapter_sha256"]


def test_full_fine_tuning_prefers_and_resumes_from_the_reference_it_began_with(
    base: Path, pairs: Path, tmp_path: Path
) -> None:
    provider = new_provider(tmp_path)
    whole = folder(provider, request(provider, base, pairs, "full", lora=None, learning_rate=2e-4))
    wanted = run_now(provider, whole)
    assert wanted["state"] == "succeeded", wanted
    assert wanted["valid_margin"] > 0
    cut = folder(provider, request(provider, base, pairs, "cut", lora=None, learning_rate=2e-4))
    child = begin(provider, cut)
    wait(provider, "cut", lambda _: any("step 4 of" in e.message for e in provider.events("cut")))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert cut.result() is None
    (cut.path / "reference-training.json").unlink()  # what is lost is found again: the base has not changed
    got = run_now(provider, cut)
    for name in ("adapter_sha256", "train_loss", "valid_loss", "valid_margin"):
        assert got[name] == wanted[name], name


def test_a_file_of_chats_fails_a_run_with_its_line_and_what_to_do(base: Path, chats: Path, tmp_path: Path) -> None:
    provider = new_provider(tmp_path)
    run = folder(provider, request(provider, base, chats, "chats"))
    got = run_now(provider, run)
    assert (got["state"], got["cause"]) == ("failed", "user")
    assert got["error"] == "training file, line 1: no pair: input.messages is missing"
    assert "anytune check --method dpo" in got["fix"]


def test_pairs_left_out_are_told(base: Path, tmp_path: Path) -> None:
    provider = new_provider(tmp_path)
    same = pair(1) | {"non_preferred_output": pair(1)["preferred_output"]}
    data = write_lines(tmp_path / "p.jsonl", [pair(0), same, pair(2)])
    run = folder(provider, request(provider, base, data, "left", epochs=1))
    assert run_now(provider, run)["state"] == "succeeded"
    warned = [e for e in provider.events("left") if e.level == "warning"]
    assert "training file: 1 pairs are left out: both answers are the same, or one is cut off" in {
        e.message for e in warned
    }
    assert warned[0].data["dropped_lines"] == [2]


def test_on_the_small_base_the_margin_rises_on_pairs_never_seen(tmp_path: Path) -> None:
    provider = new_provider(tmp_path)
    files = {
        role: write_lines(tmp_path / f"{role}.jsonl", [pair(n) for n in numbers])
        for role, numbers in (("training", range(64)), ("validation", range(100, 116)))
    }
    uploaded = {role: provider.upload(data_file(path)) for role, path in files.items()}
    asked = spec(TINY, files["training"], method="dpo", epochs=2, batch_size=8, learning_rate=5e-4)
    body = provider.render(
        asked, job_id="small", training_file=uploaded["training"], validation_file=uploaded["validation"]
    )
    run = folder(provider, body)
    got = run_now(provider, run)
    assert got["state"] == "succeeded", got
    margins = [e.data["valid_margin"] for e in provider.events("small") if "valid_margin" in e.data]
    assert 0 < margins[0] < margins[1]
    assert got["valid_accuracy"] >= 0.9
