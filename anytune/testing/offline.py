"""What a provider holds before anything is sent, as tests: all that a plan goes by, offline and without a key."""

from __future__ import annotations

import json
from typing import Any

import pytest

from anytune.errors import RefusedError
from anytune.planner import chosen
from anytune.schema.job import RemoteJob
from anytune.schema.reward import REWARDS
from anytune.schema.spec import REINFORCEMENT, TuneSpec, every_setting
from anytune.schema.training import BELONGS
from anytune.testing.rig import Fault, Rig

TWO_VALUES: dict[str, tuple[Any, Any]] = {
    "training.epochs": (1, 2),
    "training.over_length": ("refuse", "truncate_left"),
    "training.batch_size": (8, 16),
    "training.micro_batch_size": (1, 2),
    "training.learning_rate": (1e-4, 2e-4),
    "training.learning_rate_multiplier": (1.0, 2.0),
    "training.warmup_ratio": (0.0, 0.1),
    "training.weight_decay": (0.0, 0.1),
    "training.max_grad_norm": (0.5, 1.0),
    "training.scheduler": ("linear", "cosine"),
    "training.lora.rank": (8, 16),
    "training.lora.alpha": (16, 32),
    "training.lora.dropout": (0.0, 0.1),
    "training.lora.target_modules": (("q_proj",), "all-linear"),
    "training.lora.use_rslora": (False, True),
    "training.lora": (None, {"rank": 8}),
    "training.quantize": (None, "nf4"),
    "training.max_length": (256, 512),
    "training.beta": (0.1, 0.2),
    "training.seed": (1, 2),
    "training.simpo_gamma": (0.5, 1.0),
    "training.orpo_lambda": (0.1, 0.2),
    "training.group_size": (4, 8),
    "training.max_new_tokens": (64, 128),
    "rewards.type": ("regex", "string_check"),
    "rewards.weight": (0.5, 2.0),
    "rewards.input": ("{{ sample.output_json.sum }}", "{{ sample.output_json.total }}"),
    "rewards.reference": ("{{ item.sum }}", "{{ item.total }}"),
    "rewards.operation": ("eq", "like"),
    "rewards.pattern": ("[0-9]", "[a-z]"),
    "rewards.file": ("sums.json", "totals.json"),
    "rewards.function": ("sums:grade", "totals:grade"),
    "rewards.model": ("judge-0123456789", "other-0123456789"),
    "rewards.text": ("{}", '{"type": "object"}'),
    "from_checkpoint": ("one-0123456789", "two-0123456789"),
    "suffix": ("one", "two"),
    "integrations.wandb.project": ("tides", "moons"),
    "integrations.wandb.name": ("first", "second"),
    "integrations.wandb.entity": ("crew", "guests"),
    "integrations.wandb.tags": (["calm"], ["rough", "calm"]),
}
# A whole reward of each type, and of which one a field is.
A_REWARD: dict[str, dict[str, Any]] = {
    "string_check": {"type": "string_check", "reference": "{{ item.answer }}", "operation": "eq"},
    "regex": {"type": "regex", "pattern": "[0-9]+"},
    "json_schema": {"type": "json_schema", "text": "{}"},
    "sql_execution": {"type": "sql_execution", "text": "create table a (b)", "reference": "{{ item.sql }}"},
    "python": {"type": "python", "function": "grades:grade"},
    "model": {"type": "model", "model": "judge-0123456789"},
}
_OF_TYPE = {"pattern": "regex", "file": "json_schema", "text": "json_schema", "function": "python", "model": "model"}
JOB_ID = "contract-0123456789"


def with_setting(spec: TuneSpec, path: str, value: Any) -> TuneSpec:
    """Return the spec with one setting made."""
    document = spec.model_dump(mode="json", exclude_unset=True)
    *way, last = path.split(".")
    place = document
    if way == ["integrations", "wandb"]:
        place, way = {"project": "sums"}, []
        document["integrations"] = [{"type": "wandb", "wandb": place}]
    for key in way if path not in REWARDS else ():
        place = place.setdefault(key, {})
    if path not in REWARDS:
        place[last] = value
    if path in ("training.beta", "training.simpo_gamma", "training.orpo_lambda") and spec.method not in BELONGS[last]:
        document["method"] = "dpo"
    if path in REINFORCEMENT:
        document |= {"method": "rft", "rewards": [_reward(last, value) if path in REWARDS else A_REWARD["regex"]]}
    return TuneSpec.model_validate(document)


def _reward(field: str, value: Any) -> dict[str, Any]:
    """Return a reward with one field made."""
    return A_REWARD[value] if field == "type" else A_REWARD[_OF_TYPE.get(field, "string_check")] | {field: value}


