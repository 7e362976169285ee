"""Ask the models that jobs made, and compare them with their bases, through the one gate before data leave."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from pathlib import Path

from anytune import evals, jobs
from anytune.data.input import opened
from anytune.errors import AnytuneError, JobFailedError, NotYetError, RefusedError, UsageError
from anytune.planning import Planning
from anytune.providers.base import Endpoint, Generates, Generator, Serves
from anytune.reach import Reach
from anytune.schema.audit import Act
from anytune.schema.data import DataReport
from anytune.schema.evals import EvalReport
from anytune.schema.job import Job
from anytune.schema.model import TunedModel

Progress = Callable[[int, int], None]


class Asking:
    """Ask models; what was compared is kept in `folder`, one file a job."""

    def __init__(self, folder: Path, *, desk: jobs.Desk, reach: Reach, planning: Planning) -> None:
        self._folder = folder
        self._desk = desk
        self._reach = reach
        self._planning = planning

    def can(self, job: Job) -> bool:
        """Tell whether a job's models can be asked from here; a reward model answers nothing."""
        return job.plan.spec.method != "reward" and isinstance(self._reach.provider(job.provider), Generates)

    def generator(self, job: Job, *, base: bool, step: int | None = None) -> Generator:
        """Open a job's tuned model (or its base alone, or the checkpoint of a `step`) to be asked; close it after use.

        Raises `RefusedError` where what is asked may not go to the job's provider; so does an answer to a chat with
        private values that are blocked.
        """
        self._permit(job, act="ask")
        opened = self._open(job, base=base, step=step)
        block = self._blocked(job)
        if job.plan.capabilities.local or not block:
            return opened
        return jobs.Screened(opened, block, lambda found: self._permit(job, act="ask", found=found))

    def endpoint(self, wanted: Sequence[Job]) -> Endpoint:
        """Open the tuned models of jobs of one base to be asked by many, each by its job's id."""
        first = wanted[0]
        provider = self._reach.provider(first.provider)
        if not isinstance(provider, Serves):
            raise UsageError(f"models at {first.provider} are served there", fix=f"anytune chat {first.id}")
        if elsewhere := next((job for job in wanted if job.provider != first.provider), None):
            raise UsageError(f"{elsewhere.id} is at {elsewhere.provider}, {first.id} is not", fix="serve them apart")
        for job in wanted:
            self._permit(job, act="ask")
        return provider.endpoint({job.id: jobs.model(self._fresh(job)) for job in wanted})

    def compare(
        self, job: Job, *, test: Path | None, limit: int | None, step: int | None = None, progress: Progress
    ) -> EvalReport:
        """Ask base and tuned model the held-out questions and compare; the report is kept.

        `step` takes the checkpoint of that step for the tuned model.
        """
        wanted = job.plan.spec.evaluation
        path = test or job.plan.spec.data.test
        if path is None:
            raise UsageError(f"{job.id} has no test data", fix="give --test FILE, or data.test in the job file")
        if known := _trained_on(path, job):
            raise RefusedError(f"{path} is the job's {known} data: it is not held out", fix="give --test FILE")
        questions = evals.read(path, limit=limit or wanted.limit)
        if not job.plan.capabilities.local:
            self._permit(
                job, act="evaluate", data=self._planning.held_out(job.plan.spec, path, block=self._blocked(job))
            )
        started = self._desk.clock.monotonic()
        base, tuned = self._answers(job, questions, progress, step=step)
        report = evals.compare(
            questions,
            base,
            tuned,
            spec=wanted,
            job_id=job.id,
            base=job.plan.spec.model,
            tuned=jobs.model_at(self._fresh(job), step=step, desk=self._desk).name,
            test_file=str(path),
            seconds=self._desk.clock.monotonic() - started,
        )
        own = path == job.plan.spec.data.test and limit is None
        of = "" if step is None else f".step-{step}"
        other = self._place(job).with_suffix(f"{of}.json" if own else f"{of}.{path.stem}.json")
        evals.save(report, self._place(job) if own and step is None else other)
        return report

    def compared(self, job: Job) -> EvalReport | None:
        """Return the last whole comparison on the job's own test data, None if there is none."""
        kept, test = self._place(job), job.plan.spec.data.test
        if test is None or not (kept.is_file() and test.is_file()):
            return None
        if test.stat().st_mtime > kept.stat().st_mtime:
            return None  # the questions may be others by now
        report = EvalReport.model_validate_json(kept.read_bytes())
        return report if report.test_file == str(test) else None

    def _answers(
        self, job: Job, questions: list[evals.Question], progress: Progress, *, step: int | None
    ) -> tuple[list[str], list[str]]:
        """Ask the base, then the tuned model."""
        of, found = 2 * len(questions), []
        for side, base in enumerate((True, False)):
            with closing(self._open(job, base=base, step=step)) as generator:
                longest = job.plan.spec.evaluation.max_new_tokens
                said = generator.answer([question.chat for question in questions], max_new_tokens=longest)
                found.append(list(_told(said, progress, start=side * len(questions), of=of)))
        return found[0], found[1]

    def _open(self, job: Job, *, base: bool, step: int | None) -> Generator:
        provider = self._reach.provider(job.provider)
        if not isinstance(provider, Generates):
            raise UsageError(f"models at {job.provider} cannot be asked from here", fix=f"anytune export {job.id}")
        local = job.plan.capabilities.local
        tuned = None if base else jobs.model_at(self._fresh(job), step=step, desk=self._desk)
        beside = self._made(job, step) if base and local else None
        opened = provider.generator(base=job.plan.spec.model, tuned=tuned, beside=beside)
        return opened if local else jobs.Patient(opened, self._desk.clock)

    def _made(self, job: Job, step: int | None) -> TunedModel | None:
        """Return what the job made, None where there is nothing yet: its base can be asked before."""
        with suppress(NotYetError, JobFailedError):
            return jobs.model_at(self._fresh(job), step=step, desk=self._desk)
        return None

    def _permit(
        self, job: Job, *, act: Act, data: DataReport = DataReport(files=()), found: tuple[str, ...] = ()
    ) -> None:
        """Let data go to a job's provider, as it is reached now, or raise `RefusedError`."""
        placed = self._reach.placed(self._reach.provider(job.provider).capabilities(job.plan.spec.model))
        jobs.permit(job, act=act, data=data, capabilities=placed, desk=self._desk, found=found)

    def _blocked(self, job: Job) -> frozenset[str]:
        """Return the kinds of private data that may not leave: by the job, where it was made, and where we are."""
        rules = (job.plan.spec.data.privacy, job.policy.privacy, self._desk.policy.privacy)
        return frozenset(kind for each in rules for kind in each.block)

    def _fresh(self, job: Job) -> Job:
        return jobs.refresh(job.id, desk=self._desk)

    def _place(self, job: Job) -> Path:
        return self._folder / f"{job.id}.json"


def opening(job: Job) -> str | None:
    """Return the system message with which the job's first training chat begins, if there is one at hand."""
    train = next((file.path for file in job.plan.files if file.role == "train"), None)
    if train is None:
        return None  # a job made elsewhere
    try:
        first = evals.read(train, limit=1)[0].chat[0]
    except AnytuneError:
        return None
    return str(first["content"]) if first.get("role") == "system" else None


def _trained_on(path: Path, job: Job) -> str | None:
    with opened(path) as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return next((known.role for known in job.plan.files if known.sha256 == digest), None)


def _told(answers: Iterator[str], progress: Progress, *, start: int, of: int) -> Iterator[str]:
    for done, answer in enumerate(answers, start + 1):
        progress(done, of)
        yield answer
