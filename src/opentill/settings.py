"""Every setting and limit of the program in one frozen object: environment over a TOML file over defaults."""

import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta

from opentill.domain.money import MINOR_DIGITS
from opentill.domain.times import duration_seconds
from opentill.store.accounts.contract import Mode

PREFIX: Final = "OPENTILL_"
CONFIG_VARIABLE: Final = "OPENTILL_CONFIG"
CONFIG_FILE: Final = "opentill.toml"
DATABASE_FILE: Final = "opentill.db"
MOST_PAUSE_SECONDS: Final = 604_800
ADVICE_KEY_MIN_CHARACTERS: Final = 32
SANDBOX_BANK: Final = "999"
"""The bank code of made-up money, which no bank has."""

_DATABASE_URL = re.compile(r"sqlite:///(?!:memory:)[^?#]+|postgres(?:ql)?://\S+")
_ORIGIN = re.compile(r"https?://[A-Za-z0-9.-]+(?::\d{1,5})?")
_UNIT_MILLISECONDS: Final = {"milliseconds": 1, "seconds": 1000, "hours": 3_600_000, "days": 86_400_000}
"""The units that names of settings end with."""
_BY_MODE: Any = None
_DEFAULT_RATES = {Mode.SANDBOX: (100_000, 100_000), Mode.LIVE: (15, 75)}
"""POST and other requests per window; live has the default tier of contract 1.4."""


class InvalidSetting(ValueError):
    """A setting can not be used; the message is one sentence that says which and what it must be."""


def _about(text: str, *, ge: float | None = None, gt: float | None = None, le: float | None = None) -> Meta:
    if gt is not None:
        return Meta(description=text, gt=gt, le=le)
    return Meta(description=text, ge=ge, le=le)


