"""Each rule can fail: a small offending source makes it complain, its innocent sibling does not."""

from textwrap import indent

import pytest

from tidy import layers, rules
from tidy.rules import LawBook, Rule, Source

LONG_FUNCTION = "def f() -> None:\n" + "    pass\n" * 70
LONG_MODULE = "x = 1\n" * 601

OFFENCES = [
    # rule, path below src/opentill or from the root, offending text, innocent text
    (layers.layers, "domain/money.py", "import structlog", "import decimal"),
    (layers.layers, "domain/money.py", "from msgspec import json", "from msgspec import Struct"),
    (
        layers.layers,
        "domain/money.py",
        "from opentill.clock import Clock",
        "from opentill.domain import order",
    ),
    (layers.layers, "domain/money.py", "from . import order", "from opentill.domain.order import Order"),
    (
        layers.layers,
        "store/interface.py",
        "from opentill.engine.engine import Engine",
        "from opentill.domain import order",
    ),
    (
        layers.layers,
        "store/databases/sqlite.py",
        "from opentill.engine.errors import EngineError",
        "import opentill.clock",
    ),
    (
        layers.layers,
        "engine/engine.py",
        "from opentill.store.databases.sqlite import x",
        "import opentill.store.orders.contract",
    ),
    (
        layers.layers,
        "rails/sandbox/payouts.py",
        "import opentill.engine.engine",
        "from opentill.rails.rail import Card",
    ),
    (
        layers.layers,
        "rails/card_payments.py",
        "import opentill.store.databases.sqlite",
        "from opentill.engine.engine import Engine",
    ),
    (
        layers.layers,
        "api/nomba/checkout.py",
        "import opentill.store.databases.sqlite",
        "import opentill.store.orders.contract",
    ),
    (
        layers.layers,
        "api/nomba/checkout.py",
        "import opentill.app",
        "from opentill.api.http import decode",
    ),
    (
        layers.layers,
        "api/nomba/checkout.py",
        "import opentill.rails.sandbox.card",
        "import opentill.domain.money",
    ),
    (layers.layers, "payer/pages.py", "from opentill.api import wire", "import opentill.engine.reader"),
    (
        layers.layers,
        "api/http/decode.py",
        "from opentill.payer import pages",
        "from opentill.api.http import cursor",
    ),
    (
        layers.layers,
        "workers/recovery.py",
        "if True:\n    import opentill.app",
        "import opentill.rails.card_payments",
    ),
    (layers.layers, "brand_new.py", "x = 1", None),
    (rules.sql_only_in_the_store, "api/lists.py", "import sqlite3", "import json"),
    (rules.sql_only_in_the_store, "api/lists.py", "from sqlalchemy import text", "from x import sqlalchemy"),
    (rules.sql_only_in_the_store, "engine/e.py", "q = 'SELECT a\\nFROM b'", "q = 'Select one from the list'"),
    (rules.sql_only_in_the_store, "engine/e.py", "q = b'PRAGMA user_version'", "'''SELECT a FROM b'''"),
    (rules.status_words_have_one_home, "api/c.py", "x = 'CANCELLED'", "x = OrderStatus.CANCELLED"),
    (rules.status_words_have_one_home, "api/c.py", "x = f'is {y} or PAID'", "x = 'PENDING_BILLING'"),
    (rules.envelope_has_one_home, "api/c.py", "x = {'code': 1, 'description': 2}", "x = {'code': 1}"),
    (
        rules.envelope_has_one_home,
        "api/c.py",
        "class E:\n  code: str\n  description: str",
        "class E:\n  code: str",
    ),
    (
        rules.envelope_has_one_home,
        "api/c.py",
        "x = {'code': '00', 'description': 'd', 'data': {}}",
        "x = {'code': {'type': 'string'}, 'description': {'type': 'string'}}",
    ),
    (rules.envelope_has_one_home, "payer/p.py", 'x = b\'{"code": "00"}\'', "x = 'code'"),
    (rules.sizes, "api/c.py", LONG_FUNCTION, LONG_FUNCTION[:-9]),
    (
        rules.sizes,
        "api/c.py",
        "class C:\n" + indent(f"async {LONG_FUNCTION}", "    "),
        "class C: pass",
    ),
    (rules.sizes, "api/c.py", LONG_MODULE, LONG_MODULE[:-6]),
    (rules.names, "api/utils.py", "", None),
    (rules.names, "common/money.py", "", None),
    (
        rules.time_and_chance_are_injected,
        "api/c.py",
        "import time\ntime.time()",
        "import time\ntime.monotonic()",
    ),
    (
        rules.time_and_chance_are_injected,
        "api/c.py",
        "import uuid as u\nu.uuid4()",
        "import uuid as u\nu.UUID(x)",
    ),
    (rules.time_and_chance_are_injected, "api/c.py", "from time import time_ns as n\nn()", "def n(): n()"),
    (
        rules.time_and_chance_are_injected,
        "api/c.py",
        "from datetime import datetime, UTC\ndatetime.now(UTC)",
        "from datetime import datetime, UTC\ndatetime.fromtimestamp(1, UTC)",
    ),
    (rules.time_and_chance_are_injected, "api/c.py", "import random\nrandom.choice('ab')", "clock.now()"),
    (
        rules.time_and_chance_are_injected,
        "api/c.py",
        "from secrets import token_hex\ntoken_hex()",
        "secrets = 1",
    ),
    (
        rules.tests_do_not_sleep,
        "/tests/test_x.py",
        "import time\ntime.sleep(1)",
        "import time\ntime.monotonic()",
    ),
    (
        rules.tests_do_not_sleep,
        "/tests/test_x.py",
        "from time import sleep as s\ns(0.1)",
        "def sleep(): sleep()",
    ),
    (
        rules.tests_do_not_sleep,
        "/tests/test_x.py",
        "import asyncio\nasync def f(): await asyncio.sleep(0.1)",
        "import asyncio\nasync def f(): await asyncio.sleep(0)",
    ),
    (
        rules.tests_say_their_claim,
        "/tests/test_x.py",
        "def test_a(): pass",
        "def test_a():\n  '''It is a.'''",
    ),
    (
        rules.tests_say_their_claim,
        "/tests/test_x.py",
        "class TestA:\n  async def test_a(): pass",
        "class TestA:\n  '''It is a.'''\n  def test_a(): pass",
    ),
]


