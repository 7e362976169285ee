"""Read what the user wrote: the job file, `anytune.yaml`, `--set`, and keys from the environment."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, Field, ValidationError

from anytune.errors import CredentialError, UsageError
from anytune.schema.base import Value
from anytune.schema.plan import Policy
from anytune.schema.spec import TuneSpec

LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
PROJECT_FILE = "anytune.yaml"
PERSONAL = {"key_variable", "region"}  # what only the user may say of a provider
MERGE = "tag:yaml.org,2002:merge"
DEEPEST = 50  # levels in a file; the C loader dies of some ten thousand


class ProfileSettings(Value):
    """Say how a provider is reached; `key_variable` names the environment variable that holds the key."""

    base_url: str | None = None
    region: str | None = None
    key_variable: str | None = None
    timeout: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 120.0


class Settings(Value):
    """Hold the user's and the project's settings, the project's above the user's."""

    home: Path
    profiles: dict[str, ProfileSettings] = {}
    policy: Policy = Policy()


def load_settings(*, folder: Path, environment: Mapping[str, str]) -> Settings:
    """Merge the user's `config.yaml` and the nearest `anytune.yaml` at or above `folder`.

    A project comes with a checkout and may be a stranger's. So its policy can only be stricter than the user's, it
    cannot say in which variable a key is found or which region a host is in, and with its own base_url the user's word
    on the region no longer holds. `ANYTUNE_HOME` says where jobs are kept; otherwise `$XDG_DATA_HOME/anytune` or
    `~/.local/share/anytune`.
    """
    data = environment.get("XDG_DATA_HOME") or "~/.local/share"
    home = _expanded(environment.get("ANYTUNE_HOME") or f"{data}/anytune").absolute()
    settings = _expanded(environment.get("XDG_CONFIG_HOME") or "~/.config") / "anytune" / "config.yaml"
    above = (parent / PROJECT_FILE for parent in (folder, *folder.parents))
    users, project = settings, next((p for p in above if p.is_file()), None)
    merged: dict[str, Any] = {"home": str(home)}
    policy = Policy()
    for path in (users, project):
        if path is not None and path.is_file():
            document = _Document(path, may_be_empty=True)
            told = _told(document, home, foreign=path is project, own=users)
            merged, policy = _merge(_without_regions(merged, told), document.data), policy.and_also(told.policy)
    return Settings.model_validate({**merged, "policy": policy})


def _told(document: _Document, home: Path, *, foreign: bool, own: Path) -> Settings:
    if "home" in document.data:
        raise UsageError(f"{document.place(['home'])}: unknown key 'home'", fix="set ANYTUNE_HOME instead")
    told: Settings = _validated(Settings, {"home": str(home), **document.data}, document)
    for name, profile in told.profiles.items():
        for key in PERSONAL & profile.model_fields_set if foreign else ():
            place = document.place(["profiles", name, key])
            raise UsageError(f"{place}: a project cannot set profiles.{name}.{key}", fix=f"set it in {own}")
    return told


def _without_regions(merged: dict[str, Any], told: Settings) -> dict[str, Any]:
    """Forget the region of each provider that is now reached under another address."""
    moved = {name: {"region": None} for name, profile in told.profiles.items() if profile.base_url is not None}
    return _merge(merged, {"profiles": moved}) if moved else merged


def load_job(
    path: Path, *, changes: Sequence[str] = (), provider: str | None = None, model: str | None = None
) -> TuneSpec:
    """Read a job file, apply `--set` changes, and settle provider, model, overrides and paths.

    Raises `UsageError` with file, line and column for whatever is wrong in it.
    """
    document = _Document(path)
    data = document.data
    for change in changes:
        data = _changed(data, change)
    if provider is not None:
        data = {**data, "provider": provider}
    spec: TuneSpec = _validated(TuneSpec, data, document)
    if override := spec.overrides.get(spec.provider):
        spec = _validated(TuneSpec, _merge(data, override), document)
    chosen = model or spec.model or spec.models.get(spec.provider)
    if not chosen:
        raise UsageError(
            f"{path}: no model for provider {spec.provider!r}",
            fix=f"give model, or models: {{{spec.provider}: …}}",
        )
    return _settled(spec, folder=path.absolute().parent, model=chosen)


def key_source(provider: str, variable: str | None, environment: Mapping[str, str]) -> Callable[[], str]:
    """Return the function that reads a provider's key when it is first needed."""

    def key() -> str:
        if variable is None:
            return ""
        value = environment.get(variable, "").strip()
        if not value:
            raise CredentialError(f"{provider} needs a key: {variable} is not set", fix=f"export {variable}=…")
        return value

    return key


