"""What the code must look like: each rule takes one source file and yields its complaints.

A complaint is a sentence that begins with the line. Rules see text alone, and never import what they judge.
"""

import ast
import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path, PurePosixPath
from posixpath import normpath
from statistics import median
from typing import TypeAlias


@dataclass(frozen=True)
class Source:
    """One Python file: where it stands in the repository, and its text."""

    path: str
    text: str

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text)

    @cached_property
    def nodes(self) -> list[ast.AST]:
        return list(ast.walk(self.tree))

    @property
    def module(self) -> str:
        """The name inside the package: ``domain.money``; empty for the package itself."""
        inside = PurePosixPath(self.path).relative_to("src/opentill").with_suffix("").parts
        return ".".join(inside[:-1] if inside[-1] == "__init__" else inside)

    @cached_property
    def imports(self) -> list[tuple[int, str]]:
        """Line and dotted name of every import; ``from a import b`` counts as ``a.b``."""
        found = []
        for node in self.nodes:
            if isinstance(node, ast.Import):
                found += [(node.lineno, alias.name) for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                prefix = "." * node.level + (node.module or "")
                found += [(node.lineno, f"{prefix}.{alias.name}") for alias in node.names]
        return found

    @cached_property
    def strings(self) -> list[tuple[int, str]]:
        """Line and value of every text or bytes literal that is not a docstring."""
        bodies = [n.body for n in self.nodes if isinstance(n, ast.Module | ast.ClassDef | _FUNCTIONS)]
        said = {
            s.value
            for body in bodies
            for s in body
            if isinstance(s, ast.Expr) and isinstance(s.value, _CONSTANT)
        }
        return [
            (n.lineno, n.value if isinstance(n.value, str) else n.value.decode("latin-1"))
            for n in self.nodes
            if isinstance(n, ast.Constant) and isinstance(n.value, str | bytes) and n not in said
        ]

    @cached_property
    def aliases(self) -> dict[str, str]:
        """Return what each imported name really stands for: ``now`` may be ``time.time``."""
        real: dict[str, str] = {}
        for node in self.nodes:
            if isinstance(node, ast.Import):
                real |= {a.asname: a.name for a in node.names if a.asname}
                real |= {top: top for a in node.names if not a.asname for top in [a.name.split(".")[0]]}
            elif isinstance(node, ast.ImportFrom):
                real |= {a.asname or a.name: f"{node.module}.{a.name}" for a in node.names}
        return real

    def meaning(self, node: ast.AST) -> str:
        """The full dotted name of an imported thing that this expression names; empty for anything else."""
        if isinstance(node, ast.Attribute):
            inner = self.meaning(node.value)
            return f"{inner}.{node.attr}" if inner else ""
        return self.aliases.get(node.id, "") if isinstance(node, ast.Name) else ""


_FUNCTIONS = ast.FunctionDef | ast.AsyncFunctionDef
_CONSTANT = ast.Constant
Rule: TypeAlias = Callable[[Source], Iterator[str]]


def _within(name: str, prefixes: Collection[str]) -> bool:
    return any(name == prefix or name.startswith(f"{prefix}.") for prefix in prefixes)


# --- words that have one home -----------------------------------------------------------------------

_SQL = re.compile(
    r"\b(SELECT\b.+\bFROM|INSERT\s+INTO|UPDATE\b.+\bSET|DELETE\s+FROM|(CREATE|ALTER|DROP)\s+(TABLE|INDEX)"
    r"|PRAGMA\s+\w+|BEGIN\s+IMMEDIATE|ON\s+CONFLICT)\b",
    re.DOTALL,
)
_DRIVERS = {"sqlalchemy", "sqlite3", "alembic", "psycopg", "asyncpg", "aiosqlite"}


def sql_only_in_the_store(source: Source) -> Iterator[str]:
    """No SQL and no database driver outside ``store/``; the sandbox's rail keeps a journal of its own."""
    if source.path.startswith(("src/opentill/store/", "src/opentill/rails/sandbox/journal.py")):
        return
    for line, name in source.imports:
        if _within(name, _DRIVERS):
            yield f"{line}: only the store imports {name}"
    for line, text in source.strings:
        if _SQL.search(text):
            yield f"{line}: SQL belongs in the store"


STATUS_WORDS = (
    "PENDING", "PAID", "CANCELLED", "EXPIRED", "CALLING", "AWAITING_OTP", "AWAITING_3DS", "UNKNOWN",
    "APPROVED", "DECLINED", "VOIDING", "VOIDED", "FAILED",
)  # fmt: skip
_STATUS = re.compile(rf"\b({'|'.join(STATUS_WORDS)})\b")

SPEAK_STATUS = {
    "src/opentill/domain/order.py",
    "src/opentill/store/schema.py",  # constraints that tie a status to its timestamps
    "src/opentill/store/outbox/contract.py",  # states of deliveries
    "src/opentill/store/databases/migrations/",  # history, which does not follow the enums
    "src/opentill/api/wire.py",
    "src/opentill/api/nomba/views.py",  # transaction statuses of contract 4
}


def status_words_have_one_home(source: Source) -> Iterator[str]:
    """Status words are spelt in the domain, the schema, the migrations and the wire table, nowhere else."""
    if any(source.path.startswith(place) for place in SPEAK_STATUS):
        return
    for line, text in source.strings:
        for word in _STATUS.findall(text):
            yield f"{line}: the status word {word} is spelt out"


def envelope_has_one_home(source: Source) -> Iterator[str]:
    """Only the wire and the protocol put ``code`` beside ``description``."""
    if source.path in {"src/opentill/api/wire.py", "src/opentill/api/http/protocol.py"}:
        return
    both = {"code", "description"}
    for node in source.nodes:
        if isinstance(node, ast.Dict):  # a schema, whose members are dicts, describes it and is none
            pairs = zip(node.keys, node.values, strict=True)
            names = {k.value for k, v in pairs if isinstance(k, ast.Constant) and not isinstance(v, ast.Dict)}
        elif isinstance(node, ast.ClassDef):
            names = {
                f.target.id
                for f in node.body
                if isinstance(f, ast.AnnAssign) and isinstance(f.target, ast.Name)
            }
        else:
            continue
        if both <= names:
            yield f"{node.lineno}: the envelope is made in api/wire.py alone"
    for line, text in source.strings:
        if re.search(r'"code"\s*:', text):
            yield f"{line}: the envelope is made in api/wire.py alone"


# --- sizes and names --------------------------------------------------------------------------------

MOST_FUNCTION_LINES = 70
MOST_MODULE_LINES = 600
FORBIDDEN_NAMES = {"utils", "util", "helpers", "helper", "common", "manager", "managers", "base", "misc"}


def function_lengths(source: Source) -> list[tuple[str, int]]:
    """Name with line, and number of lines, of every function."""
    return [
        (f"{n.lineno}: {n.name}", (n.end_lineno or n.lineno) - n.lineno + 1)
        for n in source.nodes
        if isinstance(n, _FUNCTIONS)
    ]


def median_function_lines(sources: Collection[Source]) -> float:
    """The middle of the lengths of all functions of these files."""
    return median(lines for source in sources for _, lines in function_lengths(source))


def sizes(source: Source) -> Iterator[str]:
    """A function fits on a screen, a module in a head."""
    total = len(source.text.splitlines())
    if total > MOST_MODULE_LINES:
        yield f"1: the module has {total} lines, more than {MOST_MODULE_LINES}"
    for name, lines in function_lengths(source):
        if lines > MOST_FUNCTION_LINES and "/migrations/" not in source.path:  # a migration is one long list
            yield f"{name} has {lines} lines, more than {MOST_FUNCTION_LINES}"


def names(source: Source) -> Iterator[str]:
    """A module is called by what is in it."""
    for part in PurePosixPath(source.path).with_suffix("").parts:
        if part in FORBIDDEN_NAMES:
            yield f"1: no module is called {part}"


# --- time and chance --------------------------------------------------------------------------------

_CHANCE = {
    "time.time", "time.time_ns", "datetime.datetime.now", "datetime.datetime.utcnow",
    "datetime.datetime.today", "datetime.date.today", "uuid.uuid1", "uuid.uuid4",
    "random", "secrets", "os.urandom",
}  # fmt: skip
OWN_CHANCE = {
    "src/opentill/clock.py",
    "src/opentill/keys/secret.py",  # makes the secret key
    "src/opentill/keys/keyring.py",  # makes nonces and token keys
    "src/opentill/keys/provisioning.py",  # makes client secrets
}


def time_and_chance_are_injected(source: Source) -> Iterator[str]:
    """Have whatever depends on the moment or on luck take a Clock or Ids."""
    if source.path in OWN_CHANCE:
        return
    for node in source.nodes:
        if isinstance(node, ast.Attribute | ast.Name) and _within(name := source.meaning(node), _CHANCE):
            yield f"{node.lineno}: {name} is not asked directly; take a Clock or Ids"


# --- tests ------------------------------------------------------------------------------------------


def tests_do_not_sleep(source: Source) -> Iterator[str]:
    """A test waits for what it wants to see, never for time to pass; 0 seconds only yield."""
    if source.path == "tests/polling.py":
        return
    calls = (node for node in source.nodes if isinstance(node, ast.Call))
    for call in calls:
        sleeps = source.meaning(call.func) in {"time.sleep", "asyncio.sleep"}
        if sleeps and [ast.unparse(argument) for argument in call.args] != ["0"]:
            yield f"{call.lineno}: a test does not sleep"


def tests_say_their_claim(source: Source) -> Iterator[str]:
    """Each test, or the class it stands in, says in a docstring what it claims."""
    if not PurePosixPath(source.path).name.startswith("test_"):
        return
    classes = [n for n in source.nodes if isinstance(n, ast.ClassDef) and ast.get_docstring(n)]
    spoken_for = {n for each in classes for n in each.body}
    functions = (n for n in source.nodes if isinstance(n, _FUNCTIONS) and n not in spoken_for)
    for node in functions:
        if node.name.startswith("test_") and not ast.get_docstring(node):
            yield f"{node.lineno}: {node.name} does not say what it claims"


# --- any text ---------------------------------------------------------------------------------------

_LEFTOVER = re.compile(r"\b(TO" + r"DO|FIX" + r"ME)\b")
_MACHINE = re.compile(r"(?<![\w.:/~-])/(work|root|tmp|home/\w+)(?=/\w)")


def nothing_left_over(text: str) -> Iterator[str]:
    """No note to self, and no path of somebody's machine, in any committed file."""
    for number, line in enumerate(text.splitlines(), start=1):
        if _LEFTOVER.search(line):
            yield f"{number}: a note to self"
        if _MACHINE.search(line):
            yield f"{number}: a path of somebody's machine"


_LINK = re.compile(r"\]\((?!https?:|mailto:|#)([^)#\s]+)(?:#[^)]*)?\)")
_NAMED_FILE = re.compile(r"`([\w./-]+\.py)`")


def links_lead_somewhere(path: str, text: str, files: Collection[str]) -> Iterator[str]:
    """Each relative link of a page is a file or folder; each Python file that it names exists."""
    for number, line in enumerate(text.splitlines(), start=1):
        for link in _LINK.findall(line):
            target = normpath(PurePosixPath(path).parent / link)
            if not any(file == target or file.startswith(f"{target}/") for file in files):
                yield f"{number}: {link} leads nowhere"
        for name in _NAMED_FILE.findall(line):
            if not any(file == name or file.endswith(f"/{name}") for file in files):
                yield f"{number}: there is no {name}"


def decisions_are_linked(readme: str, decisions: Collection[str]) -> Iterator[str]:
    """The list of decisions names every one of them."""
    for name in sorted(decisions):
        if f"({name})" not in readme:
            yield f"docs/decisions/README.md does not link {name}"


# --- citations --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class LawBook:
    """All that can be cited: sections of the contract, its rulings, laws, and decisions."""

    contract: frozenset[str]
    ruling: frozenset[str]
    laws: frozenset[str]
    decision: frozenset[str]

    @classmethod
    def of(cls, contract: str, laws: str, decisions: Collection[str]) -> "LawBook":
        """Read from the two pages and the names of the decisions' files."""
        rulings = contract.partition("## 0. ")[2].partition("\n## ")[0]
        return cls(
            contract=frozenset(_SECTION.findall(contract)),
            ruling=frozenset(re.findall(r"(?m)^\| (\d+) \|", rulings)),
            laws=frozenset(_SECTION.findall(laws)),
            decision=frozenset(name[:4] for name in decisions),
        )


_SECTION = re.compile(r"(?m)^#+ (\d+(?:\.\d+)?)\.? ")
_SPACE = r"\s+(?:#\s+)?"
_NUMBER = r"\d+(?:\.\d+)?"
_NUMBERS = rf"{_SPACE}({_NUMBER}(?:(?:,|,?{_SPACE}(?:and|to)){_SPACE}{_NUMBER})*)"
_CITED = {
    "contract": re.compile(rf"\bcontract{_NUMBERS}", re.IGNORECASE),
    "ruling": re.compile(rf"\brulings?{_NUMBERS}", re.IGNORECASE),
    "laws": re.compile(rf"\blaws{_NUMBERS}", re.IGNORECASE),
    "decision": re.compile(r"\bdecisions?[\s/]((?:\d{4}\b(?:(?:,| and)\s(?=\d{4}\b))?)+)", re.IGNORECASE),
}
_OTHER_FORM = re.compile(
    r"\bmechanics\b|\bthe\s+design\b|\bdesign(?:'s)?,?\s+(?:section\s+)?\d"
    r"|\bcontract(?:'s|,)\s+(?:sections?|rulings?)\b|\bcontract\s+sections?\s|\blaw\s\d|\blaws,\s+section\b",
    re.IGNORECASE,
)


def citations_stand(text: str, book: LawBook) -> Iterator[str]:
    """Each citation is written in one form and leads to a heading or row that is there."""
    for kind, cited in _CITED.items():
        for found in cited.finditer(text):
            numbers = re.findall(_NUMBER, found[1])
            missing = [number for number in numbers if number not in getattr(book, kind)]
            yield from (f"{_line(text, found)}: there is no {kind} {number}" for number in missing)
    for found in _OTHER_FORM.finditer(text):
        yield f"{_line(text, found)}: {found[0]!r} is no citation; say contract 3.7, ruling 17 or laws 7"


def _line(text: str, found: re.Match[str]) -> int:
    return text.count("\n", 0, found.start()) + 1


def in_alphabetical_order(glossary: str) -> Iterator[str]:
    """Each part of the glossary has its words by the alphabet, each once."""
    for part in glossary.split("\n## ")[1:]:
        words = [word.strip("`").casefold() for word in re.findall(r"(?m)^- \*\*(.+?)\*\*: ", part)]
        for before, after in pairwise(words):
            if before >= after:
                yield f"{after} stands behind {before}"


# --- reading the repository -------------------------------------------------------------------------

ROOT = Path(__file__).resolve().parents[2]
_HOMES = ("src", "tests", "docs", "bench", "deploy", "ha", "tools", ".ci")
_TEXT = {
    ".py",
    ".md",
    ".ini",
    ".yml",
    ".toml",
    ".sql",
    ".html",
    ".css",
    ".js",
    ".json",
    ".txt",
    ".yaml",
    ".sh",
    ".mako",
    "",
}


def sources(*folders: str) -> list[Source]:
    """The Python files below these folders of the repository."""
    files = sorted(file for folder in folders for file in (ROOT / folder).rglob("*.py"))
    return [Source(file.relative_to(ROOT).as_posix(), file.read_text(encoding="utf-8")) for file in files]


def texts() -> dict[str, str]:
    """Every text file of the repository that people write, by its path."""
    inside = [file for home in _HOMES for file in (ROOT / home).rglob("*")]
    files = [
        f
        for f in [*ROOT.iterdir(), *inside]
        if f.is_file() and f.suffix in _TEXT and "__pycache__" not in f.parts and f.name != ".git"
    ]
    return {file.relative_to(ROOT).as_posix(): file.read_text(encoding="utf-8") for file in files}
