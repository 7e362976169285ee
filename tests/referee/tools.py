"""Fetch what the referee needs into a room of its own: Prism, the vendors' suites, what those need to run."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PRISM = "@stoplight/prism-cli@5.16.0"
NEEDED = Path(__file__).with_name("requirements.txt")
SDKS = ("openai", "together")
LONGEST = 900  # seconds for one of them: most of a minute where nothing else runs
PIP = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check")


@dataclass(frozen=True)
class Tools:
    """Name where everything lies."""

    prism: Path
    site: Path
    suites: dict[str, Path]


def fetched(room: Path) -> Tools:
    """Fetch what is not there yet, or is there in another version; the first time takes most of a minute."""
    pinned = {name: version_of(name) for name in SDKS}
    _once(room / "prism", PRISM, _install_prism)
    _once(room / "site", NEEDED.read_text(encoding="utf-8"), _install_site)
    wanted = [f"{name}=={version}" for name, version in pinned.items()]
    _once(room / "suites", " ".join(wanted), lambda place: _download(place, wanted))
    suites = {name: room / "suites" / f"{name}-{version}" for name, version in pinned.items()}
    return Tools(room / "prism" / "node_modules" / ".bin" / "prism", room / "site", suites)


def version_of(name: str) -> str:
    """Return the version that requirements.txt pins: the suite must be of the SDK that we use."""
    found = re.search(rf"^{name}==(\S+)$", (ROOT / "requirements.txt").read_text(encoding="utf-8"), re.MULTILINE)
    if found is None:
        raise SystemExit(f"referee: requirements.txt pins no {name}")
    return found[1]


def _once(place: Path, wanted: str, make: Callable[[Path], None]) -> None:
    """Make a folder anew unless it was made whole for the same wish."""
    stamp = place / ".made-for"
    if stamp.exists() and stamp.read_text(encoding="utf-8") == wanted:
        return
    print(f"referee: fetching {place.name} …", flush=True)
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    make(place)
    stamp.write_text(wanted, encoding="utf-8")


def _install_prism(place: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        raise SystemExit("referee: npm is needed, to install Prism")
    # no scripts: one of what Prism needs reports installations to its maker
    quiet = ("--ignore-scripts", "--no-audit", "--no-fund", "--loglevel", "error")
    _run([npm, "install", *quiet, "--prefix", str(place), PRISM])


def _install_site(place: Path) -> None:
    _run([*PIP, "install", "--no-deps", "--target", str(place), "-r", str(NEEDED)])


def _download(place: Path, wanted: list[str]) -> None:
    _run([*PIP, "download", "--no-deps", "--no-binary", ",".join(SDKS), "-d", str(place), *wanted])
    for archive in place.glob("*.tar.gz"):
        with tarfile.open(archive) as held:
            held.extractall(place, filter="data")


def _run(command: list[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=LONGEST)
    except subprocess.TimeoutExpired:
        raise SystemExit(f"referee: took more than {LONGEST} s: {' '.join(command)}") from None
    if done.returncode != 0:
        raise SystemExit(f"referee: failed: {' '.join(command)}\n{done.stdout[-1000:]}{done.stderr[-2000:]}")