def job_schema() -> dict[str, Any]:
    """Return the JSON Schema of the job file, for editors."""
    schema: dict[str, Any] = TuneSpec.model_json_schema()
    return schema


def _settled(spec: TuneSpec, *, folder: Path, model: str) -> TuneSpec:
    def placed(path: Path | None) -> Path | None:
        return None if path is None else Path(os.path.normpath(folder / _expanded(path)))

    data = spec.data.model_copy(
        update={name: placed(getattr(spec.data, name)) for name in ("train", "validation", "test")}
    )
    evaluation = spec.evaluation.model_copy(update={"database": placed(spec.evaluation.database)})
    if model.startswith((".", "/", "~")) or (spec.provider == "local" and os.path.isdir(folder / model)):
        model = str(placed(Path(model)))
    return spec.model_copy(
        update={"model": model, "models": {}, "overrides": {}, "data": data, "evaluation": evaluation}
    )


def _expanded(path: Path | str) -> Path:
    """Put the home folder for a leading ~; the name of a user who is not there stays as it is."""
    return Path(os.path.expanduser(path))


def _changed(data: dict[str, Any], change: str) -> dict[str, Any]:
    path, equals, text = change.partition("=")
    if not equals or not path:
        raise UsageError(f"--set {change!r} is not KEY=VALUE", fix="for example --set training.epochs=1")
    try:
        value, _ = _loaded(text)
    except yaml.YAMLError as error:
        raise UsageError(f"--set {path}: {text[:80]!r} is not YAML: {_problem(error)}") from error
    for key in reversed(path.split(".")):
        value = {key: value}
    merged: dict[str, Any] = _merge(data, value)
    return merged


def _merge(below: Any, above: Any) -> Any:
    if isinstance(below, dict) and isinstance(above, dict):
        return {**below, **{key: _merge(below.get(key), value) for key, value in above.items()}}
    return above


class _Document:
    """Be a YAML file whose keys' places are known."""

    def __init__(self, path: Path, *, may_be_empty: bool = False) -> None:
        self.path = path
        data, self._root = _parse(path)
        if data is None and may_be_empty:
            data = {}
        if not isinstance(data, dict):
            raise UsageError(f"{path}: empty or not a mapping of keys", fix="anytune init writes a job file")
        self.data: dict[str, Any] = data

    def place(self, keys: Sequence[str | int]) -> str:
        """Return `file:line:column` of the deepest of these keys that stands in the file."""
        node, mark = self._root, self._root.start_mark if self._root else None
        for key in keys:
            pairs = node.value if isinstance(node, yaml.MappingNode) else []
            found = next(((k, v) for k, v in pairs if k.value == key), None)
            if found is None:
                break
            mark, node = found[0].start_mark, found[1]
        return f"{self.path}:{mark.line + 1}:{mark.column + 1}" if mark else str(self.path)


