"""Unpack a model from a tar archive of somebody else's: plain files of known kinds under safe names, nothing else.

Python's own `extractall` lets a bomb, a pickle, a name that comes twice and an archive that was cut off get through,
with its filters too. Here each member is looked at before a byte of it is written, as the archive streams by.
"""

from __future__ import annotations

import gzip
import hashlib
import re
import tarfile
import zlib
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from anytune.errors import MissingExtraError, RejectedError

ACT = "unpack"
SAFE_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,199}")
WEIGHTS = ".safetensors"
KEPT = {WEIGHTS, ".json", ".jsonl", ".txt", ".model", ".tiktoken", ".jinja", ".md", ".yaml", ".yml"}
PICKLES = {".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt"}
DEEPEST = 8

CHUNK = 256 * 1024
HEADERS = 4 * CHUNK  # what may stand between two files, and after the last; reading ahead is part of it
GROWTH = 16  # weights hardly shrink when they are compressed: what grows more is a bomb
SMALL = 64 * 1024 * 1024  # and what stays below this is none
MOST_FILES = 10_000
END = bytes(1024)


class _DamagedError(Exception):
    """Say that the archive is not what it should be."""


# `tarfile` lets the last four through where a header holds no numbers.
DAMAGED = (
    tarfile.TarError,
    EOFError,
    zlib.error,
    gzip.BadGzipFile,
    _DamagedError,
    ValueError,
    IndexError,
    KeyError,
    OverflowError,
)


@dataclass
class Unpacked:
    """Be what came out: each file with its SHA-256, and the names that were left out (pickles and unknown kinds)."""

    files: dict[str, str] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)


def unpack(archive: Path, into: Path, *, provider: str) -> Unpacked:
    """Write the archive's files below `into` and return them; it may be a tar as it is, or in zstd or gzip.

    Raises `RejectedError` for what is damaged, cut off, too large, or holds a link, a device or an unsafe name.
    """
    done, room = Unpacked(), SMALL + GROWTH * archive.stat().st_size
    try:
        with ExitStack() as stack:
            stream = _Metered(_opened(archive, stack))
            members = stack.enter_context(tarfile.open(fileobj=stream, mode="r|", bufsize=CHUNK))  # type: ignore[call-overload]
            for member in iter(members.next, None):
                room -= abs(member.size)
                if room < 0 or len(done.files) + len(done.left_out) >= MOST_FILES:
                    raise _refused(provider, "it unpacks to far more than weights can")
                stream.allow(member.size + HEADERS)
                _take(members, member, into, done, provider=provider)
            stream.finish()
    except DAMAGED as error:
        raise _refused(provider, f"it is damaged or cut off ({error})") from error
    return done


def _opened(archive: Path, stack: ExitStack) -> Any:
    """Open the archive by what it begins with: providers name the same kind of file in several ways."""
    raw = stack.enter_context(archive.open("rb"))
    magic = raw.read(4).ljust(4)
    raw.seek(0)
    if magic[:2] == b"\x1f\x8b":
        return stack.enter_context(gzip.open(raw))
    skippable = magic[1:] == b"\x2a\x4d\x18" and magic[0] >> 4 == 5  # some tools begin with such a frame
    return stack.enter_context(_zstd(raw)) if skippable or magic == b"\x28\xb5\x2f\xfd" else raw


def _zstd(raw: IO[bytes]) -> Any:
    try:
        import zstandard
    except ImportError as error:
        raise MissingExtraError(needs="zstandard", extra="together") from error
    return zstandard.ZstdDecompressor().stream_reader(raw, read_size=CHUNK, read_across_frames=True)


class _Metered:
    """Hand out what the archive unpacks to, never more than is allowed until the next file; remember how it ends."""

    def __init__(self, inner: Any) -> None:
        self._inner, self._left, self._tail = inner, HEADERS, b""

    def allow(self, most: int) -> None:
        """Let so many bytes pass from now on."""
        self._left = most

    def read(self, size: int = -1) -> bytes:
        """Read, as `tarfile` does in pieces of its own."""
        try:
            piece: bytes = self._inner.read(size)
        except Exception as error:
            if type(error).__name__ == "ZstdError":
                raise _DamagedError(str(error)) from error
            raise
        self._left -= len(piece)
        if self._left < 0:
            raise _DamagedError("a header or the end is larger than it may be")
        self._tail = piece[-len(END) :] if len(piece) >= len(END) else (self._tail + piece)[-len(END) :]
        return piece

    def finish(self) -> None:
        """Read what follows the last file: it ends with the mark of a whole archive."""
        self.allow(HEADERS)
        while self.read(CHUNK):
            pass
        if self._tail != END:
            raise _DamagedError("the mark of its end is missing")


def _take(members: tarfile.TarFile, member: tarfile.TarInfo, into: Path, done: Unpacked, *, provider: str) -> None:
    """Write one member, or leave it out."""
    if member.isdir():
        return  # made where a file needs it
    name = _safe(member, provider)
    if name in done.files or name in done.left_out:
        raise _refused(provider, f"it holds {name} twice")
    source = members.extractfile(member)
    if source is None or Path(name).suffix.lower() not in KEPT:
        done.left_out.append(name)
        return
    target = into / name
    target.parent.mkdir(parents=True, exist_ok=True)
    done.files[name] = _copy(source, target, size=member.size)


def _safe(member: tarfile.TarInfo, provider: str) -> str:
    """Return the member's name below the folder; raise `RejectedError` for one that is not plainly a file there."""
    plain = member.type in (tarfile.REGTYPE, tarfile.AREGTYPE) and not getattr(member, "sparse", None)
    if not plain or member.size < 0:
        raise _refused(provider, f"{member.name!r} is a link, a device or a sparse file")
    parts = member.name.removeprefix("./").split("/")
    if len(parts) > DEEPEST or not all(SAFE_PART.fullmatch(part) for part in parts):
        raise _refused(provider, f"{member.name[:200]!r} is no safe name of a file")
    return "/".join(parts)


def _copy(source: IO[bytes], target: Path, *, size: int) -> str:
    digest, left = hashlib.sha256(), size
    with target.open("xb") as copy:
        while left:
            piece = source.read(min(CHUNK, left))
            if not piece:
                raise _DamagedError(f"{target.name} is cut off")
            digest.update(piece)
            copy.write(piece)
            left -= len(piece)
    return digest.hexdigest()


def lifted(folder: Path, unpacked: Unpacked) -> tuple[Path, Unpacked]:
    """Return the one folder in which everything lies, if the archive wrapped it in one, and the names as seen there."""
    tops = {name.partition("/")[0] for name in unpacked.files}
    if len(tops) != 1 or any("/" not in name for name in unpacked.files):
        return folder, unpacked
    top = f"{tops.pop()}/"
    files = {name.removeprefix(top): digest for name, digest in unpacked.files.items()}
    return lifted(folder / top, Unpacked(files, [name.removeprefix(top) for name in unpacked.left_out]))


def _refused(provider: str, why: str) -> RejectedError:
    return RejectedError(f"{provider}: {ACT}: the archive of the model is not unpacked: {why}")
