"""``docs/http-api.md``: every operation with its facts, one request and the answer to it."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from opentill.api.http.call import Auth, Operation
from opentill.api.http.openapi import document
from opentill.api.operations import OPERATIONS
from opentill.api.wire import envelope
from opentill.domain.refusals import PRECEDENCE
from tools.pages.examples import exchange, reasons, shown
from tools.pages.markdown import MADE_BY, joined, wrapped
from tools.pages.refusals import heading
from tools.pages.samples import filled
from tools.pages.subjects import SUBJECTS, Shown, Subject

_OPERATIONS: Final[Mapping[str, Operation]] = {each.name: each for each in OPERATIONS}

_EVERYWHERE: Final = frozenset({"idempotency-key-reused", "idempotency-key-in-progress"})
"""Refusals that any operation with an idempotency key has, told once for all of them."""

_AUTHENTICATION: Final[Mapping[Auth, str]] = {
    Auth.OPEN: "none",
    Auth.TOKEN: "an access token",
    Auth.SIGNED: "`X-Timestamp` and `X-Signature`, made with a key of the bank's adapter",
    Auth.OLD_TOKEN: "an access token, which may have expired",
}

_ABOUT_THE_API: Final = """\
Every operation of the server, by subject. The examples are taken from the conversations that the tests
hold with a real server, in [`tests/api/golden`](../tests/api/golden). Values made by chance (ids,
tokens, times, links, the address of the server) are replaced by samples, the same name by the same
sample on the whole page, and long bodies are laid out on several lines. `GET /openapi.json` has every
member and limit in OpenAPI 3.1."""

_ABOUT_CALLS: Final = """\
## What holds for all

- **Answers** are an envelope: `code`, `description` and `data`. `code` is `00` for a success (`200` for
  those of the webhook log).
- **An access token** is sent as `Authorization: Bearer TOKEN`, together with the header `accountId`
  where an operation asks for it. A sandbox is open: there a request without a token acts for its first
  merchant, as many examples do. A live server answers them with 401.
- **An idempotency key** is optional. It is sent as `Idempotency-Key` (or `X-Idempotent-key`): the same
  request under the same key gets the first answer again, with the header `Idempotency-Replayed`. A key
  that belongs to another request is refused as
  [idempotency-key-reused](refusals.md#idempotency-key-reused), one whose first request still runs as
  [idempotency-key-in-progress](refusals.md#idempotency-key-in-progress).
- **A refusal** was understood and may not be done; its word is in the header `Refusal-Reason`. Each
  operation lists those that the conversations show, besides the two above. All of them, and what to do
  instead, are in [refusals.md](refusals.md).
- **In sandbox mode** what begins with `/v1/checkout/` is also found under `/sandbox/checkout/`.

Besides 200, any operation may answer as far as it applies:"""


def http_api_page() -> str:
    """Show every operation under a heading of its own, by subject."""
    return joined(
        "# The HTTP API",
        MADE_BY,
        _ABOUT_THE_API,
        _contents(),
        _ABOUT_CALLS,
        _statuses(),
        *(part for subject in SUBJECTS for part in _chapter(subject)),
    )


def _contents() -> str:
    lines = ["| subject | operation | request |", "|---|---|---|"]
    for subject in SUBJECTS:
        title = _link_here(subject.title)
        for name in subject.operations:
            operation = _OPERATIONS[name]
            lines.append(f"| {title} | {_link_here(name)} | `{operation.method} {operation.path}` |")
            title = ""
    return "\n".join(lines)


def _link_here(title: str) -> str:
    return f"[{title}](#{title.lower().replace(' ', '-')})"


def _statuses() -> str:
    responses: dict[str, Any] = document(OPERATIONS, "", sandbox=True)["components"]["responses"]
    rows = [f"| {name.removeprefix('Error')} | {each['description']} |" for name, each in responses.items()]
    return "\n".join(["| HTTP | when |", "|---|---|", *rows])


def _chapter(subject: Subject) -> Iterable[str]:
    yield f"## {subject.title}"
    yield wrapped(filled(subject.about))
    for name, example in subject.operations.items():
        yield from _operation_parts(_OPERATIONS[name], example)


def _operation_parts(operation: Operation, example: Shown) -> Iterable[str]:
    yield f"### {operation.name}"
    yield f"**`{operation.method} {operation.path}`**"
    yield f"{operation.summary}."
    yield "\n".join(f"- {fact}" for fact in _facts(operation, example.section))
    yield shown(exchange(example.file, example.number))


def _facts(operation: Operation, section: str) -> Iterable[str]:
    account = ", with the header `accountId`" if operation.account_required else ""
    yield f"Authentication: {_AUTHENTICATION[operation.auth]}{account}"
    yield f"Idempotency key: {'taken' if operation.mutating else 'no'}"
    if operation.sandbox_only or operation.card_entry:
        yield "In sandbox mode only"
    if section:
        yield f"Implements: contract {section}"
    if refusals := _refusals(operation):
        yield f"Refusals: {', '.join(refusals)}"
    if operation.refusal_description:
        yield f"Refusals of code `01` are told as `{envelope('01', operation.refusal_description).decode()}`"
    for refusal, row in operation.refusal_rows.items():
        yield f"{heading(refusal)} is told as `{envelope(row.code, row.text, row.data).decode()}`"


def _refusals(operation: Operation) -> list[str]:
    """Link what the operation can be refused for: first what has a heading, in precedence order."""
    words = reasons()[operation.name] | {heading(each) for each in operation.refusal_rows}
    headings = [heading(each) for each in PRECEDENCE]
    linked = [f"[{each}](refusals.md#{each})" for each in headings if each in words - _EVERYWHERE]
    return linked + [f"[{each}](refusals.md)" for each in sorted(words.difference(headings))]
