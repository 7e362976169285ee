"""The contract has teeth: our providers, each broken in one way, are caught by the sentence that is meant for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from anytune.errors import AmbiguousError, KeyRefusedError, NotFoundError, RateLimitedError
from anytune.providers.base import DeletesFiles
from anytune.schema.job import JobState
from anytune.testing import ProviderContract, Rig
from tests.providers import _fireworks, _hub, _ray, _replicate
from tests.providers._fireworks import FireworksRig
from tests.providers._hub import HubRig
from tests.providers._ray import RayRig
from tests.providers._replicate import ReplicateRig
from tests.providers._together import TogetherRig, running
from tests.providers.test_openai_contract import SPEAKERS, speaking
from tests.rigs import FakeRig

Method = Callable[..., Any]


class Mutant(NamedTuple):
    """Break one method of a provider; `caught_by` is the sentence that has to fail."""

    method: str
    broken: Callable[[Method], Method]
    caught_by: str


def drops_the_epochs(render: Method) -> Method:
    def broken(self: Any, spec: Any, **rest: Any) -> Any:
        training = spec.training.model_copy(update={"epochs": 1})
        return render(self, spec.model_copy(update={"training": training}), **rest)

    return broken


def drops_the_rank(render: Method) -> Method:
    def broken(self: Any, spec: Any, **rest: Any) -> Any:
        lora = spec.training.lora
        if hasattr(lora, "rank"):
            training = spec.training.model_copy(update={"lora": lora.model_copy(update={"rank": 8})})
            spec = spec.model_copy(update={"training": training})
        return render(self, spec, **rest)

    return broken


def leaves_open_how_many_epochs(render: Method) -> Method:
    def broken(self: Any, spec: Any, **rest: Any) -> Any:
        left = {} if "epochs" in spec.training.model_fields_set else {"epochs": "as you like"}
        return {**render(self, spec, **rest), **left}

    return broken


def puts_the_key_in(render: Method) -> Method:
    return lambda self, spec, **rest: {**render(self, spec, **rest), "api_key": self._profile.key()}


def sends_the_key_twice(create: Method) -> Method:
    def with_key(held: Any, key: str) -> Any:
        if not isinstance(held, dict):
            return held
        return {**{name: with_key(value, key) for name, value in held.items()}, "api_key": key}

    return lambda self, request: create(self, with_key(request, self._profile.key()))


def forgets_our_id(render: Method) -> Method:
    return lambda self, spec, **rest: render(self, spec, **{**rest, "job_id": "anytune"})


def forgets_the_validation_file(render: Method) -> Method:
    return lambda self, spec, **rest: render(self, spec, **{**rest, "validation_file": None})


def asks_for_the_key(method: Method) -> Method:
    def broken(self: Any, *given: Any, **rest: Any) -> Any:
        self._profile.key()
        return method(self, *given, **rest)

    return broken


def has_an_undated_price(capabilities: Method) -> Method:
    def broken(self: Any, model: str) -> Any:
        found = capabilities(self, model)
        if found.price is None:
            return found.model_copy(update={"notes": ()})
        return found.model_copy(update={"price": found.price.model_copy(update={"source": ""})})

    return broken


def has_a_price_of_long_ago(capabilities: Method) -> Method:
    def broken(self: Any, model: str) -> Any:
        found = capabilities(self, model)
        if found.price is None:
            return found.model_copy(update={"notes": ()})
        return found.model_copy(update={"price": found.price.model_copy(update={"as_of": date(1, 1, 1)})})

    return broken


def translates_without_a_formula(capabilities: Method) -> Method:
    def broken(self: Any, model: str) -> Any:
        known = capabilities(self, model)
        bare = {"suffix": known.settings["suffix"].model_copy(update={"outcome": "translated", "why": None})}
        return known.model_copy(update={"settings": {**known.settings, **bare}})

    return broken


def forgets_a_rule(capabilities: Method) -> Method:
    def broken(self: Any, model: str) -> Any:
        found = capabilities(self, model)
        rules = {path: rule for path, rule in found.settings.items() if path != "training.warmup_ratio"}
        return found.model_copy(update={"settings": rules})

    return broken


def does_not_look_at_the_data(upload: Method) -> Method:
    def broken(self: Any, file: Any) -> Any:
        import hashlib

        raw = file.path.read_bytes()
        return upload(self, file.model_copy(update={"sha256": hashlib.sha256(raw).hexdigest(), "bytes": len(raw)}))

    return broken


def changes_what_was_rendered(create: Method) -> Method:
    def changed(held: Any) -> Any:
        if isinstance(held, dict):
            return {name: changed(value) for name, value in held.items()}
        return 3 if held == 2 else held  # the epochs of the sample

    return lambda self, request: create(self, changed(request))


def repeats_itself(method: Method) -> Method:
    def broken(self: Any, *given: Any) -> Any:
        try:
            return method(self, *given)
        except AmbiguousError:
            return method(self, *given)

    return broken


def calls_a_success_running(retrieve: Method) -> Method:
    def broken(self: Any, remote_id: str) -> Any:
        job = retrieve(self, remote_id)
        return job.model_copy(update={"state": JobState.RUNNING}) if job.state is JobState.SUCCEEDED else job

    return broken


def ends_at_a_word_it_does_not_know(retrieve: Method) -> Method:
    def broken(self: Any, remote_id: str) -> Any:
        job = retrieve(self, remote_id)
        return job.model_copy(update={"state": JobState.FAILED}) if job.state is JobState.UNKNOWN else job

    return broken


def chokes_on_a_word_it_does_not_know(retrieve: Method) -> Method:
    def broken(self: Any, remote_id: str) -> Any:
        job = retrieve(self, remote_id)
        if job.state is JobState.UNKNOWN:
            raise KeyError(job.status)
        return job

    return broken


def lets_an_error_through(method: Method) -> Method:
    def broken(self: Any, *given: Any) -> Any:
        try:
            return method(self, *given)
        except AmbiguousError as error:
            raise OSError(str(error)) from error

    return broken


def forgets_how_long_to_wait(retrieve: Method) -> Method:
    def broken(self: Any, remote_id: str) -> Any:
        try:
            return retrieve(self, remote_id)
        except RateLimitedError as error:
            raise RateLimitedError(str(error)) from error

    return broken


def shows_the_key(retrieve: Method) -> Method:
    def broken(self: Any, remote_id: str) -> Any:
        try:
            return retrieve(self, remote_id)
        except KeyRefusedError as error:
            raise KeyRefusedError(f"{error}: {self._profile.key()}") from error

    return broken


def makes_up_a_job(retrieve: Method) -> Method:
    def broken(self: Any, remote_id: str) -> Any:
        try:
            return retrieve(self, remote_id)
        except NotFoundError:
            from anytune.schema.job import RemoteJob

            return RemoteJob(id=remote_id, status="?", state=JobState.UNKNOWN)

    return broken


def is_blind(find: Method) -> Method:
    def broken(self: Any, job_id: str) -> Any:
        try:
            return find(self, job_id)
        except AmbiguousError:
            return None

    return broken


def finds_anything(find: Method) -> Method:
    seen: list[Any] = []

    def broken(self: Any, job_id: str) -> Any:
        found = find(self, job_id) or (seen[-1] if seen else find(self, "contract-0123456789"))
        seen.append(found)
        return found

    return broken


def reads_one_page_only(find: Method) -> Method:
    def broken(self: Any, job_id: str) -> Any:
        newest = next((job for each in "21" if (job := find(self, f"contract-{each * 10}"))), None)
        found = find(self, job_id)
        return found if newest is None or found == newest else None

    return broken


def finds_nothing(find: Method) -> Method:
    return lambda self, job_id: find(self, job_id + "0")


def harms_what_has_ended(cancel: Method) -> Method:
    def broken(self: Any, remote_id: str) -> Any:
        if self.retrieve(remote_id).state.is_terminal:
            raise AmbiguousError("it has ended")
        return cancel(self, remote_id)

    return broken


def tells_the_newest_first(events: Method) -> Method:
    return lambda self, remote_id: events(self, remote_id)[::-1]


def tells_the_last_only(events: Method) -> Method:
    return lambda self, remote_id: events(self, remote_id)[-1:]


def tells_each_twice(events: Method) -> Method:
    return lambda self, remote_id: [event for event in events(self, remote_id) for _ in range(2)]


def names_events_anew(events: Method) -> Method:
    count = iter(range(10_000))

    def broken(self: Any, remote_id: str) -> Any:
        return [event.model_copy(update={"id": f"event-{next(count)}"}) for event in events(self, remote_id)]

    return broken


def removes_nothing(delete_file: Method) -> Method:
    return lambda _self, _file_id: None


def minds_what_is_gone(delete_file: Method) -> Method:
    removed = set[str]()

    def broken(self: Any, file_id: str) -> None:
        if file_id in removed:
            raise NotFoundError("there is no such file")
        removed.add(file_id)
        delete_file(self, file_id)

    return broken


def calls_every_file_its_own(upload: Method) -> Method:
    return lambda self, file: str(upload(self, file))


def lists_what_is_not_there(retrieve_many: Method) -> Method:
    def broken(self: Any, ids: Any, **rest: Any) -> Any:
        from anytune.schema.job import RemoteJob

        found = retrieve_many(self, ids, **rest)
        return {id: found.get(id) or RemoteJob(id=id, status="?", state=JobState.UNKNOWN) for id in ids}

    return broken


def reads_the_list_otherwise(retrieve_many: Method) -> Method:
    def broken(self: Any, ids: Any, **rest: Any) -> Any:
        found = retrieve_many(self, ids, **rest)
        return {id: job.model_copy(update={"model": None}) for id, job in found.items()}

    return broken


def lists_one_job_only(retrieve_many: Method) -> Method:
    return lambda self, ids, **rest: dict(list(retrieve_many(self, ids, **rest).items())[:1])


def lists_all_that_there_is(retrieve_many: Method) -> Method:
    seen = set[str]()

    def broken(self: Any, ids: Any, **rest: Any) -> Any:
        seen.update(ids)
        return retrieve_many(self, seen, **rest)

    return broken


def takes_a_failed_list_for_an_empty_one(retrieve_many: Method) -> Method:
    def broken(self: Any, ids: Any, **rest: Any) -> Any:
        try:
            return retrieve_many(self, ids, **rest)
        except KeyRefusedError:
            return {}

    return broken


def tells_no_news(later_events: Method) -> Method:
    return lambda self, remote_id, known: later_events(self, remote_id, known)[:0]


def makes_up_news(later_events: Method) -> Method:
    def broken(self: Any, remote_id: str, known: Any) -> Any:
        told = later_events(self, remote_id, known)
        return [*told, told[-1].model_copy(update={"id": "made-up"})]

    return broken


LATER = "test_later_events_are_events_and_leave_out_none_that_is_new"
SWEPT = "test_a_job_in_the_list_reads_as_it_does_alone_and_none_is_invented"

MUTANTS = {
    "a dropped knob": Mutant("render", drops_the_epochs, "test_what_is_kept_or_translated_changes_the_request"),
    "a dropped knob within lora": Mutant(
        "render", drops_the_rank, "test_what_is_kept_or_translated_changes_the_request"
    ),
    "epochs left open": Mutant(
        "render", leaves_open_how_many_epochs, "test_the_number_of_epochs_is_sent_although_nobody_chose_one"
    ),
    "a translation without its formula": Mutant(
        "capabilities", translates_without_a_formula, "test_every_setting_of_the_job_file_has_a_rule"
    ),
    "a secret in a request": Mutant("render", puts_the_key_in, "test_the_request_carries_our_job_id_and_no_key"),
    "a key in the header and in the body": Mutant(
        "create", sends_the_key_twice, "test_what_was_rendered_arrives_unchanged"
    ),
    "a request without our id": Mutant("render", forgets_our_id, "test_the_request_carries_our_job_id_and_no_key"),
    "a file left out": Mutant("render", forgets_the_validation_file, "test_the_request_names_the_model_and_both_files"),
    "a plan that needs a key": Mutant("render", asks_for_the_key, "test_what_can_be_known_offline_needs_no_key"),
    "capabilities that need a key": Mutant(
        "capabilities", asks_for_the_key, "test_what_can_be_known_offline_needs_no_key"
    ),
    "an undated price": Mutant("capabilities", has_an_undated_price, "test_a_price_has_a_date_and_a_source"),
    "a price of no known day": Mutant(
        "capabilities", has_a_price_of_long_ago, "test_a_price_has_a_date_and_a_source"
    ),
    "a setting without a rule": Mutant(
        "capabilities", forgets_a_rule, "test_every_setting_of_the_job_file_has_a_rule"
    ),
    "other data than were checked": Mutant(
        "upload", does_not_look_at_the_data, "test_data_that_changed_since_they_were_checked_are_not_sent"
    ),
    "a request changed on the way": Mutant(
        "create", changes_what_was_rendered, "test_what_was_rendered_arrives_unchanged"
    ),
    "a repeated create": Mutant(
        "create", repeats_itself, "test_a_lost_answer_to_create_is_ambiguous_and_the_job_is_found"
    ),
    "a repeated look": Mutant("retrieve", repeats_itself, "test_a_provider_never_repeats_a_call_by_itself"),
    "a wrong state": Mutant("retrieve", calls_a_success_running, "test_a_finished_job_names_its_model"),
    "an unheard-of word that ends a job": Mutant(
        "retrieve", ends_at_a_word_it_does_not_know, "test_an_unheard_of_status_ends_nothing"
    ),
    "an unheard-of word that crashes": Mutant(
        "retrieve", chokes_on_a_word_it_does_not_know, "test_an_unheard_of_status_ends_nothing"
    ),
    "an unmapped error": Mutant("retrieve", lets_an_error_through, "test_a_provider_never_repeats_a_call_by_itself"),
    "an unmapped error of create": Mutant(
        "create", lets_an_error_through, "test_a_server_error_leaves_open_whether_a_job_was_made"
    ),
    "a rate limit without its time": Mutant(
        "retrieve", forgets_how_long_to_wait, "test_a_rate_limit_says_how_long_to_wait"
    ),
    "a key in an error": Mutant("retrieve", shows_the_key, "test_a_refused_key_is_told_without_showing_it"),
    "a job that is not there": Mutant("retrieve", makes_up_a_job, "test_an_unknown_job_is_said_to_be_unknown"),
    "a blind find": Mutant("find", is_blind, "test_a_look_that_fails_is_not_taken_for_nothing_found"),
    "a find that finds anything": Mutant(
        "find", finds_anything, "test_a_job_that_was_never_created_is_not_found"
    ),
    "a find that reads one page": Mutant("find", reads_one_page_only, "test_a_job_on_a_later_page_is_found"),
    "a find that finds nothing": Mutant("find", finds_nothing, "test_a_created_job_is_retrieved_and_found_by_our_id"),
    "a cancel that harms": Mutant(
        "cancel", harms_what_has_ended, "test_cancelling_stops_a_job_and_harms_none_that_ended"
    ),
    "a file that stays": Mutant(
        "delete_file", removes_nothing, "test_a_file_that_was_removed_is_gone_and_may_be_removed_again"
    ),
    "a removal that minds what is gone": Mutant(
        "delete_file", minds_what_is_gone, "test_a_file_that_was_removed_is_gone_and_may_be_removed_again"
    ),
    "a file of others taken for its own": Mutant(
        "upload", calls_every_file_its_own, "test_a_file_that_was_removed_is_gone_and_may_be_removed_again"
    ),
    "a list that invents jobs": Mutant("retrieve_many", lists_what_is_not_there, SWEPT),
    "a list read otherwise": Mutant("retrieve_many", reads_the_list_otherwise, SWEPT),
    "a list that forgets jobs": Mutant("retrieve_many", lists_one_job_only, SWEPT),
    "a list of what nobody asked for": Mutant("retrieve_many", lists_all_that_there_is, SWEPT),
    "a failed list taken for an empty one": Mutant(
        "retrieve_many",
        takes_a_failed_list_for_an_empty_one,
        "test_a_list_that_cannot_be_read_is_not_taken_for_one_without_our_jobs",
    ),
    "events out of order": Mutant(
        "events", tells_the_newest_first, "test_events_come_oldest_first_with_ids_that_stay"
    ),
    "events left out": Mutant("events", tells_the_last_only, "test_events_come_oldest_first_with_ids_that_stay"),
    "events told twice": Mutant("events", tells_each_twice, "test_events_come_oldest_first_with_ids_that_stay"),
    "events under new names": Mutant(
        "events", names_events_anew, "test_events_come_oldest_first_with_ids_that_stay"
    ),
    "later events left out": Mutant("later_events", tells_no_news, LATER),
    "later events that are none": Mutant("later_events", makes_up_news, LATER),
}  # fmt: skip


OURS = (*SPEAKERS, "together", "fireworks", "replicate", "hf-jobs", "ray")


@pytest.fixture(params=["fake", *(pytest.param(name, marks=pytest.mark.long) for name in OURS)])
def rig(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    with ExitStack() as stack:
        if request.param == "fake":
            yield FakeRig(tmp_path)
        elif request.param in SPEAKERS:
            yield stack.enter_context(speaking(request.param, tmp_path))
        elif request.param == "together":
            yield TogetherRig(tmp_path, stack.enter_context(running(tmp_path, monkeypatch)))
        elif request.param == "replicate":
            yield ReplicateRig(tmp_path, stack.enter_context(_replicate.running(tmp_path, monkeypatch)))
        elif request.param == "hf-jobs":
            yield HubRig(tmp_path, stack.enter_context(_hub.running(tmp_path, monkeypatch)))
        elif request.param == "ray":
            yield RayRig(tmp_path, stack.enter_context(_ray.running(tmp_path)))
        else:
            yield FireworksRig(tmp_path, stack.enter_context(_fireworks.running(tmp_path, monkeypatch)))


@pytest.mark.parametrize("name", MUTANTS)
def test_a_broken_provider_is_caught(name: str, rig: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    method, broken, sentence = MUTANTS[name]
    kind = type(rig.provider)
    if "removed" in sentence and not isinstance(rig.provider, DeletesFiles):
        pytest.skip("it removes no files: they lie in a repository of the user's own")
    if "page" in sentence and "small-pages" not in rig.supports:
        pytest.skip("it finds a job without a list in pages")
    if "rank" in broken.__name__ and rules(rig)["training.lora.rank"].outcome == "refused":
        pytest.skip("it takes no rank")
    if not hasattr(kind, method):
        pytest.skip("it has no such method, and need not have")
    monkeypatch.setattr(kind, method, broken(getattr(kind, method)))
    assert fails(sentence, rig, tmp_path), f"{kind.__name__} with {name} passes {sentence}"


def rules(rig: Rig) -> Any:
    return rig.provider.capabilities(rig.spec().model).settings


def fails(sentence: str, rig: Rig, folder: Path) -> bool:
    """Tell whether a sentence of the contract fails; one that is skipped does not."""
    test = getattr(ProviderContract(), sentence)
    needed = test.__code__.co_varnames[1 : test.__code__.co_argcount]
    given = {"rig": rig, "tmp_path": folder}
    try:
        test(**{name: given[name] for name in needed})
    except pytest.skip.Exception:
        return False
    except (Exception, pytest.fail.Exception):
        return True
    return False
