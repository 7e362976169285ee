"""Families that are trained in another way than most: without a kernel for attention, or in several texts a chat."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytestmark = pytest.mark.local

from anytune.local.memory.estimate import doubt  # noqa: E402
from tests.local.conftest import CONFIG, TINY, chat, ended, new_provider, request, wait, write_lines  # noqa: E402

FORGETFUL = (  # drops what is in brackets from all answers but the last, as templates of thinking models drop thoughts
    "{{ '<|bos|>' }}{% for m in messages %}{{ '<|' + m.role + '|>' }}"
    "{{ m.content if m.role != 'assistant' or loop.last else m.content.split(']')[-1] }}{{ '<|end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
GEMMA_2 = {"head_dim": 16, "hidden_activation": "gelu_pytorch_tanh", "query_pre_attn_scalar": 16, "sliding_window": 32}


@pytest.fixture(scope="module")
def gemma_2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a random Gemma 2, whose attention is capped, with the demonstration model's tokenizer."""
    import torch
    import transformers

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("gemma-2")
    transformers.Gemma2ForCausalLM(transformers.Gemma2Config(**{**CONFIG, **GEMMA_2})).save_pretrained(folder)
    for file in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copy(TINY / file, folder)
    return folder


def test_gemma_2_learns(gemma_2: Path, chats: Path, tmp_path: Path) -> None:
    provider = new_provider(tmp_path)
    provider.create(request(provider, gemma_2, chats, "capped"))
    job = wait(provider, "capped", ended)
    assert job.error is None
    losses = [event.data["loss"] for event in provider.events("capped") if event.data.get("loss") is not None]
    assert losses[-1] < 0.96 * losses[0]


def test_that_its_memory_grows_with_the_square_of_the_length_is_said(gemma_2: Path) -> None:
    assert "grow with the square of the length" in (doubt(str(gemma_2)) or "")


def test_a_chat_that_becomes_several_texts_is_learnt_from_and_validated(base: Path, tmp_path: Path) -> None:
    folder = tmp_path / "forgetful"
    shutil.copytree(base, folder)
    (folder / "chat_template.jinja").write_text(FORGETFUL)
    talks = [{"messages": [*chat(n)["messages"], *chat(n + 1)["messages"][1:]]} for n in range(12)]
    for talk in talks:
        talk["messages"][2]["content"] = f"[Seven times.]{talk['messages'][2]['content']}"
    provider = new_provider(tmp_path)
    provider.create(request(provider, folder, write_lines(tmp_path / "t.jsonl", talks), "several", max_length=256))
    job = wait(provider, "several", ended)
    assert job.error is None
    told = [event.data for event in provider.events("several")]
    losses = [data["loss"] for data in told if data.get("loss") is not None]
    assert losses[-1] < losses[0]
    assert next(data["valid_loss"] for data in reversed(told) if data.get("valid_loss") is not None) > 0
