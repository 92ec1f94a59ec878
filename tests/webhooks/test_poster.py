"""One POST: what counts as an answer, and what nobody's server can do to us."""

import asyncio
import datetime as dt
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from opentill.webhooks.guard import Guard
from opentill.webhooks.poster import MOST_KEPT_CHARACTERS, PostAnswer, Poster
from webhooks.receiver import (
    CLOSES_IN_THE_BODY,
    CLOSES_IN_THE_HEAD,
    HANGS_UP,
    OK,
    SILENT,
    Reaction,
    Receiver,
    always,
    answer,
)

SYSTEM = ssl.create_default_context()


def post(
    url: str, timeout_seconds: float = 10, tls: ssl.SSLContext = SYSTEM, times: int = 1
) -> list[PostAnswer]:
    """Post so often, one after another, over one poster."""

    async def scenario() -> list[PostAnswer]:
        poster = Poster(Guard(allow_loopback=True), timeout_seconds, tls)
        try:
            return [await poster.post(url, b'{"a":1}', {"X-Told": "yes"}) for _ in range(times)]
        finally:
            await poster.close()

    return asyncio.run(scenario())


def react(reaction: Reaction, timeout_seconds: float = 10) -> PostAnswer:
    """What a post comes to that meets this reaction."""
    with Receiver(always(reaction)) as receiver:
        return post(receiver.url, timeout_seconds)[0]


def test_a_post_arrives_whole() -> None:
    """Body and headers arrive as they were given, with ours beside them and no cookie."""
    with Receiver(always(answer(200, b"thanks", Set_Cookie="a=b"))) as receiver:
        first, _ = post(f"{receiver.url}?x=%2e%2E#here", times=2)
    assert (first.status, first.text, first.accepted) == (200, "thanks", True)
    assert receiver.posts[0].body == b'{"a":1}'
    assert receiver.posts[0].path == "/hook?x=%2e%2E"
    headers = receiver.posts[1].headers
    assert (headers["content-type"], headers["user-agent"]) == ("application/json", "opentill")
    assert headers["x-told"] == "yes"
    assert "cookie" not in headers


def test_a_connection_is_used_again() -> None:
    """Posts one after another to the same receiver share a connection."""
    with Receiver() as receiver:
        assert [a.status for a in post(receiver.url, times=5)] == [200] * 5
        assert receiver.connections == 1


@pytest.mark.parametrize(
    ("status", "accepted"),
    [
        (200, True),
        (204, True),
        (299, True),
        (300, False),
        (301, False),
        (400, False),
        (410, False),
        (500, False),
    ],
)
def test_any_2xx_is_accepted_and_nothing_else(status: int, accepted: bool) -> None:
    """The status decides alone."""
    heard = react(answer(status, b"" if status == 204 else b"said"))
    assert (heard.status, heard.accepted) == (status, accepted)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(status: int) -> None:
    """Nobody is called at the place an answer points to."""
    with Receiver() as elsewhere, Receiver(always(answer(status, Location=elsewhere.url))) as receiver:
        heard = post(receiver.url)[0]
        assert (heard.status, heard.accepted) == (status, False)
        assert (len(receiver.posts), elsewhere.connections) == (1, 0)


def test_silence_ends_with_the_time() -> None:
    """A receiver that says nothing costs the timeout and no more."""
    heard = react(SILENT, timeout_seconds=0.2)
    assert (heard.status, heard.text) == (None, "No whole answer within 0.2 seconds.")
    assert 200 <= heard.milliseconds < 5000


