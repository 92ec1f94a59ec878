"""Merchants, sub-accounts and clients from the command line."""

import base64
import stat
from pathlib import Path

import pytest

from cli.program import run, serving
from opentill.store.databases.sqlite import SqliteStore


def lines_of(text: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in text.splitlines() if line.startswith("OPENTILL_"))


class Till:
    """Commands on one data folder."""

    def __init__(self, data: Path, **environment: str) -> None:
        self.data = data
        self.environment = environment

    def say(self, *arguments: str) -> str:
        answer = run(*arguments, "--data", str(self.data), **self.environment)
        assert answer.returncode == 0, answer.stderr
        assert answer.stderr == ""
        return answer.stdout

    def refused(self, *arguments: str) -> str:
        answer = run(*arguments, "--data", str(self.data), **self.environment)
        assert (answer.returncode, answer.stdout) == (2, "")
        return answer.stderr


@pytest.fixture
def till(tmp_path: Path) -> Till:
    return Till(tmp_path / "data")


PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


def test_a_merchant_gets_a_logo_that_its_payers_see(till: Till, tmp_path: Path) -> None:
    """The image stands in the page itself; what is no image, too large, or of nobody is refused."""
    account = lines_of(till.say("merchants", "create", "--name", "Shop"))["OPENTILL_ACCOUNT_ID"]
    logo, drawing, large = tmp_path / "logo.png", tmp_path / "logo.svg", tmp_path / "large.png"
    logo.write_bytes(PNG)
    drawing.write_text("<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>")
    large.write_bytes(PNG + b"0" * 8192)
    for file, why in (
        (drawing, "PNG, JPEG or WebP"),
        (large, "at most 8192 bytes"),
        (tmp_path / "x", "read"),
    ):
        assert why in till.refused("merchants", "logo", str(file), "--merchant", account)
    assert "there is no merchant" in till.refused("merchants", "logo", str(logo), "--merchant", "nobody")
    assert str(logo) in till.say("merchants", "logo", str(logo), "--merchant", account)
    stored = SqliteStore(till.data / "opentill.db")
    merchant = stored.accounts.merchant(account)
    stored.close()
    assert merchant is not None
    assert merchant.logo_url == f"data:image/png;base64,{base64.b64encode(PNG).decode()}"


def test_a_merchant_is_made_listed_and_written_to_a_file(till: Till, tmp_path: Path) -> None:
    """The printed lines and the file agree, and the merchant stands in the list by name and id."""
    env = tmp_path / "shop.env"
    made = lines_of(till.say("merchants", "create", "--name", "My Shop", "--env", str(env)))

    assert lines_of(env.read_text()) == made
    assert stat.S_IMODE(env.stat().st_mode) == 0o600
    assert len(made) == 6
    listed = till.say("merchants", "list")
    assert made["OPENTILL_ACCOUNT_ID"] in listed
    assert "My Shop" in listed
    assert made["OPENTILL_CLIENT_SECRET"] not in listed


def test_sub_accounts_are_added_and_listed(till: Till) -> None:
    """The new id is printed alone, and stands in the list beside the first one."""
    made = lines_of(till.say("merchants", "create", "--name", "Shop"))
    merchant = ("--merchant", made["OPENTILL_ACCOUNT_ID"])

    added = till.say("accounts", "add", "--name", "Branch", *merchant).strip()

    listed = till.say("accounts", "list", *merchant)
    assert added in listed
    assert "Branch" in listed
    assert made["OPENTILL_SUB_ACCOUNT_ID"] in listed


def test_clients_are_added_rotated_disabled_and_listed(till: Till) -> None:
    """Each secret is new, the list shows who is disabled, and no list shows a secret."""
    made = lines_of(till.say("merchants", "create", "--name", "Shop"))
    merchant = ("--merchant", made["OPENTILL_ACCOUNT_ID"])
    added = lines_of(till.say("clients", "add", *merchant))
    client = added["OPENTILL_CLIENT_ID"]

    rotated = lines_of(till.say("clients", "rotate", client, *merchant))
    till.say("clients", "disable", client, *merchant)

    listed = till.say("clients", "list", *merchant)
    rows = {line.split()[0]: line.split() for line in listed.splitlines()}
    secrets = {each["OPENTILL_CLIENT_SECRET"] for each in (made, added, rotated)}
    assert rotated["OPENTILL_CLIENT_ID"] == client
    assert len(secrets) == 3
    assert not any(secret in listed for secret in secrets)
    assert len(rows[client]) == len(rows[made["OPENTILL_CLIENT_ID"]]) + 2


