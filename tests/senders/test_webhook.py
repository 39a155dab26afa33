"""Webhooks are signed, bounded, never redirected, and never reach into the network they are sent from."""

from __future__ import annotations

import base64
import socket
import threading
from collections.abc import Iterator

import pytest

from pools.senders.signing import WINDOW_S, genuine, new_secret, signature, signed_headers
from pools.senders.targets import is_public, literal_address, url_problem
from pools.senders.webhook import LARGEST_ANSWER, Outgoing, judged, send_all
from tests.receiver import Receiver, receiving


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as found:
        yield found


def test_the_signature_is_the_one_of_the_published_scheme() -> None:
    """The example of the Standard Webhooks specification."""
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    made = signature(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert made == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_a_receiver_knows_genuine_whole_and_fresh_messages() -> None:
    secret, other, body = new_secret(), new_secret(), b'{"a":1}'
    headers = signed_headers([secret], "alert-1-opened", 1000, body)
    assert genuine(secret, headers, body, 1000 + WINDOW_S)
    assert not genuine(secret, headers, body, 1001 + WINDOW_S), "caught and played again"
    assert not genuine(secret, headers, body, 999 - WINDOW_S)
    assert not genuine(secret, headers, b'{"a":2}', 1000)
    assert not genuine(other, headers, body, 1000)
    assert not genuine(secret, {**headers, "webhook-id": "x"}, body, 1000)
    assert not genuine(secret, {**headers, "webhook-timestamp": "1100"}, body, 1100)
    assert not genuine(secret, {}, body, 1000) and not genuine("whsec_%", headers, body, 1000)
    assert not genuine(secret, {**headers, "webhook-signature": "v1,é"}, body, 1000)
    both = signed_headers([secret, other], "alert-1-opened", 1000, body)
    assert genuine(secret, both, body, 1000) and genuine(other, both, body, 1000), "while a secret changes over"
    assert len(base64.b64decode(secret.removeprefix("whsec_"))) == 32 and secret != new_secret()


@pytest.mark.parametrize(
    "text",
    [
        "127.0.0.1",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "::1",
        "::",
        "fe80::1",
        "fc00::1",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "64:ff9b::7f00:1",
        "64:ff9b::a00:1",
        "2002:7f00:1::1",
        "2001:0:4136:e378:8000:63bf:80ff:fffe",
    ],
)
def test_private_addresses_in_every_disguise(text: str) -> None:
    address = literal_address(text)
    assert address is not None and not is_public(address)


def test_public_addresses_are_public() -> None:
    for text in ("8.8.8.8", "2606:4700::1111"):
        address = literal_address(text)
        assert address is not None and is_public(address), text


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("https://hooks.example.org/x", ""),
        ("http://hooks.example.org:8080/x?y=1", ""),
        ("https://8.8.8.8/x", ""),
        ("ftp://hooks.example.org/", "http"),
        ("file:///etc/passwd", "http"),
        ("//hooks.example.org/", "http"),
        ("", "http"),
        ("https://user:pass@hooks.example.org/", "user and password"),
        ("https://[::1/", "not an address"),
        ("https://hooks.example.org:99999/", "not an address"),
        ("https://hooks.example.org/a b", "blank"),
        ("https://hooks.example.org/" + "x" * 500, "too long"),
        ("http://127.0.0.1/", "private"),
        ("http://[::1]/", "private"),
        ("http://localhost:8000/", "private"),
        ("http://printer.local/", "private"),
        ("http://metadata.google.internal/", "private"),
        ("http://169.254.169.254/latest/meta-data", "private"),
    ],
)
def test_which_targets_are_taken(url: str, says: str) -> None:
    found = url_problem(url, private=False)
    assert (found == "") if says == "" else (says in found)


def test_a_message_arrives_as_it_was_signed(receiver: Receiver) -> None:
    secret = new_secret()
    headers = {"content-type": "application/cloudevents+json", **signed_headers([secret], "m1", 1000, b"{}")}
    (answer,) = send_all([Outgoing(receiver.url, b"{}", headers)], private=True)
    assert answer.ok and answer.text == "200 taken" and answer.status == 200
    (got,) = receiver.got
    assert genuine(secret, got.headers, got.body, 1000)
    assert "cookie" not in got.headers


def test_nothing_is_sent_to_a_private_address(receiver: Receiver) -> None:
    port = receiver.url.rpartition(":")[2]
    literal, named = send_all(
        [Outgoing(receiver.url, b"{}"), Outgoing(f"http://localhost:{port}", b"{}")], private=False
    )
    assert literal.final and named.final and not literal.ok and not named.ok
    assert "private" in literal.text and "private" in named.text
    assert receiver.got == []


def test_a_name_that_leads_home_is_refused_when_it_is_looked_up(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The name looks public; only its address tells."""
    port = int(receiver.url.rpartition(":")[2].partition("/")[0])
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: found)
    (answer,) = send_all([Outgoing(f"http://hooks.example.org:{port}/", b"{}")], private=False)
    assert answer.final and "leads to 127.0.0.1" in answer.text
    assert receiver.got == []


def test_redirects_are_not_followed(receiver: Receiver) -> None:
    with receiving() as elsewhere:
        receiver.answers.append((302, "", {"Location": elsewhere.url}))
        (answer,) = send_all([Outgoing(receiver.url, b"{}")], private=True)
        assert answer.final and "redirects are not followed" in answer.text
        assert elsewhere.got == []


def test_answers_are_bounded_and_made_readable(receiver: Receiver) -> None:
    receiver.answers.append((500, "<b>\x1b[31m no\n" + "x" * (3 * LARGEST_ANSWER), {"Retry-After": "30"}))
    (answer,) = send_all([Outgoing(receiver.url, b"{}")], private=True)
    assert not answer.ok and not answer.final and answer.retry_after_s == 30
    assert len(answer.text) <= 300 and "\x1b" not in answer.text and "\n" not in answer.text
    assert judged(410, "gone", "", 1).final and judged(204, "", "", 1).ok
    assert judged(503, "", "Wed, 21 Oct 2015 07:28:00 GMT", 1).retry_after_s == 0.0
    assert judged(503, "", "nonsense", 1).retry_after_s == 0.0


def test_a_receiver_that_says_nothing_is_not_waited_for(receiver: Receiver) -> None:
    receiver.hold = threading.Event()
    (answer,) = send_all([Outgoing(receiver.url, b"{}")], private=True, timeout_s=0.2)
    assert not answer.ok and not answer.final and "No answer within 0.2 s" in answer.text


def test_nobody_at_home_and_no_such_name() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{probe.getsockname()[1]}/"
        closed, unknown = send_all(
            [Outgoing(url, b"{}"), Outgoing("http://nowhere.invalid/", b"{}")], private=True, timeout_s=5
        )
    assert not closed.ok and not closed.final and "No connection" in closed.text
    assert not unknown.ok and not unknown.final


def test_one_slow_receiver_does_not_hold_up_the_others(receiver: Receiver) -> None:
    with receiving() as slow:
        slow.hold = threading.Event()
        answers = send_all([Outgoing(slow.url, b"{}"), Outgoing(receiver.url, b"{}")], private=True, timeout_s=1.0)
    assert [answer.ok for answer in answers] == [False, True]
