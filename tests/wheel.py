"""Build the wheel, install it bare in an empty environment, and use it without any extra."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TRAIN = str(ROOT / "examples" / "english-to-sql" / "train.jsonl")
TEST = str(ROOT / "examples" / "english-to-sql" / "test.jsonl")
WITHOUT_EXTRAS = (
    (["--help"], 0),
    (["check", TRAIN], 0),
    (["check", TRAIN, "--for", "openai", "--privacy", "--against", TEST], 0),
    (["check", TRAIN, "--near"], 2),  # needs the extra dedup, and says so
    (["fix", TRAIN, "--out", "mended.jsonl"], 0),
    (["convert", str(ROOT / "fixtures" / "convert" / "alpaca.jsonl"), "--out", "chats.jsonl"], 0),
    (["split", TRAIN, "--out-dir", "."], 0),
    (["dedupe", TRAIN, "--out", "unique.jsonl"], 0),
    (["preview", TRAIN, "--model", str(ROOT / "fixtures" / "tiny-base")], 2),  # needs the extra local, and says so
    (["plan", str(ROOT / "examples" / "english-to-sql" / "finetune.yaml"), "--provider", "openai"], 0),
    (["plan", str(ROOT / "examples" / "english-to-sql" / "finetune.yaml"), "--all"], 0),
    (["providers"], 0),
    (["models"], 0),
)
HEAVY = ("torch", "transformers", "peft", "bitsandbytes", "openai", "together")


def main() -> None:
    """Fail loudly at the first thing that a bare wheel cannot do."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", str(place), str(ROOT)], check=True)
        (wheel,) = place.glob("anytune-*.whl")
        venv.create(place / "env", with_pip=True)
        python = place / "env" / "bin" / "python"
        subprocess.run([python, "-m", *pip[2:], "install", str(wheel)], check=True)
        installed = subprocess.run([python, "-m", "pip", "list"], check=True, capture_output=True, text=True).stdout
        names = {line.split()[0].lower() for line in installed.splitlines() if line.strip()}
        assert not names & set(HEAVY), f"a bare wheel brought {sorted(names & set(HEAVY))}"
        for arguments, code in WITHOUT_EXTRAS:
            run(place, arguments, code)
    print(f"{len(WITHOUT_EXTRAS)} commands of the bare wheel passed, 0 failed")


def run(place: Path, arguments: list[str], code: int) -> None:
    """Run one command away from the checkout, with a home of its own and no keys."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(place), "ANYTUNE_HOME": str(place / "home")}
    done = subprocess.run(
        [place / "env" / "bin" / "anytune", *arguments], cwd=place, env=environment, capture_output=True, text=True
    )
    assert done.returncode == code, f"anytune {' '.join(arguments)}: {done.returncode}\n{done.stdout}{done.stderr}"
    assert "Traceback" not in done.stderr


if __name__ == "__main__":
    main()