def test_the_time_is_that_of_the_whole_try() -> None:
    """An endless answer is cut off; its status was heard and counts."""
    trickle = Reaction(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nslow", after_seconds=0)
    heard = react(trickle, timeout_seconds=0.2)
    assert (heard.status, heard.text, heard.accepted) == (200, "slow", True)
    assert heard.milliseconds < 5000


def test_no_more_is_read_than_the_limit() -> None:
    """A body without an end is left after the first kilobytes, long before the time runs out."""
    chunk = b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 10_000
    heard = react(Reaction(chunk, endless=True), timeout_seconds=60)
    assert (heard.status, len(heard.text)) == (200, MOST_KEPT_CHARACTERS)
    assert heard.milliseconds < 30_000


def test_an_endless_head_ends() -> None:
    """A head that is too long is not an answer."""
    heard = react(Reaction(b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 1_000_000, endless=True))
    assert heard.status is None


def test_a_packed_answer_is_not_unpacked() -> None:
    """What could grow without limit is kept as it came."""
    heard = react(answer(200, b"\x1f\x8b not gzip", Content_Encoding="gzip"))
    assert (heard.status, heard.text) == (200, "\x1f\ufffd not gzip")


def test_text_can_be_kept_in_any_database() -> None:
    """At most 1000 characters, without NUL and without broken ones."""
    heard = react(answer(500, b"a\0b\xff" + "₦".encode() * 3000))
    assert heard.text == "a\ufffdb\ufffd" + "₦" * 996


@pytest.mark.parametrize(
    ("reaction", "status"),
    [
        (HANGS_UP, None),
        (CLOSES_IN_THE_HEAD, 202),
        (CLOSES_IN_THE_BODY, 200),
        (Reaction(b"HTTP/1.1 2", close=True), None),
    ],
)
def test_an_early_end_counts_by_what_was_heard(reaction: Reaction, status: int | None) -> None:
    """With a status line heard the status counts; without one there was no answer."""
    heard = react(reaction)
    assert (heard.status, heard.accepted) == (status, status is not None)
    assert heard.text


def test_what_is_not_http_is_no_answer() -> None:
    """A server of another kind neither raises nor counts."""
    heard = react(Reaction(b"SSH-2.0-OpenSSH_9.2\r\n\r\n", close=True))
    assert (heard.status, heard.text[:27]) == (None, "The answer was not proper H")


def test_nobody_there() -> None:
    """A refused connection is said in words."""
    with Receiver() as receiver:
        pass
    heard = post(receiver.url)[0]
    assert heard.status is None
    assert heard.text.startswith("The connection failed")


def test_a_name_that_does_not_resolve() -> None:
    """An unknown name is said in words."""
    heard = post("http://nobody.invalid/")[0]
    assert (heard.status, heard.text) == (None, "The host name does not resolve.")


def test_after_a_hang_up_the_next_post_is_made_anew() -> None:
    """A receiver that hangs up after each answer without a word costs no delivery, and hears each once."""
    with Receiver(always(Reaction(OK.says, close=True))) as receiver:
        assert [a.status for a in post(receiver.url, times=3)] == [200] * 3
        assert (receiver.connections, len(receiver.posts)) == (3, 3)


# --- TLS --------------------------------------------------------------------------------------------


def certificate(folder: Path, host: str) -> Path:
    """A certificate for this host, signed by its own key, and the key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file = folder / f"{host}.pem"
    file.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return file


def test_certificates_are_verified(tmp_path: Path) -> None:
    """A certificate of a known authority for the right host is accepted; unknown or for another, refused."""
    files = {host: certificate(tmp_path, host) for host in ("localhost", "shop.example")}
    outcomes = {}
    for host, file in files.items():
        offered = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        offered.load_cert_chain(file)
        with Receiver(tls=offered) as receiver:
            url = receiver.url.replace("127.0.0.1", "localhost")
            known = post(url, tls=ssl.create_default_context(cafile=str(file)))[0]
            unknown = post(url)[0]
            outcomes[host] = (known.status, unknown.status, unknown.text, len(receiver.posts))
    sentence = "The certificate is not valid for this host."
    assert outcomes == {"localhost": (200, None, sentence, 1), "shop.example": (None, None, sentence, 0)}
