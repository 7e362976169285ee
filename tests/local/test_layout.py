"""However sequences are laid out and logits made, loss and gradients are those of the plain computation."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.local

SIZES = {
    "vocab_size": 97,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "initializer_range": 0.2,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
FAMILIES: dict[str, dict[str, Any]] = {
    "Llama": {},
    "Qwen2": {"tie_word_embeddings": True},
    "Qwen3": {"head_dim": 16},
    "Mistral": {"sliding_window": None},
    "Phi": {},
    "Phi3": {},
    "Gemma": {"head_dim": 8},
    "Granite": {"logits_scaling": 3.0},
}
ELSE: dict[str, dict[str, Any]] = {  # what cannot attend by trees
    "Mistral": {"sliding_window": 16},
    "Gemma2": {"head_dim": 8},  # caps its attention and its logits
    "GptOss": {"num_local_experts": 2, "head_dim": 8},
    "Mamba": {},
    "GPT2": {"n_head": 4},  # drops out
}


@pytest.fixture(autouse=True)
def wide_norms(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let float64 stay float64: norms and others come down to float32 by name of the dtype."""
    torch.set_num_threads(1)
    narrow = torch.Tensor.to
    floating = torch.Tensor.float

    def to(self: Any, *args: Any, **more: Any) -> Any:
        if self.dtype == torch.float64 and torch.float32 in (*args, more.get("dtype")):
            return self
        return narrow(self, *args, **more)

    softmax = torch.nn.functional.softmax
    monkeypatch.setattr(torch.nn.functional, "softmax", lambda x, dim, **_: softmax(x, dim))
    monkeypatch.setattr(torch.Tensor, "to", to)
    monkeypatch.setattr(torch.Tensor, "float", lambda self: self if self.dtype == torch.float64 else floating(self))


def model(family: str, **more: Any) -> Any:
    import transformers

    torch.manual_seed(0)
    config = getattr(transformers, f"{family}Config")(**(SIZES | more))
    kind = "eager" if family in {"Gemma2", "GptOss"} else None if family == "Mamba" else "sdpa"
    return transformers.AutoModelForCausalLM.from_config(config, attn_implementation=kind).double().train()


def examples() -> list[Any]:
    """Return chats that share beginnings on two levels, one that is another's beginning, twins, and strangers."""
    from anytune.local.encode import Encoded

    draw = random.Random(4)

    def tokens(count: int) -> list[int]:
        return [draw.randrange(3, 97) for _ in range(count)]

    prompt, shot = tokens(40), tokens(25)
    texts = [prompt + tokens(9), prompt + shot + tokens(15), prompt + shot + tokens(3), prompt[:22] + tokens(30)]
    texts += [prompt + shot, prompt + tokens(9)[:1] + tokens(4), tokens(7), tokens(9), texts[0]]
    return [Encoded(ids, [draw.random() < 0.4 for _ in ids[1:]] + [True], n) for n, ids in enumerate(texts)]


def gradients(net: Any) -> dict[str, Any]:
    found = {name: p.grad.clone() for name, p in net.named_parameters() if p.grad is not None}
    net.zero_grad()
    return found


def plain(net: Any, batch: list[Any], weights: list[float]) -> tuple[list[float], dict[str, Any]]:
    """Return each sequence's log-probability and the gradients of their weighted sum: one by one, all logits."""
    told = []
    for example, weight in zip(batch, weights, strict=True):
        logits = net(input_ids=torch.tensor([example.ids]), use_cache=False).logits[0, :-1]
        each = logits.log_softmax(-1).gather(1, torch.tensor(example.ids[1:])[:, None])[:, 0]
        said = each[torch.tensor(example.trained[1:])].sum()
        (weight * said).backward()
        told.append(said.item())
    return told, gradients(net)


