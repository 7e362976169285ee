"""Answers made up by hypothesis: none ends a job that its service does not end, and nothing but our errors comes.

The way is the real one, over a socket: the stand-in says whatever was made up to each call. Nearly right answers, with
a field or two changed, are most of them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import hypothesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from anytune import jobs
from anytune.config import ProfileSettings, Settings
from anytune.errors import AnytuneError
from anytune.schema.job import Job, JobState, RemoteJob
from anytune.testing import FakeClock
from anytune.tuner import Tuner
from tests.soak.place import Places
from tests.soak.scene import STANDS
from tests.soak.work import FIREWORKS, OPENAI, TOGETHER, Hosted, laid_out
from tests.stubs._call import Reply

PROVIDERS = (OPENAI, TOGETHER, FIREWORKS)
STATUSES = (200,) * 40 + (201, 302, 400, 401, 403, 404, 409, 422, 429, 500, 503)
SUCCEEDED, FAILED, CANCELLED = JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED
ENDS: dict[str, dict[str, JobState]] = {
    "openai": {"succeeded": SUCCEEDED, "failed": FAILED, "cancelled": CANCELLED},
    "together": {"completed": SUCCEEDED, "cancelled": CANCELLED, "error": FAILED, "user_error": FAILED},
    "fireworks": {
        "JOB_STATE_COMPLETED": SUCCEEDED,
        "JOB_STATE_EARLY_STOPPED": SUCCEEDED,
        "JOB_STATE_FAILED": FAILED,
        "JOB_STATE_EXPIRED": FAILED,
        "JOB_STATE_CANCELLED": CANCELLED,
        "JOB_STATE_DELETED": CANCELLED,
    },
}
NEARLY = ("Succeeded", "succeeded ", "success", "COMPLETED", "done", "FAILED", "canceled", "finished", "JOB_STATE_", "")
MODELS = ("fine_tuned_model", "model_output_name", "x_model_output_name", "output_name")
JSON = {"Content-Type": "application/json"}

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["\ud800", "9" * 400])
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@dataclass
class Tally:
    """Count what happened; `wrong` should be none. `ended` are the jobs that an answer rightly ended."""

    answers: int = 0
    errors: int = 0
    ended: int = 0
    wrong: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        """Tell whether nothing went wrong."""
        return not self.wrong


@dataclass(frozen=True)
class Made:
    """Be an answer that was made up."""

    status: int
    raw: bytes

    @property
    def told(self) -> Any:
        """Decode it; None when it is no JSON."""
        try:
            return json.loads(self.raw)
        except (ValueError, RecursionError):
            return None

    @property
    def is_good(self) -> bool:
        return 200 <= self.status < 300


def run(places: Places, *, rounds: int, seed: int, providers: Sequence[Hosted] = PROVIDERS) -> Tally:
    """Make up so many answers, the same share for each provider."""
    tally = Tally()
    for number, provider in enumerate(providers):
        with STANDS[provider.name]() as stub:
            desk = laid_out(places.folder / provider.name, provider, stub.origin, topic="tides")
            profile = ProfileSettings(base_url=stub.origin + provider.path, timeout=20)
            tuner = Tuner(
                settings=Settings(home=desk.home, profiles={provider.name: profile}),
                environment={provider.variable: provider.key},
                clock=FakeClock(),
            )
            job = tuner.submit(tuner.plan(tuner.read(desk.folder / "finetune.yaml")))
            assert job.remote is not None
            shown = dict(stub.jobs[job.remote.id])  # type: ignore[attr-defined]
            _all(
                Trial(tuner, stub, provider, job, job.remote),
                shown,
                tally,
                count=-(-rounds // len(providers)),
                seed=seed + number,
            )
    return tally


@dataclass(frozen=True)
class Trial:
    """Be a job under way, whose service says what it is told to say."""

    tuner: Tuner
    stub: Any
    provider: Hosted
    job: Job
    remote: RemoteJob

    def fault(self, act: str, made: Made, tally: Tally) -> str | None:
        """Let the service answer so, do the act, and return what is wrong with what came of it."""
        self.stub.answer = lambda _: Reply(made.status, made.raw, JSON)
        tally.answers += 1
        try:
            return ACTS[act](self, made, tally)
        except AnytuneError:
            tally.errors += 1
            return None
        except Exception as error:
            return f"{type(error).__name__}: {error}"
        finally:
            self.tuner.store.put(self.job)
            self.stub.journal.clear()


def _refreshed(trial: Trial, made: Made, tally: Tally) -> str | None:
    state = jobs.refresh(trial.job.id, desk=trial.tuner.desk, patience=0).state
    return _wrong_end(trial, state, made, tally)


def _cancelled(trial: Trial, made: Made, tally: Tally) -> str | None:
    state = trial.tuner.provider(trial.provider.name).cancel(trial.remote.id).state
    return _wrong_end(trial, state, made, tally)


def _wrong_end(trial: Trial, state: JobState, made: Made, tally: Tally) -> str | None:
    if not state.is_terminal:
        return None
    tally.ended += 1
    told = made.told if isinstance(made.told, dict) else {}
    word = told.get("state" if trial.provider is FIREWORKS else "status")
    short = {word.removeprefix("JOB_STATE_"): end for word, end in ENDS[trial.provider.name].items()}  # taken, too
    said = {**short, **ENDS[trial.provider.name]}.get(word) if isinstance(word, str) else None
    ours = told.get("name" if trial.provider is FIREWORKS else "id") == trial.remote.id
    model = trial.provider is FIREWORKS or any(isinstance(told.get(name), str) and told[name] for name in MODELS)
    good = ours and said is state and (state is not SUCCEEDED or model)
    return None if good else f"it was ended as {state}"


def _found(trial: Trial, made: Made, tally: Tally) -> str | None:
    """Look for a job that is there: that there is none may only be taken from a list without it, or a plain no."""
    if trial.tuner.provider(trial.provider.name).find(trial.job.id) is not None:
        return None
    told = made.told if isinstance(made.told, dict) else {}
    if trial.provider is FIREWORKS:
        none = made.status == 404 and told.get("code") in (5, "NOT_FOUND")
    else:
        none = made.is_good and isinstance(told.get("data"), list)
    return None if none else "it was taken for lost"


def _created(trial: Trial, made: Made, tally: Tally) -> str | None:
    ids = {"training_file": trial.job.files["train"], "validation_file": None}
    provider = trial.tuner.provider(trial.provider.name)
    provider.create(provider.render(trial.job.plan.spec, job_id=trial.job.id, **ids))
    named = made.is_good and isinstance(made.told, dict) and (made.told.get("id") or made.told.get("name"))
    return None if named else "it was taken for made"


def _heard(trial: Trial, made: Made, tally: Tally) -> str | None:
    trial.tuner.provider(trial.provider.name).events(trial.remote.id)
    return None


def _sent(trial: Trial, made: Made, tally: Tally) -> str | None:
    trial.tuner.provider(trial.provider.name).upload(trial.job.plan.files[0])
    return None


ACTS: dict[str, Callable[[Trial, Made, Tally], str | None]] = {
    "refresh": _refreshed,
    "cancel": _cancelled,
    "find": _found,
    "create": _created,
    "events": _heard,
    "upload": _sent,
}


def _answers(provider: Hosted, shown: dict[str, Any]) -> st.SearchStrategy[bytes]:
    """Make up bodies: a job with some fields changed or gone, lists of such, any JSON, any bytes, halves."""
    words = st.sampled_from([*ENDS[provider.name], *NEARLY])
    keys = st.sampled_from(sorted({*shown, *MODELS, "state", "status", "id", "name", "code", "data", "events"}))
    odd = st.dictionaries(keys, words | values | words.map(lambda word: [word]), max_size=3)
    word = "state" if provider is FIREWORKS else "status"
    ended = st.fixed_dictionaries({word: words}, optional={name: st.just("ft:tides") | values for name in MODELS})
    changed = ended | odd | st.builds(lambda one, other: {**one, **other}, ended, odd)
    gone = st.sets(keys, max_size=1)
    one = st.builds(lambda new, less: {k: v for k, v in {**shown, **new}.items() if k not in less}, changed, gone)
    rows = st.lists(one | values, max_size=3).map(lambda found: {"data": found, "has_more": False})
    text = (one | rows | values).map(lambda told: json.dumps(told).encode())
    halves = st.builds(lambda raw, cut: raw[: int(len(raw) * cut)], text, st.floats(0, 1))
    job = one.map(lambda told: json.dumps(told).encode())
    return st.sampled_from([*[job] * 6, text, halves, st.binary(max_size=60)]).flatmap(lambda kind: kind)


def _all(trial: Trial, shown: dict[str, Any], tally: Tally, *, count: int, seed: int) -> None:
    made = st.builds(Made, st.sampled_from(STATUSES), _answers(trial.provider, shown))

    @hypothesis.seed(seed)
    @settings(
        max_examples=count, database=None, deadline=None, suppress_health_check=list(HealthCheck), print_blob=False
    )
    @given(st.sampled_from([*ACTS, "refresh", "cancel"]), made)
    def holds(act: str, made: Made) -> None:
        wrong = trial.fault(act, made, tally)
        assert wrong is None, f"{trial.provider.name} {act}, {made}: {wrong}"

    try:
        holds()
    except AssertionError as error:
        tally.wrong.append(str(error))
