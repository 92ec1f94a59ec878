"""The page of the HTTP API shows every operation, by an example that is what it claims to be."""

import json
import re

import pytest

from api.golden.conversation import KINDS
from opentill.api.http.call import Operation
from opentill.api.operations import OPERATIONS
from tools.pages.examples import GOLDEN, conversations, exchange, operation_of, shown
from tools.pages.http_api import http_api_page
from tools.pages.refusals import refusals_page
from tools.pages.samples import TEXTS, sample
from tools.pages.subjects import SUBJECTS, Shown

PLACES = [place for subject in SUBJECTS for place in subject.operations.items()]


def test_every_operation_has_one_place() -> None:
    """No row of the route table is forgotten in tools/pages/subjects.py, and none stands there twice."""
    assert sorted(name for name, _ in PLACES) == sorted(each.name for each in OPERATIONS)


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda each: each.name)
def test_an_operation_is_shown_by_a_success_of_its_own(operation: Operation) -> None:
    """The golden exchange reaches the operation, and is answered as when all goes well."""
    place = dict(PLACES)[operation.name]
    example = exchange(place.file, place.number)
    assert operation_of(example.first_line) is operation
    assert example.answer.startswith("200\n")
    assert f'"code":"{operation.success_code}"' in example.answer or not operation.enveloped


def test_the_page_has_a_heading_and_a_link_for_each_operation() -> None:
    """Whoever looks an operation up finds it in the contents, and the contents lead to its heading."""
    page = http_api_page()
    headings = re.findall(r"^### (\w+)$", page, re.MULTILINE)
    assert headings == [name for name, _ in PLACES]
    assert set(re.findall(r"\[(\w+)\]\(#\w+\)", page)) >= set(headings)


def test_every_refusal_that_is_linked_has_its_heading() -> None:
    """Each link to a refusal leads to a heading of docs/refusals.md; a word without one is told there."""
    page, refusals = http_api_page(), refusals_page()
    headings = re.findall(r"^## (.+)$", refusals, re.MULTILINE)
    assert set(re.findall(r"refusals\.md#([\w-]+)\)", page)) <= set(headings)
    words = re.findall(r"\[([a-z]+-[a-z-]+)\]\(refusals\.md\)", page)
    assert all(f"| `{word}` |" in refusals for word in words)


@pytest.mark.parametrize(("name", "place"), PLACES, ids=[name for name, _ in PLACES])
def test_bodies_are_laid_out_without_a_change(name: str, place: Shown) -> None:
    """What is shown is the golden body member by member, with samples for the placeholders alone."""
    example = exchange(place.file, place.number)
    blocks = re.findall(r"```http\n(.*?)\n```", shown(example), re.DOTALL)
    for block, golden in zip(blocks, (example.request, example.answer), strict=True):
        body, expected = (text.partition("\n\n")[2] for text in (block, golden))
        pattern = "(?:.+)".join(re.escape(part) for part in re.split(r"<\w+:[\w-]+>", compact(expected)))
        assert re.fullmatch(pattern, compact(body)), name


def compact(body: str) -> str:
    """JSON as it is sent; anything else, and JSON that has a placeholder for a value, as it is."""
    try:
        return json.dumps(json.loads(body), ensure_ascii=False, separators=(",", ":"))
    except json.JSONDecodeError:
        return body


def test_samples_are_of_their_kind() -> None:
    """Each sample could have been answered: it has the form that the golden files demand of its kind."""
    texts = "".join((GOLDEN / f"{file}.http").read_text(encoding="utf-8") for file in conversations())
    found = set(re.findall(r"<(\w+):([\w-]+)>", texts))
    kinds = {(kind, name) for kind, name in found if kind in KINDS}
    assert {kind for kind, _ in kinds} == set(KINDS)
    assert all(re.fullmatch(KINDS[kind], sample(kind, name)) for kind, name in kinds)
    assert {name for kind, name in found if kind == "text"} <= set(TEXTS)
