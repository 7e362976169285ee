"""Webhooks are signed and held against their signature as Standard Webhooks has it."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta

import pytest

from anytune import webhook
from anytune.errors import RefusedError, UsageError

# The example of the specification's own libraries (standard-webhooks/standard-webhooks, README of the libraries).
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
ID, AT = "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330
BODY = b'{"test": 2432232314}'
SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
NOW = datetime.fromtimestamp(AT + 30, UTC)
HEADERS = {"Webhook-Id": ID, "Webhook-Timestamp": str(AT), "Webhook-Signature": SIGNATURE}


def test_the_specifications_example_is_signed_alike() -> None:
    made = webhook.signed(BODY, id=ID, at=datetime.fromtimestamp(AT, UTC), secret=SECRET)
    assert made == {name.lower(): value for name, value in HEADERS.items()}


def test_the_specifications_example_is_taken() -> None:
    assert webhook.verify(BODY, HEADERS, secret=SECRET, now=NOW) == ID


def test_one_good_signature_among_others_is_enough() -> None:
    several = f"v1,{base64.b64encode(bytes(32)).decode()} v1a,zzz {SIGNATURE}"
    assert webhook.verify(BODY, {**HEADERS, "Webhook-Signature": several}, secret=SECRET, now=NOW) == ID


@pytest.mark.parametrize(
    ("body", "changes", "later"),
    [
        (b'{"test": 2432232315}', {}, 0),
        (BODY, {"Webhook-Id": "msg_other"}, 0),
        (BODY, {"Webhook-Timestamp": str(AT + 1)}, 0),
        (BODY, {"Webhook-Timestamp": "-1"}, 0),
        (BODY, {"Webhook-Timestamp": "9" * 400}, 0),
        (BODY, {"Webhook-Timestamp": "²"}, 0),
        (BODY, {"Webhook-Signature": ""}, 0),
        (BODY, {"Webhook-Signature": SIGNATURE.replace("v1", "v2")}, 0),
        (BODY, {"Webhook-Signature": "v1,é"}, 0),
        (BODY, {}, 400),
        (BODY, {}, -400),
    ],
)
def test_what_is_forged_changed_or_from_another_time_is_refused(
    body: bytes, changes: dict[str, str], later: int
) -> None:
    with pytest.raises(RefusedError):
        webhook.verify(body, {**HEADERS, **changes}, secret=SECRET, now=NOW + timedelta(seconds=later))


@pytest.mark.parametrize("missing", HEADERS)
def test_one_that_is_not_signed_is_refused(missing: str) -> None:
    headers = {name: value for name, value in HEADERS.items() if name != missing}
    with pytest.raises(RefusedError, match=missing.lower().replace("webhook-", "")):
        webhook.verify(BODY, headers, secret=SECRET, now=NOW)


def test_while_a_secret_is_changed_both_are_good() -> None:
    """The sender signs with both, or the receiver holds both."""
    new = f"whsec_{base64.b64encode(bytes(range(24))).decode()}"
    assert webhook.verify(BODY, HEADERS, secret=f"{new} {SECRET}", now=NOW) == ID
    by_new = webhook.signed(BODY, id=ID, at=datetime.fromtimestamp(AT, UTC), secret=new)["webhook-signature"]
    for both in (f"{by_new} {SIGNATURE}", f"{SIGNATURE} {by_new}"):
        assert webhook.verify(BODY, {**HEADERS, "Webhook-Signature": both}, secret=SECRET, now=NOW) == ID
    with pytest.raises(RefusedError):
        webhook.verify(BODY, {**HEADERS, "Webhook-Signature": by_new}, secret=SECRET, now=NOW)


# As the specification's own libraries try theirs (libraries/javascript/src/webhook.test.ts).
@pytest.mark.parametrize("signature", ["v1,dawfeoifkpqwoekfpqoekf", SIGNATURE[:8], "v1,", SIGNATURE[3:], "v1", ","])
def test_a_signature_that_is_a_part_or_none_is_refused(signature: str) -> None:
    with pytest.raises(RefusedError):
        webhook.verify(BODY, {**HEADERS, "Webhook-Signature": signature}, secret=SECRET, now=NOW)


def test_the_specifications_row_of_signatures_and_its_bare_secret_are_taken() -> None:
    other = "Ceo5qEr07ixe2NLpvHk3FH9bwy/WavXrAFQ/9tdO6mc="
    several = f"v1,{other} v2,{other} {SIGNATURE} v1,{other}"
    bare = SECRET.removeprefix("whsec_")
    assert webhook.verify(BODY, {**HEADERS, "Webhook-Signature": several}, secret=bare, now=NOW) == ID


def test_another_secret_is_not_ours() -> None:
    with pytest.raises(RefusedError):
        webhook.verify(BODY, HEADERS, secret=f"whsec_{base64.b64encode(bytes(24)).decode()}", now=NOW)


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_not base64!", "hush-hush"])
def test_a_secret_that_is_none_is_told_without_showing_it(secret: str) -> None:
    with pytest.raises(UsageError) as caught:
        webhook.verify(BODY, HEADERS, secret=secret, now=NOW)
    assert secret.removeprefix("whsec_") == "" or secret not in caught.value.message


def test_the_vendors_own_function_takes_what_we_sign_and_signs_what_we_take() -> None:
    openai = pytest.importorskip("openai")
    body = (
        b'{"id": "evt_1", "object": "event", "created_at": 1, "type": "fine_tuning.job.succeeded", "data": {"id": "j"}}'
    )
    now = datetime.now(UTC)
    headers = webhook.signed(body, id="evt_1", at=now, secret=SECRET)
    client = openai.OpenAI(api_key="none", webhook_secret=SECRET)
    client.webhooks.verify_signature(body.decode(), headers)
    with pytest.raises(openai.InvalidWebhookSignatureError):
        client.webhooks.verify_signature(body.decode() + " ", headers)


def test_one_that_comes_again_is_told_from_a_new_one() -> None:
    seen = webhook.Replays()
    assert seen.is_new("a", now=NOW)
    assert seen.is_new("b", now=NOW)
    assert not seen.is_new("a", now=NOW + timedelta(minutes=9))
    assert seen.is_new("a", now=NOW + timedelta(minutes=11))  # its timestamp is refused by then
