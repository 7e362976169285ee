"""Look at this machine: what is installed, which keys are there, and what is broken. No package is imported for it."""

from __future__ import annotations

import os
import platform
import re
import shutil
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import anytune
from anytune.ui.nouns import Finding, Readiness

if TYPE_CHECKING:
    from anytune.config import Settings
    from anytune.tuner import Tuner

LITTLE_DISK = 5 << 30
IGNORED = {
    "OPENAI_BASE_URL": "openai",
    "AZURE_OPENAI_ENDPOINT": "azure",
    "TOGETHER_BASE_URL": "together",
    "FIREWORKS_BASE_URL": "fireworks",
    "REPLICATE_BASE_URL": "replicate",
}
REQUIREMENT = re.compile(r"^([A-Za-z0-9._-]+)\s*([^;]*)(?:;.*extra == ['\"]([^'\"]+)['\"])?")
LEAST = re.compile(r">=\s*(\d+)(?:\.(\d+))?")


def readiness(tuner: Tuner) -> list[Readiness]:
    """Say for each provider what it has and what it lacks."""
    return [_ready(tuner, name) for name in tuner.reach.names()]


def bare_settings() -> Settings:
    """Return the settings that hold without any file of the user's or the project's."""
    from anytune import config

    nowhere = Path(os.devnull)
    return config.load_settings(folder=nowhere, environment={**os.environ, "XDG_CONFIG_HOME": str(nowhere)})


def findings(tuner: Tuner) -> Iterator[Finding]:
    """Look at everything that a job may need."""
    yield Finding("ok", "anytune", f"{anytune.__version__}, Python {platform.python_version()}, {sys.platform}")
    ready = readiness(tuner)
    for one in ready:
        missing = not one.packages.startswith("installed")
        fix = f"pip install 'anytune[{one.extra or one.name}]'" if missing else None
        fix = fix or (None if one.ready or "is not set" not in one.key else f"anytune keys add {one.name}")
        level: Literal["ready", "not ready"] = "ready" if one.ready else "not ready"
        lacks = f"; {one.lacks}" if one.lacks else ""
        yield Finding(level, one.name, f"packages {one.packages}; key {one.key}{lacks}", fix)
    if not any(one.packages.startswith("installed") for one in ready):
        yield Finding("bad", "providers", "not one can be used", "pip install 'anytune[local]'")
    yield _home(tuner)
    yield _worker(tuner)
    yield _disk(tuner.settings.home)
    yield from _hardware()
    yield from _ignored_variables()
    yield from _dates(tuner)


def _ready(tuner: Tuner, name: str) -> Readiness:
    from anytune import catalog
    from anytune.errors import UsageError

    kind = tuner.reach.kind(name)
    packages, variable = _packages(kind), tuner.reach.key_variable(name)
    has_key, key = _key(tuner, variable)
    try:
        known = catalog.load(kind)
        address = tuner.reach.profile(name).base_url or known.base_url
        place, lacks = _place(tuner, name), None if address or name == "local" else _no_address(name, known.address)
    except UsageError:
        place, address, lacks = "as the plug-in says", tuner.reach.profile(name).base_url, None
    return Readiness(
        name=name,
        ready=packages.startswith("installed") and has_key and lacks is None,
        packages=packages,
        key=key,
        place="stays on this machine" if name == "local" else place,
        base_url=address,
        lacks=lacks,
        extra=kind,
    )


def _key(tuner: Tuner, variable: str | None) -> tuple[bool, str]:
    """Tell whether a key is there, and say where, without showing it."""
    from anytune.errors import CredentialError

    if variable is None:
        return True, "none needed"
    try:
        found = tuner.reach.keys.find(variable)
    except CredentialError as error:
        return False, f"{error.message}; {error.fix}"
    where = "" if found is None or found.source == "environment" else f" (in the {found.source})"
    return found is not None, f"{variable} is {'set' if found else 'not set'}{where}"


def _place(tuner: Tuner, name: str) -> str:
    """Say where the data of this provider are: as its profile has it, else as the catalogue knows."""
    from anytune import catalog

    told = tuner.reach.capabilities(name, "") if name in tuner.settings.profiles else catalog.load(name)
    regions = ", ".join(told.regions or ()) or "region unknown"
    return f"{regions} ({told.region_note})" if told.region_note else regions


def _no_address(name: str, address: str | None) -> str:
    return f"profiles.{name}.base_url is not set: {address}"


