"""Golden conversations: what goes over the wire, as text to be read by eye and replayed by machine.

A file ``*.http`` holds one case. It begins with a sentence (``# ...``) and the server it needs
(``@server name``, one of ``SERVERS``; the plain sandbox when left out). Then come requests (``>>>``) and
their answers (``<<<``), each with headers and body as they are sent. A line before a request changes it:
``@until words`` repeats it until the answer has these words, ``@begin`` does not wait for its answer,
``@sign`` signs it as a bank's adapter does, under ``<text:advice-key>`` and with the time of now.

``<kind:name>`` stands for what is made by chance. Where it first appears in an answer its value must be of
the kind (``KINDS``) and is remembered; everywhere else it stands for the remembered value. Names of the
server's own (``<uuid:account>``, ``<jwt:token>``, ...) are known from the start.

Headers that no case can know (``UNSEEN``) are left out of the files; the runner checks those that every
answer has.
"""

import base64
import hmac
import http.client
import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Final

UNTIL_SECONDS: Final = 10
_UUID: Final = r"[0-9a-f]{8}-[0-9a-f]{4}-[45][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
KINDS: Final = {
    "jwt": r"eyJ[\w-]+\.eyJ[\w-]+\.[\w-]{43}",
    "refresh": _UUID + r"_\d{13}",
    "uuid": _UUID,
    "time": r"20\d\d-[01]\d-[0-3]\dT[0-2]\d:[0-5]\d:[0-5]\d\.\d{3}Z",
    "link": r"[\w-]{40,}",
    "cursor": r"[\w-]{40,}=*",
    "nuban": r"90\d{8}",
    "key": r"[\w+/]{43}=",
    "tokenkey": r"[\w-]{43}",
    "seconds": r"[1-9]\d{0,3}",
    "document": r'\{"openapi":"3\.1\.0",.+\}',
}
_BY_CHANCE: Final = ("jwt", "refresh", "uuid", "time", "link", "cursor", "nuban", "key", "tokenkey")
_BEFORE: Final = {
    "link": r'"(?P<member>checkoutLink)":"[^"]*/checkout/',
    "cursor": r'"(?P<member>cursor)":"',
    "key": r'"(?P<member>signingKey)":"',
    "tokenkey": r'"(?P<member>tokenKey)":"',
    "nuban": r'"(?P<member>accountNumber)":"',
}
"""What stands before a kind that could be taken for another; before the others any text of a member."""
UNSEEN: Final = {"content-length", "x-request-id"}
RATE: Final = ("x-rate-limit-limit", "x-rate-limit-remaining", "x-rate-limit-window")
_PLACE: Final = re.compile(r"<(\w+):([\w-]+)>")

Known = Mapping[str, Callable[[], str]]
"""What placeholders stand for from the start; asked for only when a case needs it."""


@dataclass
class Exchange:
    """One request and the answer that is expected, both still with placeholders."""

    request: str
    answer: str = ""
    marks: list[str] = field(default_factory=list)

    @property
    def first_line(self) -> str:
        return self.request.partition("\n")[0]

    @property
    def is_begun_only(self) -> bool:
        return "@begin" in self.marks

    @property
    def awaited(self) -> str:
        """Return what the answer must have before the conversation goes on."""
        return "".join(mark.removeprefix("@until ") for mark in self.marks if mark.startswith("@until "))


@dataclass
class Conversation:
    """One golden file."""

    claim: str
    server: str
    exchanges: list[Exchange]

    @classmethod
    def read(cls, text: str) -> "Conversation":
        head, *parts = re.split(r"^(?=@until |@begin$|@sign$|>>> |<<< )", text, flags=re.MULTILINE)
        claim = " ".join(line[2:] for line in head.splitlines() if line.startswith("# "))
        servers = re.findall(r"^@server (\w+)$", head, flags=re.MULTILINE)
        return cls(claim, servers[0] if servers else "sandbox", list(_exchanges(parts)))

    def write(self) -> str:
        """The text of the file, with answers as they are now."""
        lines = [f"# {self.claim}"] + ([f"@server {self.server}"] if self.server != "sandbox" else [])
        for each in self.exchanges:
            lines += ["", *each.marks, f">>> {each.request}"]
            lines += ["", f"<<< {each.answer}"] if each.answer else []
        return "\n".join(lines) + "\n"


def _exchanges(parts: list[str]) -> Iterator[Exchange]:
    marks: list[str] = []
    exchange = None
    for part in parts:
        if part.startswith("@"):
            marks.append(part.strip())
        elif part.startswith(">>> "):
            if exchange is not None:
                yield exchange
            exchange, marks = Exchange(part[4:].strip(), marks=marks), []
        else:
            assert exchange is not None, "an answer without a request"
            exchange.answer = part[4:].strip()
    if exchange is not None:
        yield exchange


