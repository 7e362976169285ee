"""Take in the config file of another trainer as a job file."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import ValidationError

from anytune.config import Document
from anytune.data.aside import aside
from anytune.errors import UsageError
from anytune.recipe import openai_job
from anytune.recipe.known import TOOLS, flat, recognised
from anytune.recipe.tool import UNSAID, Key, Reading, Tool, number, ordered, warmed
from anytune.schema.base import Value
from anytune.schema.plan import Setting
from anytune.schema.spec import TuneSpec
from anytune.schema.training import Method

METHODS = get_args(Method)
NO_SUCH = "a job file has no such setting"
_OFF: tuple[Any, ...] = (None, False, "", [], {}, "none", "no")


class TakenIn(Value):
    """Say which tool a file was for, which job file was written, and what became of each key.

    `passed_over` are keys that say how and where the tool runs, not what is learnt.
    """

    tool: str
    title: str
    path: Path
    out: Path
    settings: tuple[Setting, ...]
    passed_over: tuple[str, ...]
    source: str

    @property
    def lost(self) -> tuple[Setting, ...]:
        """Return what of the file is not in the job file."""
        return tuple(setting for setting in self.settings if setting.outcome == "refused")


def take_in(
    path: Path, *, out: Path, source: str | None = None, force: bool = False, model: str | None = None
) -> TakenIn:
    """Write the job file that does what another trainer's config file says, and name every key that it cannot hold.

    `source` is the tool that the file is for, recognised by its keys if None. What the file leaves out stands in the
    job file as the tool's own default. A job of OpenAI's is read for another `model`. Raises `UsageError` for a file of
    no known tool, without a model or data, and for an `out` that is there, unless it is to be replaced by `force`.
    """
    if out.exists() and not force:
        raise UsageError(f"{out} is there already", fix="name another file: --out FILE, or replace it: --force")
    document = Document(path).data
    if source == openai_job.NAME or (source is None and openai_job.recognised(document)):
        whose, passed_over = (openai_job.NAME, openai_job.TITLE, openai_job.SOURCE), openai_job.PASSED_OVER
        reading = openai_job.read(document, path, model=model)
    else:
        tool = _tool(document, path, source)
        whose, passed_over = (tool.name, f"a config of {tool.title}", tool.source), _machine(tool.name)
        reading = _read(tool, document, path)
    name, title, by = whose
    job = _job(reading, path, out)
    with aside(out) as file:
        file.write(_text(job, reading, title, path).encode())
    return TakenIn(
        tool=name,
        title=title,
        path=path,
        out=out,
        settings=ordered(reading.settings),
        passed_over=tuple(sorted(reading.left.keys() & passed_over)),
        source=by,
    )


@cache
def _machine(name: str) -> frozenset[str]:
    """Return the keys of a tool that say how and where it runs, not what is learnt."""
    text = files("anytune.recipe").joinpath("machine.yaml").read_text(encoding="utf-8")
    return frozenset(yaml.safe_load(text)[name])


def _tool(document: Mapping[str, Any], path: Path, source: str | None) -> Tool:
    tool = TOOLS.get(source) if source else recognised(document)
    if tool is None:
        known = ", ".join(each.title for each in TOOLS.values())
        raise UsageError(f"{path}: no key of it tells for which trainer it is; known are {known}", fix="say it: --from")
    return tool


def _read(tool: Tool, document: Mapping[str, Any], path: Path) -> Reading:
    machine = _machine(tool.name)
    keys = {name: value for name, value in flat(document, tool).items() if value is not None}
    named = tool.files(keys, path.parent)
    reading = Reading({**keys, **named}, count=lambda name: _count(path.parent / name))
    for key in tool.keys:
        if not key.path.startswith("training.lora."):
            _take(key, reading)
    tool.read(reading)
    warmed(reading)
    if reading.values.get("training.lora", "auto") is not None:
        for key in tool.keys:
            if key.path.startswith("training.lora."):
                _take(key, reading)
    if reading.values.get("method") != "dpo":
        reading.drop("training.beta")
    for name in ("data.train", "data.validation"):
        if name in reading.values and not _is(Path.is_file, path.parent / reading.values[name]):
            reading.refuse(name, reading.values[name], "there is no such file here: fetch it, and name it")
    for name, value in reading.left.items():
        if name not in machine and name not in named and value not in _OFF and name not in tool.fixed:
            reading.refuse(name, value, NO_SUCH)
    return reading


def _take(key: Key, reading: Reading) -> None:
    said = reading.take(key.name)
    if said is None and key.default is UNSAID:
        return
    value = number(key.default if said is None else said)
    back = {theirs: ours for ours, theirs in key.words.items()}
    ours = back.get(value, value) if isinstance(value, str) else value
    why = "its default" if said is None else "its word for it" if ours != value else None
    reading.keep(key.path, ours, name=key.name, said=said, why=why)


def _count(path: Path) -> int | None:
    try:
        with path.open("rb") as lines:
            return sum(1 for line in lines if line.strip())
    except (OSError, ValueError):
        return None


def _is(what: Callable[[Path], bool], path: Path) -> bool:
    """Tell what a path is; one that no system takes, for its length or a NUL in it, is nothing."""
    try:
        return what(path)
    except (OSError, ValueError):
        return False


def _job(reading: Reading, path: Path, out: Path) -> dict[str, Any]:
    """Return the job file; what it cannot hold is refused by name."""
    values = reading.values
    if not values.get("model"):
        raise UsageError(f"{path}: it names no model", fix="add it, or begin with: anytune init")
    if not values.get("data.train"):
        raise UsageError(f"{path}: it names no data", fix="add the file, or begin with: anytune init")
    if (method := values.get("method", "sft")) not in METHODS:
        raise UsageError(f"{path}: it trains by {method}; a job file can say {' or '.join(METHODS)}")
    while True:
        job = _laid_out(values, path, out)
        try:
            TuneSpec.model_validate(job)
        except ValidationError as error:
            first = error.errors()[0]
            name = _of(first["loc"], values)
            if name is None:
                raise UsageError(f"{path}: {first['msg']}", fix="write the job file yourself: anytune init") from error
            reading.refuse(name, reading.drop(name), first["msg"][:1].lower() + first["msg"][1:])
        else:
            return job


def _of(loc: tuple[Any, ...], values: Mapping[str, Any]) -> str | None:
    """Return the setting at which a fault lies, None if it is one that no job file can do without."""
    names = [".".join(str(part) for part in loc[:end]) for end in range(len(loc), 0, -1)]
    needed = ("model", "data.train", "name", "provider")
    return next((name for name in names if name in values and name not in needed), None)


def _laid_out(values: Mapping[str, Any], path: Path, out: Path) -> dict[str, Any]:
    job: dict[str, Any] = {"name": _name(path), "provider": "local"}
    whole = {"training.lora"} if values.get("training.lora", "auto") is None else set()
    order = ("model", "method", "data.train", "data.validation", "data.split")
    for name in (*order, *sorted(set(values) - {*order})):
        if name not in values or (whole and name.startswith(("training.lora.", "training.quantize"))):
            continue
        value = values[name]
        place = job
        *above, last = name.split(".")
        for section in above:
            place = place.setdefault(section, {})
        if (name.startswith("data.") and isinstance(value, str)) or (
            name == "model" and _is(Path.is_dir, path.parent / str(value))
        ):
            value = _placed(value, path.parent, out.absolute().parent)
        place[last] = value
    return job


def _placed(file: str, folder: Path, to: Path) -> str:
    """Return a file named in their folder as it is called from ours; one that is not there as it was said."""
    found = folder / file
    if not _is(Path.exists, found):
        return file
    relative = os.path.relpath(found.absolute(), to)
    return relative if not relative.startswith("..") or not os.path.isabs(file) else file


def _name(path: Path) -> str:
    said = path.absolute().parent.name if path.stem == "config" else path.stem
    return re.sub(r"[^A-Za-z0-9._-]+", "-", said).strip("-._")[:64] or "job"


def _text(job: dict[str, Any], reading: Reading, title: str, path: Path) -> str:
    lines = [f"# Made from {path.name}, {title}.", ""]
    lost = [setting for setting in reading.settings if setting.outcome == "refused"]
    if lost:
        lines[1:1] = ["# Not taken over:", *(f"#   {s.path}: {_short(s.value)}  ({s.why})" for s in lost)]
    return "\n".join(lines) + yaml.safe_dump(job, sort_keys=False, allow_unicode=True)


def _short(value: Any) -> str:
    text = " ".join(yaml.safe_dump(value, default_flow_style=True, width=999).removesuffix("...\n").split())
    return text if len(text) <= 60 else f"{text[:59]}…"