def _packages(extra: str) -> str:
    """Say which packages of an extra are here, by the metadata alone."""
    from anytune.providers import BUILT_IN

    wanted = dict(_requirements(extra))
    if not wanted:
        return "installed: none of its own needed" if extra in BUILT_IN else "installed (by a plug-in)"
    versions = {name: _version(name) for name in wanted}
    lacking = [name for name, found in versions.items() if found is None]
    if lacking:
        return f"missing: {', '.join(lacking)}"
    old = [f"{n} {v} (needs {wanted[n]})" for n, v in versions.items() if v and _older(v, wanted[n])]
    if old:
        return f"too old: {', '.join(old)}"
    return f"installed: {', '.join(f'{name} {found}' for name, found in versions.items())}"


def _requirements(extra: str) -> Iterator[tuple[str, str]]:
    try:
        stated = metadata.requires("anytune") or []
    except metadata.PackageNotFoundError:
        return
    for line in stated:
        match = REQUIREMENT.match(line)
        if match and match[3] == extra:
            yield match[1], match[2].strip()


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _older(version: str, wanted: str) -> bool:
    least = LEAST.search(wanted)
    figures = [int(n) for n in re.findall(r"\d+", version)[:2]]
    return least is not None and figures < [int(least[1]), int(least[2] or 0)]


def _home(tuner: Tuner) -> Finding:
    from anytune.errors import MissingExtraError, StoreError

    home, store = tuner.settings.home, tuner.settings.store
    try:
        count = len(tuner.store.summaries())
    except (StoreError, MissingExtraError) as error:
        return Finding("bad", "home", error.message, error.fix)
    place = f"{home}, jobs in {store}:" if store else f"{home},"
    return Finding("ok", "home", f"{place} {count} job{'' if count == 1 else 's'}")


def _worker(tuner: Tuner) -> Finding:
    worker = tuner.worker.pid()
    if worker is not None:
        return Finding("ok", "worker", f"process {worker} watches all jobs")
    return Finding("ok", "worker", "none: jobs are looked at while a command runs (anytune watch --detach)")


def _disk(home: Path) -> Finding:
    from anytune.ui.words import size

    there = next((folder for folder in (home, *home.parents) if folder.exists()), Path("/"))
    free = shutil.disk_usage(there).free
    if free < LITTLE_DISK:
        return Finding("note", "disk", f"only {size(free)} free", "make room, or set ANYTUNE_HOME")
    return Finding("ok", "disk", f"{size(free)} free")


def _hardware() -> Iterator[Finding]:
    from anytune.ui.words import size

    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    yield Finding("ok", "memory", f"{size(total)}")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    info = Path("/proc/cpuinfo")
    flags = set(info.read_text(errors="replace").split()) if info.is_file() else set()
    quick = next((name for flag, name in CPU_FLAGS if flag in flags), "no bfloat16 instructions: float32 is used")
    yield Finding("ok", "cpu", f"{cores} cores, {quick}")
    gpu = Path("/proc/driver/nvidia/version").exists()
    yield Finding("ok", "gpu", "NVIDIA driver found" if gpu else "none found: local training uses the CPU")
    yield _isolation()


def _isolation() -> Finding:
    from anytune.local.confine import has_namespaces

    if has_namespaces():
        return Finding("ok", "isolation", "local jobs run without a network (a namespace of the kernel's)")
    said = "no network namespace can be made here: Python alone keeps local jobs from connecting"
    fix = (
        "allow unprivileged user namespaces, or run anytune where there is no network"
        if sys.platform == "linux"
        else None
    )
    return Finding("note", "isolation", said, fix)


CPU_FLAGS = (("amx_bf16", "AMX for bfloat16"), ("avx512_bf16", "AVX512-BF16"))


def _ignored_variables() -> Iterator[Finding]:
    for variable, provider in IGNORED.items():
        if os.environ.get(variable):
            fix = f"providers' addresses stand in your config.yaml: profiles: {{{provider}: {{base_url: …}}}}"
            yield Finding("note", variable, "is set, and anytune does not heed it", fix)


def _dates(tuner: Tuner) -> Iterator[Finding]:
    from anytune.errors import UsageError
    from anytune.ui import offer

    try:
        catalogs = tuner.catalogs()
    except UsageError as error:
        yield Finding("bad", "catalogue", error.message, error.fix)
        return
    for known in catalogs:
        for said in offer.remarks(known, tuner.today) if known.models else ():
            fix = "pip install -U anytune; anytune providers refresh" if "were read on" in said else None
            yield Finding("note", known.provider, said, fix)
