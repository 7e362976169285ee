"""Hugging Face Jobs: our own trainer on a rented machine, with a private repository of the user's between it and here.

Everything of a job lies in the dataset repository `anytune-jobs`: files/ (the data by their hash), code/ (our program
by its hash), jobs/<our job id>/ (events.jsonl, checkpoints/, result.json, log, model/). The job at the Hub carries our
id as a label. huggingface_hub is imported at the first call.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Collection, Mapping
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from anytune import catalog
from anytune.errors import AmbiguousError, NotFoundError, RejectedError
from anytune.local import base_model, settings
from anytune.local.elsewhere import result as results
from anytune.local.elsewhere import rules
from anytune.local.elsewhere.package import pack
from anytune.local.hf_jobs import answer as answers
from anytune.local.hf_jobs import download as downloads
from anytune.local.hf_jobs import publish as publishing
from anytune.local.hf_jobs import request as requests
from anytune.local.hf_jobs.fault import unclear
from anytune.local.hf_jobs.gateway import Hub
from anytune.providers.base import Profile, Reused
from anytune.providers.checked import open_unchanged
from anytune.schema.data import DataFile
from anytune.schema.job import Event, JobState, RemoteJob
from anytune.schema.model import TunedModel
from anytune.schema.plan import Capabilities, Price
from anytune.schema.spec import TuneSpec


class HFJobsProvider:
    """Fine-tune on a machine of Hugging Face's by the trainer that trains here."""

    name = requests.NAME

    def __init__(self, profile: Profile) -> None:
        self._profile = profile
        self._hub = Hub(profile)

    def capabilities(self, model: str) -> Capabilities:
        """Describe what the local trainer does with a model of the Hub, and what the chosen machine costs."""
        known, context = catalog.load(self.name), settings.context(model)
        flavor, hours = requests.flavor(self._profile), Decimal(str(requests.hours(self._profile)))
        problems = [requests.flavor_problem(flavor)]
        if not base_model.is_hub_id(model) or Path(model).expanduser().is_dir():
            problems.append(f"hf-jobs trains models of the Hub (owner/name); {model!r} is none")
        per_hour = known.flavors.get(flavor)
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
            price=per_hour and Price(per_hour=per_hour, hours=hours, as_of=known.as_of, source=known.source),
            cancelling=known.cancelling,
            problems=tuple(problem for problem in problems if problem),
            settings_source=known.settings_source,
            notes=(f"runs on {flavor} and is ended after {hours.normalize():f} hours", *known.notes),
            as_of=known.as_of,
        )

    def render(self, spec: TuneSpec, *, job_id: str, training_file: str, validation_file: str | None) -> dict[str, Any]:
        """Write out the run with every default made explicit, and the machine and command it runs by."""
        return requests.render(
            spec, self._profile, job_id=job_id, training_file=training_file, validation_file=validation_file
        )

    def upload(self, file: DataFile) -> str:
        """Send one file to its place in the private repository; bytes that lie there already are not sent again."""
        with open_unchanged(file, provider="the Hub") as handle:
            sent = self._hub.keep(
                self._hub.repository(),
                f"files/{file.sha256}.jsonl",
                handle,
                size=file.bytes,
                sha256=file.sha256,
                act="upload",
            )
        id = f"file-{file.sha256}"
        return id if sent else Reused(id)

    def create(self, request: dict[str, Any]) -> RemoteJob:
        """Start the job by one POST, once our code lies in the repository.

        What fails before the POST is an `UnavailableError`: then no job was surely started.
        """
        job_id = requests.checked_id(request["run"]["job_id"])
        try:
            repository, code = self._hub.repository(), self._with_code()
        except AmbiguousError as error:
            raise unclear(error) from error
        env = requests.environment(request, repository=repository, code=code)
        name, info = self._start({**request["job"], "env": env}, job_id=job_id, act="create the job")
        return answers.job_of(name, [info]).model_copy(update={"seen_job_id": job_id})

    def _with_code(self) -> str:
        path, content = pack()
        digest = hashlib.sha256(content).hexdigest()
        repository = self._hub.repository()
        self._hub.keep(repository, path, io.BytesIO(content), size=len(content), sha256=digest, act="send the code")
        return path

    def _start(self, arguments: dict[str, Any], *, job_id: str, act: str) -> tuple[answers.Name, Any]:
        namespace = self._hub.namespace()
        with self._hub.connected(act) as api:
            info = api.run_job(**arguments, secrets=self._hub.secrets(), namespace=namespace)
            name = answers.named(info, namespace=namespace, job_id=job_id, act=act)
            answers.require(info, name, act=act)
            return name, info

    def quote(self, request: dict[str, Any]) -> Decimal | None:
        """Return what the whole time limit costs by the Hub's own list of machines; None where it has not this one."""
        with self._hub.connected("ask for the price") as api:
            return answers.price_of(api.list_jobs_hardware(), request["job"]["flavor"], request["job"]["timeout"])

    def retrieve(self, remote_id: str) -> RemoteJob:
        """Ask how a job stands: its machine while that runs, and once it is gone what the trainer left."""
        return self._stand(answers.parsed(remote_id), act="retrieve the job")

    def retrieve_many(self, ids: Collection[str], *, since: datetime | None = None) -> dict[str, RemoteJob]:
        """Ask how many jobs stand by one list; one whose machine is gone is asked for by itself."""
        del since
        act, found = "list the jobs", dict[str, RemoteJob]()
        names = [answers.parsed(id) for id in ids if answers.REMOTE_ID.fullmatch(id)]
        for namespace in sorted({name.namespace for name in names}):
            with self._hub.connected(act) as api:
                listed = {info.id: info for info in api.list_jobs(namespace=namespace)}
            for name in (name for name in names if name.namespace == namespace):
                info = listed.get(name.first)
                if info is not None and answers.our_label(info) in (None, requests.label(name.job_id)):
                    ended = answers.has_ended(info)
                    found[str(name)] = self._stand(name, act=act) if ended else answers.job_of(name, [info])
        return found

    def _stand(self, name: answers.Name, *, act: str) -> RemoteJob:
        told = self._attempts(name, act=act)
        if not answers.has_ended(told[-1]):
            return answers.job_of(name, told)
        content = self._hub.read(name.repository, f"{name.folder}/result.json", act=act)
        result = results.decoded_result(content, about=f"{self.name}: {act}")
        saved = None
        if result is None:
            listed = self._hub.listed(name.repository, f"{name.folder}/checkpoints", act=act)
            saved = results.newest_step([entry.path for entry in listed])
        return answers.job_of(name, told, result=result, saved=saved)

    def _attempts(self, name: answers.Name, *, act: str) -> list[Any]:
        """Return the job's attempts: the first alone while it runs, else all that carry its label."""
        with self._hub.connected(act) as api:
            first = api.inspect_job(job_id=name.first, namespace=name.namespace)
            answers.require(first, name, act=act)
            if not answers.has_ended(first) or answers.word(first) == "COMPLETED":
                return [first]
            labelled = api.list_jobs(labels={requests.LABEL: requests.label(name.job_id)}, namespace=name.namespace)
            later = [info for info in answers.attempts(list(labelled), name.job_id) if info.id != first.id]
        return [first, *later]

    def events(self, remote_id: str) -> list[Event]:
        """List what the trainer told of itself, oldest first; the job brings it to the repository now and then."""
        name = answers.parsed(remote_id)
        return results.events_of(self._hub.read(name.repository, f"{name.folder}/events.jsonl", act="list events"))

    def cancel(self, remote_id: str) -> RemoteJob:
        """Stop a job; one that has ended is returned as it stands."""
        act, name = "cancel the job", answers.parsed(remote_id)
        last = self._attempts(name, act=act)[-1]
        if answers.has_ended(last):
            return self._stand(name, act=act)
        try:
            with self._hub.connected(act) as api:
                api.cancel_job(job_id=last.id, namespace=name.namespace)
        except RejectedError:
            job = self._stand(name, act=act)  # it may have ended between the two calls
            if job.state.is_terminal:
                return job
            raise
        job = self._stand(name, act=act)
        # The order was taken, even where the state does not show it yet.
        return job if job.state.is_terminal else job.model_copy(update={"state": JobState.CANCELLING})

    def find(self, job_id: str) -> RemoteJob | None:
        """Look for the jobs that carry our id as a label; None when the Hub lists none."""
        act, namespace = "find the job", self._hub.namespace()
        with self._hub.connected(act) as api:
            labelled = list(api.list_jobs(labels={requests.LABEL: requests.label(job_id)}, namespace=namespace))
        told = answers.attempts(labelled, job_id)
        if not told:
            return None
        return self._stand(answers.named(told[0], namespace=namespace, job_id=job_id, act=act), act=act)

    def quote_resume(self, remote_id: str) -> Decimal | None:
        """Return what one more machine costs, of the same kind and for the same time as the first; None as `quote`."""
        act, name = "ask for the price of going on", answers.parsed(remote_id)
        with self._hub.connected(act) as api:
            first = api.inspect_job(job_id=name.first, namespace=name.namespace)
            answers.require(first, name, act=act)
            return answers.price_of(api.list_jobs_hardware(), str(first.flavor), self._limit(first))

    def _limit(self, info: Any) -> int:
        """Return after how many seconds the Hub ends an attempt: as long as the first had."""
        env = info.environment or {}
        return int(str(env.get("ANYTUNE_SECONDS") or requests.hours(self._profile) * 3600))

    def resume(self, remote_id: str) -> RemoteJob:
        """Start one more machine, which goes on from the newest checkpoint; a job that is not paused is left alone."""
        act, name = "resume the job", answers.parsed(remote_id)
        standing = self._stand(name, act=act)
        if standing.state is not JobState.PAUSED:
            return standing
        with self._hub.connected(act) as api:
            first = api.inspect_job(job_id=name.first, namespace=name.namespace)
        env = {str(key): str(value) for key, value in (first.environment or {}).items()}
        arguments = {
            "image": first.docker_image,
            "command": first.command,
            "labels": first.labels,
            "env": env,
            "flavor": first.flavor,
            "timeout": self._limit(first),
        }
        _, info = self._start(arguments, job_id=name.job_id, act=act)
        # Its own word: the list may not show the new machine yet, and to ask could fail once it is started.
        return self._stand(name, act=act) if answers.has_ended(info) else answers.job_of(name, [first, info])

    def publish(self, folder: Path, files: Mapping[str, str], *, repository: str, public: bool) -> tuple[str, ...]:
        """Have a model repository hold these files of a folder; return the names of those that were sent."""
        return publishing.publish(self._hub, folder, files, repository=repository, public=public)

    def export(self, tuned: TunedModel, *, to: str, out: Path) -> dict[str, Any]:
        """Download the adapter, or the whole weights if all were trained; a call that was cut off is gone on with."""
        found = downloads.ADDRESS.fullmatch(tuned.name)
        if found is None:
            raise NotFoundError(f"{self.name} knows no model {tuned.name!r}")
        return downloads.download(self._hub, tuned, repository=found[1], folder=found[2], to=to, out=out)
