"""The way to the Hub: the private repository that everything lies in, and the jobs; one call each, no repetition."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

from anytune import catalog
from anytune.errors import (
    KeyRefusedError,
    MalformedAnswerError,
    MissingExtraError,
    NotFoundError,
    RejectedError,
    UsageError,
)
from anytune.local.hf_jobs.client import Guarded, lent
from anytune.local.hf_jobs.fault import MissingFileError, mapped
from anytune.local.hf_jobs.request import NAME
from anytune.providers.base import Profile
from anytune.providers.edge import sendable_key

REPOSITORY = "anytune-jobs"
KIND = "dataset"
NAMESPACE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}")
TO_CHOOSE = "set HF_JOBS_NAMESPACE, or profiles.hf-jobs.account in your own config.yaml"
MOST_READ = 64 << 20


class Hub:
    """Ask the Hub, with a key that is read at the first call."""

    def __init__(self, profile: Profile) -> None:
        self._profile = profile
        self._key = ""
        self._namespace = profile.account

    @property
    def endpoint(self) -> str:
        """Return the Hub's address: the profile's or the catalogue's, never the environment's."""
        return (self._profile.base_url or catalog.load(NAME).base_url or "").rstrip("/")

    @contextmanager
    def connected(self, act: str) -> Iterator[Any]:
        """Lend huggingface_hub's interface; whatever it raises inside becomes one of our errors."""
        client = self._client(act)
        try:
            from huggingface_hub import HfApi, constants
        except ImportError as error:
            raise MissingExtraError(needs="huggingface_hub", extra="hf-jobs") from error
        with mapped(act, secret=self._key), lent(client):
            if constants.is_offline_mode():
                raise UsageError(
                    f"{NAME}: {act}: HF_HUB_OFFLINE is set: nothing goes to the Hub", fix="unset HF_HUB_OFFLINE"
                )
            try:
                yield HfApi(endpoint=self.endpoint, token=self._key, library_name="anytune")
            except KeyRefusedError:
                self._key = ""  # the next call asks for the key again: it may have been renewed
                raise

    def _client(self, act: str) -> Guarded:
        self._key = self._key or sendable_key(self._profile.key(), provider=NAME)
        return Guarded(self.endpoint, self._profile, key=self._key, act=act)

    def secrets(self) -> dict[str, str]:
        """Return what the job needs of the key; it goes out with the create and is in no request that is kept."""
        self._key = self._key or sendable_key(self._profile.key(), provider=NAME)
        return {"HF_TOKEN": self._key}

    def namespace(self) -> str:
        """Return whose jobs they are: as the profile says, else the key's owner."""
        if self._namespace is None:
            act = "ask whose key it is"
            with self.connected(act) as api:
                told = api.whoami()
                self._namespace = str(told["name"])
        if NAMESPACE.fullmatch(self._namespace) is None:
            raise UsageError(f"{self._namespace!r} is no name of a user or an organisation on the Hub", fix=TO_CHOOSE)
        return self._namespace

    def repository(self) -> str:
        """Return the private repository, made if there is none; one that others can read is refused."""
        act, name = "look at the repository", f"{self.namespace()}/{REPOSITORY}"
        with self.connected(act) as api:
            try:
                found = api.dataset_info(name, expand=["private"])  # not its files, which grow with each job
            except NotFoundError:
                api.create_repo(name, repo_type=KIND, private=True)
                found = api.dataset_info(name, expand=["private"])
        if found.private is not True:
            raise RejectedError(
                f"{NAME}: {act}: {name} on the Hub can be read by others; nothing was sent",
                fix=f"make it private in its settings: {self.endpoint}/datasets/{name}/settings",
            )
        return name

    def keep(self, repository: str, path: str, content: IO[bytes], *, size: int, sha256: str, act: str) -> bool:
        """Send one open file and return True, or False where it lies there already with these very bytes.

        Open, because huggingface_hub would send bytes and paths through hf_xet, past the client that guards it.
        """
        with self.connected(act) as api:
            found = next(iter(api.get_paths_info(repository, [path], repo_type=KIND)), None)
            if found is not None and is_same(found, content, size=size, sha256=sha256):
                return False
            from huggingface_hub import CommitOperationAdd

            added = CommitOperationAdd(path_in_repo=path, path_or_fileobj=content)
            if added.upload_info.sha256.hex() != sha256:
                raise RejectedError(f"{NAME}: {act}: {path} changed while it was read", fix="run it again")
            api.create_commit(repository, [added], commit_message=f"anytune: {path}", repo_type=KIND)
        return True

    def commit(
        self, repository: str, files: Mapping[str, Path], *, gone: Sequence[str] = (), message: str, kind: str = KIND
    ) -> None:
        """Write files and take folders away, all at once or not at all; what goes to the storage goes before."""
        with self.connected(message) as api, ExitStack() as opened:
            from huggingface_hub import CommitOperationAdd, CommitOperationDelete

            changes: list[Any] = []
            for path, source in files.items():
                handle = opened.enter_context(source.open("rb"))
                added = CommitOperationAdd(path_in_repo=path, path_or_fileobj=handle)
                if len(files) > 1:
                    # One by one: several leave in huggingface_hub's own threads, past the client that guards it.
                    api.preupload_lfs_files(repository, [added], repo_type=kind, free_memory=False)
                changes.append(added)
            changes += [CommitOperationDelete(path_in_repo=f"{folder}/", is_folder=True) for folder in gone]
            api.create_commit(repository, changes, commit_message=message, repo_type=kind)

    def listed(self, repository: str, folder: str, *, act: str) -> list[Any]:
        """List the files below a folder with size and hash; none if there is no such folder."""
        with self.connected(act) as api:
            try:
                found = list(api.list_repo_tree(repository, folder, recursive=True, repo_type=KIND))
            except MissingFileError:
                return []
        return [entry for entry in found if hasattr(entry, "blob_id")]

    def entry(self, repository: str, path: str, *, act: str) -> Any:
        """Return a file's size and hash; raise `NotFoundError` if there is no such file."""
        with self.connected(act) as api:
            found = next(iter(api.get_paths_info(repository, [path], repo_type=KIND)), None)
        if found is None:
            raise NotFoundError(f"{NAME}: {act}: there is no {path} in {repository}")
        return found

    def read(self, repository: str, path: str, *, act: str) -> bytes | None:
        """Return a small file's bytes, None if there is no such file."""
        with self.connected(act), self.opened(repository, path, act=act) as answer:
            return None if answer is None else _whole(answer, act=act)

    @contextmanager
    def opened(self, repository: str, path: str, *, act: str, start: int = 0) -> Iterator[Any]:
        """Lend the answer that has a file's bytes from `start`; None if there is no such file."""
        from urllib.parse import quote

        with ExitStack() as stack:
            try:
                url = f"{self.endpoint}/datasets/{repository}/resolve/main/{quote(path)}"
                answer = stack.enter_context(self._client(act).opened(url, start=start))
            except MissingFileError:
                answer = None
            yield answer


def _whole(answer: Any, *, act: str) -> bytes:
    content = b""
    for chunk in answer.iter_bytes():
        content += chunk
        if len(content) > MOST_READ:
            raise MalformedAnswerError(f"{NAME}: {act}: the file is larger than {MOST_READ} bytes")
    length = answer.headers.get("content-length", "")
    if length.isdecimal() and int(length) != len(content):
        raise MalformedAnswerError(f"{NAME}: {act}: cut off after {len(content)} of {length} bytes")
    return content


def is_same(found: Any, content: IO[bytes], *, size: int, sha256: str) -> bool:
    """Tell whether a file there has these bytes: by SHA-256 in the large storage, by git's hash elsewhere."""
    if found.size != size:
        return False
    if found.lfs is not None:
        return bool(found.lfs.sha256 == sha256)
    digest = hashlib.sha1(f"blob {size}\0".encode(), usedforsecurity=False)
    while block := content.read(1 << 20):
        digest.update(block)
    content.seek(0)
    return bool(found.blob_id == digest.hexdigest())
