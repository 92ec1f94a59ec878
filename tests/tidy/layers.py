"""Which room may import what of the others: the table, exact both ways, and the rules that hold it."""

import sys
from collections.abc import Collection, Iterator, Mapping

from tidy.rules import Source

LAYERS: Mapping[str, Collection[str]] = {
    "api": {"api.nomba", "api.own", "domain", "store.orders.contract"},
    "api.http": {
        "__version__",
        "api.wire",
        "clock",
        "domain",
        "engine",
        "keys.card_vault",
        "keys.endpoint_keys",
        "keys.keyring",
        "observe",
        "rails.card_payments",
        "rails.transfer_payments",
        "settings",
        "store.accounts.contract",
        "store.errors",
        "store.interface",
        "store.orders.contract",
        "store.outbox.contract",
        "webhooks.guard",
        "webhooks.poster",
        "workers",
    },
    "api.nomba": {
        "api.http",
        "api.own",
        "api.wire",
        "domain",
        "engine",
        "keys.keyring",
        "rails.card_payments",
        "rails.rail",
        "settings",
        "store.accounts.contract",
        "store.cards.contract",
        "store.orders.contract",
        "store.outbox.contract",
        "webhooks.payload",
    },
    "api.own": {
        "api.http",
        "api.nomba",
        "api.wire",
        "clock",
        "domain",
        "engine",
        "keys.provisioning",
        "rails.rail",
        "rails.transfer_payments",
        "store.errors",
        "store.orders.contract",
        "store.outbox.contract",
        "store.transfers.contract",
        "webhooks.guard",
        "webhooks.payload",
        "webhooks.signature",
    },
    "bootstrap": {"clock", "keys.keyring", "settings", "store.databases", "store.errors", "store.interface"},
    "cli": {
        "__version__",
        "app",
        "bootstrap",
        "clock",
        "domain.times",
        "engine",
        "keys.keyring",
        "keys.provisioning",
        "observe",
        "operating",
        "race",
        "settings",
        "store.accounts.contract",
        "store.databases",
        "store.errors",
        "webhooks.signature",
    },
    "cli.doctor": {
        "cli",
        "clock",
        "domain",
        "keys.keyring",
        "keys.secret",
        "settings",
        "store.accounts.contract",
        "store.audit",
        "store.databases",
        "store.errors",
        "store.interface",
        "store.orders.contract",
    },
    "cli.events": {
        "cli",
        "cli.orders",
        "clock",
        "domain",
        "keys.endpoint_keys",
        "keys.provisioning",
        "settings",
        "store.interface",
        "store.outbox.contract",
        "webhooks.guard",
        "webhooks.payload",
        "webhooks.signature",
        "webhooks.token_keys",
    },
    "cli.merchants": {"cli", "domain", "keys.provisioning", "store.accounts.contract"},
    "cli.money": {
        "bootstrap",
        "cli",
        "domain",
        "engine",
        "operating",
        "rails.sandbox.journal",
        "rails.transfer_payments",
        "store.audit",
        "store.orders.contract",
        "webhooks.signature",
    },
    "cli.orders": {"cli", "clock", "domain"},
    "engine": {"clock", "domain", "store.errors", "store.interface", "store.orders.contract"},
    "keys": {
        "clock",
        "domain",
        "settings",
        "store.accounts.contract",
        "store.interface",
        "store.outbox.contract",
        "webhooks.signature",
    },
    "operating": {
        "bootstrap",
        "clock",
        "domain",
        "engine",
        "keys.keyring",
        "rails.rail",
        "rails.sandbox",
        "rails.transfer_payments",
        "settings",
        "store.accounts.contract",
        "store.interface",
        "workers.expiry",
        "store.errors",
    },
    "payer": {
        "api.http",
        "clock",
        "domain",
        "engine",
        "keys.keyring",
        "rails.card_payments",
        "rails.rail",
        "rails.transfer_payments",
        "store.accounts.contract",
        "store.errors",
        "store.interface",
        "store.orders.contract",
        "store.transfers.contract",
    },
    "race": {"domain"},
    "rails": {
        "clock",
        "domain",
        "engine",
        "keys.card_vault",
        "store.orders.contract",
        "store.transfers.contract",
    },
    "rails.sandbox": {"clock", "domain", "rails.rail", "store.databases"},
    "settings": {"domain", "store.accounts.contract"},
    "store": {"domain", "store.accounts", "store.cards", "store.orders", "store.outbox", "store.transfers"},
    "store.accounts": {"clock", "domain", "store.databases", "store.errors", "store.schema"},
    "store.audit": {"domain", "store.databases", "store.errors", "store.orders"},
    "store.cards": {"domain", "store.databases", "store.orders", "store.schema"},
    "store.databases": {
        "clock",
        "store.accounts",
        "store.cards",
        "store.errors",
        "store.interface",
        "store.orders",
        "store.outbox",
        "store.schema",
        "store.transfers",
    },
    "store.orders": {
        "clock",
        "domain",
        "store.accounts.contract",
        "store.databases",
        "store.errors",
        "store.schema",
        "store.columns",
    },
    "store.outbox": {
        "domain",
        "store.databases",
        "store.errors",
        "store.orders",
        "store.schema",
        "store.columns",
    },
    "store.transfers": {"domain", "store.databases", "store.errors", "store.schema"},
    "webhooks": {
        "__version__",
        "clock",
        "domain",
        "engine",
        "store.errors",
        "store.orders.contract",
        "store.outbox.contract",
    },
    "workers": {
        "clock",
        "domain",
        "engine",
        "rails.card_payments",
        "rails.transfer_payments",
        "store.accounts.contract",
        "store.errors",
        "store.orders.contract",
    },
    "app": {""},  # the composition root knows them all
    "": set(),
    "__main__": {"cli"},
    "clock": set(),
    "domain": set(),
    "observe": set(),
}
"""For each room what it may import of other rooms: a room as a whole, or one module of it.

A room knows itself. The longest name that fits an importing module is its room. The table is exact: what is
not in it is not imported, and what is in it is imported by somebody (see ``unused_permissions``).
"""


