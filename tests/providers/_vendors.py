"""Every exception that a vendor's package defines, found in its source: what no call has loaded counts, too."""

from __future__ import annotations

import builtins
import re
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

CLASS = re.compile(r"^class (\w+)\(([^)]*)\)", re.MULTILINE)
BUILT_IN = {name for name, kind in vars(builtins).items() if isinstance(kind, type) and issubclass(kind, BaseException)}


class Defined(NamedTuple):
    """Name a class where its source has it, with the names of its bases."""

    package: str
    file: str
    name: str
    bases: tuple[str, ...]

    def load(self) -> type[BaseException]:
        """Import the class."""
        module = f"{self.package}/{self.file.removesuffix('.py').removesuffix('/__init__')}".replace("/", ".")
        found: type[BaseException] = getattr(import_module(module.removesuffix(".__init__")), self.name)
        return found


def exceptions(package: str) -> list[Defined]:
    """List the exceptions of a package, whatever of it is imported."""
    spec = find_spec(package)
    assert spec is not None
    assert spec.origin is not None
    classes = list(_classes(package, Path(spec.origin).parent))
    known, found = set(BUILT_IN), set[Defined]()
    while more := {one for one in classes if set(one.bases) & known} - found:
        found |= more
        known |= {one.name for one in more}
    return sorted(found)


def _classes(package: str, root: Path) -> Iterator[Defined]:
    for path in root.rglob("*.py"):
        for name, given in CLASS.findall(path.read_text(encoding="utf-8", errors="replace")):
            bases = tuple(base.strip().rpartition(".")[2] for base in given.split(",") if "=" not in base)
            yield Defined(package, str(path.relative_to(root)), name, bases)
