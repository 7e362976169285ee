"""Hand a job to another trainer: its config file and the data, in a folder that can be carried elsewhere."""

from __future__ import annotations

import errno
import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import yaml

from anytune.errors import AnytuneError, RefusedError, UsageError
from anytune.local import settings as local
from anytune.planner import chosen
from anytune.recipe.known import TOOLS, nested
from anytune.recipe.tool import Handed, Record, Tool, ordered
from anytune.schema.base import Value
from anytune.schema.data import DataMethod, DataReport, FileReport
from anytune.schema.plan import Setting
from anytune.schema.spec import TuneSpec

CONFIG = "config.yaml"
_decode, _encode = msgspec.json.Decoder(dict[str, Any]).decode, msgspec.json.Encoder().encode


class HandedOver(Value):
    """Say what was written into the folder `out`, what became of each setting, and how the tool is started there."""

    tool: str
    out: Path
    files: tuple[str, ...]
    settings: tuple[Setting, ...]
    notes: tuple[str, ...]
    source: str
    command: str


def hand_over(spec: TuneSpec, data: DataReport, *, to: str, out: Path) -> HandedOver:
    """Write a job as the config file of another trainer, with its data beside it, into the new folder `out`.

    Every setting gets the value that the local trainer would use, so that nothing hangs on the tool's defaults. Raises
    `RefusedError` with every reason where the tool would learn something else, and `UsageError` for an unknown tool or
    a folder that is not new. Nothing is written then.
    """
    tool = TOOLS.get(to)
    if tool is None:
        raise UsageError(f"no trainer is called {to!r}", fix=f"there are: {', '.join(TOOLS)}")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out} is there already", fix="name a new folder: --out FOLDER")
    handed = _handed(spec, data)
    settings = ordered(_settings(tool, handed))
    if reasons := (*_reasons(tool, handed, data), *_unsaid(handed, settings, tool)):
        raise RefusedError(f"{tool.title} would not learn the same", reasons=reasons, fix=_mend(reasons))
    with _new(out) as folder:
        _write_data(tool, spec.data_method, data, folder)
        _write_config(tool, handed, settings, folder)
        files = tuple(sorted(str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()))
    return HandedOver(
        tool=tool.name,
        out=out,
        files=files,
        settings=settings,
        notes=tool.notes,
        source=tool.source,
        command=tool.command.format(method=spec.method),
    )


def _handed(spec: TuneSpec, data: DataReport) -> Handed:
    train, validation = data.role("train"), data.role("validation")
    return Handed(
        name=spec.name,
        model=local.stable_name(local.local_model(spec)),
        method=spec.method,
        values=_flat(local.resolve(spec)),
        chosen=frozenset(path for path, _ in chosen(spec)),
        examples=train.examples if train else 0,
        train="data/train.jsonl",
        validation="data/validation.jsonl" if validation else None,
    )


def _flat(resolved: Mapping[str, Any]) -> dict[str, Any]:
    values = {f"training.{name}": value for name, value in resolved.items() if name != "lora"}
    return values | {f"training.lora.{name}": value for name, value in (resolved["lora"] or {}).items()}


def _reasons(tool: Tool, handed: Handed, data: DataReport) -> Iterator[str]:
    """Yield why the tool would not do what the job file says."""
    if handed.method not in tool.methods:
        yield f"method {handed.method}: {tool.title} trains by {', '.join(tool.methods)} from such a file"
    whole, at_once = handed.values["training.batch_size"], handed.values["training.micro_batch_size"]
    if at_once and whole % at_once:
        yield f"training.batch_size = {whole}: {tool.title} makes a step of whole passes, here of {at_once} each"
    for path, (there, why) in tool.lacks.items():
        if path in handed.chosen and handed.values.get(path) != there:
            yield f"{path} = {handed.values[path]}: {why}"
    for report in data.files:
        if report.errors:
            first = report.errors[0]
            yield f"{report.path.name} line {first.line or 1}: {first.message} [{first.code}]"


def _unsaid(handed: Handed, settings: tuple[Setting, ...], tool: Tool) -> Iterator[str]:
    """Yield the settings that the user made and that stand nowhere in the file."""
    for setting in settings:
        if setting.outcome == "refused" and setting.path in handed.chosen:
            yield f"{setting.path} = {setting.value}: {setting.why}"
    there = {"suffix", "training.lora", *tool.lacks, *(setting.path for setting in settings)}
    for path in sorted(handed.chosen - there):
        if handed.values.get(path, path) is not None:
            rule = local.RULES.get(path)
            why = rule.why if rule is not None and rule.outcome == "refused" else None
            yield f"{path}: {why or f'{tool.title} has no key for it'}"


def _mend(reasons: tuple[str, ...]) -> str:
    return "leave these settings out, or hand it to another trainer" if len(reasons) > 1 else "leave that out"


def _settings(tool: Tool, handed: Handed) -> Iterator[Setting]:
    """Yield what becomes of each setting."""
    yield from tool.write(handed)
    for key in tool.keys:
        value = handed.values.get(key.path)
        if value is not None:
            sent = key.words.get(value, value) if isinstance(value, str) else value
            why = key.why or ("its word for it" if sent != value else None)
            outcome: Any = "translated" if why else "kept"
            yield Setting(path=key.path, value=value, outcome=outcome, to=key.name, sent=sent, why=why)


@contextmanager
def _new(out: Path) -> Iterator[Path]:
    """Give a folder that takes its name only if all went well."""
    beside = None
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}."[:64]))
        yield beside
        beside.chmod(0o755)
        beside.replace(out)
    except OSError as error:
        fix = "make room" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "name another folder: --out FOLDER"
        raise AnytuneError(f"{out} cannot be written: {error.strerror}", fix=fix) from error
    finally:
        if beside is not None:
            shutil.rmtree(beside, ignore_errors=True)


def _write_data(tool: Tool, method: DataMethod, data: DataReport, folder: Path) -> None:
    (folder / "data").mkdir()
    for role in ("train", "validation"):
        report = data.role(role)
        if report is not None:
            with (folder / "data" / f"{role}.jsonl").open("wb") as file:
                file.writelines(_lines(tool, method, report))


def _lines(tool: Tool, method: DataMethod, report: FileReport) -> Iterator[bytes]:
    with report.path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                record: Record = _decode(line.removeprefix(b"\xef\xbb\xbf"))
                try:
                    made = tool.record(record, method)
                except RefusedError as error:
                    raise RefusedError(f"{report.path}:{number}: {error.message}", fix=error.fix) from error
                yield _encode(made) + b"\n"


def _write_config(tool: Tool, handed: Handed, settings: tuple[Setting, ...], folder: Path) -> None:
    keys = {s.to: s.sent for s in settings if s.to and s.sent is not None} | dict(tool.fixed)
    head = f"# {handed.name}, for {tool.title}. In this folder: {tool.command.format(method=handed.method)}\n"
    notes = "".join(f"# {note}\n" for note in tool.notes)
    text = yaml.safe_dump(nested(keys, tool), sort_keys=False, allow_unicode=True)
    (folder / CONFIG).write_text(head + notes + text, encoding="utf-8")
    for name, content in tool.beside(handed).items():
        (folder / name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
