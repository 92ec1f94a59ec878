"""What is dead is found, and its living sibling is left alone."""

import pytest

from tidy.dead_code import Rule, Uses, unchosen_parameters, unused_definitions
from tidy.rules import Source

FIXTURE = "@pytest.fixture\ndef store(): ...\n"
FIELD = "@dataclass\nclass Deed:\n  name: str\n  by: str = 'me'\n"

DEAD = [
    # rule, offending text, what makes it innocent when it is added
    (unused_definitions, "def _by_order_id(engine): ...", "DEEDS = [_by_order_id]\nprint(DEEDS)"),
    (unused_definitions, "LATER = 1", "def test_a(): assert LATER"),
    (unused_definitions, "class Ring: ...", "def test_a(): Ring()"),
    (unused_definitions, "class Ring:\n  def meet(self): ...\nprint(Ring)", "def test_a(ring): ring.meet()"),
    (unused_definitions, FIXTURE, "def test_a(store): ..."),
    (unused_definitions, FIXTURE, "pytestmark = pytest.mark.usefixtures('store')"),
    (unchosen_parameters, "def pay(name, key=''): ...\npay('a')", "pay('b', 'k')"),
    (unchosen_parameters, "def pay(name, key=''): ...\npay('a')", "pay('b', key='k')"),
    (unchosen_parameters, "def pay(name, key=''): ...\npay('a')", "pay(*names)"),
    (unchosen_parameters, "def pay(name, *, key=''): ...\npay('a')", "pay('a', **more)"),
    (unchosen_parameters, "def pay(name, *, key=''): ...\npay('a')", "ACTS = [pay]"),
    (unchosen_parameters, "class Till:\n  def pay(self, key=''): ...\ntill.pay()", "till.pay('k')"),
    (unchosen_parameters, "class Till:\n  def __init__(self, at=0): ...\nTill()", "Till(1)"),
    (unchosen_parameters, f"{FIELD}Deed('a')", "Deed('a', 'you')"),
    (unchosen_parameters, f"{FIELD}Deed('a')", "replace(deed, by='you')"),
    (unchosen_parameters, f"{FIELD}Deed('a')", "deed.by = 'you'"),
    (unchosen_parameters, f"{FIELD}def f(deed: Deed) -> Deed: ...\nDeed('a')", "print(Deed)"),
]


def complaints(rule: Rule, *texts: str) -> list[str]:
    """Return what the rule says of the first text, beside the others."""
    first, *others = (Source(f"tests/test_{number}.py", text) for number, text in enumerate(texts))
    return list(rule(first, Uses([first, *others])))


@pytest.mark.parametrize(("rule", "offending", "saving"), DEAD)
def test_what_nobody_uses_is_complained_of_until_somebody_does(
    rule: Rule, offending: str, saving: str
) -> None:
    """By itself it draws one complaint with its line; a use in another file ends that."""
    assert [each.partition(":")[0].isdigit() for each in complaints(rule, offending)] == [True]
    assert not complaints(rule, offending, saving)


@pytest.mark.parametrize(
    "text",
    ["def test_a(): ...", "class TestA: ...", "pytestmark = 1", "@law\ndef kept(): ...", "__all__ = []"],
)
def test_what_others_look_for_by_its_name_is_in_use(text: str) -> None:
    """Tests, what Python or pytest reads by name, and what a decorator has taken are left alone."""
    assert not complaints(unused_definitions, text)


def test_an_import_is_no_use() -> None:
    """What is imported and then not named is as dead as before."""
    assert complaints(unused_definitions, "def pay(): ...", "from test_0 import pay")
