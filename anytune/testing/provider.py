"""The contract of a provider, as tests: subclass it with a fixture `rig` that returns a `Rig`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from anytune.errors import AmbiguousError, AnytuneError, KeyRefusedError, NotFoundError, RateLimitedError
from anytune.providers.base import DeletesFiles, Lists, Measures, ResumesUploads, Reused, Sweeps, TellsLater
from anytune.schema.job import JobState
from anytune.testing.offline import JOB_ID, OfflineContract
from anytune.testing.rig import Rig, sample_file


class ProviderContract(OfflineContract):
    """Say what every provider holds, and its far side with it; each test is one sentence of it."""

    def test_a_list_of_models_if_there_is_one_names_the_address_that_was_asked(self, rig: Rig) -> None:
        if not isinstance(rig.provider, Lists):
            return
        before = rig.calls()
        offer = rig.provider.models()
        assert offer.source.startswith("http")
        assert rig.calls() > before
        assert rig.remote_jobs() == 0

    def test_an_upload_that_can_be_gone_on_with_is_the_same_upload(self, rig: Rig) -> None:
        if not isinstance(rig.provider, ResumesUploads):
            return
        first = rig.provider.resume_upload(rig.file(), begun=None, note=lambda _: None)
        assert str(rig.provider.upload(rig.file())) == str(first)

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

    def test_later_events_are_events_and_leave_out_none_that_is_new(self, rig: Rig) -> None:
        if not isinstance(rig.provider, TellsLater):
            return
        job = self.start(rig)
        before = {e.id for e in rig.provider.events(job.id)}
        later = rig.provider.later_events(job.id, ())
        after = {e.id: e for e in rig.provider.events(job.id)}  # some far sides move a job on with each look
        assert before <= {e.id for e in later} <= after.keys()
        assert [after[e.id] for e in later] == later
        assert [e.at for e in later] == sorted(e.at for e in later)

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
