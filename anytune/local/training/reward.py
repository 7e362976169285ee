"""Give answers their rewards: what the job's file says they are worth, and how a text of a record stands in it.

The names are OpenAI's: a text such as `{{ item.sql }}` takes what the record has under `sql`,
`{{ sample.output_text }}` is the answer, and a function is called with (sample, item), so that what was written for
its graders runs here, too.
"""

from __future__ import annotations

import importlib
import json
import math
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from anytune.errors import UsageError
from anytune.evals.metrics import same_rows

PLACE = re.compile(r"{{\s*([^{}]*?)\s*}}")
STEP = re.compile(r"\.?([\w-]+)|\[(\d+)\]")
Sample = Mapping[str, Any]
Judge = Callable[[Sample, Mapping[str, Any]], float]
CHECKS: dict[str, Callable[[str, str], bool]] = {
    "eq": lambda given, wanted: given == wanted,
    "ne": lambda given, wanted: given != wanted,
    "like": lambda given, wanted: wanted in given,
    "ilike": lambda given, wanted: wanted.lower() in given.lower(),
}


class Given(NamedTuple):
    """Be an answer to the question of a record: its text, what the record says, its line, and the chat before."""

    answer: str
    item: Mapping[str, Any]
    line: int
    messages: Sequence[Mapping[str, Any]] = ()


Column = Callable[[Sequence[Given]], list[float]]


class Rewards:
    """Hold the rewards of a job; `names` are what they are told under."""

    def __init__(self, asked: Sequence[Mapping[str, Any]]) -> None:
        """Make each ready; raises `UsageError` for one that cannot be: SQL, schema or function."""
        self._asked = asked
        self._judges = [column(reward, f"rewards[{at}]") for at, reward in enumerate(asked)]
        kinds = [str(reward["type"]) for reward in asked]
        self.names = [kind if kinds.count(kind) == 1 else f"{kind}[{at}]" for at, kind in enumerate(kinds)]

    def require(self, item: Mapping[str, Any], *, where: str) -> None:
        """Raise `UsageError` where a record lacks what a reward's text names."""
        for at, reward in enumerate(self._asked):
            for key in ("input", "reference"):
                try:
                    filled(reward.get(key, ""), {"item": item, "sample": sample("{}")}, within=("item",))
                except LookupError as error:
                    raise UsageError(
                        f"{where}: the record has no {error.args[0]}, which rewards[{at}].{key} names",
                        fix="give each record that key",
                    ) from error

    def of(self, given: Sequence[Given]) -> list[tuple[float, list[float]]]:
        """Return what each answer is worth, and each reward's own number without its weight."""
        columns = [one(given) for one in self._judges]
        weights = [reward["weight"] for reward in self._asked]
        rows = [list(row) for row in zip(*columns, strict=True)]
        return [(sum(w * number for w, number in zip(weights, row, strict=True)), row) for row in rows]


def sample(answer: str) -> dict[str, Any]:
    """Return an answer as graders see it: its text, and what it is as JSON, None if it is none."""
    value = None
    with suppress(ValueError, RecursionError):
        value = json.loads(answer)
    return {"output_text": answer, "output_json": value}


def column(reward: Mapping[str, Any], name: str) -> Column:
    """Return the function that gives answers their numbers: a reward model all at once, other rewards one by one."""
    if reward["type"] == "model":
        from anytune.local.training.scorer import Scorer

        scorer = Scorer(reward["judge"], name=name)
        return lambda given: scorer.scores(
            [[*one.messages, {"role": "assistant", "content": one.answer}] for one in given]
        )
    single = judge(reward, name)

    def number(one: Given) -> float:
        try:
            return single(sample(one.answer), one.item)
        except UsageError as error:
            raise UsageError(f"{name}, record on line {one.line}: {error.message}", fix=error.fix) from error

    return lambda given: [number(one) for one in given]


def judge(reward: Mapping[str, Any], name: str) -> Judge:
    """Return the function that gives an answer its number: 1 or 0, or what the user's own function says."""
    if reward["type"] == "python":
        return own(reward, name)
    right = TYPES[reward["type"]](reward, name)

    def number(said: Sample, item: Mapping[str, Any]) -> float:
        around = {"sample": said, "item": item}
        try:
            given, wanted = (filled(reward.get(key, ""), around) for key in ("input", "reference"))
        except LookupError:
            return 0.0  # the answer has no such part: what the record must have was looked for before
        return float(right(given, wanted))

    return number


