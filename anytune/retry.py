"""The one retrier: what may be sent again is, after the time that the provider named or a growing, jittered one."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, TypeVar

from anytune.errors import AmbiguousError, ProviderError, RateLimitedError, UnavailableError

if TYPE_CHECKING:
    from tenacity import RetryCallState

T = TypeVar("T")

REPEATABLE = (UnavailableError, RateLimitedError, AmbiguousError)
SURELY_NOT_DONE = (UnavailableError, RateLimitedError)
SHORTEST = 1.0  # seconds between two calls, also where the provider says 0


class Clock(Protocol):
    """Tell the seconds that went by, and let some go by."""

    def monotonic(self) -> float:
        """Return seconds that never run backwards."""
        ...

    def sleep(self, seconds: float) -> None:
        """Wait."""
        ...


def _said(state: RetryCallState) -> float | None:
    error = state.outcome.exception() if state.outcome else None
    return error.retry_after if isinstance(error, RateLimitedError) else None


def call(
    act: Callable[[], T],
    *,
    clock: Clock,
    repeat: tuple[type[ProviderError], ...] = REPEATABLE,
    attempts: int = 6,
    deadline: float = 300.0,
) -> T:
    """Call until it is done, refused for good, tried `attempts` times, or would have to wait past `deadline` seconds.

    Attempts after which the provider named a time do not count. `repeat` names the errors after which the act may be
    sent again: `REPEATABLE` for what changes nothing at the provider, `SURELY_NOT_DONE` for `create`. The last error is
    raised as it came.
    """
    from tenacity import Retrying, retry_if_exception_type, wait_random_exponential  # asyncio and all, for a call only

    started, counted = clock.monotonic(), 0
    backoff = wait_random_exponential(multiplier=1, max=60)  # with full jitter (AWS Architecture Blog, 2015)

    def wait(state: RetryCallState) -> float:
        said = _said(state)
        return backoff(state) if said is None else max(SHORTEST, said)

    def enough(state: RetryCallState) -> bool:
        nonlocal counted
        counted += _said(state) is None
        return counted >= attempts or clock.monotonic() - started + state.upcoming_sleep > deadline

    retrying = Retrying(
        retry=retry_if_exception_type(repeat),
        wait=wait,
        stop=enough,
        sleep=clock.sleep,
        reraise=True,
    )
    return retrying(act)
