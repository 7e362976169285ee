from __future__ import annotations

import random
from string import ascii_letters, digits

import pytest

from anytune.data.privacy import KINDS, PrivacyReport, blocked, chosen, find, scan
from anytune.data.privacy.kind import NAME
from anytune.errors import UsageError
from tests.data.samples import ROOT

PRIVACY = ROOT / "fixtures" / "privacy"
HF = "hf_" + "aB3dE5gH7jK9mN1pQ3sT5vW7yZ2bC4dF6h"
TAIL = "aB3dE5gH7jK9mN1pQ3sT5vW7yZ2bC4dF6hJ8"


def values(text: str, kind: str | None = None) -> list[str]:
    return [text[f.start : f.end] for f in find(text) if kind in (None, f.kind)]


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("email", "jane.doe+tide@harbour.example"),
        ("email", "müller@häfen.example"),
        ("phone", "+1 415 555 0132"),
        ("phone", "(415) 555-0132"),
        ("phone", "+49 30 901820"),
        ("phone", "+44 (0)20 7946 0018"),
        ("phone", "0044 20 7946 0018"),
        ("phone", "06 12 34 56 78"),
        ("phone", "(11) 91234-5678"),
        ("phone", "03-1234-5678"),
        ("phone", "0171 1234567"),
        ("card", "4111111111111111"),
        ("card", "5555-5555-5555-4444"),
        ("card", "3782 822463 10005"),
        ("card", "6011\u00a01111\u00a01111\u00a01117"),
        ("iban", "GB29 NWBK 6016 1331 9268 19"),
        ("iban", "fr1420041010050500013m02606"),
        ("iban", "NL91ABNA0417164300"),
        ("national-id", "123-45-6789"),
        ("national-id", "1 85 05 78 006 084 91"),
        ("national-id", "12345678Z"),
        ("national-id", "X1234567L"),
        ("national-id", "RSSMRA85T10A562S"),
        ("national-id", "86 095 742 719"),
        ("national-id", "529.982.247-25"),
        ("national-id", "AB 12 34 56 C"),
        ("ip", "203.0.113.7"),
        ("ip", "10.0.0.1"),
        ("ip", "2001:db8:85a3::8a2e:370:7334"),
        ("ip", "2001:0db8:85a3:0000:0000:8a2e:0370:7334"),
        ("key", "AKIAIOSFODNN7EXAMPLE"),
        ("key", HF),
        ("key", f"ghp_{TAIL}"),
        ("key", f"sk-proj-{TAIL}"),
        ("key", f"sk-ant-api03-{TAIL}"),
        ("key", f"AIza{TAIL[:35]}"),
        ("key", f"glpat-{TAIL[:20]}"),
        ("key", f"sk_live_{TAIL[:24]}"),
        ("key", f"npm_{TAIL}"),
        ("key", f"glsa_{TAIL[:32]}_0a1b2c3d"),
        ("key", f"ATATT3xFfGF0{TAIL}{TAIL}"),
        ("key", f"lin_api_{TAIL}Qr7S"),
        ("key", f"pcsk_6hTq2x_{TAIL}Qr7S"),
        ("key", f"ntn_{TAIL}Qr7S"),
        ("key", f"nvapi-{TAIL}{TAIL}"),
        ("key", "lsv2_pt_0123456789abcdef0123456789abcdef_0123456789"),
        ("key", f"dckr_pat_{TAIL[:27]}"),
        ("key", f"figd_{TAIL}Qr7S"),
        ("key", f"NRAK-{TAIL[:27].upper()}"),
        ("key", f"LTAI{TAIL[:20]}"),
        ("key", "sbp_0123456789abcdef0123456789abcdef01234567"),
        ("key", f"tgp_v1_{TAIL}"),
        ("key", f"SG.{TAIL[:22]}.{TAIL}a1b2c3d"),
        ("key", "SK0123456789abcdef0123456789abcdef"),
        ("key", "xoxb-123456789012-1234567890123-AbCdEfGhIjKlMnOpQrStUvWx"),
    ],
)
def test_a_value_is_found_whole_whatever_stands_around(kind: str, value: str) -> None:
    around = ("{}", "It is {}, they say.", '{{"held": "{}"}}', "first\n{}\nlast", "\\n{}\\n")
    assert [values(text.format(value), kind) for text in around] == [[value]] * len(around)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("password=Tr0ub4dor&3", "Tr0ub4dor&3"),
        ('"api_key": "k9Xq2Lm4Vt"', "k9Xq2Lm4Vt"),
        ("DB_PASSWORD: 'quayside9'", "quayside9"),
        ("postgres://tide:Qu4yside9@db.example/tide", "tide:Qu4yside9"),
        ("Authorization: Bearer aB3dE5gH7jK9mN1pQ3sT5vW7", "aB3dE5gH7jK9mN1pQ3sT5vW7"),
        (f"AccountKey={TAIL}{TAIL}/+abcdEFGH1234==;Endpoint", f"{TAIL}{TAIL}/+abcdEFGH1234=="),
    ],
)
def test_a_secret_is_told_by_what_it_is_assigned_to(text: str, value: str) -> None:
    assert values(text, "key") == [value]


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("call me at 4155550132", "phone"),
        ("my SSN is 123456789", "national-id"),
        ("BSN 111222333", "national-id"),
        ("national insurance number: AB123456C", "national-id"),
    ],
)
def test_a_bare_number_counts_beside_a_word_that_names_it_only(text: str, kind: str) -> None:
    assert [f.kind for f in find(text)] == [kind]
    assert find(text.split()[-1]) == []


