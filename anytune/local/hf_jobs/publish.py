"""Bring an exported model into a repository of the Hub: what lies there already with these bytes is not sent again.

All files come in one commit, after the large ones went into the storage one by one; a repository shows all or nothing.
A lost answer is harmless: the next call finds the files there. Nothing makes a private repository public.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from anytune.errors import NotFoundError, RejectedError
from anytune.local.hf_jobs.gateway import Hub, is_same
from anytune.local.hf_jobs.request import NAME

KIND = "model"
ACT = "push the model"


def publish(hub: Hub, folder: Path, files: Mapping[str, str], *, repository: str, public: bool) -> tuple[str, ...]:
    """Have the repository `owner/name` hold these files, by their SHA-256; return the names of those that were sent.

    It is made, private unless `public`, where there is none. Raises `RejectedError` for one that others can read where
    that was not asked for, and for a file that is not what it was when it was exported.
    """
    _require_place(hub, repository, public=public)
    with hub.connected(ACT) as api:
        there = {entry.path: entry for entry in api.get_paths_info(repository, list(files), repo_type=KIND)}
    wanted = {
        name: folder / name for name, sha256 in files.items() if not _lies(there.get(name), folder / name, sha256)
    }
    if wanted:
        hub.commit(repository, wanted, kind=KIND, message=ACT)
    return tuple(sorted(wanted))


def _require_place(hub: Hub, repository: str, *, public: bool) -> None:
    with hub.connected(ACT) as api:
        try:
            found = api.model_info(repository, expand=["private"])
        except NotFoundError:
            api.create_repo(repository, repo_type=KIND, private=not public)
            found = api.model_info(repository, expand=["private"])
    if found.private is not True and not public:
        raise RejectedError(
            f"{NAME}: {ACT}: {repository} on the Hub can be read by others; nothing was sent",
            fix=f"--public, or make it private in its settings: {hub.endpoint}/{repository}/settings",
        )


def _lies(found: object, path: Path, sha256: str) -> bool:
    if found is None:
        return False
    with path.open("rb") as content:
        return is_same(found, content, size=path.stat().st_size, sha256=sha256)
