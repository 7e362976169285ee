"""Faults that a service, or the way to it, may show in any call; each says how the struck command may end.

Words for the ends: `OVER` the engine gets over it by itself, `TOLD` it may end in an error of ours and the next command
goes on, `REFUSED` the provider said no.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.stubs._call import Call, Reply
from tests.stubs._http import StubServer

OVER = frozenset((0,))
TOLD = frozenset((0, 1, 3, 7))
REFUSED = frozenset((0, 1, 3))
KEY = frozenset((0, 6))
OFTEN = 10_000  # times: for as long as the command goes on

DEEP = b"[" * 100_000
SAID = {"error": {"message": "No, not this.", "type": "odd", "param": None, "code": None}}
JSON = {"Content-Type": "application/json"}
WORDS = {"openai": "status", "together": "status", "fireworks": "state"}
IDS = {"openai": "id", "together": "id", "fireworks": "name"}
DONE = {"openai": "succeeded", "together": "completed"}
MODELS = ("fine_tuned_model", "model_output_name", "x_model_output_name", "output_name")


@dataclass(frozen=True)
class Fault:
    """Be a fault: `order` lays it on a stand-in for the calls that match a pattern.

    `of` says in whose answers it can be: any, those in which a job stands, or those of events. `ahead` is how far off
    this machine's clock is, in seconds; `hasty` makes the caller's deadline short.
    """

    name: str
    order: Callable[[StubServer, str, str], None]
    ends: frozenset[int] = OVER
    of: str = "any"
    ahead: float = 0.0
    hasty: bool = False
    not_at: frozenset[str] = field(default=frozenset())


def fail(status: int, **options: Any) -> Callable[[StubServer, str, str], None]:
    given = {"body": SAID, **options}
    return lambda stub, pattern, _: stub.fail_next(pattern, status=status, **given)


def body(raw: Any, **options: Any) -> Callable[[StubServer, str, str], None]:
    """Answer 200 with this instead of what was asked for."""
    return fail(200, body=raw, headers=JSON, **options)


def named(order: str, **options: Any) -> Callable[[StubServer, str, str], None]:
    return lambda stub, pattern, _: getattr(stub, order)(pattern, **options)


def both(*orders: Callable[[StubServer, str, str], None]) -> Callable[[StubServer, str, str], None]:
    """Give several orders."""

    def order(stub: StubServer, pattern: str, provider: str) -> None:
        for each in orders:
            each(stub, pattern, provider)

    return order


def twist(change: Callable[[dict[str, Any], str], Any], *, times: int = 2) -> Callable[[StubServer, str, str], None]:
    """Do the work and change the answer: `change` gets each object that stands in it, and the provider's name."""

    def order(stub: StubServer, pattern: str, provider: str) -> None:
        inner, left = stub.answer, [times]

        def answer(call: Call) -> Reply:
            reply = inner(call)
            if left[0] > 0 and call.matches(pattern) and isinstance(reply.body, dict):
                left[0] -= 1
                return Reply(reply.status, _changed(reply.body, change, provider), reply.headers)
            return reply

        stub.answer = answer  # type: ignore[method-assign]

    return order


def _changed(told: dict[str, Any], change: Callable[[dict[str, Any], str], Any], provider: str) -> Any:
    if isinstance(told.get("data"), list):
        return {**told, "data": [change(dict(row), provider) for row in told["data"]]}
    return change(dict(told), provider)


def mangle(change: Callable[[bytes], bytes]) -> Callable[[StubServer, str, str], None]:
    """Do the work once and change the bytes of the answer."""

    def order(stub: StubServer, pattern: str, provider: str) -> None:
        inner, left = stub.answer, [1]

        def answer(call: Call) -> Reply:
            reply = inner(call)
            if left[0] and call.matches(pattern) and isinstance(reply.body, dict | list):
                left[0] = 0
                whole = json.dumps(reply.body).encode()
                return Reply(reply.status, change(whole), {**dict(reply.headers), **JSON})
            return reply

        stub.answer = answer  # type: ignore[method-assign]

    return order


