"""One root certificate for a test: to read them all is most of the time that an HTTP client takes to be made."""

from __future__ import annotations

from pathlib import Path

import certifi
import pytest

_END = "-----END CERTIFICATE-----\n"


def one_root(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let HTTP clients read one root certificate, not all."""
    roots = folder / "roots.pem"
    roots.write_text(certifi.contents().partition(_END)[0] + _END)
    monkeypatch.setenv("SSL_CERT_FILE", str(roots))
