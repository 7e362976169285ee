"""What goes wrong on the way to the Hub, as our tree of errors: huggingface_hub's exceptions, and httpx2's."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from anytune.errors import (
    AmbiguousError,
    AnytuneError,
    CredentialError,
    MalformedAnswerError,
    NotFoundError,
    UnavailableError,
    UsageError,
)
from anytune.local.hf_jobs.request import NAME
from anytune.providers.edge import decoded, error_for_status, translate

CONFLICT_OF_COMMITS = 412
RESET = re.compile(r"\bt\s*=\s*(\d+)")  # of the header `ratelimit`: "api";r=0;t=55
# By name of the exception, or of one of its bases.
NO_TOKEN = {"LocalTokenNotFoundError", "OIDCError", "DeviceCodeError"}
NOT_TAKEN = {"HFValidationError", "HfUriError", "StrictDataclassError"}
NOT_THERE = {"EntryNotFoundError", "RevisionResolutionError", "CacheNotFound", "CachedRepoTreeNotFoundError"}
# What huggingface_hub raises when an answer lacks what it should have.
MISSHAPEN = (KeyError, TypeError, AttributeError, ValueError, IndexError, AssertionError)
DAMAGED = {"FileMetadataError", "CorruptedCacheException", "SafetensorsParsingError", "NotASafetensorsRepoError"}


class MissingFileError(NotFoundError):
    """Report a file or folder that is not in the repository, by the Hub's own word."""


@contextmanager
def mapped(act: str, *, secret: str = "") -> Iterator[None]:
    """Turn whatever the library raises inside into our tree; `secret` never shows in a message."""
    try:
        yield
    except AnytuneError:
        raise
    except Exception as error:
        known = told(error, act=act, secret=secret)
        if known is None:
            raise
        # not `from error`: a service may repeat the key in its message, and a traceback would print it
        raise known from None


def told(error: BaseException, *, act: str, secret: str = "") -> AnytuneError | None:
    """Return our error for one of huggingface_hub's or httpx2's, None for what is neither."""
    cause = error
    while not isinstance(cause, AnytuneError) and cause.__cause__ is not None:
        cause = cause.__cause__  # the library wraps what an upload meets into a RuntimeError
    if isinstance(cause, AnytuneError):
        return cause
    if type(error) is RuntimeError and error.__cause__ is not None:
        error = error.__cause__
    response = getattr(error, "response", None)
    if response is not None and isinstance(getattr(response, "status_code", None), int):
        return of_answer(response, act=act, secret=secret)
    names = {kind.__name__ for kind in type(error).__mro__}
    said = f"{NAME}: {act}: {type(error).__name__}"
    if "OfflineModeIsEnabled" in names:
        return UsageError(f"{NAME}: {act}: HF_HUB_OFFLINE is set: nothing goes to the Hub", fix="unset HF_HUB_OFFLINE")
    if names & NO_TOKEN:
        return CredentialError(f"{NAME}: {act}: there is no key", fix="export HF_TOKEN=…")
    if names & NOT_TAKEN:
        return UsageError(f"{said}: this is no name on the Hub")
    if names & NOT_THERE:
        return UnavailableError(said)
    if names & DAMAGED:
        return MalformedAnswerError(said)
    known = translate(error, provider=NAME, act=act, secret=secret)
    if known is None and isinstance(error, MISSHAPEN):
        return MalformedAnswerError(f"{NAME}: {act}: the answer is not what it should be ({type(error).__name__})")
    return known


def of_answer(answer: Any, *, act: str, secret: str) -> AnytuneError:
    """Return our error for an answer of the Hub that is none of success."""
    headers = dict(answer.headers)
    limit = RESET.search(headers.get("ratelimit", ""))
    if limit is not None and "retry-after" not in headers:
        headers["retry-after"] = limit[1]
    body = decoded(answer.text)
    if not body and headers.get("x-error-message"):
        body = {"error": headers["x-error-message"]}
    if answer.status_code == CONFLICT_OF_COMMITS:  # another commit came first: this one was surely not made
        return UnavailableError(f"{NAME}: {act}: somebody else wrote to the repository", status=answer.status_code)
    known = error_for_status(answer.status_code, provider=NAME, act=act, body=body, headers=headers, secret=secret)
    if isinstance(known, NotFoundError) and headers.get("x-error-code") == "EntryNotFound":
        return MissingFileError(known.message, status=known.status)
    return known


def unclear(error: AmbiguousError) -> UnavailableError:
    """Return the error for a step after which the job itself was surely not started."""
    return UnavailableError(error.message, status=error.status)