def test_a_private_key_goes_from_its_head_to_its_tail() -> None:
    pem = f"-----BEGIN EC PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\n{TAIL}\n-----END EC PRIVATE KEY-----"
    assert values(f"Look:\n{pem}\nDone.") == [pem]
    cut = f"-----BEGIN PRIVATE KEY-----\n{TAIL}{TAIL}\n{TAIL}{TAIL}"
    assert values(f"{cut}\n\nand so on") == [cut]


def test_a_web_token_counts_only_if_its_header_names_an_algorithm() -> None:
    assert find("eyJub3QiOiJhIGpzb24gd2ViIHRva2VuIn0.eyJhIjoxMjM0NX0.c2lnbmF0dXJl") == []
    token = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJpbnZlbnRlZCJ9.c2lnbmF0dXJl"
    assert values(f"token={token}", "jwt") == [token]


def test_what_only_looks_private_raises_no_alarm() -> None:
    lines = (PRIVACY / "near.jsonl").read_text().splitlines()
    assert [(f.kind, line[f.start : f.end]) for line in lines for f in find(line)] == []


def test_the_example_of_each_kind_is_found() -> None:
    report = scan(PRIVACY / "found.jsonl")
    assert set(report.counts) == set(KINDS)
    assert report.records_with == report.records == 9


def test_ordinary_examples_hold_nothing_private() -> None:
    for data in sorted((ROOT / "fixtures" / "chat").glob("*.jsonl")):
        for line in data.read_bytes().decode(errors="replace").splitlines():
            assert find(line) == [], data.name


def report(**changes: object) -> PrivacyReport:
    fields = {
        "path": "train.jsonl",
        "bytes": 9,
        "records": 2,
        "records_with": 1,
        "kinds": tuple(KINDS),
        "engine": "core",
    }
    return PrivacyReport.model_validate(fields | changes)


def test_blocked_kinds_are_refused_with_their_count_and_the_way_out() -> None:
    reasons = blocked(report(counts={"email": 3, "card": 1}), frozenset({"card", "key"}))
    assert len(reasons) == 1
    assert "1 value of the kind card" in reasons[0]
    assert "provider: local" in reasons[0]


def test_what_was_not_looked_at_is_refused_rather_than_hoped_for() -> None:
    assert "too long" in blocked(report(unread=1), frozenset({"key"}))[0]
    assert "not looked through for key" in blocked(report(kinds=("card",)), frozenset({"key"}))[0]
    assert blocked(report(unread=1), frozenset()) == ()


def test_a_mistyped_kind_names_the_right_one() -> None:
    with pytest.raises(UsageError) as caught:
        blocked(report(), frozenset({"e-mail"}))
    assert caught.value.fix == "did you mean email?"
    with pytest.raises(UsageError):
        chosen("card")
    assert NAME not in chosen(None)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("email", "jane.doe@harbour.example"),
        ("phone", "+49 30 901820"),
        ("phone", "(415) 555-0132"),
        ("card", "4111111111111111"),
        ("card", "4111 1111 1111 1111"),
        ("iban", "GB29 NWBK 6016 1331 9268 19"),
        ("national-id", "123-45-6789"),
        ("national-id", "12345678Z"),
        ("national-id", "RSSMRA85T10A562S"),
        ("ip", "203.0.113.7"),
        ("ip", "2001:db8:85a3::8a2e:370:7334"),
        ("key", HF),
        ("jwt", "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJpbnZlbnRlZCJ9.c2lnbmF0dXJl"),
    ],
)
def test_letters_of_other_scripts_and_underscores_hide_no_value(kind: str, value: str) -> None:
    for around in ("我的卡号是{}", "{}です", "é{}é", "_{}_", "__{}__", "我的是_{}_。", "号{}吗"):
        text = around.format(value)
        (found,) = values(text, kind)
        assert found == value or (kind == "email" and found in text and value in found), text


def test_an_address_is_found_before_any_length_of_chinese() -> None:
    assert values("邮箱是jane@harbour.example" + "请记住" * 20) == ["jane@harbour.example"]


@pytest.mark.parametrize(
    "text",
    [
        "版本1.2.3.4",
        "img_4111111111111111_2.png",
        "x4111111111111111",
        "hôtel 4155550132",
        "glpat-your-token-goes-here",
    ],
)
def test_editions_and_parts_of_names_stay_what_they_are(text: str) -> None:
    assert find(text) == []


@pytest.mark.parametrize(
    ("prefix", "length"),
    [
        ("glpat-", 20),
        ("sk_live_", 24),
        ("hf_", 34),
        ("npm_", 36),
        ("AIza", 35),
        ("ghp_", 36),
        ("xoxb-", 24),
        ("gsk_", 52),
    ],
)
def test_a_makers_prefix_is_enough_whatever_the_rest_is(prefix: str, length: int) -> None:
    chance = random.Random(3)
    keys = [prefix + "".join(chance.choices(ascii_letters + digits, k=length)) for _ in range(400)]
    assert [values(key) for key in keys] == [[key] for key in keys]
