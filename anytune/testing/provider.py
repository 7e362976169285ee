"""The contract of a provider, as tests: subclass it with a fixture `rig` that returns a `Rig`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from anytune.errors import (
    AmbiguousError,
    AnytuneError,
    KeyRefusedError,
    NotFoundError,
    RateLimitedError,
    RefusedError,
)
from anytune.planner import chosen
from anytune.providers.base import DeletesFiles, Lists, Measures, ResumesUploads, Reused, Sweeps
from anytune.schema.job import JobState, RemoteJob
from anytune.schema.reward import REWARDS
from anytune.schema.spec import BELONGS, REINFORCEMENT, TuneSpec, every_setting
from anytune.testing.rig import Fault, Rig, sample_file

TWO_VALUES: dict[str, tuple[Any, Any]] = {
    "training.epochs": (1, 2),
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
    "training.lora": (None, {"rank": 8}),
    "training.quantize": (None, "nf4"),
    "training.max_length": (256, 512),
    "training.beta": (0.1, 0.2),
    "training.seed": (1, 2),
    "training.simpo_gamma": (0.5, 1.0),
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
}
_OF_TYPE = {"pattern": "regex", "file": "json_schema", "text": "json_schema", "function": "python"}
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
    if path in ("training.beta", "training.simpo_gamma") and spec.method not in BELONGS[last]:
        document["method"] = "dpo"
    if path in REINFORCEMENT:
        document |= {"method": "rft", "rewards": [_reward(last, value) if path in REWARDS else A_REWARD["regex"]]}
    return TuneSpec.model_validate(document)


def _reward(field: str, value: Any) -> dict[str, Any]:
    """Return a reward with one field made."""
    return A_REWARD[value] if field == "type" else A_REWARD[_OF_TYPE.get(field, "string_check")] | {field: value}


class ProviderContract:
    """Say what every provider holds; each test is one sentence of it."""

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

    def test_a_list_of_models_if_there_is_one_names_the_address_that_was_asked(self, rig: Rig) -> None:
        if not isinstance(rig.provider, Lists):
            return
        before = rig.calls()
        offer = rig.provider.models()
        assert offer.source.startswith("http")
        assert rig.calls() > before
        assert rig.remote_jobs() == 0

    def test_what_is_left_open_is_among_no_settings(self, rig: Rig) -> None:
        assert [path for path, _ in chosen(rig.spec())] == ["training.epochs"]

    def test_an_upload_that_can_be_gone_on_with_is_the_same_upload(self, rig: Rig) -> None:
        if not isinstance(rig.provider, ResumesUploads):
            return
        first = rig.provider.resume_upload(rig.file(), begun=None, note=lambda _: None)
        assert str(rig.provider.upload(rig.file())) == str(first)

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

    def test_what_was_rendered_arrives_unchanged(self, rig: Rig) -> None:
        request = self.request(rig, training_file=rig.provider.upload(rig.file()))
        sent = json.loads(json.dumps(request))
        rig.provider.create(request)
        arrived = rig.received()
        assert {name: arrived.get(name) for name in sent} == sent
        assert [name for name in arrived if name not in sent] == []

    def test_a_created_job_is_retrieved_and_found_by_our_id(self, rig: Rig) -> None:
        created = self.start(rig)
        assert rig.provider.retrieve(created.id).id == created.id
        found = rig.provider.find(JOB_ID)
        assert found is not None
        assert found.id == created.id
        assert found.seen_job_id == JOB_ID

    def test_of_two_jobs_each_is_told_apart(self, rig: Rig) -> None:
        one, other = self.start(rig), self.start(rig, "contract-1111111111")
        assert [rig.provider.retrieve(job.id).id for job in (one, other)] == [one.id, other.id]
        found = [rig.provider.find(job_id) for job_id in (JOB_ID, "contract-1111111111")]
        assert [job.id for job in found if job is not None] == [one.id, other.id]

    def test_a_job_that_was_never_created_is_not_found(self, rig: Rig) -> None:
        self.start(rig)
        assert rig.provider.find("contract-9999999999") is None

    def test_a_look_that_fails_is_not_taken_for_nothing_found(self, rig: Rig) -> None:
        self.need(rig, "blind-list")
        self.start(rig)
        rig.break_next("find", "blind-list")
        with pytest.raises(AmbiguousError):
            rig.provider.find(JOB_ID)

    def test_a_job_on_a_later_page_is_found(self, rig: Rig) -> None:
        self.need(rig, "small-pages")
        first = self.start(rig)
        for job_id in ("contract-1111111111", "contract-2222222222"):
            self.start(rig, job_id)
        rig.break_next("find", "small-pages")
        found = rig.provider.find(JOB_ID)
        assert found is not None
        assert found.id == first.id

    def test_other_data_is_another_file(self, rig: Rig, tmp_path: Path) -> None:
        folder = tmp_path / "other"
        folder.mkdir()
        assert rig.provider.upload(rig.file()) != rig.provider.upload(sample_file(folder, examples=13))

    def test_a_file_that_was_removed_is_gone_and_may_be_removed_again(self, rig: Rig) -> None:
        if not isinstance(rig.provider, DeletesFiles):
            pytest.skip(f"{rig.provider.name} removes no files")
        file_id = rig.provider.upload(rig.file())
        assert isinstance(rig.provider.upload(rig.file()), Reused)
        rig.provider.delete_file(file_id)
        rig.provider.delete_file(file_id)
        assert not isinstance(rig.provider.upload(rig.file()), Reused)

    def test_data_that_changed_since_they_were_checked_are_not_sent(self, rig: Rig) -> None:
        file = rig.file()
        file.path.write_bytes(file.path.read_bytes().replace(b"plus", b"less"))
        before = rig.calls()
        with pytest.raises(AnytuneError):
            rig.provider.upload(file)
        assert rig.calls() == before

    def test_a_finished_job_names_its_model(self, rig: Rig) -> None:
        job = self.start(rig)
        rig.finish(job.id)
        ended = rig.provider.retrieve(job.id)
        assert ended.state is JobState.SUCCEEDED
        assert ended.model

    def test_a_job_in_the_list_reads_as_it_does_alone_and_none_is_invented(self, rig: Rig) -> None:
        provider = rig.provider
        if not isinstance(provider, Sweeps):
            pytest.skip(f"{rig.provider.name} lists no jobs")
        ended, other = self.start(rig), self.start(rig, "contract-1111111111")
        rig.finish(ended.id)
        alone = {job.id: rig.provider.retrieve(job.id) for job in (ended, other)}
        found = provider.retrieve_many([ended.id, other.id, "nobody-knows-this"], since=ended.created_at)
        assert found.keys() == alone.keys()
        ours = {"told": None, "mark": ""}  # of one answer, and not kept
        assert found[ended.id].model_copy(update=ours) == alone[ended.id].model_copy(update=ours)
        assert found[other.id].id == other.id
        assert found[other.id].seen_job_id == alone[other.id].seen_job_id
        assert provider.retrieve_many([other.id]).keys() == {other.id}
        assert provider.retrieve_many([]) == {}

    def test_a_list_that_cannot_be_read_is_not_taken_for_one_without_our_jobs(self, rig: Rig) -> None:
        provider = rig.provider
        if not isinstance(provider, Sweeps):
            pytest.skip(f"{rig.provider.name} lists no jobs")
        self.need(rig, "wrong-key")
        job = self.start(rig)
        rig.break_next("retrieve", "wrong-key")
        with pytest.raises(KeyRefusedError):
            provider.retrieve_many([job.id])

    def test_cancelling_stops_a_job_and_harms_none_that_ended(self, rig: Rig) -> None:
        job = self.start(rig)
        stopped = rig.provider.cancel(job.id)
        assert stopped.state in {JobState.CANCELLED, JobState.CANCELLING}
        assert rig.provider.cancel(job.id).state in {JobState.CANCELLED, JobState.CANCELLING}
        other = self.start(rig, "contract-1111111111")
        rig.finish(other.id)
        assert rig.provider.cancel(other.id).state is JobState.SUCCEEDED

    def test_events_come_oldest_first_with_ids_that_stay(self, rig: Rig) -> None:
        job = self.start(rig)
        first = [e.id for e in rig.provider.events(job.id)]
        rig.finish(job.id)
        ended = rig.provider.retrieve(job.id)
        events = rig.provider.events(job.id)
        came = ended.told
        if came is not None and isinstance(rig.provider, Measures):
            came = tuple(rig.provider.measured(job.id, came))
        assert came is None or [*came] == events  # what comes with the job itself is all of them
        assert len(events) == rig.told(job.id) > 1  # a job that began and ended has more than one
        assert [e.id for e in events][: len(first)] == first
        assert [e.at for e in events] == sorted(e.at for e in events)
        assert len({e.id for e in events}) == len(events)
        again = [e.id for e in rig.provider.events(job.id)]
        assert again[: len(events)] == [e.id for e in events]

    def test_an_unknown_job_is_said_to_be_unknown(self, rig: Rig) -> None:
        self.start(rig)
        with pytest.raises(NotFoundError):
            rig.provider.retrieve("nobody-knows-this")

    def test_a_lost_answer_to_create_is_ambiguous_and_the_job_is_found(self, rig: Rig) -> None:
        self.need(rig, "lost-answer")
        request = self.request(rig, training_file=rig.provider.upload(rig.file()))
        rig.break_next("create", "lost-answer")
        with pytest.raises(AmbiguousError):
            rig.provider.create(request)
        assert rig.remote_jobs() == 1
        found = rig.provider.find(JOB_ID)
        assert found is not None
        assert found.seen_job_id == JOB_ID

    def test_a_server_error_leaves_open_whether_a_job_was_made(self, rig: Rig) -> None:
        self.need(rig, "server-error")
        request = self.request(rig, training_file=rig.provider.upload(rig.file()))
        rig.break_next("create", "server-error")
        with pytest.raises(AmbiguousError):
            rig.provider.create(request)

    def test_a_create_refused_for_now_makes_no_job(self, rig: Rig) -> None:
        self.need(rig, "rate-limit")
        request = self.request(rig, training_file=rig.provider.upload(rig.file()))
        rig.break_next("create", "rate-limit")
        with pytest.raises(RateLimitedError):
            rig.provider.create(request)
        assert rig.remote_jobs() == 0

    def test_a_provider_never_repeats_a_call_by_itself(self, rig: Rig) -> None:
        self.need(rig, "server-error")
        job = self.start(rig)
        rig.break_next("retrieve", "server-error")
        before = rig.calls()
        with pytest.raises(AmbiguousError):
            rig.provider.retrieve(job.id)
        assert rig.calls() == before + 1

    def test_a_rate_limit_says_how_long_to_wait(self, rig: Rig) -> None:
        self.need(rig, "rate-limit")
        job = self.start(rig)
        rig.break_next("retrieve", "rate-limit")
        with pytest.raises(RateLimitedError) as caught:
            rig.provider.retrieve(job.id)
        assert caught.value.retry_after == 7

    def test_an_answer_that_is_none_is_not_taken_for_one(self, rig: Rig) -> None:
        self.need(rig, "garbage")
        request = self.request(rig, training_file=rig.provider.upload(rig.file()))
        rig.break_next("create", "garbage")
        with pytest.raises(AmbiguousError):
            rig.provider.create(request)
        job = self.start(rig, "contract-1111111111")
        rig.break_next("retrieve", "garbage")
        with pytest.raises(AmbiguousError):
            rig.provider.retrieve(job.id)

    def test_an_unheard_of_status_ends_nothing(self, rig: Rig) -> None:
        self.need(rig, "unknown-word")
        job = self.start(rig)
        rig.break_next("retrieve", "unknown-word")
        answer = rig.provider.retrieve(job.id)
        assert answer.state is JobState.UNKNOWN
        assert not answer.state.is_terminal
        assert answer.status

    def test_a_refused_key_is_told_without_showing_it(self, rig: Rig) -> None:
        self.need(rig, "wrong-key")
        job = self.start(rig)
        rig.break_next("retrieve", "wrong-key")
        for act in (rig.provider.retrieve, rig.provider.cancel, rig.provider.events):
            with pytest.raises(KeyRefusedError) as caught:
                act(job.id)
            assert rig.key not in str(caught.value)
        with pytest.raises(KeyRefusedError):
            rig.provider.find(JOB_ID)

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