def _room(module: str) -> str:
    return max((room for room in LAYERS if room and _within(module, [room])), key=len, default="")


def _imports_of_us(source: Source) -> Iterator[tuple[int, str]]:
    """Line and module of each import of another room; a package itself counts as ``__version__``."""
    room = _room(source.module)
    for line, name in source.imports:
        if name.split(".")[0] == "opentill":
            wanted = name.removeprefix("opentill").removeprefix(".")
            if _room(wanted) != room or not room:
                yield line, wanted


def layers(source: Source) -> Iterator[str]:
    """A room imports only what its row names; the domain itself, the standard library and frozen structs."""
    room = _room(source.module)
    if not room and source.module:
        yield f"1: {source.module} is a new room of the house; give it its place in LAYERS"
        return
    for line, name in source.imports:
        if name.startswith("."):
            yield f"{line}: imports are written out in full"
        elif room == "domain" and not _is_pure(name):
            yield f"{line}: the domain imports only the standard library and msgspec's structs, not {name}"
    for line, wanted in _imports_of_us(source):
        if "" not in LAYERS[room] and not _within(wanted, LAYERS[room]):
            yield f"{line}: {room} may not import {wanted}"


def _is_pure(name: str) -> bool:
    """Tell the standard library, ourselves and what frozen values are made with from everything else."""
    inside = name.split(".", maxsplit=1)[0] in {"opentill", *sys.stdlib_module_names}
    return inside or name in {"msgspec.Struct", "msgspec.structs.replace"}


def unused_permissions(sources: Collection[Source]) -> list[str]:
    """Rows of LAYERS that name what nobody of that room imports."""
    used: dict[str, list[str]] = {room: [] for room in LAYERS}
    for source in sources:
        used[_room(source.module)] += [wanted for _, wanted in _imports_of_us(source)]
    return [
        f"{room} is permitted {name} and does not import it"
        for room, permitted in LAYERS.items()
        for name in sorted(permitted)
        if name and not any(_within(wanted, [name]) for wanted in used[room])
    ]


def import_circles(sources: Collection[Source]) -> list[str]:
    """Modules that import each other, directly or round a corner, lazy imports included."""
    modules = {source.module for source in sources}
    edges = {
        source.module: {
            max((m for m in modules if _within(wanted, [m])), key=len, default="")
            for wanted in (
                n.removeprefix("opentill.") for _, n in source.imports if n.startswith("opentill.")
            )
        }
        - {source.module, ""}
        for source in sources
    }
    reached = {module: set(targets) for module, targets in edges.items()}
    for through in modules:
        for module in modules:
            if through in reached[module]:
                reached[module] |= reached[through]
    return sorted(module for module in modules if module in reached[module])


def _within(name: str, prefixes: Collection[str]) -> bool:
    return any(name == prefix or name.startswith(f"{prefix}.") for prefix in prefixes)
