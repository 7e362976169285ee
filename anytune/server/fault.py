"""Errors as OpenAI's clients know them: a status, and a body that says what, of which kind, and about which field."""

from __future__ import annotations

from typing import Any

from starlette.responses import JSONResponse

from anytune.errors import AnytuneError, RateLimitedError, RejectedError

WRONG, LACKING, LIMITED, OURS = "invalid_request_error", "not_found_error", "rate_limit_error", "server_error"


class Fault(Exception):
    """End a request with a status and a reason; `kind` is OpenAI's `type`."""

    def __init__(
        self, status: int, message: str, *, kind: str = WRONG, param: str | None = None, code: str | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.kind, self.param, self.code = status, message, kind, param, code

    @property
    def body(self) -> dict[str, Any]:
        """Return it in OpenAI's shape."""
        return {"error": {"message": self.message, "type": self.kind, "param": self.param, "code": self.code}}

    def response(self) -> JSONResponse:
        """Return it as an answer."""
        headers = {"Retry-After": "10"} if self.status == 429 else {}
        headers |= {"WWW-Authenticate": "Bearer"} if self.status == 401 else {}
        return JSONResponse(self.body, status_code=self.status, headers=headers)


def of(error: AnytuneError) -> Fault:
    """Return what an error of the engine's is to a client."""
    if isinstance(error, RateLimitedError):
        return Fault(429, error.message, kind=LIMITED, code="rate_limit_exceeded")
    if isinstance(error, RejectedError):
        long = error.message.startswith("the model holds")
        return Fault(400, error.message, param="messages", code="context_length_exceeded" if long else None)
    return Fault(503, error.message, kind=OURS)