class Replay:
    """One conversation held with a real server."""

    def __init__(self, address: tuple[str, int], known: Known, *, show_rate: bool = False) -> None:
        self._address = address
        self._known = known
        self._show_rate = show_rate
        self._bound: dict[str, str] = {}
        self._begun: list[http.client.HTTPConnection] = []

    def close(self) -> None:
        """Hang up on whatever was only begun."""
        for connection in self._begun:
            connection.close()

    def check(self, exchange: Exchange) -> None:
        """Send the request; the answer must be the expected one."""
        answer = self._tell(exchange)
        if not exchange.is_begun_only and not self._matches(exchange.answer, answer):
            assert answer == self._filled(exchange.answer)

    def record(self, exchange: Exchange) -> None:
        """Send the request and keep what is answered, unless it is the expected answer already."""
        answer = self._tell(exchange)
        if not exchange.is_begun_only and not self._matches(exchange.answer, answer):
            exchange.answer = self._named(answer)
            assert self._matches(exchange.answer, answer)

    def _tell(self, exchange: Exchange) -> str:
        """The answer, in the form of the files; the last one of a request that is repeated."""
        deadline = time.monotonic() + UNTIL_SECONDS
        answer = self._ask(exchange)
        while exchange.awaited not in answer:
            assert time.monotonic() < deadline, answer
            answer = self._ask(exchange)
        return answer

    def _ask(self, exchange: Exchange) -> str:
        """One request on a connection of its own."""
        head, _, body = self._filled(exchange.request).partition("\n\n")
        line, *headers = head.splitlines()
        method, target = line.split(" ", 1)
        connection = http.client.HTTPConnection(*self._address, timeout=20)
        pairs = {name: value.strip() for name, _, value in (each.partition(":") for each in headers)}
        if "@sign" in exchange.marks:
            pairs |= self._signed(body.encode())
        connection.request(method, target, body.encode() or None, pairs)
        if exchange.is_begun_only:
            self._begun.append(connection)
            return ""
        try:
            return self._as_text(connection.getresponse())
        finally:
            connection.close()

    def _as_text(self, answer: http.client.HTTPResponse) -> str:
        headers = [(name.lower(), value) for name, value in answer.getheaders()]
        body = answer.read().decode()
        _check_every_answer(dict(headers), body)
        unseen = UNSEEN if self._show_rate else UNSEEN.union(RATE)
        shown = [f"{name}: {value}" for name, value in headers if name not in unseen]
        return "\n".join([str(answer.status), *shown, "", body]).strip()

    def _signed(self, body: bytes) -> dict[str, str]:
        """The headers of an adapter (contract 10)."""
        timestamp = str(int(time.time()))
        key = (self._value("text:advice-key") or "").encode()
        signature = hmac.digest(key, timestamp.encode() + b"." + body, "sha256")
        return {"X-Timestamp": timestamp, "X-Signature": base64.b64encode(signature).decode()}

    def _matches(self, expected: str, answer: str) -> bool:
        """Return whether this is the expected answer; remembers what its new placeholders stand for."""
        found = re.fullmatch(self._pattern(expected), answer, flags=re.DOTALL)
        if found is None or not expected:
            return False
        new = _PLACE.findall(expected)
        self._bound |= {
            f"{kind}:{name}": found[_group(kind, name)]
            for kind, name in new
            if self._value(f"{kind}:{name}") is None
        }
        return True

    def _pattern(self, expected: str) -> str:
        pattern, end, seen = "", 0, set()
        for place in _PLACE.finditer(expected):
            key, group = place[0][1:-1], _group(place[1], place[2])
            value = self._value(key)
            if value is not None:
                piece = re.escape(value)
            else:
                piece = f"(?P={group})" if key in seen else f"(?P<{group}>{KINDS[place[1]]})"
            seen.add(key)
            pattern += re.escape(expected[end : place.start()]) + piece
            end = place.end()
        return pattern + re.escape(expected[end:])

    def _value(self, key: str) -> str | None:
        if key not in self._bound and key in self._known:
            self._bound[key] = self._known[key]()
        return self._bound.get(key)

    def _filled(self, text: str) -> str:
        return _PLACE.sub(lambda place: self._value(place[0][1:-1]) or place[0], text)

    # --- recording ---

    def _named(self, answer: str) -> str:
        """The answer with placeholders for what is known and for what looks made by chance."""
        for key in ("text:server", "uuid:account", "short:account"):
            self._value(key)
        for key, value in sorted(self._bound.items(), key=lambda pair: -len(pair[1])):
            if key.startswith("short:"):
                answer = re.sub(rf"\b(OD|WEB-ONLINE_C)-{value}-", rf"\1-<{key}>-", answer)
            else:
                answer = answer.replace(value, f"<{key}>")
        names: dict[str, str] = {}
        for kind in _BY_CHANCE:
            before = _BEFORE.get(kind, r'"(?P<member>\w+)":"[^"<]*(?:<[^"]*)?')
            pattern = rf"(?P<before>{before})(?P<value>{KINDS[kind]})"
            answer = re.sub(pattern, partial(self._new_place, kind, names), answer)
        return answer

    def _new_place(self, kind: str, names: dict[str, str], found: re.Match[str]) -> str:
        """The member's name for the value that stands in it; with a number when the name is taken."""
        value, free = found["value"], found["member"]
        number = 1
        while names.setdefault(free, value) != value or f"{kind}:{free}" in self._bound:
            number += 1
            free = f"{found['member']}-{number}"
        return f"{found['before']}<{kind}:{free}>"


def _group(kind: str, name: str) -> str:
    return f"{kind}_{name}".replace("-", "_")


def _check_every_answer(headers: Mapping[str, str], body: str) -> None:
    """Check what is true of each and every answer: type, length, request id, rate and the envelope."""
    assert headers["content-type"] == "application/json"
    assert headers["content-length"] == str(len(body.encode()))
    assert headers["x-request-id"]
    assert all(headers[name].removesuffix("s").isdigit() for name in RATE)
    document = json.loads(body)
    if "openapi" not in document:
        assert list(document) == ["code", "description", "data"]
        assert isinstance(document["code"], str)
        assert isinstance(document["data"], dict | None)