def lean(
    net: Any, batch: list[Any], weights: list[float], *, trees: bool, most_tokens: int = 4096
) -> tuple[list[float], dict[str, Any], list[Any]]:
    from anytune.local.training.batches import micro_batches
    from anytune.local.training.head import HeadFilter

    head, told = HeadFilter(net), [0.0] * len(batch)
    parts = micro_batches(batch, most_tokens=most_tokens, most_examples=None, trees=trees)
    for part in parts:
        places = [next(i for i, e in enumerate(batch) if e is item) for item in part.items]
        said = head.log_probabilities(net, part)
        (said * torch.tensor([weights[at] for at in places], dtype=said.dtype)).sum().backward()
        for at, value in zip(places, said.tolist(), strict=True):
            told[at] = value
    return told, gradients(net), parts


def same(got: dict[str, Any], wanted: dict[str, Any]) -> None:
    assert got.keys() == wanted.keys()
    for name, gradient in wanted.items():
        # A gradient of nothing but rounding (keys' biases move all of a softmax alike) has no relative error.
        assert (got[name] - gradient).norm() <= 1e-10 * gradient.norm() + 1e-14, name


@pytest.mark.parametrize("family", FAMILIES)
def test_shared_beginnings_and_chunks_of_logits_change_no_gradient(
    family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from anytune.local.training import attention, head

    monkeypatch.setattr(head, "positions_at_once", lambda _: 7)
    net, batch = model(family, **FAMILIES[family]), examples()
    weights = [0.5 + n / 7 for n in range(len(batch))]
    said, wanted = plain(net, batch, weights)
    assert attention.arrange(net, longest=256) is None
    for trees, most in ((False, 4096), (False, 100), (True, 4096), (True, 100)):
        told, got, parts = lean(net, batch, weights, trees=trees, most_tokens=most)
        assert told == pytest.approx(said, rel=1e-10)
        same(got, wanted)
        assert all((part.tree is not None) == trees for part in parts) or most == 100
        assert all(part.ids.numel() <= most for part in parts) or len(parts) > 1


@pytest.mark.parametrize("family", ELSE)
def test_a_model_that_cannot_share_exactly_lies_side_by_side_and_says_why(family: str, tmp_path: Path) -> None:
    from anytune.local.runs import Run
    from anytune.local.training import attention
    from anytune.local.training.events import EventLog, read_events
    from anytune.local.training.team import Team

    net = model(family, **ELSE[family])
    before = getattr(net.config, "_attn_implementation", None)
    run = Run(tmp_path)
    for _ in range(2):  # the second worker of a run does as the first
        events = EventLog(tmp_path / "events.jsonl")
        assert attention.chosen(run, net, longest=64, events=events, team=Team()) is False
    assert getattr(net.config, "_attn_implementation", None) == before
    (said,) = read_events(tmp_path / "events.jsonl")
    assert "side by side" in said.message


def test_soft_capped_logits_in_chunks_change_no_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    from anytune.local.training import head

    monkeypatch.setattr(head, "positions_at_once", lambda _: 7)
    net, batch = model("Gemma2", head_dim=8, final_logit_softcapping=2.0), examples()
    weights = [1.0] * len(batch)
    said, wanted = plain(net, batch, weights)
    told, got, _ = lean(net, batch, weights, trees=False)
    assert head.HeadFilter(net)._is_plain(net, torch.device("cpu"))
    assert told == pytest.approx(said, rel=1e-10)
    same(got, wanted)


def test_a_head_that_does_more_than_its_configuration_says_makes_all_its_logits_itself() -> None:
    net, batch = model("Llama"), examples()
    forward = net.forward

    def odd(*args: Any, **more: Any) -> Any:
        found = forward(*args, **more)
        found.logits = found.logits * 1.7
        return found

    net.forward = odd
    weights = [1.0] * len(batch)
    said, wanted = plain(net, batch, weights)
    told, got, _ = lean(net, batch, weights, trees=False)
    assert told == pytest.approx(said, rel=1e-10)
    same(got, wanted)


@pytest.mark.parametrize("learns", [False, True], ids=["frozen", "trained"])
def test_all_logits_are_never_there_at_once(learns: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    from anytune.local.training import head

    monkeypatch.setattr(head, "positions_at_once", lambda _: 7)
    made: list[int] = []
    true = head.surprise
    monkeypatch.setattr(head, "surprise", lambda logits, t: made.append(len(logits)) or true(logits, t))
    net, batch = model("Llama"), examples()
    net.get_output_embeddings().weight.requires_grad_(learns)
    count = sum(e.supervised for e in batch)
    lean(net, batch, [1.0] * len(batch), trees=False)
    assert max(made) == 7
    assert sum(made) == (2 * count if learns else count)  # a trained head's are made again on the way back


def test_recomputed_layers_attend_by_the_same_tree() -> None:
    from anytune.local.training import attention

    net, batch = model("Qwen3", head_dim=16), examples()
    weights = [1.0] * len(batch)
    _, wanted = plain(net, batch, weights)
    assert attention.arrange(net, longest=256) is None
    net.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    _, got, parts = lean(net, batch, weights, trees=True)
    assert parts[0].tree is not None
    same(got, wanted)


def test_in_bfloat16_a_tree_moves_the_gradients_by_their_rounding_only() -> None:
    from anytune.local.training import attention

    net, batch = model("Llama"), examples()
    weights = [1.0] * len(batch)
    _, wanted = plain(net, batch, weights)
    net.bfloat16()
    assert attention.arrange(net, longest=256) is None
    rows, tree = (lean(net, batch, weights, trees=trees)[1] for trees in (False, True))

    def error(found: dict[str, Any]) -> float:
        whole = torch.cat([gradient.flatten() for gradient in wanted.values()])
        return float((torch.cat([found[name].double().flatten() for name in wanted]) - whole).norm() / whole.norm())

    assert error(tree) < 0.05
    assert error(tree) < 1.5 * error(rows)


# How sequences are laid out.


def test_every_token_stands_once_for_all_that_share_it_and_sees_what_came_before_it() -> None:
    from anytune.local.training.tree import lay_out

    rows = [e.ids for e in examples()]
    layout = lay_out(rows)
    assert len(layout.ids) < 0.6 * sum(map(len, rows))
    for row, places in zip(rows, layout.places, strict=True):
        assert [layout.ids[at] for at in places] == row
        assert [layout.positions[at] for at in places] == list(range(len(row)))
    sees: dict[int, set[int]] = {}
    for node in layout.nodes:
        above = {i for n in layout.nodes if n.stop <= node.start < n.end for i in range(n.start, n.stop)}
        for at in range(node.start, node.stop):
            sees[at] = above | set(range(node.start, at + 1))
    for places in layout.places:
        for count, at in enumerate(places):
            assert sees[at] == set(places[: count + 1])


def test_what_saves_too_little_is_not_shared() -> None:
    from anytune.local.training.tree import WORTH, lay_out

    rows = [[5] * (WORTH - 1) + [n] for n in (1, 2)]
    assert len(lay_out(rows).ids) == 2 * WORTH
    rows = [[5] * WORTH + [n] for n in (1, 2)]
    assert len(lay_out(rows).ids) == WORTH + 2


def test_many_nested_beginnings_are_laid_out_without_end() -> None:
    from anytune.local.training.tree import lay_out

    rows = [[7] * n for n in range(1, 1500)]
    layout = lay_out(rows)
    assert [[layout.ids[at] for at in places] for places in layout.places] == rows


def test_the_longest_batch_comes_first_in_a_run_and_in_a_step() -> None:
    from anytune.local.encode import Encoded
    from anytune.local.training.batches import micro_batches, steps_of_epoch

    draw = random.Random(2)
    lengths = [draw.randrange(5, 200) for _ in range(400)]
    steps = steps_of_epoch(lengths, batch_size=8, seed=3, epoch=0)
    sizes = [sum(lengths[i] for i in step) for step in steps]
    assert sizes[0] == max(sizes)
    items = [Encoded([draw.randrange(9) for _ in range(n)], [True] * n, n) for n in lengths[:40]]
    for trees in (False, True):
        parts = micro_batches(items, most_tokens=400, most_examples=None, trees=trees)
        assert len(parts) > 3
        assert [part.ids.numel() for part in parts].index(max(part.ids.numel() for part in parts)) == 0
        assert sorted(item.line for part in parts for item in part.items) == sorted(lengths[:40])