def _parse(path: Path) -> tuple[Any, Any]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise UsageError(f"{path}: no such file", fix="anytune init writes a job file") from error
    except IsADirectoryError as error:
        raise UsageError(f"{path} is a folder, not a file") from error
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: cannot be read: {error}") from error
    try:
        return _loaded(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
        raise UsageError(f"{path}{place}: not YAML: {_problem(error)}") from error


def _problem(error: yaml.YAMLError) -> str:
    return str(getattr(error, "problem", None) or error).partition("\n")[0]


def _loaded(text: str) -> tuple[Any, Any]:
    """Return the data and the nodes of one document; raise `YAMLError` also where PyYAML would look away or trip."""
    depth = 0
    for event in yaml.parse(text, Loader=LOADER):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            raise _fault_at(event, "nested too deep")
    loader = LOADER(text)
    try:
        root = loader.get_single_node()
        for node in _nodes(root):
            _refuse_twice(node)
            _refuse_no_value(node, loader)
        return None if root is None else loader.construct_document(root), root
    finally:
        loader.dispose()


def _nodes(root: Any) -> Iterator[Any]:
    """Yield each node once, however many aliases lead to it."""
    waiting, seen = [root], set()
    while waiting:
        node = waiting.pop()
        if node is None or id(node) in seen:
            continue
        seen.add(id(node))
        yield node
        if isinstance(node, yaml.MappingNode):
            waiting += [part for pair in node.value for part in pair if part.tag != MERGE]
        elif isinstance(node, yaml.SequenceNode):
            waiting += node.value


def _refuse_twice(node: Any) -> None:
    told = set()
    for key, _ in node.value if isinstance(node, yaml.MappingNode) else ():
        if isinstance(key, yaml.ScalarNode) and (key.tag, key.value) in told:
            raise _fault_at(key, f"the key {key.value!r} stands here twice")
        told.add((key.tag, str(key.value)))


def _refuse_no_value(node: Any, loader: Any) -> None:
    if not isinstance(node, yaml.ScalarNode):
        return
    try:
        loader.construct_object(node)
    except (ValueError, KeyError, AttributeError) as error:
        kind = node.tag.rpartition(":")[2]
        raise _fault_at(node, f"{node.value[:40]!r} is no {kind}") from error


def _fault_at(part: Any, problem: str) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=part.start_mark)


def _validated(kind: type[Any], data: dict[str, Any], document: _Document) -> Any:
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        faults = list(_faults(kind, data, error, document))
        hint = f"and {len(faults) - 1} more:\n  " + "\n  ".join(faults[1:]) if len(faults) > 1 else None
        raise UsageError(faults[0], fix=hint) from error


def _faults(kind: type[Any], data: Any, error: ValidationError, document: _Document) -> Iterator[str]:
    """Say each fault once; of a union's branches only the one that reaches deepest into the file counts."""
    placed = [(fault, *_in_file(fault["loc"], kind, data)) for fault in error.errors(include_url=False)]
    told: set[tuple[str | int, ...]] = set()
    for fault, keys, known in placed:
        if keys in told or any(len(other) > len(keys) and other[: len(keys)] == keys for _, other, _ in placed):
            continue
        told.add(keys)
        yield f"{document.place(keys)}: {_fault(fault, keys, known)}"


def _fault(fault: Any, keys: tuple[str | int, ...], known: list[str]) -> str:
    name = ".".join(map(str, keys))
    if fault["type"] == "extra_forbidden":
        near = difflib.get_close_matches(str(keys[-1]), known, n=1)
        return f"unknown key {name!r}" + (f": did you mean {near[0]!r}?" if near else "")
    if fault["type"] == "missing":
        return f"{name} is missing"
    return f"{name}: {_shown(fault['input'])}: {_said(fault)}" if keys else _said(fault)


def _in_file(location: tuple[str | int, ...], kind: type[Any], data: Any) -> tuple[tuple[str | int, ...], list[str]]:
    """Cut pydantic's location to the keys that a user can see, and name the keys that could stand there."""
    keys: list[str | int] = []
    model: Any = kind
    for part in location:
        fields = model.model_fields if isinstance(model, type) and issubclass(model, BaseModel) else {}
        if part in fields or (isinstance(data, dict) and part in data) or (isinstance(data, list) and part == 0):
            keys.append(part)
            data = data.get(part) if isinstance(data, dict) else None
            inner = fields[str(part)].annotation if part in fields else None
            model = next(iter(_models(inner)), model if part not in fields else inner)
    known = list(model.model_fields) if isinstance(model, type) and issubclass(model, BaseModel) else []
    return tuple(keys), known


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in getattr(annotation, "__args__", ()):
        yield from _models(inner)


def _said(fault: Any) -> str:
    return f"{fault['msg'][0].lower()}{fault['msg'][1:]}".replace("value error, ", "")


def _shown(value: Any) -> str:
    return "null" if value is None else repr(value) if isinstance(value, str | int | float | bool) else "this"