def filled(text: str, around: Mapping[str, Any], *, within: tuple[str, ...] = ("item", "sample")) -> str:
    """Return a text with its places filled in; raise `LookupError` with the name of what is not there.

    Only what stands below one of `within` is looked for. What is no text stands there as JSON.
    """

    def value(place: re.Match[str]) -> str:
        path: str = place[1]
        at: Any = around
        steps = [name or int(number) for name, number in STEP.findall(path)]
        if not steps or steps[0] not in ("item", "sample"):
            raise UsageError(f"{{{{ {path} }}}} is nothing that a reward can name", fix="write item.… or sample.…")
        if steps[0] not in within:
            return ""
        try:
            for step in steps:
                at = at[step]
        except (LookupError, TypeError):
            raise LookupError(path) from None
        return at if isinstance(at, str) else json.dumps(at, ensure_ascii=False)

    return PLACE.sub(value, text)


def _string_check(reward: Mapping[str, Any], _: str) -> Callable[[str, str], bool]:
    return CHECKS[reward["operation"]]


def _regex(reward: Mapping[str, Any], _: str) -> Callable[[str, str], bool]:
    pattern = re.compile(reward["pattern"])
    return lambda given, _: pattern.search(given) is not None


def _json_schema(reward: Mapping[str, Any], name: str) -> Callable[[str, str], bool]:
    from jsonschema import exceptions, validators

    try:
        schema = json.loads(reward["text"])
        kind = validators.validator_for(schema)
        kind.check_schema(schema)
    except (ValueError, exceptions.SchemaError, TypeError) as error:
        said = str(error).splitlines()[0]
        raise UsageError(f"{name}: {reward.get('file', 'its text')} is no JSON Schema: {said}") from error
    validator = kind(schema)

    def valid(given: str, _: str) -> bool:
        try:
            return bool(validator.is_valid(json.loads(given)))
        except (ValueError, RecursionError):
            return False

    return valid


def _sql_execution(reward: Mapping[str, Any], name: str) -> Callable[[str, str], bool]:
    same = same_rows(reward["text"], reward.get("file", f"{name}.text"))
    return lambda given, wanted: same(wanted, given)


TYPES: dict[str, Callable[[Mapping[str, Any], str], Callable[[str, str], bool]]] = {
    "string_check": _string_check,
    "regex": _regex,
    "json_schema": _json_schema,
    "sql_execution": _sql_execution,
}


def own(reward: Mapping[str, Any], name: str) -> Judge:
    """Return the user's own function; what it raises, or gives but a finite number, is a `UsageError`."""
    place, _, called = str(reward["function"]).rpartition(":")
    try:
        module = _from_text(reward, place) if "text" in reward else importlib.import_module(place)
        function = getattr(module, called)
    except Exception as error:  # it is the user's program, which may raise anything
        raise UsageError(f"{name}: {reward['function']} cannot be had: {_said(error)}") from error

    def number(said: Sample, item: Mapping[str, Any]) -> float:
        try:
            given = function(dict(said), dict(item))
            found = float(given)
        except Exception as error:
            raise UsageError(f"{reward['function']} failed: {_said(error)}", fix="mend the function") from error
        if not math.isfinite(found):
            raise UsageError(f"{reward['function']} gave {given!r}, which is no finite number", fix="mend the function")
        return found

    return number


def _from_text(reward: Mapping[str, Any], place: str) -> ModuleType:
    """Run a file as it was when the job file was read; what it imports from beside it is as it is now."""
    file = Path(str(reward.get("file", place)))
    if file.is_absolute():
        sys.path.append(str(file.parent))
    module = ModuleType(file.stem)
    module.__file__ = str(file)
    sys.modules.setdefault(file.stem, module)  # where dataclasses and the like look for their module
    exec(compile(reward["text"], place, "exec"), module.__dict__)
    return module


def _said(error: BaseException) -> str:
    text = (str(error).strip().splitlines() or [""])[0]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
