"""Push an exported model to the Hub on request: what its manifest names, unchanged, if its job's rules allow it."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from anytune import planner, retry
from anytune.errors import RefusedError, UsageError
from anytune.jobs.desk import Desk
from anytune.jobs.permit import permit
from anytune.providers.base import Publishes
from anytune.schema.job import Job

HUB = "hf-jobs"  # whose profile says where the Hub is and where it keeps what it is given, and whose key opens it
MANIFEST = "manifest.json"
REPOSITORY = re.compile(r"(?!.*(--|\.\.|\.git$))[A-Za-z0-9][A-Za-z0-9._-]{0,95}/[A-Za-z0-9][A-Za-z0-9._-]{0,95}")
LONGEST = 6 * 3600.0  # seconds after which a push that fails again and again is given up


@dataclass(frozen=True)
class Parcel:
    """Be an exported model: its job, what it is, and its files by their SHA-256; `bytes` is their size together."""

    folder: Path
    job: Job
    kind: str
    base: str
    files: Mapping[str, str]
    bytes: int


def parcel(folder: Path, *, desk: Desk) -> Parcel:
    """Read what an export wrote; raise `UsageError` for another folder, or for one of a job that is not known here.

    Whether what learned from data may leave is the job's to say, so a folder without its job stays.
    """
    told = _manifest(folder)
    job_id, files = told.get("job_id"), told.get("files")
    if not (isinstance(job_id, str) and isinstance(files, dict) and files):
        raise _no_export(folder)
    for name in files:
        _require_inside(folder, str(name))
    job = desk.store.get(job_id)
    size = sum((folder / name).stat().st_size for name in files)
    return Parcel(folder, job, str(told.get("kind")), str(told.get("base")), files, size)


def push(given: Parcel, repository: str, *, public: bool, desk: Desk) -> tuple[str, ...]:
    """Have the repository `owner/name` hold the model, and return the names of the files that it had not.

    The decision is written down before anything is sent. Raises `RefusedError` where the rules forbid it or a file is
    not what was exported, `UsageError` for a name that is none; `ProviderError` when it failed: the next call goes on.
    """
    if REPOSITORY.fullmatch(repository) is None:
        raise UsageError(f"{repository!r} is no repository of the Hub", fix="OWNER/NAME, as in acme/english-to-sql")
    changed = [name for name, sha256 in given.files.items() if _hash(given.folder / name) != sha256]
    if changed:
        raise RefusedError(
            f"{given.folder}: {', '.join(changed)} changed since the export; nothing was sent",
            fix=f"anytune export {given.job.id} --to {given.kind} --out ANOTHER",
        )
    provider = desk.provider(HUB)
    if not isinstance(provider, Publishes):
        raise UsageError(f"no model can be pushed to {HUB}")
    place = desk.place(provider.capabilities(given.base))
    permit(given.job, act="push", data=planner.sent(given.job.plan.data), capabilities=place, desk=desk)
    return retry.call(
        lambda: provider.publish(given.folder, given.files, repository=repository, public=public),
        clock=desk.clock,
        deadline=LONGEST,
    )


def _manifest(folder: Path) -> dict[str, object]:
    try:
        told = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise _no_export(folder) from None
    return told if isinstance(told, dict) else {}


def _no_export(folder: Path) -> UsageError:
    fix = f"anytune export JOB --to adapter --out {folder}"
    return UsageError(f"{folder} is no folder that anytune export has written", fix=fix)


def _require_inside(folder: Path, name: str) -> None:
    path = folder / name
    inside = path.resolve().is_relative_to(folder.resolve())  # by no link, nor by the name
    if ".." in PurePosixPath(name).parts or not inside or not path.is_file():
        raise UsageError(f"{folder / MANIFEST} names {name!r}, which is no file in that folder")


def _hash(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
