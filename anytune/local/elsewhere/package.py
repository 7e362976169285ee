"""Our own program as one file, so that the job runs the very code that made the plan."""

from __future__ import annotations

import hashlib
import io
from functools import cache
from pathlib import Path

KINDS = {".py", ".yaml"}  # what is compiled here may not run there, and is not needed for training
MOMENT = (2026, 1, 1, 0, 0, 0)


@cache
def pack() -> tuple[str, bytes]:
    """Return the path under which the code is kept in the repository, and its bytes: the same for the same program.

    It is read once a process, as what runs here stays what it was when the process began.
    """
    import zipfile

    root = Path(__file__).parents[2]
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w", zipfile.ZIP_STORED) as archive:
        for path in sorted(path for path in root.rglob("*") if path.suffix in KINDS):
            name = f"{root.name}/{path.relative_to(root).as_posix()}"
            archive.writestr(zipfile.ZipInfo(name, MOMENT), path.read_bytes())
    data = whole.getvalue()
    return f"code/{hashlib.sha256(data).hexdigest()}.zip", data