@pytest.mark.parametrize("verb", ["rotate", "disable"])
def test_an_unknown_client_is_refused(till: Till, verb: str) -> None:
    """A client id that the merchant does not have is named, with the list as the way out."""
    made = lines_of(till.say("merchants", "create", "--name", "Shop"))
    said = till.refused("clients", verb, "nobody", "--merchant", made["OPENTILL_ACCOUNT_ID"])
    assert "has no client nobody" in said
    assert "opentill clients list" in said


@pytest.mark.parametrize(
    "command", [["accounts", "list"], ["accounts", "add", "--name", "x"], ["clients", "add"]]
)
def test_a_merchant_that_does_not_exist_is_refused(till: Till, command: list[str]) -> None:
    """An unknown account id is named; where there is no default merchant, --merchant is asked for."""
    assert "there is no merchant nobody" in till.refused(*command, "--merchant", "nobody")
    assert "--merchant ACCOUNT_ID" in till.refused(*command)


def test_a_name_that_can_not_be_printed_is_refused(till: Till) -> None:
    """An empty name makes no merchant."""
    assert "printable characters" in till.refused("merchants", "create", "--name", "")
    assert len(till.say("merchants", "list").splitlines()) == 1


def test_an_env_file_that_can_not_be_written_says_how_to_go_on(till: Till, tmp_path: Path) -> None:
    """The merchant exists by then; the sentence has the command that gives its client a new secret."""
    said = till.refused("merchants", "create", "--name", "Shop", "--env", str(tmp_path / "none" / "shop.env"))
    command = said.partition("`opentill ")[2].partition("`")[0].split()

    assert len(lines_of(till.say(*command))["OPENTILL_CLIENT_SECRET"]) == 44


def test_in_live_mode_the_commands_work_the_same(tmp_path: Path) -> None:
    """With --live and the secret key a merchant and a client are made; there is no default merchant."""
    live = Till(tmp_path / "live", OPENTILL_SECRET_KEY="cd" * 32)
    made = lines_of(live.say("merchants", "create", "--name", "Shop", "--live"))

    rotated = live.say(
        "clients", "rotate", made["OPENTILL_CLIENT_ID"], "--merchant", made["OPENTILL_ACCOUNT_ID"], "--live"
    )
    assert made["OPENTILL_CLIENT_SECRET"] not in rotated
    assert "--merchant ACCOUNT_ID" in live.refused("clients", "list", "--live")


def test_the_commands_work_beside_a_running_server(tmp_path: Path) -> None:
    """While the server runs, the default merchant is known and a new one gets the URL really served."""
    till = Till(tmp_path / "data")
    with serving(till.data) as server:
        made = lines_of(till.say("merchants", "create", "--name", "Shop"))
        listed = till.say("accounts", "list")

        assert made["OPENTILL_URL"] == server.url
        assert server.env["OPENTILL_SUB_ACCOUNT_ID"] in listed


def test_a_merchants_defaults_are_set_one_by_one(till: Till) -> None:
    """What is not named stays as it was, ``none`` takes an expiry back, and the list shows what holds."""
    account = lines_of(till.say("merchants", "create", "--name", "Shop"))["OPENTILL_ACCOUNT_ID"]
    till.say("merchants", "set", account, "--expires-in", "90m")
    said = till.say("merchants", "set", account, "--late-money", "hold")
    assert said == "Shop: an order that says nothing itself expires after 90m; late money: hold.\n"
    assert till.say("merchants", "list").splitlines()[-1].split()[-2:] == ["90m", "hold"]
    said = till.say("merchants", "set", account, "--expires-in", "none")
    assert said == "Shop: an order that says nothing itself expires never; late money: hold.\n"


@pytest.mark.parametrize(
    "wrong", [("--expires-in", "soon"), ("--expires-in", "3651d"), ("--late-money", "keep")]
)
def test_defaults_that_can_not_be_are_refused(till: Till, wrong: tuple[str, str]) -> None:
    """A length of time that is none, one beyond ten years, and an unknown policy change nothing."""
    account = lines_of(till.say("merchants", "create", "--name", "Shop"))["OPENTILL_ACCOUNT_ID"]
    till.refused("merchants", "set", account, *wrong)
    assert till.say("merchants", "list").splitlines()[-1].split()[-1].endswith("Z")
    assert "there is no merchant nobody" in till.refused("merchants", "set", "nobody")
