"""No field of a job file is dropped: each changes the request, or the plan refuses it, or something of ours heeds it.

A provider takes part in this by being built in; nothing here names one.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel, ValidationError

from anytune import planner, providers
from anytune.errors import RefusedError, UsageError
from anytune.providers.base import Profile, Provider
from anytune.schema.data import DataReport
from anytune.schema.plan import Capabilities, Plan, Policy, Setting
from anytune.schema.reward import REWARDS
from anytune.schema.spec import HEEDED_HERE, TuneSpec, every_setting
from anytune.schema.training import BELONGS, Method
from anytune.testing import FakeClock, no_key, sample_file, sample_spec
from anytune.testing.offline import A_REWARD, TWO_VALUES, with_setting
from tests.models import a_model
from tests.rigs import report_of

FURTHER: dict[str, tuple[Any, ...]] = {
    "training.quantize": ("int8",),
    "training.warmup_ratio": (0.2,),
    "training.weight_decay": (0.2,),
    "training.lora.dropout": (0.2,),
    "training.lora.rank": (32,),
    "training.lora.alpha": (64,),
    "training.max_length": (8192, 16384),
    "training.over_length": ("drop", "truncate_right"),
    "training.learning_rate": (2e-5, 1e-5),
}
SENT = {"model", "method", "data.train.path", "data.train.weight", "data.validation"}
METHODS: tuple[Method, ...] = get_args(Method)


@pytest.fixture(params=providers.BUILT_IN)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=METHODS)
def method(request: pytest.FixtureRequest) -> Method:
    found: Method = request.param
    return found


@pytest.fixture
def provider(name: str, tmp_path: Path) -> Provider:
    return providers.load(name, Profile(name=name, home=tmp_path, key=no_key))


@pytest.fixture
def spec(name: str, method: Method, tmp_path: Path) -> TuneSpec:
    bare = sample_spec(sample_file(tmp_path), provider=name, model=a_model(name, method))
    document = bare.model_dump(mode="json", exclude_unset=True)
    rewards = {"rewards": [A_REWARD["regex"]]} if method == "rft" else {}
    return TuneSpec.model_validate({**document, "method": method, "training": {}, **rewards})


def planned(spec: TuneSpec, capabilities: Capabilities) -> Plan:
    today = FakeClock().now().date()
    return planner.make(spec, reported(spec.data.train.parent), capabilities, policy=Policy(), today=today)


@cache
def reported(folder: Path) -> DataReport:
    return report_of(sample_file(folder))


def judged(plan: Plan, path: str) -> Setting:
    """Return what the plan says of one setting; of one that has settings of its own, what it says of the first."""
    return next(setting for setting in plan.settings if f"{setting.path}.".startswith(f"{path}."))


def variants(spec: TuneSpec, path: str, method: Method) -> Iterator[TuneSpec]:
    """Yield the job with each value of a setting that the job file takes for this method."""
    for value in (*TWO_VALUES[path], *FURTHER.get(path, ())):
        try:
            changed = with_setting(spec, path, value)
        except ValidationError:
            continue  # the job file itself refuses it, with the reason
        if changed.method == method:
            yield changed


def body(provider: Provider, spec: TuneSpec, **given: Any) -> str:
    named = {"job_id": "sums-0123456789", "training_file": "file-1", "validation_file": None, **given}
    return json.dumps(provider.render(spec, **named), sort_keys=True)


def test_each_setting_changes_the_request_or_is_refused_with_the_reason(
    provider: Provider, spec: TuneSpec, method: Method
) -> None:
    assert {path: told for path in sorted(every_setting()) if (told := fault(provider, spec, method, path))} == {}


def fault(provider: Provider, spec: TuneSpec, method: Method, path: str) -> str | None:
    """Return what is wrong with what becomes of one setting, None where nothing is."""
    capabilities = provider.capabilities(spec.model)
    taken, reasons = [], []
    for changed in variants(spec, path, method):
        plan = planned(changed, capabilities)
        setting = judged(plan, path)
        if method not in capabilities.methods:
            why = f"method {method}: "
        elif setting.outcome == "refused":
            why = setting.why or "a reason"
        else:
            try:
                taken.append(body(provider, changed))
            except RefusedError as error:  # what two settings together come to
                reasons.append(error.message)
            continue
        if not any(why in said for said in plan.refused):
            return f"it is refused without the reason {why!r}"
        reasons.append(why)
    if method not in BELONGS.get(path.removeprefix("training."), METHODS) or (method != "rft" and path in REWARDS):
        return "the job file ought to refuse it" if taken or reasons else None
    if len(set(taken)) < len(taken):
        return "two values, one request"
    return None if reasons or len(taken) > 1 else "no value was sent, and none refused"


def test_a_setting_that_was_not_made_is_neither_sent_as_made_nor_reported(
    provider: Provider, spec: TuneSpec, method: Method
) -> None:
    told = planned(spec, provider.capabilities(spec.model)).settings
    of_the_reward = ["rewards.type", "rewards.pattern"] if method == "rft" else []
    assert [setting.path for setting in told] == ["training.epochs", *of_the_reward]


def test_model_method_and_files_are_in_the_request_or_refused(
    provider: Provider, spec: TuneSpec, method: Method
) -> None:
    capabilities = provider.capabilities(spec.model)
    if method not in capabilities.methods:
        assert any(said.startswith(f"method {method}: ") for said in planned(spec, capabilities).refused)
        return
    bare = body(provider, spec)
    assert body(provider, spec, training_file="file-2") != bare
    other = spec.model[:-1] + ("b" if spec.model[-1] != "b" else "c")
    assert body(provider, spec.model_copy(update={"model": other})) != bare
    assert body(provider, spec, job_id="sums-1111111111") != bare
    assert validated(provider, spec) != bare
    others = [other for other in capabilities.methods if other != method]
    assert all(body(provider, spec.model_copy(update={"method": other})) != bare for other in others)


def validated(provider: Provider, spec: TuneSpec) -> str | None:
    """Return the request with a validation file, None where the provider refuses one and says what to do."""
    try:
        return body(provider, spec, validation_file="file-3")
    except UsageError as error:
        return None if error.fix else body(provider, spec)


def test_a_translation_has_its_formula_and_the_rules_their_source(provider: Provider, spec: TuneSpec) -> None:
    capabilities = provider.capabilities(spec.model)
    assert capabilities.settings_source
    for path in every_setting():
        rule = capabilities.settings[path]
        assert rule.outcome == "kept" or rule.why, path
        assert rule.outcome == "refused" or rule.to, path


def leaves(kind: type[BaseModel], above: str = "") -> Iterator[str]:
    """Yield the path of each field that holds no fields of its own."""
    for name, field in kind.model_fields.items():
        inner = [kind for kind in models_in(field.annotation) if kind.model_fields]
        if inner:
            yield from (path for kind in inner for path in leaves(kind, f"{above}{name}."))
        else:
            yield f"{above}{name}"


def models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from models_in(inner)


def test_every_field_of_the_job_file_is_a_setting_or_sent_or_heeded_here_with_what_heeds_it() -> None:
    fields = set(leaves(TuneSpec))
    settings = every_setting() - {"training.lora"}  # which has fields of its own
    assert fields == settings | SENT | set(HEEDED_HERE)
    assert all(HEEDED_HERE.values())
    assert not set(HEEDED_HERE) & (settings | SENT)
