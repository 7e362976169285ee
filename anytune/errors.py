"""Everything that anytune raises, as one tree.

    AnytuneError                 exit code
    ├── UsageError               2   a wrong argument, key, name or job file
    │   ├── MissingExtraError    2   a package of an extra is not installed
    │   └── GoneError            2   the provider takes no jobs any more
    ├── RefusedError             3   the plan, the data, the policy or the budget says no; nothing was sent
    ├── JobFailedError           4   the job ended badly
    ├── ConflictError            5   this name stands for other content
    ├── CredentialError          6   a key is missing
    │   └── KeyRefusedError      6   the provider does not take the key
    ├── NotYetError              7   the deadline passed; the next command goes on
    ├── StoreError               1   the record of jobs cannot be read or written
    └── ProviderError            1   what a provider, or the way to it, answered
        ├── UnavailableError     1   surely not done: may be sent again
        ├── RateLimitedError     1   refused for now: may be sent again after `retry_after`
        ├── AmbiguousError       1   may have been done: look before repeating
        │   └── MalformedAnswerError  1   an answer that is no answer
        └── RejectedError        3   surely refused, for good
            ├── NotFoundError    3   the provider knows no such thing
            ├── QuotaError       3   the account may not spend more
            │   └── OverBudgetError  3   the provider's quote is above the user's own budget
            └── ClosedError      3   the provider takes no such jobs any more

A provider call ends in one of six ways (done and the five below `ProviderError` and `KeyRefusedError`); what the
engine does next hangs on the class alone, never on a message.
"""

from __future__ import annotations


class AnytuneError(Exception):
    """Say what went wrong in one line (`message`), what else (`reasons`), and how to mend it (`fix`)."""

    exit_code = 1

    def __init__(self, message: str, *, reasons: tuple[str, ...] = (), fix: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.reasons = reasons
        self.fix = fix


class UsageError(AnytuneError):
    """Report a wrong argument, key, name or job file of the user's; a data file is refused (`RefusedError`)."""

    exit_code = 2


class MissingExtraError(UsageError):
    """Report a package that an extra of anytune would bring."""

    def __init__(self, *, needs: str, extra: str) -> None:
        super().__init__(f"{needs} is not installed", fix=f"pip install 'anytune[{extra}]'")


class GoneError(UsageError):
    """Report a provider that was there once and takes no jobs any more; `provider` is its name as it was asked for."""

    def __init__(self, message: str, *, provider: str, fix: str) -> None:
        super().__init__(message, fix=fix)
        self.provider = provider


class RefusedError(AnytuneError):
    """Report every reason (`reasons`) for which nothing was sent."""

    exit_code = 3


class JobFailedError(AnytuneError):
    """Report a job that failed or was cancelled."""

    exit_code = 4


class ConflictError(AnytuneError):
    """Report a name that already stands for other content."""

    exit_code = 5


class CredentialError(AnytuneError):
    """Report a key that is not there."""

    exit_code = 6


class KeyRefusedError(CredentialError):
    """Report a key that the provider does not take; the job is kept."""


class NotYetError(AnytuneError):
    """Report a deadline that passed; the job lives."""

    exit_code = 7


class StoreError(AnytuneError):
    """Report a record of jobs that cannot be read or written."""


class ProviderError(AnytuneError):
    """Report what a provider answered, or that it did not."""

    def __init__(self, message: str, *, fix: str | None = None, status: int | None = None) -> None:
        super().__init__(message, fix=fix)
        self.status = status


class UnavailableError(ProviderError):
    """Report a call that was surely not carried out."""


class RateLimitedError(ProviderError):
    """Report a call refused for now; `retry_after` is in seconds, None if the provider named no time."""

    def __init__(self, message: str, *, retry_after: float | None = None, status: int | None = 429) -> None:
        super().__init__(message, status=status)
        self.retry_after = retry_after


class AmbiguousError(ProviderError):
    """Report a call that may have been carried out although no good answer came."""


class MalformedAnswerError(AmbiguousError):
    """Report an answer that does not have the shape the provider promises."""


class RejectedError(ProviderError):
    """Report a call that the provider refused for good; `param` is the field it names."""

    exit_code = 3

    def __init__(
        self, message: str, *, fix: str | None = None, status: int | None = None, param: str | None = None
    ) -> None:
        super().__init__(message, fix=fix, status=status)
        self.param = param


class NotFoundError(RejectedError):
    """Report a thing that the provider does not know."""


class QuotaError(RejectedError):
    """Report an account that may not spend more."""


class OverBudgetError(QuotaError):
    """Report a quote that is above the user's own budget."""


class ClosedError(RejectedError):
    """Report a provider that takes no such jobs any more."""
