"""Fireworks: managed LoRA jobs over plain HTTP, under ids of our own choosing.

The job's id there is made of ours, so that one look by id tells whether a lost `create` was carried out, and a second
one with the same id is refused by the service instead of paid. There is no list of events and no price to be asked
before a job is made; what a job itself says of both is read from it.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from anytune import catalog
from anytune.errors import AmbiguousError, NotFoundError, RejectedError, UnavailableError
from anytune.providers import _download as download_of
from anytune.providers.base import Profile
from anytune.providers.edge import among
from anytune.providers.fireworks import answer as answers
from anytune.providers.fireworks import list as lists
from anytune.providers.fireworks import request as requests
from anytune.providers.fireworks import upload as uploads
from anytune.providers.fireworks.gateway import Gateway
from anytune.schema.catalog import Offer
from anytune.schema.data import DataFile
from anytune.schema.job import Event, JobState, RemoteJob
from anytune.schema.model import TunedModel
from anytune.schema.plan import Capabilities
from anytune.schema.spec import TuneSpec

ANYWHERE = {None, "", "REGION_UNSPECIFIED"}


class FireworksProvider:
    """Translate between anytune's values and Fireworks' interface."""

    name = answers.NAME

    def __init__(self, profile: Profile) -> None:
        self._profile = profile
        self._gateway = Gateway(profile)

    def capabilities(self, model: str) -> Capabilities:
        """Describe what Fireworks does with this base model, from the catalogue: offline and without a key.

        A region in the profile is a place of the provider's; one that it does not have is a problem of the plan.
        """
        known = catalog.capabilities(self.name, requests.short_model(model), settings=requests.RULES)
        region, sites = self._profile.region, catalog.load(self.name).sites
        problems = () if region is None or region in sites else (_no_such_site(region, sites),)
        return known.model_copy(update={"model": model, "sites": sites, "problems": problems})

    def render(self, spec: TuneSpec, *, job_id: str, training_file: str, validation_file: str | None) -> dict[str, Any]:
        """Translate the spec into the collection, the id and the body of the one POST that starts the job."""
        return requests.request(
            spec,
            job_id=job_id,
            training_file=training_file,
            validation_file=validation_file,
            region=self._profile.region,
        )

    def upload(self, file: DataFile) -> str:
        """Send one file and return the name of its dataset; bytes that are there already are not sent again."""
        return uploads.upload(self._gateway, file, seconds=self._profile.upload_timeout)

    def delete_file(self, file_id: str) -> None:
        """Remove a dataset; harmless when it is gone already."""
        act, name = "remove the dataset", _known(answers.DATASET_NAME, file_id)
        try:
            self._gateway.ask("DELETE", name, act=act)
        except NotFoundError:
            return

    def create(self, request: dict[str, Any]) -> RemoteJob:
        """Start the job by one POST, once its datasets are ready; one that is there under this id is taken up.

        Raises `RateLimitedError` while a dataset is not ready, `RejectedError` with the service's word when one is
        faulty: in both cases nothing was started.
        """
        act, body = "create the job", request["body"]
        for dataset in (body["dataset"], body.get("evaluationDataset")):
            if dataset is not None:
                self._require_ready(dataset)
        parent = f"{body['dataset'].partition('/datasets/')[0]}/{request['collection']}"
        query = {requests.ID_IN_QUERY[request["collection"]]: request["id"]}
        report = body.get(requests.REPORT)
        key = self._profile.wandb_key() if report else ""
        body = {**body, requests.REPORT: {**report, "apiKey": key}} if report else body
        try:
            answer = self._gateway.ask("POST", parent, act=act, body=body, query=query, secret=key)
        except RejectedError as error:
            standing = self._gateway.seek(f"{parent}/{request['id']}", act=act) if error.status == 409 else None
            if standing is None:
                raise
            answer = standing
        job = answers.job_of(answer, act=act, expected=f"{parent}/{request['id']}")
        self._require_place(job, wanted=_region(body), given=_region(answer))
        return job

    def _require_ready(self, dataset: str) -> None:
        act = "look at the dataset"
        name = _known(answers.DATASET_NAME, dataset)
        try:
            standing = self._gateway.ask("GET", name, act=act)
            if standing.get("state") != "READY":
                # The process that put the bytes there may have ended before it asked for the check.
                uploads.check(self._gateway, name, act=act)
                standing = self._gateway.ask("GET", name, act=act)
        except AmbiguousError as error:
            # What is unclear is the look; the job was surely not created.
            raise UnavailableError(error.message, status=error.status) from error
        answers.require_ready(standing, act=act)

    def _require_place(self, job: RemoteJob, *, wanted: object, given: object) -> None:
        if among(wanted, ANYWHERE) or among(given, ANYWHERE) or given == wanted:
            return
        self.cancel(job.id)
        raise RejectedError(f"fireworks placed the job in {given} instead of {wanted}; it was cancelled")

    def retrieve(self, remote_id: str) -> RemoteJob:
        """Ask how a job stands; the same answer tells of its beginning and end."""
        act = "retrieve the job"
        name = _known(answers.JOB_NAME, remote_id)
        answer = self._gateway.ask("GET", name, act=act)
        job = answers.job_of(answer, act=act, expected=name)
        return job.model_copy(update={"told": tuple(answers.events_of(answer, act=act))})

    def retrieve_many(self, ids: Collection[str], *, since: datetime | None = None) -> dict[str, RemoteJob]:
        """Ask how many jobs stand by the list of each collection that they are in."""
        del since  # in which order the list comes is not documented
        act, found = "list the jobs", dict[str, RemoteJob]()
        for parent, wanted in _by_collection(ids).items():
            for row in self._gateway.rows(parent, act=act):
                if among(row.get("name"), wanted):
                    found[str(row["name"])] = answers.job_of(row, act=act)
                if wanted <= found.keys():
                    break
        return found

    def events(self, remote_id: str) -> list[Event]:
        """Tell of the job's beginning and end; the service has no list of events."""
        act = "list events"
        return answers.events_of(self._gateway.ask("GET", _known(answers.JOB_NAME, remote_id), act=act), act=act)

    def cancel(self, remote_id: str) -> RemoteJob:
        """Stop a job; one that has ended, or is being cancelled, is returned as it stands."""
        name = _known(answers.JOB_NAME, remote_id)
        try:
            self._gateway.ask("POST", f"{name}:cancel", act="cancel the job", body={})
        except NotFoundError:
            raise
        except RejectedError:
            job = self.retrieve(name)
            if job.state.is_terminal or job.state is JobState.CANCELLING:
                return job
            raise
        job = self.retrieve(name)
        # The order was taken, even where the state does not show it yet.
        return job if job.state.is_terminal else job.model_copy(update={"state": JobState.CANCELLING})

    def resume(self, remote_id: str) -> RemoteJob:
        """Go on with a paused job; one that runs or has ended is returned as it stands."""
        name = _known(answers.JOB_NAME, remote_id)
        if (job := self.retrieve(name)).state is not JobState.PAUSED:
            return job
        self._gateway.ask("POST", f"{name}:resume", act="resume the job", body={})
        return self.retrieve(name)

    def find(self, job_id: str) -> RemoteJob | None:
        """Look for the job by the id that was made of ours, in each collection; None when the service knows none."""
        act = "find the job"
        for collection in requests.ID_IN_QUERY:
            name = f"accounts/{self._gateway.account()}/{collection}/{requests.resource_id(job_id)}"
            standing = self._gateway.seek(name, act=act)
            if standing is not None:
                job = answers.job_of(standing, act=act, expected=name)
                return job.model_copy(update={"seen_job_id": job_id})
        return None

    def models(self) -> Offer:
        """Ask for the list of public models that can be tuned."""
        return lists.offer(
            lambda query: self._gateway.ask("GET", lists.PUBLIC, act=lists.ACT, query=query),
            origin=self._gateway.origin,
        )

    def export(self, tuned: TunedModel, *, to: str, out: Path) -> dict[str, Any]:
        """Download the adapter into `out` and return its manifest; a call that was cut off is gone on with."""
        if to != "adapter":
            raise RejectedError(f"fireworks hands out the adapter, not {to!r}", fix="--to adapter", param="to")
        folder = download_of.free_folder(out)
        name = _known(answers.MODEL_NAME, tuned.name)
        from anytune.providers.fireworks import download as downloads  # for this alone

        answer = self._gateway.ask("GET", f"{name}:getDownloadEndpoint", act=downloads.ACT)
        urls = answers.signed_urls(answer, act=downloads.ACT)
        with self._gateway.connected(downloads.ACT):
            seconds = self._profile.upload_timeout
            return downloads.download(self._gateway, urls, tuned, out=folder, seconds=seconds)


def _by_collection(ids: Collection[str]) -> dict[str, set[str]]:
    """Sort names of jobs by the collection that they are in; what is no name is in none."""
    sorted_: dict[str, set[str]] = {}
    for name in ids:
        if answers.JOB_NAME.fullmatch(name) is not None:
            sorted_.setdefault(name.rpartition("/")[0], set()).add(name)
    return sorted_


def _no_such_site(region: str, sites: tuple[str, ...]) -> str:
    near = get_close_matches(region.upper().replace("-", "_"), sites, n=3, cutoff=0.3) or sites[:3]
    return f"fireworks has no region {region!r}: profiles.fireworks.region takes {', '.join(near)}, …"


def _known(kind: Any, name: str) -> str:
    if kind.fullmatch(name) is None:
        raise NotFoundError(f"fireworks knows no {name!r}: this is no name of its making")
    return name


def _region(job: dict[str, Any]) -> object:
    config = job.get("trainingConfig")
    return job.get("region") or (config.get("region") if isinstance(config, dict) else None)
