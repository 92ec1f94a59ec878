"""Settings: where they come from, which wins, and what is refused."""

from dataclasses import fields
from pathlib import Path

import pytest

from opentill.settings import InvalidSetting, Settings, load_settings
from opentill.store.accounts.contract import Mode
from tools.pages.settings import settings_page


def test_the_command_line_wins_over_environment_over_file_over_defaults(tmp_path: Path) -> None:
    """Each source is used where the stronger ones are silent."""
    (tmp_path / "opentill.toml").write_text(
        'port = 1\nworkers = 2\nmax_batch = 3\ncurrencies = ["NGN", "EUR"]\n'
    )
    environment = {"OPENTILL_DATA_DIR": str(tmp_path), "OPENTILL_PORT": "10", "OPENTILL_WORKERS": "20"}

    found = load_settings(environment, {"port": 30, "host": None})

    assert (found.port, found.workers, found.max_batch, found.queue_limit) == (30, 20, 3, 4096)
    assert found.currencies == ("NGN", "EUR")


def test_defaults_follow_from_other_settings(tmp_path: Path) -> None:
    """Database, public URL and rates come from folder, address and mode unless they are set."""
    sandbox = load_settings({"OPENTILL_DATA_DIR": str(tmp_path), "OPENTILL_PORT": "99"})
    live = load_settings({"OPENTILL_MODE": "live", "OPENTILL_HOST": "::1"})

    assert sandbox.database_url == f"sqlite:///{tmp_path / 'opentill.db'}"
    assert sandbox.public_url == "http://127.0.0.1:99"
    assert live.public_url == "http://[::1]:8480"
    assert (sandbox.post_limit, sandbox.other_limit) == (100_000, 100_000)
    assert (live.post_limit, live.other_limit) == (15, 75)


def test_the_public_url_follows_the_port_only_when_nobody_set_it() -> None:
    """A port found at start goes into the made URL and leaves a chosen one alone."""
    made, chosen = (
        load_settings({}, {"port": 0}),
        load_settings({"OPENTILL_PUBLIC_URL": "https://pay.example/"}, {"port": 0}),
    )

    assert made.bound_to(4321).public_url == "http://127.0.0.1:4321"
    assert chosen.bound_to(4321).public_url == "https://pay.example"


def test_a_child_process_gets_the_very_same_settings(tmp_path: Path) -> None:
    """Written into the environment and read again, nothing changes, the secret key included."""
    parent = Settings(
        data_dir=tmp_path,
        secret_key="s" * 43,
        group_commit=False,
        refusal_http_status=200,
        currencies=("USD",),
    )

    assert load_settings(parent.to_environment()) == parent


@pytest.mark.parametrize(
    ("name", "value", "found"),
    [
        ("token_life_seconds", "30m", 1800),
        ("token_life_seconds", "1800", 1800),
        ("card_timeout_seconds", "2m", 120.0),
        ("card_timeout_seconds", "0.5", 0.5),
        ("idempotency_hours", "2d", 48),
        ("webhook_pause_hours", "90m", 1.5),
        ("transfer_account_rest_days", "36h", 1.5),
        ("sandbox_rail_delay_milliseconds", "2s", 2000),
        ("webhook_schedule_seconds", "120, 5m,1h", (120, 300, 3600)),
    ],
)
def test_a_duration_may_say_its_unit(tmp_path: Path, name: str, value: str, found: object) -> None:
    """In the environment, in TOML and on the command line ``30m`` is the same length as ``1800`` seconds."""
    (tmp_path / "opentill.toml").write_text(f'{name} = "{value}"\n')
    environment = {"OPENTILL_DATA_DIR": str(tmp_path), f"OPENTILL_{name.upper()}": value}
    assert getattr(load_settings(environment), name) == found
    assert getattr(load_settings({"OPENTILL_DATA_DIR": str(tmp_path)}), name) == found
    assert getattr(load_settings({}, {name: value}), name) == found


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        (
            "IDEMPOTENCY_HOURS",
            "90m",
            "OPENTILL_IDEMPOTENCY_HOURS must be a whole number from 1 to 720, not '90m'.",
        ),
        ("PORT", "x", "OPENTILL_PORT must be a whole number from 0 to 65535, not 'x'."),
        ("PORT", "65536", "OPENTILL_PORT must be a whole number from 0 to 65535, not '65536'."),
        ("MODE", "test", "OPENTILL_MODE must be sandbox or live, not 'test'."),
        ("REFUSAL_HTTP_STATUS", "500", "OPENTILL_REFUSAL_HTTP_STATUS must be 400 or 200, not '500'."),
        ("ACCESS_LOG", "maybe", "OPENTILL_ACCESS_LOG must be true or false, not 'maybe'."),
        ("SHUTDOWN_SECONDS", "nan", "OPENTILL_SHUTDOWN_SECONDS must be a number from 1 to 60, not 'nan'."),
        (
            "CARD_TIMEOUT_SECONDS",
            "0",
            "OPENTILL_CARD_TIMEOUT_SECONDS must be a number above 0 to 120, not '0'.",
        ),
        ("DATA_DIR", "", "OPENTILL_DATA_DIR must be a path, not ''."),
        (
            "CURRENCIES",
            "NGN,XYZ",
            "OPENTILL_CURRENCIES can not name 'XYZ': only NGN, CDF, USD, EUR, GBP are known.",
        ),
        (
            "EMBEDDING_ORIGINS",
            "https://a.example,https://b.example/shop",
            "OPENTILL_EMBEDDING_ORIGINS must name origins like https://shop.example, without a path.",
        ),
        ("PUBLIC_URL", "javascript:x", "OPENTILL_PUBLIC_URL must begin with http:// or https://."),
    ],
)
def test_a_value_that_will_not_do_is_refused_in_one_sentence(name: str, value: str, sentence: str) -> None:
    """The sentence names the variable, what it must be and what it is."""
    with pytest.raises(InvalidSetting) as refused:
        load_settings({f"OPENTILL_{name}": value})
    assert str(refused.value) == sentence


