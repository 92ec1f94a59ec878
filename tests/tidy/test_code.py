"""The rules, held against the whole repository."""

import pytest

from tidy import dead_code, layers, rules
from tidy.rules import ROOT, LawBook, Rule, Source

SRC = rules.sources("src")
TESTS = rules.sources("tests")
BENCH = rules.sources("bench")
TOOLS = rules.sources("tools")
BESIDE = [*TESTS, *BENCH, *TOOLS, *rules.sources("ha")]

CIRCLES: list[str] = []
MOST_MEDIAN_LINES = 12
"""Above this the code has begun to sprawl; it is written with about 8 in mind."""

RULES: list[tuple[Rule, list[Source]]] = [
    (layers.layers, SRC),
    (rules.sql_only_in_the_store, SRC),
    (rules.status_words_have_one_home, SRC),
    (rules.envelope_has_one_home, SRC),
    (rules.sizes, [*SRC, *TESTS, *BENCH, *TOOLS]),
    (rules.names, [*SRC, *TESTS, *BENCH, *TOOLS]),
    (rules.time_and_chance_are_injected, SRC),
    (rules.tests_do_not_sleep, TESTS),
    (rules.tests_say_their_claim, TESTS),
]


@pytest.mark.parametrize(("rule", "sources"), RULES, ids=[rule.__name__ for rule, _ in RULES])
def test_the_code_keeps_the_rule(rule: Rule, sources: list[Source]) -> None:
    """No file of ours gives this rule a reason to complain."""
    assert sources
    complaints = [f"{source.path}:{complaint}" for source in sources for complaint in rule(source)]
    assert not complaints, "\n".join(["", rule.__doc__ or "", *complaints])


def test_the_layer_table_permits_nothing_that_nobody_needs() -> None:
    """Each permission of LAYERS is used: the table says what is, not what could be."""
    assert layers.unused_permissions(SRC) == []


def test_no_module_imports_itself_round_a_corner() -> None:
    """There is no circle of imports, lazy ones included, but for those that start-up time is worth."""
    assert layers.import_circles(SRC) == CIRCLES


@pytest.mark.parametrize("rule", [dead_code.unused_definitions, dead_code.unchosen_parameters])
def test_nothing_beside_the_package_is_dead(rule: dead_code.Rule) -> None:
    """What tests and measurements define is used, and what can be chosen is chosen somewhere."""
    uses = dead_code.Uses(BESIDE)
    complaints = [f"{source.path}:{complaint}" for source in BESIDE for complaint in rule(source, uses)]
    assert not complaints, "\n".join(complaints)


def test_functions_are_short() -> None:
    """Half of all functions have about eight lines or fewer."""
    assert rules.median_function_lines(SRC) <= MOST_MEDIAN_LINES


def test_nothing_is_left_over_in_any_file() -> None:
    """No committed text holds a note to self or a path of somebody's machine."""
    complaints = [
        f"{path}:{each}" for path, text in rules.texts().items() for each in rules.nothing_left_over(text)
    ]
    assert not complaints, "\n".join(complaints)


def test_every_link_of_a_page_leads_somewhere() -> None:
    """No page links or names a file that is not there."""
    files = rules.texts()
    pages = {path: text for path, text in files.items() if path.endswith(".md")}
    complaints = [f"{p}:{c}" for p, text in pages.items() for c in rules.links_lead_somewhere(p, text, files)]
    assert {"README.md", "ARCHITECTURE.md"} <= set(pages)
    assert not complaints, "\n".join(complaints)


def test_every_decision_is_linked_from_the_list() -> None:
    """docs/decisions/README.md leads to each decision."""
    folder = ROOT / "docs/decisions"
    decisions = [file.name for file in folder.glob("[0-9]*.md")]
    assert not list(rules.decisions_are_linked((folder / "README.md").read_text(encoding="utf-8"), decisions))


def test_every_citation_leads_somewhere() -> None:
    """What is cited is a section or ruling of docs/contract.md, a section of docs/laws.md, or a decision."""
    files = rules.texts()
    decisions = [file.name for file in (ROOT / "docs/decisions").glob("[0-9]*.md")]
    book = LawBook.of(files["docs/contract.md"], files["docs/laws.md"], decisions)
    complaints = [
        f"{path}:{each}" for path, text in files.items() for each in rules.citations_stand(text, book)
    ]
    assert {str(number) for number in range(1, 35)} == book.ruling
    assert {str(number) for number in range(1, 12)} == book.laws
    assert {"1", "3.14", "10"} <= book.contract
    assert not complaints, "\n".join(complaints)


def test_the_glossary_is_in_order() -> None:
    """docs/glossary.md has three parts with words, each by the alphabet."""
    glossary = rules.texts()["docs/glossary.md"]
    assert glossary.count("\n## ") == 3
    assert glossary.count("\n- **") > 100
    assert not list(rules.in_alphabetical_order(glossary))
