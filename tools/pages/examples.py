"""Requests and answers out of the golden files, as they are shown, and the refusals that those files hold."""

import re
from collections.abc import Iterable, Mapping
from functools import cache
from http import HTTPStatus
from pathlib import Path
from typing import Final

import msgspec

from api.golden.conversation import Conversation, Exchange
from opentill.api.http.call import Operation
from opentill.api.http.routing import Router
from opentill.api.operations import OPERATIONS
from opentill.api.wire import ROUTE_NOT_FOUND
from tools.pages.samples import filled, signed_headers

GOLDEN: Final = Path(__file__).parents[2] / "tests" / "api" / "golden"
_MOST_CHARACTERS_OF_A_LINE: Final = 100
_NOT_FOUND: Final = "record-not-found"
_ROUTER: Final = Router(OPERATIONS, sandbox=True, refusal_http_status=400, advised=True)
_REASON: Final = re.compile(r"^refusal-reason: (.+)$", re.MULTILINE)


@cache
def conversations() -> Mapping[str, Conversation]:
    """Read the golden files; each by its path below their folder, without the suffix."""
    return {
        file.relative_to(GOLDEN).with_suffix("").as_posix(): Conversation.read(file.read_text("utf-8"))
        for file in sorted(GOLDEN.rglob("*.http"))
    }


def exchange(file: str, number: int) -> Exchange:
    """Find the exchange of this number, from 1, in a golden file."""
    return conversations()[file].exchanges[number - 1]


def operation_of(request_line: str) -> Operation | None:
    """Find the operation that a golden request reaches."""
    method, target = request_line.split(" ")
    found = _ROUTER.find(method, target.partition("?")[0].encode())
    return found[0].operation if found else None


@cache
def reasons() -> Mapping[str, frozenset[str]]:
    """Collect, for the name of each operation, the headings of the refusals it has in the golden files."""
    found: dict[str, set[str]] = {each.name: set() for each in OPERATIONS}
    for conversation in conversations().values():
        for each in conversation.exchanges:
            operation = operation_of(each.first_line)
            if operation is not None:
                found[operation.name].update(_reasons_in(each.answer))
    return {name: frozenset(words) for name, words in found.items()}


def _reasons_in(answer: str) -> Iterable[str]:
    yield from _REASON.findall(answer)
    if answer.startswith("404") and not answer.endswith(ROUTE_NOT_FOUND.body.decode()):
        yield _NOT_FOUND


def shown(each: Exchange) -> str:
    """Write a request and its answer as two blocks."""
    return f"{_block(_request(each))}\n\n{_block(_answer(each.answer))}"


def _block(text: str) -> str:
    return f"```http\n{text}\n```"


def _request(each: Exchange) -> str:
    head, _, body = filled(each.request).partition("\n\n")
    line, *headers = head.splitlines()
    if "@sign" in each.marks:  # the signature is over the body as it is sent, so that stays on its line
        headers += [f"{name}: {value}" for name, value in signed_headers(body).items()]
        return _message(f"{line} HTTP/1.1", headers, body)
    return _message(f"{line} HTTP/1.1", headers, _laid_out(body))


def _answer(answer: str) -> str:
    head, _, body = filled(answer).partition("\n\n")
    status, *headers = head.splitlines()
    streamed = "content-type: text/event-stream" in headers
    first_line = f"HTTP/1.1 {status} {HTTPStatus(int(status)).phrase}"
    return _message(first_line, headers, body if streamed else _laid_out(body))


def _message(first_line: str, headers: Iterable[str], body: str) -> str:
    return "\n".join([first_line, *headers, *(["", body] if body else [])])


def _laid_out(body: str) -> str:
    """Lay out a long body of JSON on lines of its own, member by member, without a change of any value."""
    return body if len(body) <= _MOST_CHARACTERS_OF_A_LINE else msgspec.json.format(body, indent=2)
