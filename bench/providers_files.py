"""Make the files that bench/providers.py sends and fetches.

python bench/providers_files.py chats|archive PATH BYTES     (prints the file's SHA-256 for chats)
"""

from __future__ import annotations

import hashlib
import io
import json
import random
import sys
import tarfile
from pathlib import Path
from typing import Any

MB = 1_000_000


def chats(path: Path, size: int) -> str:
    """Write chats of about 1,000 bytes each and return the hash of the file."""
    digest = hashlib.sha256()
    with path.open("wb") as file:
        for number in range(size // 1000):
            turns = [
                {"role": "user", "content": f"{number} " + "boat " * 100},
                {"role": "assistant", "content": "x" * 390},
            ]
            line = json.dumps({"messages": turns}).encode() + b"\n"
            digest.update(line)
            file.write(line)
    return digest.hexdigest()


class Weights(io.RawIOBase):
    """Be a safetensors file of one tensor, made while it is read: blocks that no compression shrinks."""

    def __init__(self, size: int) -> None:
        entry = {"lora_A": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}}
        header = json.dumps(entry).encode()
        self._next = len(header).to_bytes(8, "little") + header
        self.size = len(self._next) + size
        self._block = random.Random(0).randbytes(64 * MB)
        self._left, self._at = size, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._next and self._left:
            end = min(self._at + len(buffer), len(self._block), self._at + self._left)
            self._next = self._block[self._at : end]
            self._left -= len(self._next)
            self._at = end % len(self._block)
        piece, self._next = self._next[: len(buffer)], self._next[len(buffer) :]
        buffer[: len(piece)] = piece
        return len(piece)


def pack(path: Path, size: int) -> None:
    """Write an adapter of this size as a `.tar.zst`."""
    import zstandard

    weights = Weights(size)
    files = {
        "adapter_config.json": (2, io.BytesIO(b"{}")),
        "adapter_model.safetensors": (weights.size, io.BufferedReader(weights, 1 << 20)),
    }
    with (
        path.open("wb") as raw,
        zstandard.ZstdCompressor(level=1).stream_writer(raw) as packed,
        tarfile.open(fileobj=packed, mode="w|") as tar,
    ):
        for name, (length, source) in files.items():
            info = tarfile.TarInfo(name)
            info.size = length
            tar.addfile(info, source)


if __name__ == "__main__":
    kind, to, length = sys.argv[1:]
    print(chats(Path(to), int(length)) if kind == "chats" else pack(Path(to), int(length)))
