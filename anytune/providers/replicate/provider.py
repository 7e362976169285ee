"""Replicate: trainings of whatever trainer the user names, over plain HTTP.

The interface is the vendor's as its description and its own client (replicate-python-beta, December 2025) have it. A
training there bears no name of ours: each job gets a private model to be trained into, made just before and named after
our job id, whose description notes the trainer, the address of the job's file and a mark of its settings. That note is
what `find` goes by: no such model means that no training was begun; the training that was given just this is the job's.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from anytune import catalog
from anytune.errors import AmbiguousError, NotFoundError, RejectedError, UnavailableError
from anytune.providers import _download as download_of
from anytune.providers.base import Profile
from anytune.providers.edge import among
from anytune.providers.replicate import answer as answers
from anytune.providers.replicate import request as requests
from anytune.providers.replicate import upload as uploads
from anytune.providers.replicate.gateway import NAME, Gateway
from anytune.schema.data import DataFile
from anytune.schema.job import Event, JobState, RemoteJob
from anytune.schema.model import TunedModel
from anytune.schema.plan import Capabilities
from anytune.schema.spec import TuneSpec
from anytune.schema.trainer import Trainer

FIND = "find the job"


class ReplicateProvider:
    """Translate between anytune's values and Replicate's interface."""

    name = NAME

    def __init__(self, profile: Profile) -> None:
        self._profile = profile
        self._gateway = Gateway(profile)

    def capabilities(self, model: str) -> Capabilities:
        """Describe what a trainer takes, from the user's profile or the catalogue: offline and without a key."""
        short, trainer = model.partition(":")[0], self._trainer(model)
        known = catalog.capabilities(NAME, short, settings=requests.rules(trainer, short))
        return known.model_copy(
            update={
                "model": model,
                "known": trainer is not None,
                "methods": ("sft",),
                "trainer": trainer,
                "opaque": _unknown(model, known.similar) if trainer is None else None,
                "problems": tuple(_problems(model, trainer)),
                "notes": (*known.notes, *_besides(trainer)),
            }
        )

    def _trainer(self, model: str) -> Trainer | None:
        """Return what is known of a trainer: the user's word on this version, on this model, the catalogue's."""
        told, short = self._profile.trainers, model.partition(":")[0]
        entry = catalog.load(NAME).models.get(short)
        return told.get(model) or told.get(short) or (entry.trainer if entry else None)

    def render(self, spec: TuneSpec, *, job_id: str, training_file: str, validation_file: str | None) -> dict[str, Any]:
        """Translate the spec into the trainer, the model that is made for the job, and the trainer's input."""
        return requests.request(
            spec,
            self._trainer(spec.model),
            job_id=job_id,
            training_file=training_file,
            validation_file=validation_file,
        )

    def upload(self, file: DataFile) -> str:
        """Send one file and return its address; bytes that lie there unused are not sent again."""
        return uploads.upload(self._gateway, file, seconds=self._profile.upload_timeout)

    def delete_file(self, file_id: str) -> None:
        """Remove an uploaded file; harmless when it is gone already."""
        place = f"files/{answers.file_id(file_id)}"
        with suppress(NotFoundError):
            self._gateway.ask("DELETE", place, act="remove the file")

    def create(self, request: dict[str, Any]) -> RemoteJob:
        """Start the training by one POST, once the trainer's inputs are checked and the job's model is there.

        Raises `RejectedError` when the version does not take these inputs or the data have expired: it would pass over
        the one without a word and fail, for money, over the other.
        """
        act, trainer = "create the training", _version_path(request["trainer"])
        try:
            answers.require_inputs(self._gateway.ask("GET", trainer, act=act), request["input"], act=act)
            self._require_files(request["input"], act=act)
            destination = self._destination(request["model"], act=act)
        except AmbiguousError as error:
            # What is unclear are the preparations; the training was surely not begun.
            raise UnavailableError(error.message, status=error.status) from error
        body = {"destination": destination, "input": request["input"]}
        return answers.job_of(self._gateway.ask("POST", f"{trainer}/trainings", act=act, body=body), act=act)

    def _require_files(self, given: dict[str, Any], *, act: str) -> None:
        ours = tuple(f"{origin}/v1/files/" for origin in (self._gateway.origin, catalog.load(NAME).base_url))
        for address in (value for value in given.values() if isinstance(value, str) and value.startswith(ours)):
            if self._gateway.seek(f"files/{answers.file_id(address)}", act=act) is None:
                raise RejectedError(f"{NAME}: {act}: the uploaded data have expired", fix="start it anew with --again")

    def _destination(self, model: dict[str, Any], *, act: str) -> str:
        """Return the model to be trained into, as owner/name; make it if it is not there."""
        owner = self._gateway.account()
        place = f"{owner}/{model['name']}"
        standing = self._gateway.seek(f"models/{place}", act=act) or self._make(owner, model, act=act)
        if standing.get("description") != model["description"]:
            raise RejectedError(f"{NAME}: {act}: {place} is there already, and not for this job and these data")
        if standing.get("visibility") != model["visibility"]:
            raise RejectedError(f"{NAME}: {act}: {place} is not {model['visibility']}: all could use what is trained")
        return place

    def _make(self, owner: str, model: dict[str, Any], *, act: str) -> dict[str, Any]:
        try:
            return self._gateway.ask("POST", "models", act=act, body={"owner": owner, **model})
        except RejectedError:
            # Somebody was quicker with the same job.
            standing = self._gateway.seek(f"models/{owner}/{model['name']}", act=act)
            if standing is None:
                raise
            return standing

    def retrieve(self, remote_id: str) -> RemoteJob:
        """Ask how a training stands; its log comes with the same answer."""
        act = "retrieve the training"
        answer = self._look(remote_id, act=act)
        job = answers.job_of(answer, act=act, expected=remote_id)
        return job.model_copy(update={"told": tuple(answers.events_of(answer, act=act))})

    def retrieve_many(self, ids: Collection[str], *, since: datetime | None = None) -> dict[str, RemoteJob]:
        """Ask how many trainings stand by the list, newest first, until all were seen or the rest is older.

        Whether a row of the list has all that an ended training tells is not documented: that is asked for by itself.
        """
        act, found = "list the trainings", dict[str, RemoteJob]()
        for row in self._gateway.rows("trainings", act=act) if ids else ():
            if among(row.get("id"), ids):
                job = answers.job_of(row, act=act)
                found[job.id] = self.retrieve(job.id) if job.state.is_terminal else job
            if len(found) == len(ids) or answers.was_made_before(row, since):
                break
        return found

    def events(self, remote_id: str) -> list[Event]:
        """Tell of the training's beginning, the lines of its log, and its end."""
        act = "list events"
        return answers.events_of(self._look(remote_id, act=act), act=act)

    def _look(self, remote_id: str, *, act: str) -> dict[str, Any]:
        if answers.ID.fullmatch(remote_id) is None:
            raise NotFoundError(f"{NAME} knows no {remote_id!r}: this is no id of its making")
        return self._gateway.ask("GET", f"trainings/{remote_id}", act=act)

    def cancel(self, remote_id: str) -> RemoteJob:
        """Stop a training; one that has ended is returned as it stands."""
        if answers.ID.fullmatch(remote_id) is None:
            raise NotFoundError(f"{NAME} knows no {remote_id!r}: this is no id of its making")
        try:
            self._gateway.ask("POST", f"trainings/{remote_id}/cancel", act="cancel the training")
        except NotFoundError:
            raise
        except RejectedError:
            job = self.retrieve(remote_id)
            if job.state.is_terminal:
                return job
            raise
        job = self.retrieve(remote_id)
        # The order was taken, even where the state does not show it yet.
        return job if job.state.is_terminal else job.model_copy(update={"state": JobState.CANCELLING})

    def find(self, job_id: str) -> RemoteJob | None:
        """Look for the job's model, and by its note for the training; None when there is no such model or training.

        Raises `AmbiguousError` when the model is not of our making, two trainings were given what the job's was to be
        given, one the job's file alone, or one of the same trainer does not show what it was given.
        """
        place = f"{self._gateway.account()}/{requests.model_name(job_id)}"
        model = self._gateway.seek(f"models/{place}", act=FIND)
        if model is None:
            return None
        noted = requests.noted(model.get("description"))
        if noted is None or noted.job_id != job_id:
            raise AmbiguousError(f"{NAME}: {FIND}: the description of {place} is not the one that was written for it")
        version = noted.trainer.rpartition(":")[2]
        fed = list(self._fed(noted.file, version=version))
        found = [row for row in fed if requests.settings_of(row["input"]) == noted.settings]
        found = [row for row in found if row.get("version") in (version, None)]
        if len(found) > 1 or (fed and not found):
            # Before this job was started, another one may have taken its file for one that nobody uses.
            raise AmbiguousError(f"{NAME}: {FIND}: {len(fed)} trainings were given the data of {job_id}")
        return answers.job_of(found[0], act=FIND).model_copy(update={"seen_job_id": job_id}) if found else None

    def _fed(self, file: str, *, version: str) -> Iterator[dict[str, Any]]:
        """Yield the trainings that were given a file."""
        for row in self._gateway.rows("trainings", act=FIND):
            if answers.shows(row, file):
                yield row
            elif row.get("version") == version and not row.get("input"):
                raise AmbiguousError(f"{NAME}: {FIND}: a training of this trainer does not show what it was given")

    def export(self, tuned: TunedModel, *, to: str, out: Path) -> dict[str, Any]:
        """Download what the trainer calls its weights into `out`, unpacked, and return the manifest."""
        from anytune.providers.replicate import download as downloads  # archives and all, for this alone

        if to != "adapter":
            raise RejectedError(f"{NAME} hands out what the trainer made, not {to!r}", fix="--to adapter", param="to")
        folder = download_of.free_folder(out)
        row = self._look(tuned.remote_id or "", act=downloads.ACT)
        address = answers.weights(row) if answers.tuned_name(row) == tuned.name else None
        if address is None:
            raise NotFoundError(f"{NAME}: {downloads.ACT}: the training does not show the weights of {tuned.name}")
        return downloads.download(self._gateway, address, tuned, out=folder, seconds=self._profile.upload_timeout)


def _unknown(model: str, similar: Sequence[str]) -> str:
    """Say that nothing is known of a trainer, and what has to be said of it: that is one fault, with many ends."""
    whole = "" if requests.TRAINER.fullmatch(model) else ", and the job file as owner/name:version"
    near = f" (did you mean {similar[0]}?)" if similar else ""
    return f"what the trainer {model!r} takes is not known: profiles.replicate.trainers can say it{whole}{near}"


def _problems(model: str, trainer: Trainer | None) -> Iterator[str]:
    if trainer is not None and requests.TRAINER.fullmatch(model) is None:
        yield requests.no_version(model)


def _besides(trainer: Trainer | None) -> Iterator[str]:
    """Say what a trainer is given that no setting says."""
    if trainer is not None and trainer.input:
        yield f"the trainer is also given {json.dumps(trainer.input)}"
    if trainer is not None and trainer.unvalidated:
        yield f"without a validation file the trainer is also given {json.dumps(trainer.unvalidated)}"


def _version_path(trainer: str) -> str:
    found = requests.TRAINER.fullmatch(trainer)
    if found is None:
        raise RejectedError(requests.no_version(trainer))
    return f"models/{found[1]}/versions/{found[2]}"
