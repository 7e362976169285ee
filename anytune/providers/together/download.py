"""Bring a tuned model home from Together: one archive by ranges, unpacked into a folder, all or nothing.

The vendor's own download keeps whole archives in memory or gives up when it is cut off early. The service answers with
the archive itself or sends to its storage; there our key does not go.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from anytune.errors import NotFoundError, RejectedError
from anytune.providers import _download as download_of
from anytune.providers import _packed
from anytune.providers.edge import bounded_client, decoded, error_for_status
from anytune.providers.together.gateway import NAME, Gateway
from anytune.schema.model import TunedModel

ACT = download_of.ACT
PATH = "/v1/finetune/download"
ELSEWHERE = {301, 302, 303, 307, 308}


def selector(job: Mapping[str, Any], to: str) -> str:
    """Return the service's word for what is wanted of a job; fully tuned models have one form only."""
    kind = job.get("training_type")
    full = isinstance(kind, Mapping) and kind.get("type") == "Full"
    if full and to == "adapter":
        raise RejectedError("together: a fully fine-tuned model has no adapter", fix="--to merged", param="to")
    return "model_output_path" if full else to


def download(gateway: Gateway, tuned: TunedModel, *, query: Mapping[str, str], to: str, out: Path) -> dict[str, Any]:
    """Write the model and a manifest into `out`; an archive that is half there stays aside for the next call."""
    source = download_of.Source(NAME, lambda headers: _opened(gateway, query, headers))
    try:
        return _packed.bring(source, tuned, kind=to, out=out, about=tuple(query.values()))
    except NotFoundError as error:
        raise _none_there(error, to) from error


def _none_there(error: NotFoundError, to: str) -> NotFoundError:
    fix = "--to adapter: some models are handed out as that alone" if to == "merged" else None
    return NotFoundError(error.message, status=error.status, fix=fix)


@contextmanager
def _opened(gateway: Gateway, query: Mapping[str, str], headers: Mapping[str, str]) -> Iterator[Any]:
    """Open the archive from where it is wanted; asked by range always, so that its size is told."""
    import httpx

    with ExitStack() as stack:
        sdk = stack.enter_context(gateway.connected(ACT))
        client = stack.enter_context(bounded_client(httpx, seconds=gateway.profile.upload_timeout))
        ranged = {"Range": "bytes=0-", **headers}
        url = httpx.URL(str(sdk.base_url)).join(PATH).copy_merge_params(dict(query))
        own = {"Authorization": f"Bearer {sdk.api_key}", "Accept": "application/octet-stream"}
        answer = stack.enter_context(client.stream("GET", url, headers={**ranged, **own}))
        if answer.status_code in ELSEWHERE and answer.headers.get("location"):
            place = gateway.place(answer.headers["location"], base=url, act=ACT)
            answer = stack.enter_context(client.stream("GET", place, headers=ranged))
        elif not answer.is_success and answer.status_code != 416:
            answer.read()
            raise error_for_status(
                answer.status_code,
                provider=NAME,
                act=ACT,
                body=decoded(answer.text),
                headers=answer.headers,
                secret=sdk.api_key,
            )
        yield answer