def events(change: Callable[[list[Any]], Any]) -> Callable[[StubServer, str, str], None]:
    """Change a list of events, each time that it is told."""

    def order(stub: StubServer, pattern: str, provider: str) -> None:
        inner = stub.answer

        def answer(call: Call) -> Reply:
            reply = inner(call)
            if call.matches(pattern) and isinstance(reply.body, dict):
                return Reply(reply.status, {**reply.body, "data": change(list(reply.body["data"]))}, reply.headers)
            return reply

        stub.answer = answer  # type: ignore[method-assign]

    return order


def _with(name: dict[str, str], value: Any) -> Callable[[dict[str, Any], str], Any]:
    return lambda told, provider: {**told, name[provider]: value}


def _without(name: dict[str, str]) -> Callable[[dict[str, Any], str], Any]:
    return lambda told, provider: {key: value for key, value in told.items() if key != name[provider]}


def _all_but_the_rest(value: Any) -> Callable[[dict[str, Any], str], Any]:
    """Give every field this value, but those by which a job is known and what it is to be called."""

    def change(told: dict[str, Any], provider: str) -> Any:
        kept = {IDS[provider], WORDS[provider], "metadata", "suffix", "user_provided_suffix", "displayName", *MODELS}
        kept |= {"outputModel", "trainingConfig"}
        return {key: told[key] if key in kept else value for key in told}

    return change


def _success_without_a_model(told: dict[str, Any], provider: str) -> Any:
    bare = {key: value for key, value in told.items() if key not in MODELS}
    return {**bare, WORDS[provider]: DONE[provider]}


def _skewed(seconds: int) -> Callable[[dict[str, Any], str], Any]:
    """Move every time in seconds by so much, and the year of every other."""

    def change(told: dict[str, Any], provider: str) -> Any:
        moved = {key: value + seconds for key, value in told.items() if key.endswith("_at") and type(value) is int}
        later = {
            key: value.replace("2026-", "2027-" if seconds > 0 else "2025-")
            for key, value in told.items()
            if key.lower().endswith(("_at", "time")) and isinstance(value, str)
        }
        return {**told, **moved, **later}

    return change


def _shuffled(rows: list[Any]) -> list[Any]:
    return random.Random(len(rows)).sample(rows, len(rows))


def _nothing(stub: StubServer, pattern: str, provider: str) -> None:
    """Leave the service as it is: the fault is this machine's."""