def _about_text(
    text: str, *, min_length: int | None = None, max_length: int | None = None, pattern: str | None = None
) -> Meta:
    return Meta(description=text, min_length=min_length, max_length=max_length, pattern=pattern)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings of one server. Raises InvalidSetting when they contradict each other."""

    mode: Annotated[
        Mode,
        _about(
            "`sandbox` (test cards, open access, made-up money) or `live`. It is stamped into a new "
            "database, which can never be opened in the other mode."
        ),
    ] = Mode.SANDBOX
    data_dir: Annotated[
        Path, _about("Folder of what the server keeps itself: database, secret key, `sandbox.env`.")
    ] = Path("opentill-data")
    database_url: Annotated[
        str,
        _about(
            "Where orders are kept: `sqlite:///PATH`, or `postgresql://USER@HOST:PORT/NAME` with any "
            "parameter of libpq, also several hosts. Empty: `opentill.db` in the data folder."
        ),
    ] = field(default="", repr=False)
    migrate_on_start: Annotated[
        bool,
        _about(
            "A server brings the tables of its database up to date when it starts. Off, it refuses to start "
            "until `opentill migrate` has."
        ),
    ] = True
    prepared_statements: Annotated[
        bool,
        _about(
            "Statements stay prepared on PostgreSQL. To be turned off behind a PgBouncer older than 1.21 in "
            "transaction mode; it costs the database a third more work."
        ),
    ] = True
    secret_key: Annotated[
        str,
        _about_text(
            "At least 32 random bytes in hex or base64url; every key of the program is derived from it. "
            "Empty: sandbox mode makes `secret.key` in the data folder, live mode refuses to start.",
            max_length=1024,
        ),
    ] = field(default="", repr=False)
    host: Annotated[str, _about_text("Address to listen on.", min_length=1)] = "127.0.0.1"
    port: Annotated[int, _about("TCP port to listen on; 0 takes any free one.", ge=0, le=65535)] = 8480
    public_url: Annotated[
        str,
        _about("Base URL by which merchants and payers reach this server. Empty: made from host and port."),
    ] = ""
    workers: Annotated[
        int, _about("Server processes. One is fastest on SQLite, whose writers take turns.", ge=1, le=64)
    ] = 1
    allow_public_sandbox: Annotated[
        bool, _about("Lets a sandbox, which is open to everyone, listen on an address other than loopback.")
    ] = False
    refusal_http_status: Annotated[
        Literal[400, 200],
        _about(
            "HTTP status of a refusal by state, such as cancelling a paid order; 200 emulates Nomba strictly."
        ),
    ] = 400
    token_life_seconds: Annotated[int, _about("How long an access token is good.", ge=60, le=86_400)] = 1800
    refresh_life_seconds: Annotated[
        int, _about("How long a refresh token is good; it is used once.", ge=60, le=2_592_000)
    ] = 86_400
    max_body_bytes: Annotated[int, _about("The largest request body.", ge=1024, le=16_777_216)] = 65_536
    max_reference_characters: Annotated[
        int, _about("The longest order reference of a merchant.", ge=51, le=255)
    ] = 255
    currencies: Annotated[
        tuple[str, ...],
        _about_text(
            "Currencies an order may be in, separated by commas; `EUR` and `GBP` can be added.", min_length=1
        ),
    ] = ("NGN", "CDF", "USD")
    post_limit: Annotated[
        int,
        _about(
            "POST requests of one merchant per rate window and process; 0 for no limit. Unset: 100000 in "
            "sandbox mode, 15 in live mode.",
            ge=0,
        ),
    ] = _BY_MODE
    other_limit: Annotated[
        int,
        _about(
            "As `post_limit`, for all other requests. Unset: 100000 in sandbox mode, 75 in live mode.", ge=0
        ),
    ] = _BY_MODE
    rate_window_seconds: Annotated[int, _about("Length of the rate window.", ge=1, le=3600)] = 1
    max_batch: Annotated[int, _about("The most commands that share one commit.", ge=1, le=256)] = 256
    group_commit: Annotated[
        bool,
        _about(
            "Commands that wait share one commit. Off, each has its own: for measuring what sharing gains."
        ),
    ] = True
    queue_limit: Annotated[
        int,
        _about(
            "Commands that may wait; beyond it the server answers 503 with Retry-After.", ge=1, le=1_000_000
        ),
    ] = 4096
    idempotency_hours: Annotated[
        int, _about("How long the answer under an idempotency key is kept.", ge=1, le=720)
    ] = 24
    idempotency_wait_seconds: Annotated[
        float,
        _about(
            "How long a request waits for a running one with its idempotency key before it gets 409.",
            ge=0,
            le=60,
        ),
    ] = 5.0
    card_timeout_seconds: Annotated[
        float,
        _about(
            "How long a card rail may take to answer; then the attempt is unknown and looked up later.",
            gt=0,
            le=120,
        ),
    ] = 20.0
    call_grace_seconds: Annotated[
        float,
        _about(
            "How long after the rail's timeout an unanswered call is left alone before it is looked up.",
            gt=0,
            le=600,
        ),
    ] = 10.0
    sandbox_rail_delay_milliseconds: Annotated[
        int, _about("How long the sandbox card rail thinks before each answer.", ge=0, le=60_000)
    ] = 0
    max_attempts: Annotated[int, _about("Tries to pay one order by card.", ge=1, le=1000)] = 10
    max_otp_tries: Annotated[int, _about("One-time passwords taken for one attempt.", ge=1, le=100)] = 5
    max_otp_sends: Annotated[
        int, _about("How often the one-time password of one attempt is sent again.", ge=0, le=100)
    ] = 5
    refund_wait_seconds: Annotated[
        float, _about("How long a refund waits for the rail before it is answered as running.", ge=0, le=60)
    ] = 5.0
    card_encryption: Annotated[
        bool,
        _about(
            "Card details must be sent encrypted under the RSA key that looking an order up tells, "
            "`card-key.pem` in the data folder; sandbox mode only, as card entry over the API is."
        ),
    ] = False
    webhook_schedule_seconds: Annotated[
        tuple[int, ...],
        _about(
            "Pauses between the tries of one webhook delivery, separated by commas; after the last try it is "
            "dead. Each pause grows by up to a tenth, by chance."
        ),
    ] = (120, 280, 640, 1440, 3200)
    webhook_timeout_seconds: Annotated[
        float, _about("How long one try of a webhook delivery may take.", gt=0, le=60)
    ] = 10.0
    webhook_pause_hours: Annotated[
        float,
        _about(
            "An endpoint that has done nothing but fail for so long, and often enough, is paused; its "
            "deliveries wait until its merchant changes it.",
            gt=0,
            le=8760,
        ),
    ] = 24.0
    webhook_pause_tries: Annotated[
        int,
        _about(
            "How many tries in a row must have failed, besides, before an endpoint is paused.", ge=1, le=1000
        ),
    ] = 5
    allow_loopback_webhooks: Annotated[
        bool,
        _about(
            "Lets webhooks go to this machine itself, which only a developer wants. Unset: on in a sandbox "
            "that listens on loopback, off otherwise."
        ),
    ] = _BY_MODE
    max_webhook_endpoints: Annotated[int, _about("Webhook endpoints of one merchant.", ge=1, le=1000)] = 20
    max_open_streams: Annotated[
        int,
        _about(
            "Event streams that one process keeps open, at most half of them for one merchant; beyond it a "
            "new one gets 503.",
            ge=1,
            le=10_000,
        ),
    ] = 200
    max_open_pages: Annotated[
        int,
        _about(
            "Payer pages that one process keeps up to date by a stream; a page beyond it asks every few "
            "seconds instead.",
            ge=0,
            le=100_000,
        ),
    ] = 5000
    embedding_origins: Annotated[
        tuple[str, ...],
        _about(
            "Origins of merchants' sites that may show the payer's page in a frame, separated by commas, "
            "each like `https://shop.example`. Empty: it is never shown in a frame."
        ),
    ] = ()
    sequencer_interval_seconds: Annotated[
        float, _about("Pause between two looks for committed events to tell.", gt=0, le=60)
    ] = 0.1
    transfer_bank_name: Annotated[
        str, _about("The bank of the account numbers that payers transfer to, as they read it.")
    ] = "opentill Sandbox Bank"
    transfer_bank_code: Annotated[
        str,
        _about_text("Its code, 3 to 6 digits; the check digits follow from it.", pattern=r"^[0-9]{3,6}$"),
    ] = SANDBOX_BANK
    transfer_account_prefix: Annotated[
        str,
        _about_text("The digits that our account numbers begin with.", pattern=r"^[0-9]{0,6}$"),
    ] = "90"
    transfer_account_name: Annotated[
        str,
        _about_text(
            "The name that our account numbers have at their bank, as a payer's bank shows it.",
            min_length=1,
            max_length=255,
        ),
    ] = "opentill Checkout"
    transfer_account_rest_days: Annotated[
        float,
        _about(
            "How long after the end of its order an account number is given to no other one, so that late "
            "money is known.",
            ge=0,
            le=3650,
        ),
    ] = 30.0
    transfer_timeout_seconds: Annotated[
        float, _about("How long the bank may take to answer before a return is looked up.", gt=0, le=120)
    ] = 20.0
    return_retry_seconds: Annotated[
        float,
        _about(
            "Until a return that the bank refused is tried again; doubled at each refusal.", gt=0, le=86_400
        ),
    ] = 60.0
    credit_advice_keys: Annotated[
        tuple[str, ...],
        _about(
            "Keys of the adapter that tells us of bank transfers, separated by commas, each of at least 32 "
            "characters; an advice must be signed under one of them, so that two let the key be changed. "
            "None: the route for advices does not exist, and live mode takes no transfers."
        ),
    ] = field(default=(), repr=False)
    return_max_tries: Annotated[
        int, _about("How often a return may be refused before it is left to a person.", ge=1, le=20)
    ] = 5
    fee_basis_points: Annotated[
        int,
        _about(
            "What a payment costs its merchant, in hundredths of a percent of the amount.", ge=0, le=10_000
        ),
    ] = 140
    fee_cap_minor: Annotated[
        int, _about("The most that a payment costs, in minor units of whatever currency.", ge=0, le=10**15)
    ] = 180_000
    shutdown_seconds: Annotated[
        float, _about("How long open requests may take to end after SIGTERM.", ge=1, le=60)
    ] = 2.0
    purge_interval_seconds: Annotated[
        float, _about("Pause between two rounds of deleting what nobody can need again.", gt=0, le=86_400)
    ] = 60.0
    sweep_interval_seconds: Annotated[
        float,
        _about(
            "Pause between two looks for orders that fell due and calls that a crash left.", gt=0, le=3600
        ),
    ] = 1.0
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], _about("The least of what is logged.")
    ] = "info"
    metrics: Annotated[
        bool,
        _about(
            "Answers `GET /metrics`, for Prometheus, to whoever asks. Unset: on while listening on loopback, "
            "off otherwise. A proxy in front must not pass it on."
        ),
    ] = _BY_MODE
    access_log: Annotated[bool, _about("Log one line per request.")] = False

    def __post_init__(self) -> None:
        """Fill in what depends on other settings, then check what only several of them together can tell."""
        post_limit, other_limit = _DEFAULT_RATES[self.mode]
        self._settle("data_dir", self.data_dir.expanduser().absolute())
        self._settle("database_url", self.database_url or f"sqlite:///{self.data_dir / DATABASE_FILE}")
        self._settle("public_url", self.public_url.rstrip("/") or _url_of(self.host, self.port))
        self._settle("post_limit", post_limit if self.post_limit is _BY_MODE else self.post_limit)
        self._settle("other_limit", other_limit if self.other_limit is _BY_MODE else self.other_limit)
        if self.metrics is _BY_MODE:
            self._settle("metrics", _is_loopback(self.host))
        if self.allow_loopback_webhooks is _BY_MODE:
            self._settle("allow_loopback_webhooks", self.for_a_developer)
        self._check_together()

    def _settle(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)

    def _check_together(self) -> None:
        if not _DATABASE_URL.fullmatch(self.database_url):
            raise InvalidSetting(
                "OPENTILL_DATABASE_URL (or --database) must be sqlite:///PATH or "
                "postgresql://USER@HOST:PORT/NAME."
            )
        if not self.public_url.startswith(("http://", "https://")):
            raise InvalidSetting("OPENTILL_PUBLIC_URL must begin with http:// or https://.")
        unknown = sorted(set(self.currencies) - set(MINOR_DIGITS))
        if unknown:
            known = ", ".join(MINOR_DIGITS)
            raise InvalidSetting(f"OPENTILL_CURRENCIES can not name {unknown[0]!r}: only {known} are known.")
        if self.mode is Mode.LIVE and self.allow_public_sandbox:
            raise InvalidSetting(
                "OPENTILL_ALLOW_PUBLIC_SANDBOX opens access and can not be set in live mode."
            )
        if self.mode is Mode.LIVE and self.card_encryption:
            raise InvalidSetting(
                "OPENTILL_CARD_ENCRYPTION has no use in live mode, which never takes card details."
            )
        self._check_money_and_pages()
        if not all(0 < pause <= MOST_PAUSE_SECONDS for pause in self.webhook_schedule_seconds):
            raise InvalidSetting(
                f"OPENTILL_WEBHOOK_SCHEDULE_SECONDS must have pauses from 1 to {MOST_PAUSE_SECONDS} seconds."
            )
        if self.mode is Mode.SANDBOX and not (self.allow_public_sandbox or _is_loopback(self.host)):
            raise InvalidSetting(
                f"a sandbox is open to everyone who reaches it, so listening on {self.host} "
                "needs --allow-public-sandbox (OPENTILL_ALLOW_PUBLIC_SANDBOX=true)."
            )

    def _check_money_and_pages(self) -> None:
        if not all(len(key) >= ADVICE_KEY_MIN_CHARACTERS for key in self.credit_advice_keys):
            raise InvalidSetting(
                "OPENTILL_CREDIT_ADVICE_KEYS must be keys of at least "
                f"{ADVICE_KEY_MIN_CHARACTERS} characters each."
            )
        if self.mode is Mode.LIVE and self.credit_advice_keys and self.transfer_bank_code == SANDBOX_BANK:
            raise InvalidSetting(
                "OPENTILL_CREDIT_ADVICE_KEYS lets live mode take transfers, so OPENTILL_TRANSFER_BANK_CODE "
                "must be a real bank's, with its name, account prefix and account name."
            )
        if not all(_ORIGIN.fullmatch(origin) for origin in self.embedding_origins):
            raise InvalidSetting(
                "OPENTILL_EMBEDDING_ORIGINS must name origins like https://shop.example, without a path."
            )

    @property
    def for_a_developer(self) -> bool:
        """Tell whether this is a sandbox that only this machine can reach."""
        return self.mode is Mode.SANDBOX and _is_loopback(self.host)

    @property
    def url_follows_port(self) -> bool:
        """Tell whether the public URL was made from host and port."""
        return self.public_url == _url_of(self.host, self.port)

    def bound_to(self, port: int) -> Self:
        """Return the same settings after listening on ``port``: any free one may have been asked for."""
        return replace(self, port=port, public_url="" if self.url_follows_port else self.public_url)

    def to_environment(self) -> dict[str, str]:
        """Write these settings as variables, for handing them to a child process; holds the secret key."""
        return {PREFIX + each.name.upper(): as_text(getattr(self, each.name)) for each in fields(self)}


_TYPES: Final = get_type_hints(Settings, include_extras=True)
_SECRETS: Final = frozenset({"secret_key", "credit_advice_keys"})
"""Settings of which no message repeats what they are set to."""


def load_settings(
    environment: Mapping[str, str] | None = None, chosen: Mapping[str, object] | None = None
) -> Settings:
    """Load settings from the command line (``chosen``), the environment, TOML and defaults, in this order.

    Each stands in ``chosen`` by its name; None counts as not given.

    Raises InvalidSetting at the first one that can not be used.
    """
    environment = os.environ if environment is None else environment
    given = {
        name: _convert(name, value, f"--{name}")
        for name, value in (chosen or {}).items()
        if value is not None
    }
    spoken = {
        each.name: _convert(each.name, environment[variable], variable)
        for each in fields(Settings)
        if (variable := PREFIX + each.name.upper()) in environment
    }
    chosen_dir = (spoken | given).get("data_dir", Settings.data_dir)
    assert isinstance(chosen_dir, Path)
    written = _read_toml(environment.get(CONFIG_VARIABLE), chosen_dir)
    return Settings(**(written | spoken | given))


def _read_toml(path: str | None, data_dir: Path) -> dict[str, Any]:
    file = Path(path) if path else data_dir / CONFIG_FILE
    try:
        table = tomllib.loads(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        if path:
            raise InvalidSetting(f"{CONFIG_VARIABLE} names {file}, which does not exist.") from None
        return {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InvalidSetting(f"{file} can not be read as TOML: {error}.") from None
    unknown = sorted(set(table) - set(_TYPES))
    if unknown:
        raise InvalidSetting(f"{file} sets {unknown[0]!r}, which is not a setting of opentill.")
    return {name: _convert(name, value, f"{name} in {file}") for name, value in table.items()}


def _convert(name: str, written: object, source: str) -> Any:
    value = written
    if get_origin(get_args(_TYPES[name])[0]) is tuple and isinstance(value, str):
        value = [part.strip() for part in value.split(",") if part.strip()]
    if unit := _UNIT_MILLISECONDS.get(name.rpartition("_")[2]):
        parts = [_in_unit(part, unit) for part in (value if isinstance(value, list) else [value])]
        value = parts if isinstance(value, list) else parts[0]
    try:
        return msgspec.convert(value, _TYPES[name], strict=False, dec_hook=_path)
    except msgspec.ValidationError:
        shown = "what it is set to" if name in _SECRETS else repr(written)
        raise InvalidSetting(f"{source} must be {expected(name)}, not {shown}.") from None


def _in_unit(value: object, unit_milliseconds: int) -> object:
    """Return a duration with a unit of its own, such as ``30m``, as a number of these; all else as it is."""
    if not isinstance(value, str) or value.strip()[-1:].isdecimal():
        return value
    seconds = duration_seconds(value)
    if seconds is None:
        return value
    whole, rest = divmod(seconds * 1000, unit_milliseconds)
    return seconds * 1000 / unit_milliseconds if rest else whole


def _path(wanted: type, value: object) -> Path:
    if wanted is Path and isinstance(value, str) and value:
        return Path(value)
    raise ValueError("not a path")


def as_text(value: object) -> str:
    """Write a value as its environment variable has it."""
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def _url_of(host: str, port: int) -> str:
    name = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104
    return f"http://{name}:{port}"


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def expected(name: str) -> str:
    """Say what a setting may be, as the end of the sentence "it must be ..."."""
    bare, limits = get_args(_TYPES[name])
    choices = get_args(bare) if get_origin(bare) is Literal else list(Mode) if bare is Mode else ()
    if choices:
        return " or ".join(str(choice) for choice in choices)
    if get_origin(bare) is tuple:
        return "a list of words" if get_args(bare)[0] is str else "a list of whole numbers"
    words = {int: "a whole number", float: "a number", bool: "true or false", Path: "a path", str: "text"}
    return words[bare] + _range(limits)


def _range(limits: Meta) -> str:
    low = (
        f" from {limits.ge}"
        if limits.ge is not None
        else f" above {limits.gt}"
        if limits.gt is not None
        else ""
    )
    return low + (f" to {limits.le}" if limits.le is not None else "")
