"""Going on from an adapter: it is where training begins, and one that does not belong is refused in one line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.local

from anytune.errors import RefusedError  # noqa: E402
from anytune.local.provider import LocalProvider  # noqa: E402
from anytune.schema.job import RemoteJob  # noqa: E402
from anytune.schema.spec import TuneSpec  # noqa: E402
from anytune.schema.training import Lora  # noqa: E402
from tests.local.conftest import TINY, data_file, new_provider, spec  # noqa: E402
from tests.local.test_life import folder, run_now  # noqa: E402

Finished = tuple[LocalProvider, RemoteJob]


def asked(base: Path | str, chats: Path, named: str, **training: Any) -> TuneSpec:
    return spec(base, chats, **training).model_copy(update={"from_checkpoint": named})


def rendered(provider: LocalProvider, job: TuneSpec, *, job_id: str = "next") -> dict[str, Any]:
    file = provider.upload(data_file(job.data.train))
    body = provider.render(job, job_id=job_id, training_file=file, validation_file=file)
    return body | {"checkpoint_seconds": 0, "event_seconds": 0}


@pytest.fixture
def there(finished: Finished, tmp_path: Path) -> LocalProvider:
    """Return a provider of its own that has the finished run."""
    source, _ = finished
    shutil.copytree(source.home / "runs" / "whole", tmp_path / "home" / "runs" / "whole")
    return new_provider(tmp_path / "home")


def downloaded(there: LocalProvider, to: Path, **changed: Any) -> Path:
    """Lay the adapter down as another tool would have written it."""
    to.mkdir()
    model = there.home / "runs" / "whole" / "model"
    shutil.copy(model / "adapter_model.safetensors", to)
    config = json.loads((model / "adapter_config.json").read_text())
    (to / "adapter_config.json").write_text(json.dumps({**config, "base_model_name_or_path": "some/model", **changed}))
    return to


def test_a_job_goes_on_where_the_earlier_one_ended_and_says_so(there: LocalProvider, base: Path, chats: Path) -> None:
    first = json.loads((there.home / "runs" / "whole" / "result.json").read_text())
    body = rendered(there, asked(base, chats, "whole", learning_rate=1e-5, epochs=1))
    got = run_now(there, folder(there, body))
    assert got["state"] == "succeeded", got
    assert abs(got["valid_loss"] - first["valid_loss"]) < 0.02 * first["valid_loss"]
    assert got["adapter_sha256"] != first["adapter_sha256"]
    assert body["from_checkpoint"]["sha256"] == first["adapter_sha256"]
    kept = json.loads((there.home / "runs" / "next" / "model" / "anytune.json").read_text())
    assert kept["from_checkpoint"] == body["from_checkpoint"]


def test_an_adapter_that_was_downloaded_is_gone_on_from_with_its_own_rank(
    there: LocalProvider, base: Path, chats: Path, tmp_path: Path
) -> None:
    place = downloaded(there, tmp_path / "weights")
    body = rendered(there, asked(base, chats, str(place), learning_rate=1e-5, epochs=1, quantize="nf4"))
    config = json.loads((place / "adapter_config.json").read_text())
    lora = body["training"]["lora"]
    assert (lora["rank"], lora["alpha"]) == (config["r"], config["lora_alpha"])
    assert lora["target_modules"] == sorted(config["target_modules"])
    first = json.loads((there.home / "runs" / "whole" / "result.json").read_text())
    got = run_now(there, folder(there, body))
    assert got["state"] == "succeeded", got
    assert abs(got["valid_loss"] - first["valid_loss"]) < 0.02 * first["valid_loss"]


def refusal(there: LocalProvider, job: TuneSpec) -> str:
    with pytest.raises(RefusedError) as caught:
        rendered(there, job)
    assert "\n" not in caught.value.message
    return caught.value.message


def test_an_adapter_of_another_base_or_rank_is_refused_in_one_line(
    there: LocalProvider, base: Path, chats: Path
) -> None:
    other = refusal(there, asked(TINY, chats, "whole"))
    assert f"its base is {base}, and {TINY} has other weights" in other
    ranked = asked(base, chats, "whole", lora=Lora(rank=3))
    assert "its rank is 16, and training.lora.rank is 3" in refusal(there, ranked)
    layers = asked(base, chats, "whole", lora=Lora(target_modules=("q_proj",)))
    assert "training.lora.target_modules are others" in refusal(there, layers)
    whole = asked(base, chats, "whole", lora=None)
    assert "all weights cannot go on from an adapter" in refusal(there, whole)


def test_what_is_no_adapter_or_an_odd_one_is_refused_by_name(
    there: LocalProvider, base: Path, chats: Path, tmp_path: Path
) -> None:
    assert "no local job is called 'nothing'" in refusal(there, asked(base, chats, "nothing"))
    assert "no such folder" in refusal(there, asked(base, chats, str(tmp_path / "nowhere")))
    assert "holds no adapter" in refusal(there, asked(base, chats, str(base)))
    dora = downloaded(there, tmp_path / "dora", use_dora=True)
    assert "its use_dora is True" in refusal(there, asked(base, chats, str(dora)))
    hub = downloaded(there, tmp_path / "hub", base_model_name_or_path="Qwen/Qwen3-8B")
    job = asked("Qwen/Qwen3-4B", chats, str(hub))
    assert "its base is Qwen/Qwen3-8B, and the job's is Qwen/Qwen3-4B" in refusal(there, job)


def test_an_adapter_that_changed_or_does_not_fit_fails_the_run_with_what_to_do(
    there: LocalProvider, base: Path, chats: Path, tmp_path: Path
) -> None:
    place = downloaded(there, tmp_path / "weights")
    body = rendered(there, asked(base, chats, str(place)))
    weights = place / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4] + b"\0\0\0\1")
    got = run_now(there, folder(there, body))
    assert (got["state"], got["cause"]) == ("failed", "user")
    assert "is gone or has changed" in got["error"]
    odd = rendered(there, asked(TINY, chats, str(downloaded(there, tmp_path / "odd"))), job_id="odd")
    got = run_now(there, folder(there, odd))
    assert (got["state"], got["cause"]) == ("failed", "user")
    assert "does not fit the model" in got["error"]
