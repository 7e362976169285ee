"""Ray Jobs: our own trainer on a cluster of the user's, with a depot (a shared folder or a bucket) in between.

Our program goes to the cluster as a package, named by its hash, the run with the job; data, checkpoints and what a run
leaves lie in the depot, since Ray forgets a package after ten minutes, keeps it in its head's memory, and takes 100 MiB
at most. The job's submission id is our job id: a second submission is refused by Ray itself, and found instead.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Collection, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from anytune import catalog
from anytune.errors import AmbiguousError, MalformedAnswerError, NotFoundError, RejectedError, UnavailableError
from anytune.local import base_model, settings
from anytune.local.elsewhere import model as models
from anytune.local.elsewhere import result as results
from anytune.local.elsewhere import rules
from anytune.local.elsewhere.depot import Depot, opened
from anytune.local.elsewhere.package import pack
from anytune.local.ray_jobs import answer as answers
from anytune.local.ray_jobs import request as requests
from anytune.local.ray_jobs.gateway import AlreadyThereError, Gateway
from anytune.providers import _download as download_of
from anytune.providers import _manifest
from anytune.providers.base import Profile, Reused
from anytune.providers.checked import open_unchanged
from anytune.schema.data import DataFile
from anytune.schema.job import Event, JobState, RemoteJob
from anytune.schema.model import TunedModel
from anytune.schema.plan import Capabilities, Price
from anytune.schema.spec import TuneSpec

Told = dict[str, Any]


class RayProvider:
    """Fine-tune on the user's own cluster by the trainer that trains here."""

    name = requests.NAME

    def __init__(self, profile: Profile) -> None:
        self._profile = profile
        self._gateway = Gateway(profile)
        self._place: Depot | None = None

    @property
    def _depot(self) -> Depot:
        self._place = self._place or opened(requests.folder(self._profile), provider=self.name)
        return self._place

    def capabilities(self, model: str) -> Capabilities:
        """Describe what the local trainer does with a model that the cluster can read, and what the profile says."""
        known, context = catalog.load(self.name), settings.context(model)
        machines = requests.cluster(self._profile)
        problems = [
            requests.unsafe(requests.address(self._profile)),
            None if self._profile.cluster else requests.no_folder(),
        ]
        if not base_model.is_hub_id(model) and not model.startswith("/"):
            problems.append(f"ray trains a model of the Hub (owner/name), or a folder by its whole path; not {model!r}")
        price, hours = self._price(known.as_of), self._profile.hours
        runs = f"runs on {machines.gpus} GPU{'' if machines.gpus == 1 else 's'} of one machine of the cluster"
        ends = "" if hours is None else f" and is ended after {hours:g} hours"
        unpriced = (
            "no price is known: give profiles.ray.hours and cluster.usd_per_hour where the machines are rented",
        )
        return Capabilities(
            provider=self.name,
            model=model,
            known=True,
            methods=rules.METHODS,
            settings=settings.within(rules.RULES, context),
            regions=known.regions,
            region_note=known.region_note,
            max_length=context,
            weights_downloadable=known.weights_downloadable,
            price=price,
            cancelling=known.cancelling,
            problems=tuple(problem for problem in problems if problem),
            settings_source=known.settings_source,
            notes=(runs + ends, *known.notes, *(() if price else unpriced)),
            as_of=known.as_of,
        )

    def _price(self, as_of: Any) -> Price | None:
        per_hour, hours = requests.cluster(self._profile).usd_per_hour, self._profile.hours
        if per_hour is None or hours is None:
            return None
        source = "profiles.ray.cluster.usd_per_hour"
        return Price(per_hour=per_hour, hours=hours, as_of=as_of, source=source, stated="as your settings say")

    def render(self, spec: TuneSpec, *, job_id: str, training_file: str, validation_file: str | None) -> dict[str, Any]:
        """Write out the run with every default made explicit, and the job that carries it out."""
        return requests.render(
            spec, self._profile, job_id=job_id, training_file=training_file, validation_file=validation_file
        )

    def upload(self, file: DataFile) -> str:
        """Put one file into the depot; bytes that lie there already are not sent again."""
        path, id = f"files/{file.sha256}.jsonl", f"file-{file.sha256}"
        with open_unchanged(file, provider="the depot") as handle:
            if self._depot.holds(path, size=file.bytes, digest=file.sha256):
                return Reused(id)
            self._depot.put(handle, path)
        return id

    def delete_file(self, file_id: str) -> None:
        """Take an uploaded file out of the depot; harmless when it is gone already."""
        self._depot.remove(f"files/{file_id.removeprefix('file-')}.jsonl")

    def create(self, request: dict[str, Any]) -> RemoteJob:
        """Start the job by one POST, once the cluster holds our code and the depot the request.

        What fails before the POST is an `UnavailableError`: then no job was surely started. A job of this id that is
        there already is returned if it is this very one, else refused.
        """
        act, job_id = "create the job", requests.checked_id(request["run"]["job_id"])
        try:
            body = self._prepared(request, job_id, attempt=1, act=act)
        except AmbiguousError as error:
            raise UnavailableError(error.message, status=error.status) from error
        with suppress(AlreadyThereError):
            return self._submitted(body, job_id, act=act)
        standing = self._gateway.job(job_id, act=act)
        if standing is None or (standing.get("metadata") or {}).get(requests.DIGEST) != requests.digest(request):
            raise RejectedError(f"{self.name}: {act}: the cluster has a job {job_id} that is another one")
        return self._stand(job_id, act=act)

    def _prepared(self, request: dict[str, Any], job_id: str, *, attempt: int, act: str) -> dict[str, Any]:
        _, content = pack()
        code = self._gateway.keep(content, digest=hashlib.sha256(content).hexdigest(), act=act)
        written = json.dumps(request, sort_keys=True).encode()
        self._depot.put(io.BytesIO(written), f"jobs/{job_id}/request.json")
        return requests.submission(request, folder=requests.folder(self._profile), code=code, attempt=attempt)

    def _submitted(self, body: dict[str, Any], job_id: str, *, act: str) -> RemoteJob:
        answer = self._gateway.ask("POST", "jobs/", act=act, body=body)
        if answer.get("submission_id") != body["submission_id"]:
            raise MalformedAnswerError(f"{self.name}: {act}: the answer is about another job")
        return RemoteJob(id=job_id, status="PENDING", state=JobState.QUEUED, seen_job_id=job_id)

    def retrieve(self, remote_id: str) -> RemoteJob:
        """Ask how a job stands: its process while that runs, and once it has ended what the trainer left."""
        return self._stand(remote_id, act="retrieve the job")

    def retrieve_many(self, ids: Collection[str], *, since: datetime | None = None) -> dict[str, RemoteJob]:
        """Ask how many jobs stand by one list; a job that the cluster has forgotten is left out."""
        del since
        rows = self._gateway.jobs(act="list the jobs") if ids else []
        told = {id: answers.attempts(rows, id) for id in ids}
        return {id: self._job(id, ours) for id, ours in told.items() if ours}

    def _stand(self, job_id: str, *, act: str) -> RemoteJob:
        told = self._attempts(job_id, act=act)
        return self._job(job_id, told) if told else self._forgotten(job_id, act=act)

    def _attempts(self, job_id: str, *, act: str) -> list[Told]:
        """Return the job's attempts: the first alone while it runs, else all that carry its id."""
        if requests.SAFE_ID.fullmatch(job_id) is None:
            raise NotFoundError(f"{self.name} knows no {job_id!r}: this is no id of our making")
        first = self._gateway.job(job_id, act=act)
        if first is not None and (not answers.has_ended(first) or answers.word(first) == "SUCCEEDED"):
            if first.get("submission_id") != job_id:
                raise MalformedAnswerError(f"{self.name}: {act}: asked for {job_id}, the answer is about another job")
            return [first]
        return answers.attempts(self._gateway.jobs(act=act), job_id) or ([first] if first else [])

    def _job(self, job_id: str, told: Sequence[Told]) -> RemoteJob:
        per_hour = requests.cluster(self._profile).usd_per_hour
        if not answers.has_ended(told[-1]):
            return answers.job_of(job_id, told, model=self._model(job_id))
        result, left = self._left(job_id)
        return answers.job_of(job_id, told, model=self._model(job_id), result=result, left=left, per_hour=per_hour)

    def _left(self, job_id: str) -> tuple[dict[str, Any] | None, Sequence[str]]:
        """Return the result that the trainer left, if any, and the names of checkpoints where it left none."""
        content = self._depot.read(f"jobs/{job_id}/result.json")
        result = results.decoded_result(content, about=self.name)
        return result, () if result else [f"checkpoints/{n}" for n in self._depot.names(f"jobs/{job_id}/checkpoints")]

    def _forgotten(self, job_id: str, *, act: str) -> RemoteJob:
        """Say by its files how a job stands that the cluster does not know; one that left none never ran."""
        if self._depot.read(f"jobs/{job_id}/events.jsonl") is None:
            raise NotFoundError(f"{self.name}: {act}: the cluster knows no job {job_id}")
        result, left = self._left(job_id)
        return answers.forgotten(job_id, model=self._model(job_id), result=result, left=left)

    def _model(self, job_id: str) -> str:
        return f"{requests.folder(self._profile)}/jobs/{job_id}/model"

    def events(self, remote_id: str) -> list[Event]:
        """List what the trainer told of itself, oldest first; where it came to no word, the lines of the job's log."""
        act = "list events"
        told = self._attempts(remote_id, act=act)
        content = self._depot.read(f"jobs/{remote_id}/events.jsonl")
        if content is None and not told:
            raise NotFoundError(f"{self.name}: {act}: the cluster knows no job {remote_id}")
        if content is None and answers.has_ended(told[-1]):
            last = told[-1]["submission_id"]
            logs = self._gateway.ask("GET", f"jobs/{last}/logs", act=act).get("logs")
            return answers.logged(told[-1], str(logs or ""))
        return results.events_of(content)

    def cancel(self, remote_id: str) -> RemoteJob:
        """Stop a job; one that has ended is returned as it stands."""
        act = "cancel the job"
        told = self._attempts(remote_id, act=act)
        if told and not answers.has_ended(told[-1]):
            self._gateway.ask("POST", f"jobs/{told[-1]['submission_id']}/stop", act=act)
            told = self._attempts(remote_id, act=act)
        job = self._job(remote_id, told) if told else self._forgotten(remote_id, act=act)
        # The order was taken, even where the state does not show it yet.
        going = job.state in (JobState.QUEUED, JobState.RUNNING, JobState.UNKNOWN)
        return job.model_copy(update={"state": JobState.CANCELLING}) if going else job

    def find(self, job_id: str) -> RemoteJob | None:
        """Look for the job whose submission id is our id; None when the cluster knows none and none left files."""
        try:
            return self._stand(job_id, act="find the job")
        except NotFoundError:
            return None

    def resume(self, remote_id: str) -> RemoteJob:
        """Start one more attempt, which goes on from the newest checkpoint; a job that is not paused is left alone."""
        act = "resume the job"
        standing = self._stand(remote_id, act=act)
        if standing.state is not JobState.PAUSED:
            return standing
        told = answers.attempts(self._gateway.jobs(act=act), remote_id)
        request = json.loads(self._depot.read(f"jobs/{remote_id}/request.json") or b"null")
        if not isinstance(request, dict):
            raise NotFoundError(f"{self.name}: {act}: what was asked for is gone from the depot", fix="--again")
        body = self._prepared(request, remote_id, attempt=answers.number(told[-1]) + 1 if told else 1, act=act)
        with suppress(AlreadyThereError):
            return self._submitted(body, remote_id, act=act)
        return self._stand(remote_id, act=act)

    def export(self, tuned: TunedModel, *, to: str, out: Path) -> dict[str, Any]:
        """Copy the adapter, or the whole weights if all were trained, out of the depot."""
        folder = tuned.name.removeprefix(f"{requests.folder(self._profile)}/")
        names = [] if folder == tuned.name else self._depot.names(folder)
        if not any(name.endswith(".safetensors") for name in names):
            raise NotFoundError(f"{self.name}: {download_of.ACT}: there are no weights under {tuned.name}")
        models.require_kind(to, has_adapter="adapter_config.json" in names, provider=self.name)
        out = download_of.free_folder(out)
        aside = download_of.aside(out, tuned.name)
        with download_of.on_disk(out):
            aside.mkdir(parents=True, exist_ok=True)
            for name in names:
                self._depot.fetch(f"{folder}/{models.checked_name(name, provider=self.name)}", aside / name)
            hashes = {name: _manifest.hash_of(aside / name) for name in names}
            manifest = _manifest.write(aside, tuned, kind=to, files=hashes)
            download_of.settle(aside, out)
        return manifest
