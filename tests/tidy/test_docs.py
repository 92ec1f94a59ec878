"""The generated pages say what the code says."""

from pathlib import Path

from opentill.domain.refusals import PRECEDENCE
from tidy.rules import ROOT
from tools.pages.__main__ import main, pages, stale
from tools.pages.refusals import refusals_page
from tools.pages.states import states_page


def test_no_generated_page_is_stale() -> None:
    """Each page that is made from the code is what `make docs` would write now."""
    assert stale(ROOT / "docs") == []


def test_every_generated_page_names_its_generator() -> None:
    """Whoever opens a page to edit it reads what makes it."""
    made_by = "<!-- Made by `make docs`, from tools/pages; do not edit. -->"
    assert all(text.splitlines()[2] == made_by for text in pages().values())


def test_a_stale_or_missing_page_is_noticed(tmp_path: Path) -> None:
    """--check exits 1 while a page is missing or edited by hand, and 0 once it is written again."""
    check, write = ["--check", "--into", str(tmp_path)], ["--into", str(tmp_path)]
    assert main(check) == 1
    assert main(write) == 0
    assert main(check) == 0
    page = tmp_path / "states.md"
    page.write_text(page.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    assert stale(tmp_path) == ["states.md"]
    assert main(check) == 1


def test_every_refusal_has_its_heading_in_precedence_order() -> None:
    """docs/refusals.md has one heading for each refusal, in the order in which they are told."""
    headings = [line[3:] for line in refusals_page().splitlines() if line.startswith("## ")]
    assert len(headings) == len(PRECEDENCE)
    spoken = [(h, r.reason) for h, r in zip(headings, PRECEDENCE, strict=True) if r.reason]
    assert all(heading == reason for heading, reason in spoken)


def test_every_link_between_the_pages_leads_to_a_heading() -> None:
    """Each refusal named in a cell of docs/states.md is a heading of docs/refusals.md."""
    headings = {line[3:] for line in refusals_page().splitlines() if line.startswith("## ")}
    linked = {part.partition(")")[0] for part in states_page().split("refusals.md#")[1:]}
    assert linked
    assert linked <= headings
