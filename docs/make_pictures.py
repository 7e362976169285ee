"""Draw docs/plan-all.svg, what `anytune plan --all` shows for the demo's job file: `python docs/make_pictures.py`."""

from __future__ import annotations

import io
import os
import pty
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.text import Text

ROOT = Path(__file__).resolve().parent.parent
WIDTH = 110
COMMAND = "anytune plan examples/english-to-sql/finetune.yaml --all"


def main() -> None:
    """Run the command in a terminal of its own and draw what it printed."""
    shown = Text.from_ansi(f"$ {COMMAND}\n" + in_terminal(COMMAND))
    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True)
    console.print(shown)
    drawn = console.export_svg(title="anytune", unique_id="anytune")
    alone = re.sub(r"@font-face \{.*?\}", "", drawn, flags=re.DOTALL)  # a picture reaches for nobody's fonts
    (ROOT / "docs" / "plan-all.svg").write_text(alone, encoding="utf-8")


def in_terminal(command: str) -> str:
    """Return what a command prints to a terminal, with its colours."""
    ours, theirs = pty.openpty()
    with tempfile.TemporaryDirectory() as home:
        environment = {**os.environ, "ANYTUNE_HOME": home, "COLUMNS": str(WIDTH), "TERM": "xterm-256color"}
        environment.pop("NO_COLOR", None)
        process = subprocess.Popen(
            [sys.executable, "-m", *command.split()], cwd=ROOT, stdout=theirs, stderr=theirs, env=environment
        )
        os.close(theirs)
        said = b""
        while chunk := _read(ours):
            said += chunk
        process.wait()
    return said.decode().replace("\r\n", "\n")


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # Linux tells the end of a pseudo-terminal so
        return b""


if __name__ == "__main__":
    main()
