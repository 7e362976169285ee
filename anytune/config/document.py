"""A YAML file whose keys' places are known, and what is wrong in it, said for people."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from anytune.errors import UsageError

LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
MERGE = "tag:yaml.org,2002:merge"
DEEPEST = 50  # levels in a file; the C loader dies of some ten thousand


class Document:
    """Be a YAML file whose keys' places are known."""

    def __init__(self, path: Path, *, may_be_empty: bool = False) -> None:
        self.path = path
        self.changed: list[list[str]] = []  # the keys that --set changed, which stand elsewhere than in the file
        data, self._root = _parse(path)
        if data is None and may_be_empty:
            data = {}
        if not isinstance(data, dict):
            raise UsageError(f"{path}: empty or not a mapping of keys", fix="anytune init writes a job file")
        self.data: dict[str, Any] = data

    def place(self, keys: Sequence[str | int]) -> str:
        """Return `file:line:column` of the deepest of these keys that stands in the file, or the --set that set it."""
        for changed in self.changed:
            if list(keys[: len(changed)]) == changed[: len(keys)]:
                return f"--set {'.'.join(changed)}"
        node, mark = self._root, self._root.start_mark if self._root else None
        for key in keys:
            if isinstance(node, yaml.SequenceNode) and isinstance(key, int) and key < len(node.value):
                node = node.value[key]
                mark = node.start_mark
                continue
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
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8 text", fix="save it as UTF-8") from error
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from error
    try:
        return loaded(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
        raise UsageError(f"{path}{place}: not YAML: {problem(error)}") from error


def problem(error: yaml.YAMLError) -> str:
    """Return the first line of what PyYAML says."""
    return str(getattr(error, "problem", None) or error).partition("\n")[0]


@lru_cache(maxsize=4)
def loaded(text: str) -> tuple[Any, Any]:
    """Return the data and the nodes of one document; raise `YAMLError` also where PyYAML would look away or trip.

    Whoever asks again for the same text, as a plan does for each provider, gets the same values: nobody changes them.
    """
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


def validated(kind: type[Any], data: dict[str, Any], document: Document) -> Any:
    """Make a value of the data; raise `UsageError` that names every fault with its place."""
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        first, *more = _faults(kind, data, error, document)
        raise UsageError(first, reasons=tuple(more)) from error


def _faults(kind: type[Any], data: Any, error: ValidationError, document: Document) -> Iterator[str]:
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
        listed = isinstance(data, list) and isinstance(part, int) and part < len(data)
        if part in fields or (isinstance(data, dict) and part in data) or listed:
            keys.append(part)
            data = data[part] if listed else data.get(part) if isinstance(data, dict) else None
            inner = fields[str(part)].annotation if part in fields else None
            model = next(iter(_models(inner)), model if part not in fields else inner)
    known = list(model.model_fields) if isinstance(model, type) and issubclass(model, BaseModel) else []
    return tuple(keys), known


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in getattr(annotation, "__args__", ()):
        yield from _models(inner)


PLAIN = {
    "model_type": "it takes keys of its own below it",
    "dict_type": "it takes keys of its own below it",
    "string_pattern_mismatch": "letters, digits, '.', '_' and '-' only, a letter or digit first",
    "decimal_parsing": "it should be a number",
    "tuple_type": "it should be a list",
}


def _said(fault: Any) -> str:
    if fault["type"] in PLAIN:
        return PLAIN[fault["type"]]
    return f"{fault['msg'][0].lower()}{fault['msg'][1:]}".replace("value error, ", "")


def _shown(value: Any) -> str:
    return "null" if value is None else repr(value) if isinstance(value, str | int | float | bool) else "this"


def merge(below: Any, above: Any) -> Any:
    """Lay one mapping over another, key by key."""
    if isinstance(below, dict) and isinstance(above, dict):
        return {**below, **{key: merge(below.get(key), value) for key, value in above.items()}}
    return above