@pytest.mark.parametrize(("rule", "path", "offending", "innocent"), OFFENCES)
def test_a_rule_complains_about_an_offence_and_about_nothing_else(
    rule: Rule, path: str, offending: str, innocent: str | None
) -> None:
    """The offending text draws a complaint with its line; the innocent one beside it draws none."""
    full = path[1:] if path.startswith("/") else f"src/opentill/{path}"
    complaints = list(rule(Source(full, offending)))
    assert complaints
    assert all(complaint.partition(":")[0].isdigit() for complaint in complaints)
    assert innocent is None or not list(rule(Source(full, innocent)))


@pytest.mark.parametrize(
    "path", ["src/opentill/store/schema.py", "src/opentill/store/databases/migrations/versions/0001.py"]
)
def test_status_words_are_allowed_where_they_live(path: str) -> None:
    """The schema and the migrations may spell statuses out."""
    assert not list(rules.status_words_have_one_home(Source(path, "x = 'PAID'")))


def test_status_words_are_those_of_the_domain() -> None:
    """The words that are looked for are exactly the values of the two status enums."""
    text = (rules.ROOT / "src/opentill/domain/order.py").read_text(encoding="utf-8")
    enums = text.partition("class OrderStatus")[2].partition("class DueAction")[0]
    assert all(f'"{word}"' in enums for word in rules.STATUS_WORDS)
    assert set(rules.STATUS_WORDS) == {part for part in enums.split('"')[1::2] if part.isupper()}


@pytest.mark.parametrize("text", ["# TO" + "DO later", "# FIX" + "ME", "cd /" + "work/main", "'/" + "tmp/x'"])
def test_leftovers_are_found_in_any_text(text: str) -> None:
    """A note to self and a machine's path are found on their line."""
    assert [c[:2] for c in rules.nothing_left_over(f"first\n{text}")] == ["2:"]


@pytest.mark.parametrize("text", ["https://example.com/work/x", "a/tmp/b", "to do, one by one", "mastodon"])
def test_leftovers_are_not_found_where_there_are_none(text: str) -> None:
    """URLs, relative paths and plain words are left alone."""
    assert not list(rules.nothing_left_over(text))


