"""Let our providers ask a Prism that answers by itself: what they send is judged, what comes is nobody's here.

Such answers are well formed and mean nothing: ids that were not asked for, a list that never ends. So an act may end in
our own error for a useless answer, or in one for Prism's failure to make up any; it may not end in a refusal (that is a
request against the description) nor in an error that is not ours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from anytune.errors import AmbiguousError, AnytuneError, MalformedAnswerError, UnavailableError
from anytune.providers.base import Profile
from tests.referee import lives

KEY = "no-key-of-anyone"
JOB_ID = "referee-mock-0123456789"
REMOTE = "ft-01234567890123456789"
USELESS = (MalformedAnswerError, AmbiguousError, UnavailableError)
Act = Callable[[], Any]
QUESTION = [[{"role": "user", "content": "3?"}]]


def openai_acts(origin: str, folder: Path) -> dict[str, Act]:
    """List what the OpenAI provider can ask."""
    at = lives.OpenAIProvider(Profile(name="openai", home=folder, key=lambda: KEY, base_url=origin))
    model = lives.OPENAI_MODEL
    return {
        "upload": lambda: at.upload(lives.written(folder, "sft", "train", 12)),
        **_of_jobs(at, "openai", model, {"sft": lives.ALL_OF_OPENAI, "dpo": {**lives.ALL_OF_OPENAI, "beta": 0.2}}),
        "chat": lambda: list(at.generator(base=model, tuned=None).answer(QUESTION, max_new_tokens=9)),
    }


def together_acts(origin: str, folder: Path) -> dict[str, Act]:
    """List what the Together provider can ask; its way of uploading is not described."""
    at = lives.TogetherProvider(Profile(name="together", home=folder, key=lambda: KEY, base_url=origin))
    model, dpo = lives.TOGETHER_MODEL, {**lives.ALL_OF_TOGETHER, "beta": 0.2, "scheduler": "linear"}
    quoted = _request(at, "together", model, "sft", lives.ALL_OF_TOGETHER)
    acts = _of_jobs(at, "together", model, {"sft": lives.ALL_OF_TOGETHER, "dpo": dpo})
    return {**acts, "quote": lambda: at.quote(quoted)}


def asked(acts: dict[str, Act]) -> Iterator[tuple[str, str | None]]:
    """Do each; yield its name and what is wrong with how it ended, or None."""
    for name, act in acts.items():
        try:
            act()
        except USELESS:
            yield name, None
        except AnytuneError as error:
            yield name, f"{name} was refused: {error}"
        except Exception as error:
            yield name, f"{name} ended in an error that is not ours: {error!r}"
        else:
            yield name, None


def _of_jobs(at: Any, provider: str, model: str, kinds: dict[str, dict[str, Any]]) -> dict[str, Act]:
    requests = {kind: _request(at, provider, model, kind, training) for kind, training in kinds.items()}
    return {
        "create sft": lambda: at.create(requests["sft"]),
        "create dpo": lambda: at.create(requests["dpo"]),
        "retrieve": lambda: at.retrieve(REMOTE),
        "events": lambda: at.events(REMOTE),
        "checkpoints": lambda: at.checkpoints(REMOTE),
        "find": lambda: at.find(JOB_ID),
        "cancel": lambda: at.cancel(REMOTE),
    }


def _request(at: Any, provider: str, model: str, method: str, training: dict[str, Any]) -> dict[str, Any]:
    spec = lives.spec(provider, model, method, training)
    request: dict[str, Any] = at.render(spec, job_id=JOB_ID, training_file="file-a", validation_file="file-b")
    return request
