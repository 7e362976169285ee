"""Files for the tests of data."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

from anytune.data.check import check
from anytune.schema.data import FileReport

ROOT = Path(__file__).parents[2]
CHAT = ROOT / "fixtures" / "chat"


def script(path: Path) -> ModuleType:
    """Load a script that is no part of a package."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def user(content: Any = "Tide?", **more: Any) -> dict[str, Any]:
    return {"role": "user", "content": content, **more}


def assistant(content: Any = "5.9 m", **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": content, **more}


def chat(*messages: Any, **more: Any) -> dict[str, Any]:
    return {"messages": list(messages or (user(), assistant())), **more}


def write(path: Path, *records: Any) -> Path:
    """Write records, or raw lines, one a line."""
    lines = (r if isinstance(r, bytes) else json.dumps(r).encode() for r in records)
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    return path


def report(path: Path, **terms: Any) -> FileReport:
    """Check one file and return its report."""
    return check([path], **terms).files[0]
