"""Where bytes may be put or read: on hosts that are listed, by https, on this machine only for a service on it, too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from anytune import catalog
from anytune.config import load_settings
from anytune.config.settings import HOST
from anytune.errors import RejectedError, UsageError
from anytune.local.hf_jobs.client import Guarded
from anytune.providers._storage import safe_place
from anytune.providers.base import Profile
from anytune.providers.fireworks import download as fireworks
from anytune.providers.fireworks.gateway import Gateway as Fireworks
from anytune.providers.replicate import download as replicate
from anytune.providers.replicate.gateway import Gateway
from anytune.providers.together import upload as together
from anytune.providers.together.gateway import Gateway as Together
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


def far(name: str, **settings: Any) -> Profile:
    return Profile(name=name, home=Path("/nowhere"), key=lambda: "key", base_url=FAR, **settings)


def place(address: str, *, api: str = FAR, **settings: Any) -> Any:
    return safe_place(httpx.URL(address), api=api, profile=far("fireworks", **settings), act="upload")


@pytest.mark.parametrize("address", HERE)
def test_a_service_far_away_names_no_place_on_this_machine(address: str) -> None:
    with pytest.raises(RejectedError, match=SAID):
        place(address, storage=("127.0.0.1", "localhost"))
    assert place(address, api="http://127.0.0.1:9/v1")


@pytest.mark.parametrize("api", [FAR, "http://127.0.0.1:9/v1"])
def test_any_other_place_is_reached_by_https(api: str) -> None:
    assert place("https://storage.googleapis.com/x", api=api)
    for address in ("http://storage.googleapis.com/x", "ftp://127.0.0.1/x", "/x"):
        with pytest.raises(RejectedError):
            place(address, api=api)


@pytest.mark.parametrize("api", [FAR, "http://127.0.0.1:9/v1"])
@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evilstorage.googleapis.com",
        "storage.googleapis.com.evil.example",
        "storage.googleapis.com@evil.example",
        "googleapis.com",
        "203.0.113.7",
        "[2001:db8::1]",
    ],
)
def test_no_data_go_to_a_host_that_nobody_listed(api: str, host: str) -> None:
    with pytest.raises(RejectedError, match="nothing went there") as caught:
        place(f"https://{host}/x", api=api)
    named = host.rpartition("@")[2].strip("[]")
    assert f"the service names {named} as" in caught.value.message
    assert caught.value.fix == f"if you trust it, set profiles.fireworks.storage: [{named}] in your own config.yaml"


@pytest.mark.parametrize("host", ["storage.googleapis.com", "BUCKET.storage.GoogleAPIs.com.", "api.example"])
def test_the_catalogues_hosts_and_the_apis_own_take_data(host: str) -> None:
    assert place(f"https://{host}/x")


def test_the_user_may_list_more_hosts_and_a_project_may_not(tmp_path: Path) -> None:
    assert place("https://files.corp.example/x", storage=("files.corp.example",))
    assert place("https://a.b.corp.example/x", storage=("*.corp.example",))
    with pytest.raises(RejectedError):
        place("https://corp.example/x", storage=("*.corp.example",))
    user, project = tmp_path / "config" / "anytune" / "config.yaml", tmp_path / "anytune.yaml"
    user.parent.mkdir(parents=True)
    user.write_text("profiles: {together: {storage: [Files.corp.example]}}\n")
    around = {"XDG_CONFIG_HOME": str(tmp_path / "config"), "ANYTUNE_HOME": str(tmp_path / "home")}
    assert load_settings(folder=tmp_path, environment=around).profiles["together"].storage == ("files.corp.example",)
    project.write_text("profiles: {together: {storage: [evil.example]}}\n")
    with pytest.raises(UsageError, match=r"a project cannot set profiles\.together\.storage"):
        load_settings(folder=tmp_path, environment=around)


@pytest.mark.parametrize("host", ["https://files.example", "files.example/x", "*", "*.com/", "a..b", "*.*.example", ""])
def test_what_is_no_host_is_told_with_its_place(tmp_path: Path, host: str) -> None:
    (tmp_path / "anytune").mkdir()
    (tmp_path / "anytune" / "config.yaml").write_text(f"profiles: {{together: {{storage: ['{host}']}}}}\n")
    with pytest.raises(UsageError, match=r"config\.yaml:1:\d+: profiles\.together\.storage.*the name of a host"):
        load_settings(folder=tmp_path, environment={"XDG_CONFIG_HOME": str(tmp_path)})


@pytest.mark.parametrize("name", ["together", "fireworks", "replicate", "hf-jobs"])
def test_each_list_is_dated_and_names_its_source(name: str) -> None:
    storage = catalog.load(name).storage
    assert storage is not None
    assert storage.hosts
    assert storage.source
    assert not any(HOST.fullmatch(host) is None for host in storage.hosts)


@pytest.fixture
def tuned() -> TunedModel:
    return TunedModel(provider="p", base="b", name="m", job_id="j")


def test_replicate_fetches_no_weights_from_this_machine(tmp_path: Path, tuned: TunedModel) -> None:
    with pytest.raises(RejectedError, match=SAID):
        replicate.download(Gateway(far("replicate")), HERE[0], tuned, out=tmp_path / "out", seconds=1)


def test_fireworks_fetches_no_weights_from_this_machine(tmp_path: Path, tuned: TunedModel) -> None:
    with pytest.raises(RejectedError, match=SAID):
        fireworks.download(Fireworks(far("fireworks")), {"a.json": HERE[0]}, tuned, out=tmp_path / "out", seconds=1)


@pytest.mark.parametrize("address", [HERE[0], "https://evil.example/x"])
def test_together_puts_no_data_where_none_may_go(address: str) -> None:
    uploads = together.Uploads(Together(far("together")), parts=together.Parts())
    headers = {"location": address, "x-together-file-id": "file-1"}
    answer = httpx.Response(302, headers=headers, request=httpx.Request("POST", FAR))
    with pytest.raises(RejectedError):
        uploads._place(answer)
    with pytest.raises(RejectedError):
        list(uploads._places({"parts": [{"PartNumber": 1, "URL": address}]}, httpx.URL(FAR)))


@pytest.mark.parametrize("address", [HERE[0], "https://evil.example/x"])
def test_the_hub_puts_no_data_where_none_may_go(address: str) -> None:
    client = Guarded(FAR, far("hf-jobs"), key="key", act="upload")
    with pytest.raises(RejectedError):
        client.request("PUT", address, content=b"x")
