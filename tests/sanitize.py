"""Feed the compiled reader broken lines, built so that it stops at the first byte read or written out of place.

    python tests/sanitize.py [--seconds N] [--seed N]

It is compiled anew with AddressSanitizer and UndefinedBehaviorSanitizer; where the compiler has none, that is told.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from itertools import chain
from pathlib import Path
from random import Random
from time import monotonic
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
SOURCES = sorted((ROOT / "anytune" / "data" / "check" / "c").glob("*.c"))
PIECES = (
    *(
        b'"',
        b"\\",
        b"\\u",
        b"\\ud83d",
        b"\\ude00",
        b"\xf0\x9f\x99\x82",
        b"\xe2",
        b"{",
        b"}",
        b"[",
        b"]",
        b",",
        b":",
        b"\r",
    ),
    *(b" ", b"0", b"-1", b"1.5", b"null", b'"content":', b'"arguments":"{}"', b'"name":"a"', b'"tools":[', b"\xff"),
)


def main() -> None:
    """Build, then run this script again under the sanitizers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--within", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.within:
        fuzz(options.within, Random(options.seed), monotonic() + options.seconds)
        return
    with tempfile.TemporaryDirectory() as folder:
        library = build(Path(folder))
        if library is None:
            print("skipped: this compiler has no sanitizers")
            return
        command = [sys.executable, __file__, "--within", folder]
        command += ["--seconds", str(options.seconds), "--seed", str(options.seed)]
        strict = {"LD_PRELOAD": library, "ASAN_OPTIONS": "detect_leaks=0", "UBSAN_OPTIONS": "halt_on_error=1"}
        strict["PYTHONMALLOC"] = "malloc"  # so that each line has bounds of its own
        sys.exit(subprocess.run(command, env={**os.environ, **strict}).returncode)


def build(folder: Path) -> str | None:
    """Compile the reader into a folder; return the path of the sanitizer's library, None where there is none."""
    compiler = shutil.which("gcc")
    if compiler is None or sys.platform != "linux":
        return None
    asked = subprocess.run([compiler, "-print-file-name=libasan.so"], capture_output=True, text=True).stdout.strip()
    if not Path(asked).is_absolute():
        return None
    flags = ["-g", "-O1", "-fsanitize=address,undefined", "-fno-omit-frame-pointer", "-Wall", "-Wextra", "-Werror"]
    flags += ["-DPy_LIMITED_API=0x030B0000", "-shared", "-fPIC", f"-I{sysconfig.get_path('include')}"]
    subprocess.run([compiler, *flags, *map(str, SOURCES), "-o", str(folder / "_outline.abi3.so")], check=True)
    return asked


def fuzz(folder: Path, random: Random, end: float) -> None:
    """Read lines of the fixtures, changed in a few places, until the time is over."""
    sys.path.insert(0, str(folder))
    import _outline as native

    seeds, large, outlines, lines, sound = lines_of_fixtures(), lines_that_are_too_much(), native.Outlines(), 0, 0
    for line in large:
        read(native, outlines, line, random)
    while monotonic() < end:
        if lines % 20_000 == 0:
            outlines = native.Outlines()
        line = changed(random.choice(large if lines % 500 == 0 else seeds), random)
        sound += read(native, outlines, line, random)
        lines += 1
    print(f"{lines:,} broken lines, {sound:,} of them sound enough to be read: nothing out of place")


def read(native: Any, outlines: Any, line: bytes, random: Random) -> bool:
    """Call all that there is with one line."""
    found = outlines.outline(line)
    if found is not None:
        texts = len(found[3])
        texts = 1100 if random.random() < 0.1 else texts
        first, last = (random.randrange(texts), random.randrange(texts)) if texts else (-1, -1)
        outlines.learn(found[0], first, last, random.random() < 0.1)
    outlines.find(line)
    block = bytearray(line + b"\n" + line[: random.randrange(len(line) + 1)] + b"\n{" * random.choice((0, 0, 0, 70)))
    with memoryview(block) as view:
        outlines.scan(view[: random.randrange(len(block) + 1)], random.getrandbits(8))
    native.key(line[:100], line[50:])
    compare(native, memoryview(line)[random.randrange(9) :], random)
    return found is not None


def compare(native: Any, numbers: memoryview, random: Random) -> None:
    """Call all that compares rows with numbers that need not be aligned, nor whole."""
    native.repeated(numbers)
    native.places(numbers, numbers[: random.randrange(len(numbers) + 1)])
    native.group(numbers, random.randrange(4), random.randrange(4))
    native.total(numbers)
    native.sizes(numbers, numbers)
    native.sizes(
        numbers, bytes([0, 1, random.randrange(3), 0, 0, 0, 0, 0]) * (len(numbers) // 8) + bytes(len(numbers) % 8)
    )


def changed(line: bytes, random: Random) -> bytes:
    """Change a line in a few places, or none."""
    held = bytearray(line)
    for _ in range(random.choice((0, 0, 1, 1, 2, 5))):
        at = random.randrange(len(held) + 1)
        match random.randrange(4):
            case 0:
                held[at:at] = random.choice(PIECES) * random.choice((1, 1, 1, 2, 70))
            case 1:
                del held[at : at + random.randrange(6)]
            case 2 if held:
                held[at % len(held)] = random.randrange(256)
            case _:
                del held[at:]
    return bytes(held)


def lines_that_are_too_much() -> list[bytes]:
    """Return lines with a little more of something than the reader has room for."""
    nested: dict[str, Any] = {}
    for _ in range(58):
        nested = {**{f"k{number}": 0 for number in range(20)}, "deep": nested}
    long = {"a": "x" * 70_000}
    records: list[dict[str, Any]] = [
        *({"messages": [{"tool_calls": [{"function": {"arguments": json.dumps(held)}}]}]} for held in (long, nested)),
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}] * 1_100}]},
        {"messages": ["a"] * 1_100},
        {"messages": [{"role": "tool", "tool_call_id": f"call_{number}", "content": "a"} for number in range(90)]},
        {"messages": [{"role": "x" * 9_000, "content": "a"}]},
        {f"key{number}": None for number in range(70)},
        {"meta": {f"{'k' * 200}{number}": None for number in range(60)}},
    ]
    return [json.dumps(record).encode() for record in records]


def lines_of_fixtures() -> list[bytes]:
    """Return the first lines of all fixtures and cases."""
    folders = (ROOT / "fixtures", ROOT / "tests" / "data" / "cases")
    paths = sorted(chain.from_iterable(folder.rglob("*.jsonl") for folder in folders))
    lines = chain.from_iterable(path.read_bytes().split(b"\n")[:50] for path in paths)
    return [line for line in lines if len(line) < 20_000]


if __name__ == "__main__":
    main()
