"""The far side of bench/providers.py: enough of Together's API to take one file and hand one archive out, quickly.

    python bench/providers_side.py ARCHIVE

Bytes that are put are read and dropped; the archive is sent by the kernel from its file. The port goes to standard
output, then a line of JSON for each transfer: what it was, bytes, seconds from its first byte to its last.
"""

from __future__ import annotations

import json
import os
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

FILE_ID = "file-bench"
STANDING = {"id": FILE_ID, "object": "file", "filename": "train.jsonl", "processing_status": "COMPLETED"}
JOB = {"id": "ft-bench", "status": "completed", "model_output_name": "bench/model", "training_type": {"type": "Lora"}}


class Handler(BaseHTTPRequestHandler):
    """Answer one client."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self._drop_body()
        if self.path == "/v1/files":
            where = f"http://127.0.0.1:{self.server.server_port}/storage"
            self._answer(302, {}, {"Location": where, "X-Together-File-Id": FILE_ID})
        else:
            self._answer(200, STANDING)

    def do_PUT(self) -> None:
        started = time.perf_counter()
        size = self._drop_body()
        tell("upload", size, started)
        self._answer(200, {})

    def do_GET(self) -> None:
        if self.path.startswith("/v1/finetune/download"):
            self._archive()
        else:
            self._answer(200, JOB if "fine-tunes" in self.path else STANDING)

    def _drop_body(self) -> int:
        left = size = int(self.headers.get("Content-Length") or 0)
        buffer = memoryview(bytearray(1 << 20))
        while left and (got := self.rfile.readinto(buffer[: min(left, len(buffer))])):
            left -= got
        return size - left

    def _archive(self) -> None:
        path = Path(sys.argv[1])
        size, asked = path.stat().st_size, self.headers.get("Range")
        start = int(asked.removeprefix("bytes=").partition("-")[0]) if asked else 0
        self.send_response(206 if asked else 200)
        self.send_header("Content-Length", str(size - start))
        self.send_header("Content-Range", f"bytes {start}-{size - 1}/{size}")
        self.send_header("ETag", '"bench"')
        self.end_headers()
        self.wfile.flush()
        started, at = time.perf_counter(), start
        with path.open("rb") as source:
            while at < size:
                at += os.sendfile(self.connection.fileno(), source.fileno(), at, size - at)
        tell("download", size - start, started)

    def _answer(self, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
        raw = json.dumps(body).encode()
        self.send_response(status)
        for name, value in {
            "Content-Type": "application/json",
            "Content-Length": str(len(raw)),
            **(headers or {}),
        }.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Say nothing."""


def tell(what: str, size: int, started: float) -> None:
    """Write a transfer down."""
    print(json.dumps({"what": what, "bytes": size, "seconds": time.perf_counter() - started}), flush=True)


if __name__ == "__main__":
    Handler.rbufsize = 1 << 20
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(server.server_port, flush=True)
    server.serve_forever()
