"""OpenAI's stand-in with a limit of calls a minute, and jobs that run for ever: what a crowd of callers meets."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from tests.stubs._call import Call, Refuse, Reply
from tests.stubs._process import main
from tests.stubs.openai import OpenAIStub

MINUTE = 60.0
ENDLESS = ("validating_files", "queued", *("running",) * 10_000)


class MeteredStub(OpenAIStub):
    """Answer `most` calls in any minute, all others by 429 with Retry-After; times are those of the system's clock."""

    most = 60

    def __init__(self, *, journal_file: Path | None = None) -> None:
        super().__init__(journal_file=journal_file)
        self.life = ENDLESS
        self.served: list[float] = []
        self.refused: list[float] = []
        self.looks: list[float] = []

    def answer(self, call: Call) -> Reply:
        now = time.monotonic()
        recent = [at for at in self.served if at > now - MINUTE]
        if len(recent) >= self.most:
            self.refused.append(now)
            wait = max(1, round(recent[-self.most] + MINUTE - now))
            said = {"error": {"message": "Rate limit reached", "type": "requests", "code": "rate_limit_exceeded"}}
            raise Refuse(Reply(429, said, {"Retry-After": str(wait)}))
        self.served.append(now)
        if call.method == "GET" and call.path.endswith("/fine_tuning/jobs") and "metadata" not in str(call.query):
            self.looks.append(now)
        return super().answer(call)

    def census(self) -> dict[str, Any]:
        times = {"served": self.served, "refused": self.refused, "looks": self.looks}
        return {**super().census(), **times}


if __name__ == "__main__":
    main(lambda journal: MeteredStub(journal_file=journal))
