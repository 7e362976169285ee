"""Unpack a model from a zip archive of somebody else's: plain files of known kinds under safe names, nothing else.

Python's own `extractall` writes a bomb, a pickle and a name that comes twice. Here each member is looked at before a
byte of it is written.
"""

from __future__ import annotations

import errno
import hashlib
import stat
import struct
import zipfile
import zlib
from pathlib import Path

from anytune.errors import RejectedError
from anytune.providers._archive import ACT, CHUNK, DEEPEST, GROWTH, KEPT, MOST_FILES, SAFE_PART, SMALL, Unpacked

# `zipfile` lets the last four through where a header is not what it should be.
DAMAGED = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    NotImplementedError,
    RuntimeError,
    IndexError,
    ValueError,
    OverflowError,
    struct.error,
)
METHODS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}
MAGIC = (b"PK\x03\x04", b"PK\x05\x06")  # with files in it, and without any


def is_zip(archive: Path) -> bool:
    """Tell by its first bytes whether a file is meant to be a zip."""
    with archive.open("rb") as handle:
        return handle.read(4) in MAGIC


def unpack(archive: Path, into: Path, *, provider: str) -> Unpacked:
    """Write the archive's files below `into` and return them.

    Raises `RejectedError` for what is damaged, too large, or holds a link or an unsafe name.
    """
    done, room = Unpacked(), SMALL + GROWTH * archive.stat().st_size
    try:
        with zipfile.ZipFile(archive) as handle:
            members = [member for member in handle.infolist() if not member.is_dir()]
            if len(members) > MOST_FILES or sum(member.file_size for member in members) > room:
                raise _refused(provider, "it unpacks to far more than weights can")
            for member in members:
                _take(handle, member, into, done, provider=provider)
    except DAMAGED as error:
        raise _refused(provider, f"it is damaged, locked or cut off ({error})") from error
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise  # of the disk
        raise _refused(provider, "it is damaged: a member is said to begin before it") from error
    return done


def _take(handle: zipfile.ZipFile, member: zipfile.ZipInfo, into: Path, done: Unpacked, *, provider: str) -> None:
    name = _safe(member, provider)
    if name.lower() in {there.lower() for there in (*done.files, *done.left_out)}:
        raise _refused(provider, f"it holds {name} twice")
    if Path(name).suffix.lower() not in KEPT:
        done.left_out.append(name)
        return
    target = into / name
    target.parent.mkdir(parents=True, exist_ok=True)
    done.files[name] = _copy(handle, member, target, provider=provider)


def _safe(member: zipfile.ZipInfo, provider: str) -> str:
    """Return the member's name below the folder; raise `RejectedError` for one that is not plainly a file there."""
    kind = stat.S_IFMT(member.external_attr >> 16)
    if kind not in (0, stat.S_IFREG) or member.compress_type not in METHODS:
        raise _refused(provider, f"{member.filename[:200]!r} is no plain file")
    parts = member.filename.split("/")
    if len(parts) > DEEPEST or not all(SAFE_PART.fullmatch(part) for part in parts):
        raise _refused(provider, f"{member.filename[:200]!r} is no safe name of a file")
    return member.filename


def _copy(handle: zipfile.ZipFile, member: zipfile.ZipInfo, target: Path, *, provider: str) -> str:
    """Write one member, never more of it than it says to have; the checksum is `zipfile`'s to look at."""
    digest, left = hashlib.sha256(), member.file_size
    with handle.open(member) as source, target.open("xb") as copy:
        while piece := source.read(CHUNK):
            left -= len(piece)
            if left < 0:
                raise _refused(provider, f"{member.filename} is larger than it says")
            digest.update(piece)
            copy.write(piece)
    if left:
        raise _refused(provider, f"{member.filename} is cut off")
    return digest.hexdigest()


def _refused(provider: str, why: str) -> RejectedError:
    return RejectedError(f"{provider}: {ACT}: the archive of the model is not unpacked: {why}")
