"""``opentill verify-signature`` from the command line."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cli.program import run
from opentill.webhooks.signature import SigningKeys, headers

KEY = "HkatexKDZg7CLWy96q5sfrVHSvtoz92B"
BODY = b'{"event_type":"payment_success","requestId":"r-1","data":{}}'
SENT = headers(BODY, "r-1", SigningKeys(KEY), 1_759_143_104_000)
ALL_GOOD = "nomba-signature: good\nnomba-sig-value: good\nwebhook-signature: good\n"


@pytest.fixture
def body(tmp_path: Path) -> str:
    (tmp_path / "body.json").write_bytes(BODY)
    return str(tmp_path / "body.json")


def options(sent: dict[str, str]) -> list[str]:
    return [word for name, value in sent.items() for word in ("--header", f"{name}: {value}")]


def test_a_good_delivery_is_said_to_be(body: str) -> None:
    """Every signature gets a line, and the exit status is 0; the key comes from the usual variable."""
    answer = run("verify-signature", body, *options(SENT), OPENTILL_WEBHOOK_KEY=KEY)
    assert (answer.returncode, answer.stdout, answer.stderr) == (0, ALL_GOOD, "")


def test_the_body_is_read_from_standard_input(tmp_path: Path) -> None:
    """Without a file the body is what is piped in, headers may stand in a file, and the key too."""
    lines = ["POST /hook HTTP/1.1", *(f"{name.title()}:{value}" for name, value in SENT.items()), ""]
    (tmp_path / "headers").write_text("\r\n".join(lines))
    (tmp_path / "key").write_text(f"{KEY}\n")
    chosen = ["--headers-file", str(tmp_path / "headers"), "--key-file", str(tmp_path / "key")]
    command = [sys.executable, "-m", "opentill", "verify-signature", *chosen]
    answer = subprocess.run(command, input=BODY, capture_output=True, env=os.environ, check=False, timeout=20)
    assert (answer.returncode, answer.stdout.decode(), answer.stderr) == (0, ALL_GOOD, b"")


def test_a_bad_signature_is_explained(body: str) -> None:
    """The line of a signature that is not good says what it should have signed; the exit status is 1."""
    sent = SENT | {"nomba-timestamp": "2025-09-29T10:51:45Z"}
    answer = run("verify-signature", body, *options(sent), "--key-env", "SHOP_KEY", SHOP_KEY=KEY)
    assert answer.returncode == 1
    nomba, same, standard = answer.stdout.splitlines()
    message = "payment_success:r-1:::::::2025-09-29T10:51:45Z"
    assert nomba == f"nomba-signature: it is not this key's for {message!r}"
    assert same.startswith("nomba-sig-value: it is not")
    assert standard == "webhook-signature: good"
    assert KEY not in answer.stdout + answer.stderr


def test_a_delivery_can_not_write_to_the_terminal(tmp_path: Path) -> None:
    """Control characters of a body that somebody made up are printed as escapes."""
    (tmp_path / "body.json").write_bytes(b'{"event_type":"\\u001b[2J","requestId":"r-1"}')
    answer = run("verify-signature", str(tmp_path / "body.json"), *options(SENT), OPENTILL_WEBHOOK_KEY=KEY)
    assert answer.returncode == 1
    assert "\\x1b[2J:r-1" in answer.stdout
    assert "\x1b" not in answer.stdout


def test_a_delivery_without_signature_is_not_genuine(body: str) -> None:
    """Where no signature was given the exit status is 1, and the sentence says how to give it."""
    answer = run("verify-signature", body, "--header", "content-type: text", OPENTILL_WEBHOOK_KEY=KEY)
    assert (answer.returncode, answer.stderr) == (1, "")
    assert answer.stdout == "No signature came: name the headers with --header or --headers-file.\n"


@pytest.mark.parametrize(
    ("chosen", "says"),
    [
        ([], "the environment variable OPENTILL_WEBHOOK_KEY holds no key"),
        (["--key-env", "NOT_SET"], "the environment variable NOT_SET holds no key"),
        (["--key-env", "Zm9v+/=="], "--key-env takes the name of an environment variable"),
        (["--key-file", "nowhere"], "nowhere can not be read"),
        (["--headers-file", "nowhere"], "nowhere can not be read"),
    ],
)
def test_what_is_missing_is_said_in_a_sentence(body: str, chosen: list[str], says: str) -> None:
    """A key or file that is not there is one sentence and status 2; a key in the wrong place is not told."""
    environment = {"OPENTILL_WEBHOOK_KEY": KEY} if "--headers-file" in chosen else {}
    answer = run("verify-signature", body, *chosen, **environment)
    assert (answer.returncode, answer.stdout) == (2, "")
    assert answer.stderr.startswith(f"opentill: {says}")
    assert answer.stderr.count("\n") == 1
    assert "Zm9v" not in answer.stderr
