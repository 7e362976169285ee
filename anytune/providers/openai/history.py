"""What a job at a server that speaks OpenAI's API told and kept on its way: events, figures, checkpoints."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from functools import partial
from typing import Any

from anytune.errors import MalformedAnswerError, RejectedError
from anytune.providers.openai import answer as answers
from anytune.providers.openai import result as results
from anytune.providers.openai.client import Client
from anytune.providers.openai.speech import Speech
from anytune.schema.job import Event
from anytune.schema.model import Checkpoint

PAGE = 100  # the most that one list call is asked for


class History:
    """Ask for it."""

    def __init__(self, client: Client, speech: Speech) -> None:
        self._client, self._speech = client, speech

    def events(self, remote_id: str) -> list[Event]:
        """List all events, oldest first; where none tells a loss, what an ended job left behind does."""
        told = self._in_order(self._told(remote_id, known=()))
        if not self._speech.dialect.events_tell_losses and not any("loss" in event.data for event in told):
            told += self._left_behind(remote_id)
        return sorted(told, key=lambda event: event.at)

    def later_events(self, remote_id: str, known: Collection[str]) -> list[Event]:
        """List the events down to a page of which all are known, oldest first; all where pages are not newest first."""
        return sorted(self._in_order(self._told(remote_id, known=known)), key=lambda event: event.at)

    def _told(self, remote_id: str, *, known: Collection[str]) -> list[Event]:
        act, told = self._client.act("events"), list[Event]()
        with self._client.mapped("events"):
            ask = partial(self._client.jobs.list_events, remote_id, limit=PAGE)
            for rows in answers.pages(ask, act=act):
                page = [answers.event(row, act=act) for row in rows]
                told += page
                if _goes_back([event.at for event in page]) and all(event.id in known for event in page):
                    break
        return told

    def _in_order(self, told: list[Event]) -> list[Event]:
        """Return events oldest first; within a second the order decides: the dialect's, unless the times say the other.

        They are not sorted by their times yet, which a figure of a step may not have.
        """
        first, last = (told[0].at, told[-1].at) if told else (None, None)
        if first is not None and last is not None and first != last:
            newest_first = first > last
        else:
            newest_first = self._speech.dialect.events == "newest-first"
        return told[::-1] if newest_first else told

    def _left_behind(self, remote_id: str) -> list[Event]:
        act = self._client.act("results")
        try:
            with self._client.mapped("results"):
                job = answers.decoded(self._client.jobs.retrieve(remote_id), act=act)
                at = answers.job_of(job, act=act).finished_at
                if job.get("status") != "succeeded":
                    return []
                if self._speech.dialect.model == "checkpoint":
                    return [results.as_event(each) for each in self.checkpoints(remote_id)]
                files = job.get("result_files") or [None]
                if not isinstance(files[0], str):
                    return []
                content = self._client.calls.files.with_raw_response.content(files[0]).http_response.read()
                return list(results.steps(content, remote_id=remote_id, at=at))
        except RejectedError:
            return []  # what is not there, or not ours to read, is no event

    def checkpoints(self, remote_id: str) -> list[Checkpoint]:
        """List the checkpoints that are kept, in the order of their steps."""
        act = self._client.act("checkpoints")
        found = (
            results.checkpoint(each, act=act, model=self._name_of(each, remote_id, act=act))
            for each in self._checkpoints(remote_id)
        )
        return sorted(found, key=lambda saved: saved.step)

    def files(self, remote_id: str, checkpoint: str) -> list[str]:
        """Return the ids of the files of a checkpoint, none where it is not there."""
        found = next((each for each in self._checkpoints(remote_id) if each.get("id") == checkpoint), {})
        return [id for id in found.get("result_files") or [] if isinstance(id, str)]

    def _name_of(self, checkpoint: dict[str, Any], remote_id: str, *, act: str) -> str:
        id, name = answers.id_of(checkpoint, act=act), checkpoint.get("fine_tuned_model_checkpoint")
        if self._speech.dialect.model == "checkpoint":
            return f"{remote_id}:{id}"
        if isinstance(name, str) and name:
            return name
        raise MalformedAnswerError(f"{act}: {id} names no model")

    def _checkpoints(self, remote_id: str) -> list[dict[str, Any]]:
        with self._client.mapped("checkpoints"):
            calls = self._client.calls.fine_tuning.jobs.checkpoints.with_raw_response
            return answers.whole_list(partial(calls.list, remote_id, limit=PAGE), act=self._client.act("checkpoints"))


def _goes_back(times: Sequence[datetime]) -> bool:
    """Tell whether a page surely goes from the newest to the oldest, so that what follows is older still."""
    return len(times) > 1 and times[0] > times[-1] and list(times) == sorted(times, reverse=True)