LATER = {"Date": "Sun, 22 Nov 2026 10:00:00 GMT", "Retry-After": "Sun, 22 Nov 2026 10:00:30 GMT"}
PAST = {"Date": "Sun, 22 Nov 2026 10:00:00 GMT", "Retry-After": "Sun, 22 Nov 2026 08:00:00 GMT"}
AGES = "1e9 s"  # a watch waits as long as it is told to, and reads its record all the while
TIMES: tuple[tuple[str, dict[str, str], frozenset[int]], ...] = (
    ("no time", {}, OVER),
    ("7 s", {"Retry-After": "7"}, OVER),
    ("0", {"Retry-After": "0"}, OVER),
    ("-5", {"Retry-After": "-5"}, OVER),
    ("250 ms", {"retry-after-ms": "250"}, OVER),
    ("a date", LATER, OVER),
    ("a date in the past", PAST, OVER),
    ("a date without another", {"Retry-After": LATER["Retry-After"]}, OVER),
    ("a word", {"Retry-After": "soon"}, OVER),
    ("inf", {"Retry-After": "inf"}, OVER),
    ("nan", {"Retry-After": "nan"}, OVER),
    ("3600 s", {"Retry-After": "3600"}, TOLD),
    (AGES, {"Retry-After": "1e9"}, TOLD),
)
GARBAGE: tuple[tuple[str, Any], ...] = (
    ("{}", {}),
    ("[]", []),
    ("null", b"null"),
    ("7", b"7"),
    ("a string", b'"done"'),
    ("nothing", b""),
    ("bytes", b"\xff\xfe\x00"),
    ("deep nesting", DEEP),
    ("a deep object", b'{"data":' * 50_000 + b"1" + b"}" * 50_000),
    ("an id of null", {"id": None, "name": None}),
    ("an empty id", {"id": "", "name": ""}),
    ("an id of 7", {"id": 7, "name": 7}),
    ("a list of null", {"data": None}),
    ("rows of null", {"data": [None]}),
    ("an error with 200", SAID),
    ("NaN", b'{"id": NaN}'),
)
SAYINGS: tuple[tuple[str, Any], ...] = (
    ("nothing", b""),
    ("a word", {"error": "no"}),
    ("a list", [{"msg": "no"}]),
    ("null", {"error": None}),
    ("bytes", b"\xff\xfe"),
    ("a book", b"no " * 300_000),
)
MANGLED: tuple[tuple[str, Callable[[bytes], bytes]], ...] = (
    ("one byte of it", lambda whole: whole[:1]),
    ("a tenth of it", lambda whole: whole[: len(whole) // 10]),
    ("nine tenths of it", lambda whole: whole[: len(whole) * 9 // 10]),
    ("all but a byte", lambda whole: whole[:-1]),
    ("it twice", lambda whole: whole + whole),
    ("a mark before it", lambda whole: b"\xef\xbb\xbf" + whole),
    ("zeros behind it", lambda whole: whole + b"\0" * 64),
    ("it in UTF-16", lambda whole: whole.decode().encode("utf-16")),
)
ARCHIVES = frozenset(("archive",))  # which a service keeps in storage elsewhere, and sends there for
BYTES = frozenset(("store", "download", "archive"))  # whose deadline is that of a file
STORES = frozenset(("store",))  # storage says nothing but its status: a 200 of somebody else's is a yes
EMPTY_IS_AN_ANSWER = frozenset(("store", "look for the file", "quote", "download", "archive"))
REFUSALS = (400, 402, 403, 404, 405, 409, 410, 413, 418, 422, 451)
ODD_REFUSALS = (406, 411, 412, 414, 415, 416, 417, 424, 426, 428, 431)
OUTAGES = (408, 500, 502, 503, 504, 520, 529)
ODD_OUTAGES = (507, 521, 522, 523, 524, 530, 598)
REDIRECTS = (301, 302, 303, 307, 308)
WORDS_UNHEARD_OF: tuple[Any, ...] = ("pre-empted", "", None, 7, ["running"], {"is": "running"}, "SUCCEEDED?", "x" * 999)
BAD_IDS: tuple[Any, ...] = (None, "", 7, [], "../../x", "ftjob-other", "a\x00b", "x" * 300, "-rf")


def faults(trap: str) -> list[Fault]:
    """List all faults; `trap` is the origin that must never be asked."""
    return [*_answers(), *_bodies(), *_ways(trap), *_garbage(), *_mangled(), *_twists(), *_clocks(), *_for_long()]


def _answers() -> list[Fault]:
    found = [
        Fault(f"429, {word}", fail(429, headers=named), ends, not_at=frozenset({"sweep"} if word == AGES else ()))
        for word, named, ends in TIMES
    ]
    found += [Fault("429 four times", fail(429, times=4))]
    outages = (*OUTAGES, *ODD_OUTAGES)
    found += [Fault(f"{status} before the work", fail(status)) for status in outages]
    found += [Fault(f"{status} after the work", fail(status, when="after")) for status in outages]
    found += [Fault("500, 500", fail(500, times=2)), Fault("500, 500 after the work", fail(500, times=2, when="after"))]
    found += [Fault(f"{status}", fail(status), REFUSED) for status in (*REFUSALS, *ODD_REFUSALS)]
    found += [Fault(f"{status} with a page", fail(status, body=b"<p>no</p>"), REFUSED) for status in (403, 404, 413)]
    found += [Fault("401", fail(401), KEY), Fault("401 with a page", fail(401, body=b"<p>no</p>"), KEY)]
    return found


def _bodies() -> list[Fault]:
    """Say no in ways that no service describes: what counts is the status."""
    found = []
    for word, said in SAYINGS:
        found += [Fault(f"400 that says {word}", fail(400, body=said), REFUSED)]
        found += [Fault(f"429 that says {word}", fail(429, body=said))]
        found += [Fault(f"503 that says {word}", fail(503, body=said))]
    return found


def _ways(trap: str) -> list[Fault]:
    found = [
        Fault(f"redirect {n}", named("redirect_next", to=trap, status=n), REFUSED, not_at=ARCHIVES) for n in REDIRECTS
    ]
    found += [
        Fault("dropped before the work", named("drop_next")),
        Fault("dropped after the work", named("drop_next", when="after")),
        Fault("dropped twice before", named("drop_next", times=2)),
        Fault("dropped twice after", named("drop_next", times=2, when="after")),
        Fault("cut in half", named("cut_next"), not_at=STORES),
        Fault("broken off", named("break_next")),
        Fault("cut in half twice", named("cut_next", times=2), TOLD, not_at=STORES),
        Fault("broken off twice", named("break_next", times=2), TOLD),
        Fault("dropped, then 500", both(named("drop_next"), fail(500, skip=1)), TOLD),
        Fault("429, then broken off", both(fail(429), named("break_next", skip=1)), TOLD),
        Fault("slow headers", named("drip_next", pace=0.2, part="headers"), hasty=True, not_at=BYTES),
        Fault("slow body", named("drip_next", pace=0.2), hasty=True, not_at=BYTES),
    ]
    return found


def _garbage() -> list[Fault]:
    found = [Fault("a page with 200", named("html_next"), TOLD, not_at=EMPTY_IS_AN_ANSWER)]
    found += [Fault("a page with 200 after the work", named("html_next", when="after"), TOLD)]
    for word, raw in GARBAGE:
        found += [Fault(f"{word} with 200 after the work", body(raw, when="after"), TOLD)]
        found += [Fault(f"{word} with 200 before the work", body(raw), TOLD, not_at=EMPTY_IS_AN_ANSWER)]
    return found


def _mangled() -> list[Fault]:
    """Do the work, and let what is said of it come to harm on the way, though its length is right."""
    return [Fault(word, mangle(change), TOLD, not_at=STORES | ARCHIVES | {"download"}) for word, change in MANGLED]


def _twists() -> list[Fault]:
    found = [Fault(f"status {str(word)[:12]!r}", twist(_with(WORDS, word)), of="job") for word in WORDS_UNHEARD_OF]
    found += [Fault("no status", twist(_without(WORDS)), of="job"), Fault("no id", twist(_without(IDS)), TOLD, "job")]
    found += [
        Fault(f"id {str(value)[:12]!r}", twist(_with(IDS, value)), TOLD, "job", not_at=frozenset(("create", "find")))
        for value in BAD_IDS
    ]
    for odd in (None, 7, [], {}, "\ud800", "x" * 10_000, -1e300):
        found += [Fault(f"all else {str(odd)[:8]!a}", twist(_all_but_the_rest(odd)), TOLD, "job")]
    found += [
        Fault("success without a model", twist(_success_without_a_model), of="job", not_at=frozenset(("cancel",)))
    ]
    lists: tuple[tuple[str, Callable[[list[Any]], Any]], ...] = (
        ("twice", lambda rows: rows + rows),
        ("shuffled", _shuffled),
        ("backwards", lambda rows: rows[::-1]),
        ("twice and shuffled", lambda rows: _shuffled(rows + rows)),
    )
    return found + [Fault(f"events {word}", events(change), of="events") for word, change in lists]


def _clocks() -> list[Fault]:
    found = [Fault(f"clock here {h:+} h", _nothing, ahead=h * 3600.0) for h in (-8760, -24, -2, 2, 24, 8760)]
    return found + [Fault(f"clock there {h:+} h", twist(_skewed(h * 3600), times=OFTEN), of="job") for h in (-2, 2)]


def _for_long() -> list[Fault]:
    """Leave a fault for as long as the command goes on: it must end in an error of ours, and nothing may be lost."""
    ends = TOLD
    return [
        Fault("429 for long", fail(429, times=OFTEN), ends),
        Fault("500 for long", fail(500, times=OFTEN), ends),
        Fault("503 for long", fail(503, times=OFTEN), ends),
        Fault("401 for long", fail(401, times=OFTEN), KEY),
        Fault("broken off for long", named("break_next", times=OFTEN), ends),
        Fault("cut in half for long", named("cut_next", times=OFTEN), ends, not_at=STORES),
        Fault("{} for long", body({}, times=OFTEN, when="after"), ends),
        Fault("500 after the work for long", fail(500, times=OFTEN, when="after"), ends),
        Fault("404 three times", fail(404, times=3), REFUSED),
        Fault("404 for long", fail(404, times=OFTEN), ends),
        Fault("dropped for long", named("drop_next", times=OFTEN), ends),
        Fault("dropped after the work for long", named("drop_next", times=OFTEN, when="after"), ends),
        Fault("a page for long", named("html_next", times=OFTEN, when="after"), ends),
    ]
