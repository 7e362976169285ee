"""The vendor's client, bound to one profile: its address, its key, its deadline, and nobody else's word on them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any

from anytune.errors import KeyRefusedError, MissingExtraError
from anytune.providers.edge import bounded_client, mapped, sendable_key
from anytune.providers.openai.speech import Speech

OF_OPENAI = ("OpenAI-Organization", "OpenAI-Project")


class Client:
    """Make the SDK's clients at first use, without retries of their own."""

    def __init__(self, speech: Speech) -> None:
        self._speech = speech

    def act(self, act: str) -> str:
        """Say what is done, and where."""
        return f"{self._speech.name}: {act}"

    @contextmanager
    def mapped(self, act: str) -> Iterator[None]:
        """Turn what the SDK raises inside into our tree."""
        try:
            with mapped(self._speech.name, act, secret=self._key):
                yield
        except KeyRefusedError:
            for made in ("calls", "uploads", "_key"):
                self.__dict__.pop(made, None)  # the next call asks for the key again: it may have been renewed
            raise

    @property
    def jobs(self) -> Any:
        """Return the calls on jobs: raw, for the SDK makes a job of any JSON, and fails in its own ways on lists."""
        return self.calls.fine_tuning.jobs.with_raw_response

    @cached_property
    def calls(self) -> Any:
        """Return the client for calls."""
        return self._made(self._speech.profile.timeout)

    @cached_property
    def uploads(self) -> Any:
        """Return the client for what may take long."""
        return self._made(self._speech.profile.upload_timeout)

    @cached_property
    def _key(self) -> str:
        key = self._speech.profile.key()
        return sendable_key(key, provider=self._speech.name) if key else ""  # a server of one's own may need none

    def _made(self, seconds: float) -> Any:
        address = self._speech.base_url
        try:
            import httpx2
            import openai
        except ImportError as error:
            raise MissingExtraError(needs="openai", extra=self._speech.like.provider) from error
        profile = self._speech.profile
        http = bounded_client(httpx2, seconds=seconds, gate=profile.gate, secret=(self._key, *profile.hidden()))
        http.event_hooks = {"request": [self._pin]}
        # Every address is given here, so that OPENAI_BASE_URL has no say. OPENAI_ORG_ID and OPENAI_PROJECT_ID are
        # left to the SDK where OpenAI is called: they choose whose bill a call goes on, not where it goes.
        return openai.OpenAI(
            api_key=self._key or "none",
            base_url=address,
            max_retries=0,
            timeout=http.timeout,
            http_client=http,
        )

    def _pin(self, request: Any) -> None:
        """Undo what the environment may say of the headers by which a server chooses where to send and whom to bill."""
        headers = request.headers
        headers["Host"] = request.url.netloc.decode("ascii")
        headers.pop("Authorization", None)
        if self._key and self._speech.dialect.key_header == "api-key":
            headers["api-key"] = self._key
        elif self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        if self._speech.like.provider != "openai" or self._speech.foreign:
            for name in OF_OPENAI:
                headers.pop(name, None)
