"""Together's upload in three calls: reserve a place, put the bytes there, have them checked.

They are our own because the vendor's upload follows redirects of the storage (the data would go to another
host), never looks at a file that was there before, and takes a refused key for missing credit.
"""

from __future__ import annotations

from typing import Any

from anytune.providers._storage import safe_place
from anytune.providers.edge import decoded, error_for_status
from anytune.schema.data import DataFile

ACT = "upload"
MAX_BYTES = 5 * 1024**3  # what one PUT may carry; larger files need the vendor's upload in parts
HELD = {302, 409}  # the two answers to a reservation that an SDK takes for errors


def reserve(sdk: Any, file: DataFile) -> Any:
    """Ask where the bytes go and return the answer (httpx.Response): 302 with a place, 409 for known bytes.

    The server goes by the checksum. Raises the SDK's errors for everything else.
    """
    import httpx
    import together

    form = {
        "purpose": "fine-tune",
        "file_name": f"{file.path.stem}.jsonl",
        "file_type": "jsonl",
        "checksum": file.sha256,
    }
    try:
        # A success is as strange here as any other status, and has neither header.
        return sdk.post(
            "/v1/files",
            cast_to=httpx.Response,
            body=form,
            options={"headers": {"Content-Type": "multipart/form-data"}},
        )
    except together.APIStatusError as error:
        if error.status_code not in HELD:
            raise
        return error.response


def known_id(answer: Any) -> object:
    """Return the id of the file that has these bytes already, None when the answer speaks of none."""
    return decoded(answer.text).get("file_id") if answer.status_code == 409 else None


def place(answer: Any) -> tuple[Any, str]:
    """Return where to put the bytes (httpx.URL) and the id that the file will have.

    Raises `MalformedAnswerError` for a success, `RejectedError` for a redirect that is no reservation and for a
    place that is neither reached by https nor on this machine.
    """
    location, file_id = answer.headers.get("location"), answer.headers.get("x-together-file-id")
    if answer.status_code != 302 or not location or not file_id:
        raise error_for_status(
            answer.status_code,
            provider="together",
            act=ACT,
            body=decoded(answer.text),
            headers=answer.headers,
        )
    url = answer.request.url.join(location)
    return safe_place(url, provider="together", act=ACT), file_id
