"""Archives of models: whole ones as a provider sends them, and each way in which one may be bad."""

from __future__ import annotations

import gzip
import io
import json
import random
import tarfile
from collections.abc import Iterable, Mapping
from typing import Literal

Packed = Literal["zst", "gz", "tar"]


def tensors(size: int = 200_000, *, seed: int = 0) -> bytes:
    """Make a safetensors file with one tensor of so many bytes, which no compression shrinks."""
    entry = {"lora_A": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}, "__metadata__": {"format": "pt"}}
    header = json.dumps(entry).encode()
    return len(header).to_bytes(8, "little") + header + random.Random(seed).randbytes(size)


def adapter(size: int = 200_000) -> dict[str, bytes]:
    """Make the files of an adapter."""
    return {"adapter_config.json": b'{"r": 8}', "adapter_model.safetensors": tensors(size)}


def merged(size: int = 200_000) -> dict[str, bytes]:
    """Make the files of a whole model in two shards."""
    shards = {f"model-{n:05}-of-00002.safetensors": tensors(size, seed=n) for n in (1, 2)}
    index = {"weight_map": {f"layer{n}": name for n, name in enumerate(shards)}}
    return {"config.json": b"{}", "model.safetensors.index.json": json.dumps(index).encode(), **shards}


def member(name: str, content: bytes = b"", **fields: object) -> tuple[tarfile.TarInfo, bytes]:
    """Make one member, of any type and with any name."""
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for field, value in fields.items():
        setattr(info, field, value)
    return info, content


def tarred(members: Iterable[tuple[tarfile.TarInfo, bytes]]) -> bytes:
    """Write members into a tar, as they are."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as tar:
        for info, content in members:
            tar.addfile(info, io.BytesIO(content))
    return raw.getvalue()


def packed(raw: bytes, kind: Packed = "zst") -> bytes:
    """Compress a tar in one of the ways in which it may come."""
    if kind == "zst":
        import zstandard

        return zstandard.ZstdCompressor().compress(raw)
    return gzip.compress(raw) if kind == "gz" else raw


def archive(files: Mapping[str, bytes], kind: Packed = "zst") -> bytes:
    """Pack whole files, as a provider does."""
    return packed(tarred(member(name, content) for name, content in files.items()), kind)
