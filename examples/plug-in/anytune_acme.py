"""Acme as a provider of anytune: an invented service, and all that a third-party package has to write.

Acme takes an id of ours for each job (`PUT /jobs/{id}`), so that a job is found by one look and never made twice.
"""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from functools import cached_property
from typing import Any

import httpx

from anytune.errors import MalformedAnswerError, NotFoundError
from anytune.providers.base import Profile
from anytune.providers.checked import open_unchanged
from anytune.providers.edge import bounded_client, decoded, error_for_status, mapped, required_id, sendable_key
from anytune.schema.data import DataFile
from anytune.schema.job import Event, JobState, RemoteJob
from anytune.schema.plan import Capabilities, Price, Rule
from anytune.schema.spec import TuneSpec, every_setting

PRICE = Price(per_million={"sft": Decimal("0.70")}, as_of=date(2026, 11, 22), source="https://acme.example/pricing")
KEPT = {
    "training.epochs": Rule(outcome="kept", to="passes", minimum=1, maximum=20),
    "training.batch_size": Rule(outcome="kept", to="batch"),
    "training.learning_rate": Rule(outcome="kept", to="rate"),
    "training.lora.rank": Rule(outcome="kept", to="rank", minimum=1, maximum=64),
    "training.seed": Rule(outcome="kept", to="seed"),
}
REFUSED = Rule(outcome="refused", why="Acme takes passes, batch, rate, rank and seed only")
RULES = {path: KEPT.get(path, REFUSED) for path in every_setting()}
STATES = {
    "waiting": JobState.QUEUED,
    "training": JobState.RUNNING,
    "ready": JobState.SUCCEEDED,
    "broken": JobState.FAILED,
    "stopped": JobState.CANCELLED,
}


class AcmeProvider:
    """Translate between anytune and Acme; nothing here waits, repeats, prints or remembers."""

    name = "acme"

    def __init__(self, profile: Profile) -> None:
        self._profile = profile

    def capabilities(self, model: str) -> Capabilities:
        """Describe what Acme does with a base model."""
        known = model == "acme-7b"
        return Capabilities(
            provider=self.name,
            model=model,
            known=known,
            methods=("sft",),
            settings=RULES,
            regions=("eu",),
            price=PRICE,
            as_of=PRICE.as_of,
            similar=() if known else ("acme-7b",),
        )

    def render(self, spec: TuneSpec, *, job_id: str, training_file: str, validation_file: str | None) -> dict[str, Any]:
        """Name each setting that was made in Acme's words."""
        training = spec.training
        rank = training.lora.rank if training.lora not in (None, "auto") else "auto"
        made = {"passes": training.epochs, "batch": training.batch_size, "rate": training.learning_rate, "rank": rank}
        made = {name: value for name, value in {**made, "seed": training.seed}.items() if value != "auto"}
        return {"id": job_id, "base": spec.model, "data": training_file, "check_data": validation_file, **made}

    def upload(self, file: DataFile) -> str:
        """Send a file under its hash: what is there already is not sent again."""
        with open_unchanged(file, provider=self.name) as handle:
            sent = self._call("PUT", f"/data/{file.sha256}", content=handle.read())
        return required_id(sent.get("id"), provider=self.name, act="upload")

    def create(self, request: dict[str, Any]) -> RemoteJob:
        """Start the job under our id."""
        return _job(self._call("PUT", f"/jobs/{request['id']}", json=request))

    def retrieve(self, remote_id: str) -> RemoteJob:
        """Ask how the job stands."""
        return _job(self._call("GET", f"/jobs/{remote_id}"))

    def events(self, remote_id: str) -> list[Event]:
        """List all events; Acme tells the oldest first."""
        told = self._call("GET", f"/jobs/{remote_id}/log").get("lines", [])
        return [Event(id=line["id"], at=datetime.fromisoformat(line["at"]), message=line["text"]) for line in told]

    def cancel(self, remote_id: str) -> RemoteJob:
        """Stop the job; Acme answers with the job as it stands if it has ended."""
        return _job(self._call("POST", f"/jobs/{remote_id}/stop"))

    def find(self, job_id: str) -> RemoteJob | None:
        """Look for our id; only a plain 404 means that there is none."""
        try:
            return self.retrieve(job_id)
        except NotFoundError:
            return None

    def _call(self, method: str, path: str, **body: Any) -> dict[str, Any]:
        act = f"{method} {path}"
        with mapped(self.name, act, secret=self._key):
            base = self._profile.base_url or "https://api.acme.example"
            headers = {"Authorization": f"Bearer {self._key}"}
            answer = self._client.request(method, base + path, headers=headers, **body)
            told = decoded(answer.text)
            if answer.status_code != 200:
                raise error_for_status(
                    answer.status_code, provider="acme", act=act, body=told, headers=answer.headers, secret=self._key
                )
            if not told:
                raise MalformedAnswerError(f"acme: {act}: the answer is not the JSON it should be")
            return told

    @cached_property
    def _key(self) -> str:
        return sendable_key(self._profile.key(), provider=self.name)

    @cached_property
    def _client(self) -> httpx.Client:
        client: httpx.Client = bounded_client(httpx, seconds=self._profile.timeout)
        return client


def _job(told: dict[str, Any]) -> RemoteJob:
    job_id = required_id(told.get("id"), provider="acme", act="job")
    word = str(told.get("state"))
    return RemoteJob(
        id=job_id,
        status=word,
        state=STATES.get(word, JobState.UNKNOWN),
        model=told.get("model"),
        seen_job_id=job_id,
    )
