"""Together's upload: reserve a place, put the bytes there, have them checked; above 5 GiB in parts.

It is our own because the vendor's upload follows redirects of the storage (the data would go to another host), never
looks at a file that was there before, takes a refused key for missing credit, and begins anew when one part of many
fails.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from math import ceil
from typing import IO, Any

from anytune.errors import AmbiguousError, MalformedAnswerError, NotFoundError, ProviderError, RejectedError
from anytune.providers import _storage as storage
from anytune.providers.base import Reused
from anytune.providers.checked import open_unchanged
from anytune.providers.edge import decoded, error_for_status, required_id
from anytune.providers.together import answer as answers
from anytune.providers.together.gateway import NAME, Gateway
from anytune.schema.data import DataFile

ACT = "upload"
FILES = "/v1/files"
HELD = {302, 409}  # the two answers to a reservation that an SDK takes for errors
MIB = 1024 * 1024


@dataclass(frozen=True)
class Parts:
    """Say above which size a file goes in parts, how large they are at least, and how many there may be.

    Sizes are in bytes; the figures are those of the vendor's SDK 3.1.
    """

    above: int = 5 * 1024 * MIB
    size: int = 250 * MIB
    most: int = 250

    def cut(self, length: int) -> list[tuple[int, int]]:
        """Cut a file of this length: start and length of each part."""
        size = max(self.size, ceil(length / self.most))
        return [(start, min(size, length - start)) for start in range(0, length, size)]


@dataclass
class Begun:
    """Be an upload in parts that has begun: where the parts go, and which of them are there."""

    upload_id: str
    file_id: str
    places: list[tuple[Any, Mapping[str, str]]]
    done: list[dict[str, Any]] = field(default_factory=list)

    @property
    def named(self) -> dict[str, Any]:
        """Return what names it in a body."""
        return {"upload_id": self.upload_id, "file_id": self.file_id}


class Uploads:
    """Send files; what has begun in parts is gone on with by the next call, as long as this lives."""

    def __init__(self, gateway: Gateway, *, parts: Parts) -> None:
        self._gateway = gateway
        self._parts = parts
        self._begun: dict[str, Begun] = {}

    def send(self, file: DataFile, *, most: int | None) -> str:
        """Send one file, of at most so many bytes, and return its id; bytes that are there are not sent again."""
        with open_unchanged(file, provider="Together", most=most) as handle:
            if file.bytes > self._parts.above:
                return self._in_parts(file, handle)
            return self._at_once(file, handle)

    def _at_once(self, file: DataFile, handle: IO[bytes]) -> str:
        with self._gateway.connected(ACT) as sdk:
            answer = _reserved(sdk, file)
            if (known := _known_id(answer)) is not None:
                return Reused(self._checked(answers.safe_id(known, act=ACT), file))
            url, file_id = self._place(answer)
            file_id = answers.safe_id(file_id, act=ACT)
            storage.put(url, handle, file, provider=NAME, seconds=self._gateway.profile.upload_timeout)
        self._have_checked(file_id, file)
        return file_id

    def _place(self, answer: Any) -> tuple[Any, str]:
        """Return where to put the bytes (httpx.URL) and the id that the file will have.

        Raises `MalformedAnswerError` for a success, `RejectedError` for a redirect that is no reservation and for a
        place where no data go.
        """
        location, file_id = answer.headers.get("location"), answer.headers.get("x-together-file-id")
        if answer.status_code != 302 or not location or not file_id:
            raise error_for_status(
                answer.status_code,
                provider=NAME,
                act=ACT,
                body=decoded(answer.text),
                headers=answer.headers,
            )
        return self._gateway.place(location, base=answer.request.url, act=ACT), file_id

    def _have_checked(self, file_id: str, file: DataFile) -> None:
        """Ask for the checks of a file, which no job may use before; an answer about no file is none."""
        act = "check the file"
        answer = self._gateway.post(act, f"{FILES}/{file_id}/preprocess")
        if answer.get("id") != file_id:
            raise MalformedAnswerError(f"{NAME}: {act}: the answer is not about {file_id}")
        answers.refuse_faulty(answer, act=act, name=str(file.path))

    def _checked(self, file_id: str, file: DataFile) -> str:
        """Return the id of a file that is there, its checks asked for; one known as faulty is refused."""
        standing = self._gateway.get("reuse the file", f"{FILES}/{file_id}")
        answers.refuse_faulty(standing, act="reuse the file", name=str(file.path))
        if standing.get("processing_status") == "PENDING":
            # The process that put the bytes there may have ended before it asked for the checks.
            self._have_checked(file_id, file)
        return file_id

    def _in_parts(self, file: DataFile, handle: IO[bytes]) -> str:
        cuts = self._parts.cut(file.bytes)
        begun = self._begun.get(file.sha256) or self._begin(file, count=len(cuts))
        if isinstance(begun, str):
            return Reused(self._checked(begun, file))
        self._begun[file.sha256] = begun
        try:
            for cut in cuts[len(begun.done) :]:
                begun.done.append(self._put(begun, file, handle, cut))
            self._gateway.post(ACT, f"{FILES}/multipart/complete", {**begun.named, "parts": begun.done})
        except NotFoundError as error:
            del self._begun[file.sha256]
            if len(begun.done) == len(cuts):
                # An earlier answer to this may have been lost: then the file is whole, and the next try finds it.
                raise AmbiguousError(error.message, status=error.status) from error
            raise
        except ProviderError as error:
            if isinstance(error, RejectedError) or error.status in storage.EXPIRED:
                self._leave(self._begun.pop(file.sha256))
            raise
        del self._begun[file.sha256]
        return self._checked(begun.file_id, file)

    def _begin(self, file: DataFile, *, count: int) -> Begun | str:
        """Ask where the parts go; return the id of the file that has these bytes already, if one has."""
        import httpx

        body = {**_form(file), "file_size": file.bytes, "num_parts": count}
        with self._gateway.connected(ACT) as sdk:
            answer = _held(lambda: sdk.post(f"{FILES}/multipart/initiate", cast_to=httpx.Response, body=body))
            if (known := _known_id(answer)) is not None:
                return answers.safe_id(known, act=ACT)
            told = decoded(answer.text)
            places = sorted(self._places(told, answer.request.url), key=lambda place: place[0])
        if answer.status_code != 200:
            raise error_for_status(answer.status_code, provider=NAME, act=ACT, body=told, headers=answer.headers)
        if [number for number, _ in places] != list(range(1, count + 1)):
            raise MalformedAnswerError(f"{NAME}: {ACT}: the answer does not say where {count} parts go")
        upload_id, file_id = (required_id(told.get(k), provider=NAME, act=ACT) for k in ("upload_id", "file_id"))
        return Begun(upload_id, answers.safe_id(file_id, act=ACT), [place for _, place in places])

    def _places(self, told: Mapping[str, Any], base: Any) -> Iterator[tuple[int, tuple[Any, Mapping[str, str]]]]:
        """Read where each part goes: its number, its address and the headers that the storage wants with it."""
        rows = told.get("parts")
        for row in filter(lambda row: isinstance(row, Mapping), rows if isinstance(rows, list) else []):
            number = row.get("PartNumber", row.get("part_number"))
            address, headers = row.get("URL", row.get("UploadURL")), row.get("Headers") or {}
            if isinstance(number, int) and isinstance(address, str) and isinstance(headers, Mapping):
                url = self._gateway.place(address, base=base, act=ACT)
                yield number, (url, {str(name): str(value) for name, value in headers.items()})

    def _put(self, begun: Begun, file: DataFile, handle: IO[bytes], cut: tuple[int, int]) -> dict[str, Any]:
        number = len(begun.done) + 1
        url, headers = begun.places[number - 1]
        seconds = self._gateway.profile.upload_timeout
        with self._gateway.connected(ACT):
            answer = storage.put(url, handle, file, provider=NAME, seconds=seconds, headers=headers, part=cut)
        etag = answer.headers.get("etag", "").strip('"')
        if not etag:
            raise MalformedAnswerError(f"{NAME}: {ACT}: the storage does not name part {number}")
        return {"part_number": number, "etag": etag}

    def _leave(self, begun: Begun) -> None:
        """Have the parts thrown away; the storage does so by itself some day."""
        try:
            self._gateway.post(ACT, f"{FILES}/multipart/abort", begun.named)
        except ProviderError:
            return


def _form(file: DataFile) -> dict[str, str]:
    return {
        "purpose": "fine-tune",
        "file_name": f"{file.path.stem}.jsonl",
        "file_type": "jsonl",
        "checksum": file.sha256,
    }


def _reserved(sdk: Any, file: DataFile) -> Any:
    """Ask where the bytes go and return the answer (httpx.Response): 302 with a place, 409 for known bytes.

    The server goes by the checksum. Raises the SDK's errors for everything else; a success is as strange here as any
    other status, and has neither header.
    """
    import httpx

    form = {"headers": {"Content-Type": "multipart/form-data"}}
    return _held(lambda: sdk.post(FILES, cast_to=httpx.Response, body=_form(file), options=form))


def _held(ask: Callable[[], Any]) -> Any:
    import together

    try:
        return ask()
    except together.APIStatusError as error:
        if error.status_code not in HELD:
            raise
        return error.response


def _known_id(answer: Any) -> object:
    """Return the id of the file that has these bytes already, None when the answer speaks of none.

    Raises `MalformedAnswerError` for half an answer: it may have named one.
    """
    if answer.status_code != 409:
        return None
    told = decoded(answer.text)
    if not told:
        raise MalformedAnswerError(
            f"{NAME}: {ACT}: there is a file with these bytes, but the answer does not say which"
        )
    return told.get("file_id")
