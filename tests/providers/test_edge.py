"""The edge to the vendors' SDKs: none of their exceptions comes through, and no key."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import httpx
import httpx2
import openai
import pytest
import together

from anytune.errors import (
    AmbiguousError,
    AnytuneError,
    ClosedError,
    CredentialError,
    KeyRefusedError,
    MalformedAnswerError,
    NotFoundError,
    QuotaError,
    RateLimitedError,
    RejectedError,
    UnavailableError,
    UsageError,
)
from anytune.local.hf_jobs import fault
from anytune.providers.edge import (
    decoded,
    error_for_status,
    mapped,
    required_id,
    retry_after,
    sendable_key,
    translate,
)
from tests.providers._vendors import Defined, exceptions

Translate = Callable[[BaseException], AnytuneError | None]

AT_THE_EDGE: Translate = partial(translate, provider="p", act="a")
AT_THE_HUB: Translate = partial(fault.told, act="a")
VENDORS = {
    **dict.fromkeys(("openai", "together", "httpx", "httpx2"), AT_THE_EDGE),
    "huggingface_hub": AT_THE_HUB,
}
NOT_RAISED_BY_US = {
    "HTTPXDeprecationWarning": "a warning, no error",
    "CookieConflict": "we look up no cookies",
    "InvalidWebhookSignatureError": "we take no webhooks",
    "FileAlreadyExistsError": "from Together's own upload, which we replace",
    "MissingStreamClassError": "we ask for no stream of events",
    "_TransientTokenExchangeError": "we exchange no tokens: a key is all we have",
    "InvalidFileFormatError": "from Together's own check of files, which we do not call",
    "FileTypeError": "from Together's own download, which we replace",
    "DownloadError": "from Together's own download, which we replace",
    "SSEError": "we ask for no stream of events",
    "APIRemovedInV1": "from names that the SDK gave up in 2023",
    "StreamAlreadyConsumed": "we read an answer once, as a whole",
    "ShouldClose": "we open no websocket",
    "BucketBatchError": "we use no buckets",
    "BucketEventsUnavailable": "we use no buckets",
    "CLIError": "of the Hub's command line",
    "CLIExtensionInstallError": "of the Hub's command line",
    "ConfirmationError": "of the Hub's command line",
    "DDUFCorruptedFileError": "we read no DDUF files",
    "DDUFError": "we read no DDUF files",
    "DDUFExportError": "we read no DDUF files",
    "DDUFInvalidEntryNameError": "we read no DDUF files",
    "DryRunError": "we make no dry runs",
    "FileDuplicationError": "we copy no files between repositories",
    "InferenceEndpointError": "we start no endpoints",
    "InferenceEndpointTimeoutError": "we start no endpoints",
    "SandboxCommandError": "we use no sandboxes",
    "SandboxError": "we use no sandboxes",
    "XetDownloadError": "we go around hf_xet",
}
NOT_USED_BY_US = {
    "lib/cli/": "Together's command line",
    "lib/realtime/": "speech",
    "lib/beta/": "agents",
    "lib/browser.py": "agents",
    "lib/computer.py": "agents",
    "lib/decisions_tool_runner.py": "agents",
    "lib/responses_tool_runner.py": "agents",
    "lib/responses_websocket/": "websockets",
    "websockets/": "websockets",
    "post_training/": "a loop driven from here, no jobs",
    "cli/": "the Hub's command line",
}
SIX = (UnavailableError, RateLimitedError, AmbiguousError, RejectedError, KeyRefusedError)
BEFORE = (CredentialError, UsageError)  # what a library refuses by itself, before anything is sent


@cache
def defined(package: str) -> list[Defined]:
    return exceptions(package)


def bare(kind: type[BaseException], *, status: int = 418) -> BaseException:
    """Make an exception without its constructor, which differs from one to the next."""
    error = kind.__new__(kind)
    if hasattr(kind, "__mro__") and {"APIStatusError", "HTTPStatusError"} & {k.__name__ for k in kind.__mro__}:
        error.status_code = getattr(kind, "status_code", status)  # type: ignore[attr-defined]
    return error


@pytest.mark.parametrize("package", VENDORS)
def test_every_exception_of_the_sdks_ends_in_one_of_the_six_ways_or_before_them(package: str) -> None:
    found = defined(package)
    assert len(found) > 25
    unmapped = []
    for one in found:
        if one.name in NOT_RAISED_BY_US or one.file.startswith(tuple(NOT_USED_BY_US)):
            continue
        told = VENDORS[package](bare(one.load()))
        if not isinstance(told, (*SIX, *BEFORE)):
            unmapped.append(f"{package}/{one.file}: {one.name} → {told!r}")
    assert unmapped == []


def test_what_is_listed_as_not_raised_or_not_used_is_still_there() -> None:
    found = [one for package in VENDORS for one in defined(package)]
    assert set(NOT_RAISED_BY_US) <= {one.name for one in found}
    assert [way for way in NOT_USED_BY_US if not any(one.file.startswith(way) for one in found)] == []


def test_an_exception_that_an_sdk_grows_is_found_and_unmapped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "grown" / "deep").mkdir(parents=True)
    (tmp_path / "grown" / "__init__.py").write_text("class Known(Exception): ...\n")
    (tmp_path / "grown" / "deep" / "new.py").write_text("from grown import Known\nclass Newest(Known): ...\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    found = {one.name: one for one in exceptions("grown")}
    assert set(found) == {"Known", "Newest"}
    newest = bare(found["Newest"].load())
    assert [at(newest) for at in (AT_THE_EDGE, AT_THE_HUB)] == [None, None]


@pytest.mark.parametrize("http", [httpx, httpx2])
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("ConnectError", UnavailableError),
        ("ConnectTimeout", UnavailableError),
        ("PoolTimeout", UnavailableError),
        ("ProxyError", UnavailableError),
        ("UnsupportedProtocol", UnavailableError),
        ("ReadTimeout", AmbiguousError),
        ("WriteTimeout", AmbiguousError),
        ("ReadError", AmbiguousError),
        ("WriteError", AmbiguousError),
        ("RemoteProtocolError", AmbiguousError),
        ("DecodingError", MalformedAnswerError),
    ],
)
@pytest.mark.parametrize("sdk", [None, openai, together])
def test_only_what_was_surely_not_sent_may_be_sent_again(
    http: Any, name: str, expected: type[AnytuneError], sdk: Any
) -> None:
    error: BaseException = getattr(http, name)("the reason")
    if sdk is not None:
        wrapper = sdk.APITimeoutError if "Timeout" in name else sdk.APIConnectionError
        outer: BaseException = wrapper(request=http.Request("POST", "http://127.0.0.1/x"))
        outer.__cause__ = error
        error = outer
    told = translate(error, provider="p", act="create")
    assert type(told) is expected


def test_what_is_neither_an_sdks_nor_httpxs_comes_through() -> None:
    assert translate(ZeroDivisionError(), provider="p", act="a") is None
    with pytest.raises(ZeroDivisionError), mapped("p", "a"):
        _ = 1 / 0
    with pytest.raises(KeyboardInterrupt), mapped("p", "a"):
        raise KeyboardInterrupt


def test_our_own_errors_pass_unchanged() -> None:
    ours = QuotaError("no credit")
    with pytest.raises(QuotaError) as caught, mapped("p", "a"):
        raise ours
    assert caught.value is ours


@pytest.mark.parametrize("deep", [lambda: json.loads("{"), lambda: json.loads("[" * 100_000)])
def test_json_that_cannot_be_read_is_no_answer(deep: Callable[[], object]) -> None:
    with pytest.raises(MalformedAnswerError), mapped("p", "a"):
        deep()


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (200, {}, MalformedAnswerError),
        (304, {}, RejectedError),
        (307, {}, RejectedError),
        (400, {"error": {"message": "bad"}}, RejectedError),
        (401, {"error": {"message": "bad"}}, KeyRefusedError),
        (402, {}, QuotaError),
        (403, {"error": {"code": "training_not_available"}}, ClosedError),
        (403, {"code": "training_not_available"}, ClosedError),
        (404, {}, NotFoundError),
        (408, {}, AmbiguousError),
        (429, {}, RateLimitedError),
        (429, {"error": {"code": "insufficient_quota"}}, QuotaError),
        (429, {"error": {"type": "insufficient_quota", "code": None}}, QuotaError),
        (451, {"error": "a plain word"}, RejectedError),
        (500, {}, AmbiguousError),
        (599, None, AmbiguousError),
    ],
)
def test_each_status_has_its_error(status: int, body: Any, expected: type[AnytuneError]) -> None:
    assert type(error_for_status(status, provider="p", act="a", body=body)) is expected


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"Retry-After": "2.5"}, 2.5),
        ({"RETRY-AFTER": "-3"}, 0.0),
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"retry-after-ms": "soon", "retry-after": "9"}, 9.0),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "1e999"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "Sun, 22 Nov 2026 10:00:30 GMT"}, None),
        ({"retry-after": "Sun, 22 Nov 2026 10:00:30 GMT", "date": "Sun, 22 Nov 2026 10:00:00 GMT"}, 30.0),
        ({"retry-after": "Sun, 22 Nov 2026 10:00:00 GMT", "date": "Sun, 22 Nov 2026 10:00:30 GMT"}, 0.0),
    ],
)
def test_the_wait_is_read_in_seconds_never_negative_or_endless(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers) == seconds


@pytest.mark.parametrize("length", range(280, 310))
def test_no_part_of_the_key_shows_wherever_a_message_is_cut(length: int) -> None:
    key = "sk-0123456789"
    error = httpx.ReadError("x" * length + key)
    told = translate(error, provider="p", act="a", secret=key)
    assert "sk-" not in str(told)
    assert "sk-" not in str(error_for_status(400, provider="p", act="a", secret=key, body={"error": str(error)}))


@pytest.mark.parametrize("value", ["", " ", None, 7, {}, "\n"])
def test_an_id_must_be_one(value: object) -> None:
    with pytest.raises(MalformedAnswerError):
        required_id(value, provider="p", act="a")


@pytest.mark.parametrize("key", ["", " ", "sk one", "sk-é", "sk-\x00", "“sk-1”", "sk\n1"])
def test_a_key_that_no_header_can_carry_is_not_sent_nor_shown(key: str) -> None:
    with pytest.raises(CredentialError) as caught:
        sendable_key(key, provider="p")
    assert not key.strip() or key not in str(caught.value)
    assert sendable_key(" sk-1\n", provider="p") == "sk-1"


@pytest.mark.parametrize(
    ("text", "value"), [('{"a": 1}', {"a": 1}), ("[1]", {}), ("<html>", {}), ("[" * 100_000, {}), ("", {})]
)
def test_the_body_of_an_error_is_an_object_or_nothing(text: str, value: dict[str, Any]) -> None:
    assert decoded(text) == value
