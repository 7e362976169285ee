"""The way to Fireworks' gateway: one call each, no redirects, every answer an object or one of our errors."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from anytune.errors import MalformedAnswerError, UsageError
from anytune.providers._plain import PlainGateway
from anytune.providers.fireworks import answer as answers

NAME = answers.NAME
PAGE = "200"  # the most that a page holds
TO_CHOOSE = "set FIREWORKS_ACCOUNT_ID, or profiles.fireworks.account in your own config.yaml"


class Gateway(PlainGateway):
    """Ask the gateway."""

    name = NAME

    def says_none(self, body: Mapping[str, Any]) -> bool:
        """Tell whether it is the gateway itself that says so."""
        return answers.is_code(body, answers.NOT_FOUND)

    def rows(self, collection: str, *, act: str) -> Iterator[dict[str, Any]]:
        """Yield all resources of a collection, page by page."""
        token, seen = "", set[str]()
        while True:
            query = {"pageSize": PAGE, **({"pageToken": token} if token else {})}
            page = self.ask("GET", collection, act=act, query=query)
            rows, token = page.get(collection.rpartition("/")[2], []), str(page.get("nextPageToken") or "")
            if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows) or token in seen:
                raise MalformedAnswerError(f"{NAME}: {act}: the answer is no list, or one without an end")
            yield from rows
            if not token:
                return
            seen.add(token)

    def account(self) -> str:
        """Return whose jobs they are: as the profile says, else the one account that the key serves."""
        if self._account is None:
            self._account = self._only_account()
        bare = self._account.removeprefix("accounts/")
        if re.fullmatch(answers.PART, bare) is None:
            raise UsageError(f"{bare!r} is no id of an account at Fireworks", fix=TO_CHOOSE)
        return bare

    def _only_account(self) -> str:
        act = "list accounts"
        rows = self.ask("GET", "accounts", act=act).get("accounts")
        if not isinstance(rows, list):
            raise MalformedAnswerError(f"{NAME}: {act}: the answer is no list")
        names = [str(row["name"]) for row in rows if isinstance(row, Mapping) and row.get("name")]
        if len(names) != 1:
            said = ", ".join(name.removeprefix("accounts/") for name in names) or "none is listed"
            raise UsageError(f"whose jobs they are to be, the key for fireworks leaves open: {said}", fix=TO_CHOOSE)
        return names[0]