class OfflineContract:
    """Say what every provider holds offline; each test is one sentence of it."""

    @pytest.fixture
    def rig(self) -> Rig:
        """Return the rig; subclasses replace this."""
        raise NotImplementedError("subclass ProviderContract with a fixture named rig")

    def start(self, rig: Rig, job_id: str = JOB_ID) -> RemoteJob:
        """Upload the sample data and create a job on it."""
        return rig.provider.create(self.request(rig, job_id, training_file=rig.provider.upload(rig.file())))

    def request(self, rig: Rig, job_id: str = JOB_ID, *, training_file: str = "file-1") -> dict[str, Any]:
        """Render the sample job."""
        return rig.provider.render(rig.spec(), job_id=job_id, training_file=training_file, validation_file=None)

    def need(self, rig: Rig, fault: Fault) -> None:
        """Skip, aloud, what this far side cannot do."""
        if fault not in rig.supports:
            pytest.skip(f"{rig.provider.name} has no far side that could answer with {fault}")

    def test_it_has_a_name(self, rig: Rig) -> None:
        assert rig.provider.name
        assert rig.provider.name == rig.spec().provider

    def test_capabilities_and_render_reach_nobody(self, rig: Rig) -> None:
        before = rig.calls()
        rig.provider.capabilities(rig.spec().model)
        self.request(rig)
        assert rig.calls() == before

    def test_what_can_be_known_offline_needs_no_key(self, rig: Rig) -> None:
        keyless = rig.without_key()
        assert keyless.capabilities(rig.spec().model) == rig.provider.capabilities(rig.spec().model)
        body = keyless.render(rig.spec(), job_id=JOB_ID, training_file="file-1", validation_file=None)
        assert body == self.request(rig)

    def test_a_price_has_a_date_and_a_source(self, rig: Rig) -> None:
        capabilities = rig.provider.capabilities(rig.spec().model)
        unpriced = [note for note in capabilities.notes if "price" in note]
        assert capabilities.local or capabilities.price is not None or unpriced, "no price, and no note that says so"
        if capabilities.price is not None:
            assert capabilities.price.source
            assert capabilities.price.as_of.year >= 2026

    def test_every_setting_of_the_job_file_has_a_rule(self, rig: Rig) -> None:
        rules = rig.provider.capabilities(rig.spec().model).settings
        assert every_setting() - set(rules) == set()
        assert [path for path, rule in rules.items() if rule.outcome != "kept" and not rule.why] == []

    def test_what_is_kept_or_translated_changes_the_request(self, rig: Rig) -> None:
        rules = rig.provider.capabilities(rig.spec().model).settings
        dropped = []
        for path, rule in rules.items():
            if rule.outcome == "refused" or path not in TWO_VALUES:
                continue
            one, other = (
                self._rendered(rig, with_setting(rig.spec(), path, value))
                for value in self._allowed(path, rule.choices)
            )
            if one == other:
                dropped.append(path)
        assert dropped == []

    def test_the_number_of_epochs_is_sent_although_nobody_chose_one(self, rig: Rig) -> None:
        document = rig.spec().model_dump(mode="json", exclude_unset=True)
        bare = TuneSpec.model_validate({**document, "training": {}})
        chosen_one = with_setting(bare, "training.epochs", bare.training.epochs)
        assert self._rendered(rig, bare) == self._rendered(rig, chosen_one)
        assert self._rendered(rig, bare) != self._rendered(rig, with_setting(bare, "training.epochs", 5))

    def test_what_is_left_open_is_among_no_settings(self, rig: Rig) -> None:
        assert [path for path, _ in chosen(rig.spec())] == ["training.epochs"]

    def test_render_gives_the_same_twice_and_plain_json(self, rig: Rig) -> None:
        assert json.dumps(self.request(rig), sort_keys=True) == json.dumps(self.request(rig), sort_keys=True)

    def test_the_request_names_the_model_and_both_files(self, rig: Rig) -> None:
        spec = rig.spec()
        body = rig.provider.render(spec, job_id=JOB_ID, training_file="file-one", validation_file="file-two")
        text = json.dumps(body)
        assert [name for name in (spec.model, "file-one", "file-two") if name not in text] == []

    def test_the_request_carries_our_job_id_and_no_key(self, rig: Rig) -> None:
        text = json.dumps(self.request(rig))
        assert JOB_ID in text
        assert not rig.key or rig.key not in text
        assert not rig.key or rig.key not in repr(rig.provider)

    def _rendered(self, rig: Rig, spec: TuneSpec) -> str:
        try:
            body = rig.provider.render(spec, job_id=JOB_ID, training_file="file-1", validation_file=None)
        except RefusedError as error:  # a value that names what is not there is heeded by a refusal of its own
            return error.message
        return json.dumps(body, sort_keys=True)

    def _allowed(self, path: str, choices: tuple[str, ...]) -> tuple[Any, Any]:
        if not choices:
            return TWO_VALUES[path]
        return choices[0], choices[1] if len(choices) > 1 else "auto"
