"""The referee's own parts do what it relies on: here without Prism, on descriptions of three lines."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.referee import patches, services, suites, tools
from tests.referee.patches import Patch, Stale
from tests.referee.relay import Aside, Relay
from tests.referee.spec import prepared
from tests.stubs._http import Call, Reply, StubServer

DESCRIPTION: dict[str, Any] = {
    "openapi": "3.1.0",
    "info": {"version": "1"},
    "paths": {"/jobs": {"get": {"$ref": "#/components/schemas/Job"}}, "/cats": {"$ref": "#/components/schemas/Cat"}},
    "components": {
        "schemas": {"Job": {"of": {"$ref": "#/components/schemas/Cause"}}, "Cause": {"a": 1}, "Cat": {}},
        "securitySchemes": {"key": {}},
    },
}


class Spoken(StubServer):
    """Answer as Prism does: with what it found in a header."""

    faults: list[dict[str, Any]] = []

    def answer(self, call: Call) -> Reply:
        return Reply(200, {"at": call.path, "query": call.query}, {"sl-violations": json.dumps(self.faults)})


def described(folder: Path) -> Path:
    source = folder / "some.yaml"
    source.write_text(yaml.safe_dump(DESCRIPTION))
    return source


def asked(url: str) -> Any:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=10) as answer:
        return json.loads(answer.read())


def test_a_description_is_cut_to_the_paths_that_are_asked_and_to_what_they_need(tmp_path: Path) -> None:
    made = prepared(described(tmp_path), tmp_path / "cut.json", paths=("/jo*",), patches=(), prefix="/v1")
    cut = json.loads(made.read_text())
    assert list(cut["paths"]) == ["/v1/jobs"]
    assert set(cut["components"]["schemas"]) == {"Job", "Cause"}
    assert cut["components"]["securitySchemes"] == {"key": {}}


def test_a_patch_mends_and_one_with_nothing_to_mend_is_stale() -> None:
    held = {"a": {"b": {"type": "string", "nullable": True}}}
    Patch(("a", "b"), "why", patches.or_null).apply(held)
    assert held["a"]["b"] == {"anyOf": [{"type": "string"}, {"type": "null"}]}
    with pytest.raises(Stale, match="nothing to mend"):
        Patch(("a", "b"), "why", patches.lacking("format")).apply(held)
    with pytest.raises(Stale, match="no such place"):
        Patch(("a", "c", "d"), "why", patches.put(1)).apply(held)


def test_the_relay_keeps_what_prism_says_and_lets_asides_go_around() -> None:
    error = {"location": ["response", "body", "id"], "severity": "Error", "message": "must be string"}
    strange = {"location": ["response"], "severity": "Warning", "message": "no such status"}
    with Spoken() as prism, Spoken() as stand_in:
        prism.faults = [error, strange]
        with Relay(prism.origin, stand_in.origin, [Aside("GET /bytes", "why")]) as relay:
            assert asked(f"{relay.origin}/jobs?limit=0&metadata[a]=b") == {
                "at": "/jobs",
                "query": {"limit": "0", "metadata[a]": "b"},
            }
            assert asked(f"{relay.origin}/bytes")["at"] == "/bytes"
        assert [str(finding) for finding in relay.findings] == ["GET /jobs: response.body.id: must be string"]
        assert relay.undescribed == {"GET → 200"}
        assert (relay.judged, relay.gone_aside) == (1, 1)
        assert [call.path for call in stand_in.journal] == ["/bytes"]


def test_a_prism_that_does_not_answer_is_a_finding() -> None:
    with StubServer() as gone, Relay("http://127.0.0.1:9", gone.origin, []) as relay:
        with pytest.raises(urllib.error.HTTPError, match="502"):
            asked(f"{relay.origin}/jobs")
        assert len(relay.findings) == 1


def test_a_report_of_a_suite_is_counted_without_what_was_skipped(tmp_path: Path) -> None:
    report = tmp_path / "r.xml"
    bad = '<testcase classname="a" name="bad"><failure/></testcase>'
    cases = f'<testcase classname="a" name="good"/><testcase name="left"><skipped/></testcase>{bad}'
    report.write_text(f"<testsuites><testsuite>{cases}</testsuite></testsuites>")
    result = suites.read(report)
    assert (result.passed, result.total, result.skipped, result.failed) == (1, 2, 1, ["a::bad"])


def test_every_exception_says_why() -> None:
    for service in services.ALL:
        assert all(len(aside.reason) > 10 for aside in service.asides)
        assert all(len(patch.reason) > 10 for patch in service.patches)
        assert all(service.suite.left_out.values())
        assert tools.version_of(service.suite.package)
