"""Code beside the package that nobody uses: what looks tested and is not.

Names are compared over all files, whatever they belong to: who is named once more, by anybody, is in use. So
something dead may be missed, but nothing that is in use is complained of.
"""

import ast
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeAlias

from tidy.rules import Source

_FUNCTIONS = ast.FunctionDef | ast.AsyncFunctionDef


class Uses:
    """Every use of a name in these files: named, called with these arguments, asked for as a fixture."""

    def __init__(self, sources: Iterable[Source]) -> None:
        self.named: Counter[str] = Counter()
        self.calls: defaultdict[str, list[ast.Call]] = defaultdict(list)
        self.as_values: Counter[str] = Counter()
        """Named otherwise than to be called or as a type: whoever gets it may call it in any way."""
        self.assigned: set[str] = set()
        self.parameters: set[str] = set()
        for source in sources:
            self._read(source)

    def _read(self, source: Source) -> None:
        passed_by = {id(n) for t in _annotations(source.nodes) for n in ast.walk(t)}
        for node in source.nodes:
            if isinstance(node, ast.Call):
                self.calls[_name(node.func)].append(node)
                passed_by.add(id(node.func))
        for node in source.nodes:
            if isinstance(node, ast.arg):
                self.parameters.add(node.arg)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                self.named[node.value] += 1
            elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
                self.assigned.add(node.attr)
            elif name := _name(node):
                self.named[name] += 1
                self.as_values[name] += id(node) not in passed_by

    def passes(self, name: str, parameter: str, position: int | None) -> bool:
        """Tell whether any call of this name gives the parameter; None is the position of a keyword alone."""
        return any(
            any(keyword.arg in {None, parameter} for keyword in call.keywords)
            or (
                position is not None
                and (len(call.args) > position or any(isinstance(a, ast.Starred) for a in call.args))
            )
            for call in self.calls[name]
        )


Rule: TypeAlias = Callable[[Source, Uses], Iterator[str]]


def unused_definitions(source: Source, uses: Uses) -> Iterator[str]:
    """Complain of functions, classes, constants, methods and fixtures that nobody names."""
    for node, name in _definitions(source.tree.body):
        asked_for = _is_fixture(node) and (name in uses.parameters or _is_automatic(node))
        if not uses.named[name] and not asked_for:
            yield f"{node.lineno}: nobody uses {name}"


def unchosen_parameters(source: Source, uses: Uses) -> Iterator[str]:
    """Complain of parameters, and fields of dataclasses, that have a default and are never given."""
    for name, line, parameter, position in _choices(source.tree.body):
        if uses.as_values[name] or name.startswith("test_"):
            continue
        if not uses.passes(name, parameter, position):
            yield f"{line}: nobody gives {name} its {parameter}"
    for name, line, field, position in _fields(source.tree.body):
        if uses.as_values[name] or field in uses.assigned:
            continue
        if not uses.passes(name, field, position) and not uses.passes("replace", field, None):
            yield f"{line}: nobody gives {name} its {field}"


# --- what stands in a file --------------------------------------------------------------------------


def _definitions(body: Sequence[ast.stmt]) -> Iterator[tuple[ast.stmt, str]]:
    """Yield what a module defines, and the methods of classes that take after no other."""
    for node in body:
        if isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            yield from ((node, t.id) for t in targets if isinstance(t, ast.Name) and not _is_called(t.id))
        elif isinstance(node, _FUNCTIONS | ast.ClassDef) and not _is_called(node.name):
            if not node.decorator_list or _is_fixture(node):
                yield node, node.name
            if isinstance(node, ast.ClassDef) and not node.bases:
                yield from ((n, name) for n, name in _definitions(node.body) if isinstance(n, _FUNCTIONS))


def _choices(body: Sequence[ast.stmt], owner: str = "") -> Iterator[tuple[str, int, str, int | None]]:
    """Yield how it is called, line, parameter and its place in a call, of all that may be left out."""
    for node in body:
        if isinstance(node, ast.ClassDef):
            yield from _choices(node.body, node.name)
        elif isinstance(node, _FUNCTIONS):
            name = owner if node.name == "__init__" else node.name
            given = [*node.args.posonlyargs, *node.args.args][1 if owner else 0 :]
            for place in range(len(given) - len(node.args.defaults), len(given)):
                yield name, node.lineno, given[place].arg, place
            for each, default in zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True):
                if default is not None:
                    yield name, node.lineno, each.arg, None


def _fields(body: Sequence[ast.stmt]) -> Iterator[tuple[str, int, str, int]]:
    """Yield class, line, name and place of the fields of dataclasses that have a plain default."""
    for node in body:
        if not isinstance(node, ast.ClassDef) or not _is_decorated(node, "dataclass"):
            continue
        fields = [(f, f.target) for f in node.body if isinstance(f, ast.AnnAssign)]
        for place, (field, target) in enumerate(fields):
            if field.value is not None and not isinstance(field.value, ast.Call):
                yield node.name, field.lineno, ast.unparse(target), place


def _annotations(nodes: Iterable[ast.AST]) -> Iterator[ast.AST]:
    for node in nodes:
        found = getattr(node, "annotation", None) or getattr(node, "returns", None)
        if isinstance(found, ast.AST):
            yield found


def _name(node: ast.AST) -> str:
    """Return the last part of a name that is read; empty for anything else."""
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Store) else ""


def _is_called(name: str) -> bool:
    """Tell whether Python or pytest looks for this name by itself."""
    return name.startswith(("test_", "Test", "pytest", "__"))


def _is_decorated(node: ast.AST, word: str) -> bool:
    return any(word in ast.unparse(each) for each in getattr(node, "decorator_list", ()))


def _is_fixture(node: ast.AST) -> bool:
    return _is_decorated(node, "fixture")


def _is_automatic(node: ast.AST) -> bool:
    return _is_decorated(node, "autouse=True")
