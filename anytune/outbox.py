"""What the user of a home is to be told and has not been: the record has the news, and here is who is told of them.

<home>/notified/ways.json       {"whom": this home, "since": {way: from when on its news are told}}
<home>/notified/<news>.lock     held (flock) while some news are told, so that the kernel frees them if that is killed

News come into the record with the change that they are of, and each way is noted there as told after it was. A process
that is killed in between leaves them to the next, which tells them again: at least once, never not at all.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Protocol
from uuid import uuid4

from anytune import private
from anytune.errors import StoreError
from anytune.schema.job import News

STALE = timedelta(days=7)  # after which nobody wants to hear it any more


class Told(Protocol):
    """Be a record that knows who was told what."""

    def untold(self, whom: str, *, since: datetime) -> Sequence[News]:
        """Return the news from a time on that one was not told, oldest first."""
        ...

    def told(self, news: News, whom: str) -> None:
        """Note that one was told some news."""
        ...


@dataclass(frozen=True)
class Due:
    """Be some news, and the ways by which they are still to be told."""

    news: News
    ways: tuple[str, ...]


class Outbox:
    """Know what is to be told by which ways; a way gets the news from when on the user has named it."""

    def __init__(self, home: Path) -> None:
        self._folder = home / "notified"
        self._whom, self._since = "", dict[str, datetime]()

    def open(self, ways: Collection[str], now: datetime) -> None:
        """Note by which ways the user wants to be told, and since when; raise `StoreError` where that cannot be."""
        if not (ways or (self._folder / "ways.json").exists()):
            return
        try:
            private.folder(self._folder)
            with _locked(self._folder):
                known = _read(self._folder / "ways.json")
                self._whom = str(known.get("whom") or uuid4().hex[:12])
                # A time that lies ahead was written by a clock that was wrong.
                self._since = {way: min(_time(known, way) or now, now) for way in sorted(ways)}
                wanted = {"whom": self._whom, "since": {way: at.isoformat() for way, at in self._since.items()}}
                if wanted != known:
                    aside = self._folder / f".ways.{os.getpid()}"
                    aside.write_text(json.dumps(wanted), encoding="utf-8")
                    aside.replace(self._folder / "ways.json")
        except OSError as error:
            raise StoreError(f"cannot write in {self._folder}: {error.strerror}") from error

    def due(self, store: Told, ways: Collection[str], now: datetime) -> list[Due]:
        """Return what is to be told by some of its ways, oldest first."""
        found: dict[str, tuple[News, list[str]]] = {}
        for way in (way for way in ways if way in self._since):
            for news in store.untold(self._name(way), since=max(self._since[way], now - STALE)):
                found.setdefault(news.id, (news, []))[1].append(way)
        return [Due(news, tuple(by)) for news, by in sorted(found.values(), key=lambda each: each[0].at)]

    @contextmanager
    def taken(self, due: Due, store: Told) -> Iterator[tuple[str, ...]]:
        """Hold some news alone, and lend the ways by which nobody told them so far; none where another holds them."""
        path = self._folder / f"{due.news.id}.lock"
        try:
            handle = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StoreError(f"cannot write in {self._folder}: {error.strerror}") from error
        try:
            if not _is_free(handle):
                yield ()
                return
            left = [way for way in due.ways if self._is_due(due.news, way, store)]
            yield tuple(left)
            if not any(self._is_due(due.news, way, store) for way in left):
                path.unlink(missing_ok=True)  # who opened it before finds that all is told
        finally:
            os.close(handle)

    def told(self, news: News, way: str, store: Told) -> None:
        """Note that some news were told by a way."""
        store.told(news, self._name(way))

    def _is_due(self, news: News, way: str, store: Told) -> bool:
        return any(each.id == news.id for each in store.untold(self._name(way), since=news.at))

    def _name(self, way: str) -> str:
        return f"{self._whom} {way}"


def _is_free(handle: int) -> bool:
    """Take a lock if nobody has it; tell whether it is ours."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    handle = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _read(path: Path) -> Mapping[str, object]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _time(known: Mapping[str, object], way: str) -> datetime | None:
    since = known.get("since")
    try:
        at = datetime.fromisoformat(since[way]) if isinstance(since, dict) else None
    except (KeyError, ValueError, TypeError):
        return None
    return at if at is not None and at.tzinfo is not None else None
