"""Where bytes may be put or read: by https, and on this machine only for a service that is on it, too."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from anytune.errors import RejectedError
from anytune.local.hf_jobs.client import Guarded
from anytune.providers._storage import safe_place
from anytune.providers.base import Profile
from anytune.providers.fireworks import download as fireworks
from anytune.providers.replicate import download as replicate
from anytune.providers.replicate.gateway import Gateway
from anytune.providers.together import upload as together
from anytune.schema.model import TunedModel

FAR = "https://api.example/v1"
HERE = [
    "http://127.0.0.1:1/x",
    "http://localhost/x",
    "http://a.localhost/x",
    "http://LOCALHOST./x",
    "http://127.1/x",
    "http://2130706433/x",
    "http://0.0.0.0/x",
    "http://[::1]/x",
    "http://[::ffff:127.0.0.1]/x",
    "https://127.0.0.1/x",
]
SAID = "on this machine, and the service is not"


@pytest.mark.parametrize("address", HERE)
def test_a_service_far_away_names_no_place_on_this_machine(address: str) -> None:
    with pytest.raises(RejectedError, match=SAID):
        safe_place(httpx.URL(address), api=FAR, provider="p", act="upload")
    assert safe_place(httpx.URL(address), api="http://127.0.0.1:9/v1", provider="p", act="upload")


@pytest.mark.parametrize("api", [FAR, "http://127.0.0.1:9/v1"])
def test_any_other_place_is_reached_by_https(api: str) -> None:
    assert safe_place(httpx.URL("https://storage.example/x"), api=api, provider="p", act="upload")
    for address in ("http://storage.example/x", "ftp://127.0.0.1/x", "/x"):
        with pytest.raises(RejectedError):
            safe_place(httpx.URL(address), api=api, provider="p", act="upload")


def far(name: str) -> Profile:
    return Profile(name=name, home=Path("/nowhere"), key=lambda: "key", base_url=FAR)


@pytest.fixture
def tuned() -> TunedModel:
    return TunedModel(provider="p", base="b", name="m", job_id="j")


def test_replicate_fetches_no_weights_from_this_machine(tmp_path: Path, tuned: TunedModel) -> None:
    with pytest.raises(RejectedError, match=SAID):
        replicate.download(Gateway(far("replicate")), HERE[0], tuned, out=tmp_path / "out", seconds=1)


def test_fireworks_fetches_no_weights_from_this_machine(tmp_path: Path, tuned: TunedModel) -> None:
    with pytest.raises(RejectedError, match=SAID):
        fireworks.download({"a.json": HERE[0]}, tuned, api=FAR, out=tmp_path / "out", seconds=1)


def test_together_puts_no_data_on_this_machine() -> None:
    headers = {"location": HERE[0], "x-together-file-id": "file-1"}
    answer = httpx.Response(302, headers=headers, request=httpx.Request("POST", FAR))
    with pytest.raises(RejectedError, match=SAID):
        together._place(answer)
    with pytest.raises(RejectedError, match=SAID):
        list(together._places({"parts": [{"PartNumber": 1, "URL": HERE[0]}]}, httpx.URL(FAR)))


def test_the_hub_puts_no_data_on_this_machine() -> None:
    client = Guarded(FAR, key="key", act="upload", seconds=1, upload_seconds=1)
    with pytest.raises(RejectedError, match=SAID):
        client.request("PUT", HERE[0], content=b"x")