def test_a_link_or_a_file_that_is_not_there_is_missed() -> None:
    """Relative links count from their page; URLs and anchors are left alone."""
    files = ["docs/states.md", "src/opentill/app.py"]
    good = (
        "[a](states.md#order) [b](../src/opentill/app.py) [c](https://x.y/z) [d](#top) [e](../src) `app.py`"
    )
    bad = "[a](docs/states.md)\n`api/app.py`"
    assert not list(rules.links_lead_somewhere("docs/index.md", good, files))
    assert [c[:2] for c in rules.links_lead_somewhere("docs/index.md", bad, files)] == ["1:", "2:"]


def test_an_unlinked_decision_is_missed() -> None:
    """A decision that the list does not link draws a complaint, a linked one does not."""
    complaints = list(rules.decisions_are_linked("[one](0001-one.md)", ["0001-one.md", "0002-two.md"]))
    assert complaints == ["docs/decisions/README.md does not link 0002-two.md"]


BOOK = LawBook.of(
    "## 0. Rulings\n| R | what |\n| 1 | one |\n| 2 | two |\n\n## 1. One\n| 9 | no ruling |\n### 1.2 Two\n",
    "# Laws\n\n## 1. Time\n",
    ["0001-one.md"],
)
# In two pieces, so that the rule does not find its own examples.
CON, RUL, LAW, DEC, DES = "con" + "tract", "rul" + "ing", "la" + "ws", "deci" + "sion", "des" + "ign"


@pytest.mark.parametrize(
    "text",
    [
        f"({CON} 1.3)",
        f"{CON.title()} 2 says",
        f"({CON} 1.2,\n    1.7)",
        f"{CON} 1 to 4",
        f"{RUL.title()} 3",
        f"{RUL}s 1 and 9",
        f"{LAW} 2",
        f"{DEC} 0002",
        f"docs/{DEC}s/0009",
        f"({CON}, section 1)",
        f"the {CON}'s section 1",
        f"({CON}, {RUL} 1)",
        "mech" + "anics 1",
        f"({DES}, section 1)",
        f"as the {DES} says",
        f"{LAW[:-1]} 1",
    ],
)
def test_a_citation_of_nothing_is_missed(text: str) -> None:
    """A number that is not there, or another form than the agreed one, is one complaint on its line."""
    assert [complaint[:2] for complaint in rules.citations_stand(f"first\n{text}", BOOK)] == ["2:"]


@pytest.mark.parametrize(
    "text",
    [
        f"({CON} 1.2): else a 409",
        f"{RUL}s 1 and 2; {CON} 1, 1.2 and\n# {LAW} 1",
        f"{DEC} 0001 ([0007](x.md)), docs/{DEC}s/0001",
        f"as the {CON} says, open by {DES}, the {LAW} of money, 3 {RUL}s",
    ],
)
def test_a_good_citation_is_left_alone(text: str) -> None:
    """What is there may be cited, in lists and across lines; plain words are no citations."""
    assert not list(rules.citations_stand(text, BOOK))


def test_a_word_out_of_order_is_missed() -> None:
    """Words are compared within their part, whatever their case."""
    good = "# G\n\n## A\n- **b**: x\n- **`C`**: x\n\n## B\n- **a**: x\n"
    assert not list(rules.in_alphabetical_order(good))
    assert list(rules.in_alphabetical_order(good + "- **A**: x\n")) == ["a stands behind a"]


def test_the_median_counts_every_function() -> None:
    """The median is that of all functions of all files, methods included."""
    one = Source("a.py", "def f():\n  pass\nclass C:\n  def g(self):\n    x = 1\n    y = 2\n    return x\n")
    two = Source("b.py", "def h():\n  pass\n  pass\n")
    assert rules.median_function_lines([one, two]) == 3


def test_the_whole_repository_is_looked_at() -> None:
    """The files that the rules are held against are really found."""
    assert {"src/opentill/domain/lifecycle.py", "pyproject.toml", "tests/tidy/rules.py"} <= set(rules.texts())
    assert "src/opentill/domain/lifecycle.py" in {source.path for source in rules.sources("src")}
