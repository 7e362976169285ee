"""Build the wheel, install it bare in an empty environment, and use it without any extra."""

from __future__ import annotations

import os
import shutil
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
WITHOUT_COMPILER = WITHOUT_EXTRAS[1:3]
HEAVY = ("torch", "transformers", "peft", "bitsandbytes", "openai", "together")


def main() -> None:
    """Fail loudly at the first thing that a bare wheel cannot do."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        wheel = build(place / "compiled")
        venv.create(place / "env", with_pip=True)
        python = place / "env" / "bin" / "python"
        install(python, wheel)
        assert is_compiled(python), f"{wheel.name} holds no compiled reader"
        installed = subprocess.run([python, "-m", "pip", "list"], check=True, capture_output=True, text=True).stdout
        names = {line.split()[0].lower() for line in installed.splitlines() if line.strip()}
        assert not names & set(HEAVY), f"a bare wheel brought {sorted(names & set(HEAVY))}"
        for arguments, code in WITHOUT_EXTRAS:
            run(place, arguments, code)
        install(python, build(place / "plain", CC="no-such-compiler"))
        assert not is_compiled(python)
        for arguments, code in WITHOUT_COMPILER:
            run(place, arguments, code)
    print(f"{len(WITHOUT_EXTRAS) + len(WITHOUT_COMPILER)} commands of the bare wheel passed, 0 failed")


def build(folder: Path, **environment: str) -> Path:
    """Build the wheel into a folder, from a copy, so that nothing compiled before is taken along."""
    source = folder / "source"
    left_out = shutil.ignore_patterns(".*", "build", "*.so", "*.egg-info", "__pycache__", "fixtures", "tests", "bench")
    shutil.copytree(ROOT, source, ignore=left_out)
    command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "wheel", "--no-deps"]
    command += ["--no-build-isolation", "-w", str(folder), str(source)]
    subprocess.run(command, check=True, env={**os.environ, **environment})
    (wheel,) = folder.glob("anytune-*.whl")
    return wheel


def install(python: Path, wheel: Path) -> None:
    """Install a wheel, in place of another of the same version."""
    command = [python, "-m", "pip", "--quiet", "--disable-pip-version-check", "install"]
    subprocess.run([*command, str(wheel)], check=True)
    subprocess.run([*command, "--force-reinstall", "--no-deps", str(wheel)], check=True)


def is_compiled(python: Path) -> bool:
    """Tell whether the compiled reader came with the wheel."""
    asked = [python, "-c", "import anytune.data.check._outline"]
    return subprocess.run(asked, capture_output=True, cwd=python.parent).returncode == 0  # not from the checkout


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