def test_a_secret_is_never_shown() -> None:
    """Neither the repr nor the refusal of a secret key holds it."""
    assert "s3cret" not in repr(load_settings({"OPENTILL_SECRET_KEY": "s3cret"}))
    with pytest.raises(InvalidSetting) as refused:
        load_settings({"OPENTILL_SECRET_KEY": "s3cret" * 1000})
    assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize("url", ["mysql://u:pa55@h/d", "sqlite://x", "sqlite:///", "sqlite:///:memory:"])
def test_a_database_of_another_kind_is_refused_without_showing_its_password(url: str) -> None:
    """Only SQLite files and PostgreSQL databases are taken."""
    with pytest.raises(InvalidSetting, match="must be sqlite:///PATH or postgresql://") as refused:
        load_settings({"OPENTILL_DATABASE_URL": url})
    assert "pa55" not in str(refused.value)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "till.example"])
def test_a_sandbox_stays_at_home_unless_told(host: str) -> None:
    """Off loopback a sandbox needs the explicit flag; live mode does not, and refuses the flag (ruling 6)."""
    with pytest.raises(InvalidSetting, match="--allow-public-sandbox"):
        load_settings({}, {"host": host})
    assert load_settings({}, {"host": host, "allow_public_sandbox": True}).host == host
    assert load_settings({}, {"host": host, "mode": "live"}).mode is Mode.LIVE
    with pytest.raises(InvalidSetting, match="can not be set in live mode"):
        load_settings({}, {"mode": "live", "allow_public_sandbox": True})


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
def test_loopback_needs_no_flag(host: str) -> None:
    """Every spelling of this machine alone is fine for a sandbox."""
    assert load_settings({}, {"host": host}).host == host


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("prot = 1", r"sets 'prot', which is not a setting"),
        ("port = ", r"can not be read as TOML"),
        ('port = "x"', r"port in .* must be a whole number"),
    ],
)
def test_a_file_that_will_not_do_is_refused_in_one_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    """Unknown names, broken TOML and bad values are refused, naming the file."""
    file = tmp_path / "till.toml"
    file.write_text(text)

    with pytest.raises(InvalidSetting, match=sentence) as refused:
        load_settings({"OPENTILL_CONFIG": str(file)})
    assert str(file) in str(refused.value)


def test_a_named_file_that_is_missing_is_refused(tmp_path: Path) -> None:
    """OPENTILL_CONFIG must exist; the file in the data folder need not."""
    assert load_settings({"OPENTILL_DATA_DIR": str(tmp_path)}).port == 8480
    with pytest.raises(InvalidSetting, match="does not exist"):
        load_settings({"OPENTILL_CONFIG": str(tmp_path / "none.toml")})


def test_every_setting_is_explained() -> None:
    """Each field has its heading on the page and a sentence or more under it."""
    page = settings_page()
    sections = {part.split("`")[1]: part for part in page.split("\n## ")[1:]}

    assert sections.keys() == {f"OPENTILL_{each.name.upper()}" for each in fields(Settings)}
    assert all(part.split("\n")[2].endswith(".") and "Must be " in part for part in sections.values())


KEY = "k" * 32
LIVE_BANK = {"mode": "live", "transfer_bank_code": "058", "secret_key": "5e" * 32}


def test_advice_keys_are_long_and_never_repeated(tmp_path: Path) -> None:
    """A key that is too short is refused without being shown; good ones stand in no repr."""
    short = "too-short-to-be-a-key"
    for value in (short, f"{KEY},{short}"):
        with pytest.raises(InvalidSetting, match="at least 32 characters") as refused:
            load_settings({}, {"data_dir": str(tmp_path), "credit_advice_keys": value})
        assert short not in str(refused.value)
    settings = load_settings({}, {"data_dir": str(tmp_path), "credit_advice_keys": f"{KEY}, {'n' * 40}"})
    assert settings.credit_advice_keys == (KEY, "n" * 40)
    assert KEY not in repr(settings)
    assert load_settings(settings.to_environment()).credit_advice_keys == settings.credit_advice_keys


def test_live_mode_takes_transfers_at_a_real_bank_only(tmp_path: Path) -> None:
    """With advice keys a live server would hand out account numbers, so they must not be the sandbox's."""
    with pytest.raises(InvalidSetting, match="must be a real bank's"):
        load_settings({}, {"data_dir": str(tmp_path), "mode": "live", "credit_advice_keys": KEY})
    assert load_settings(
        {}, {"data_dir": str(tmp_path), "credit_advice_keys": KEY, **LIVE_BANK}
    ).credit_advice_keys
