"""``docs/settings.md``: every setting, its environment variable, what it may be and its default."""

from collections.abc import Iterable
from dataclasses import MISSING, Field, fields
from typing import Any, Final, get_args, get_type_hints

from opentill.settings import CONFIG_FILE, CONFIG_VARIABLE, PREFIX, Settings, as_text, expected
from tools.pages.markdown import MADE_BY, joined

_TYPES: Final = get_type_hints(Settings, include_extras=True)

_ABOUT_SETTINGS: Final = f"""\
Each setting is read from its environment variable, else from the TOML file named by
`{CONFIG_VARIABLE}` (or `{CONFIG_FILE}` in the data folder) under its name in lower case without
`{PREFIX}`, else it has the default below. Options of the command line win over all three.

A name that ends with a unit of time takes a number of that unit, or a duration that says its own, as
commands do: `OPENTILL_TOKEN_LIFE_SECONDS` may be `1800`, `90s`, `30m`, `2h` or `1d`."""


def settings_page() -> str:
    """Show every setting under a heading of its own, in the order of ``settings.py``."""
    parts = (part for each in fields(Settings) for part in _setting_parts(each))
    return joined("# Settings", MADE_BY, _ABOUT_SETTINGS, *parts)


def _setting_parts(each: Field[Any]) -> Iterable[str]:
    yield f"## `{PREFIX}{each.name.upper()}`"
    yield get_args(_TYPES[each.name])[1].description
    yield f"Must be {expected(each.name)}. Default: {_default(each)}."


def _default(each: Field[Any]) -> str:
    if each.default is MISSING or each.default in ("", None, ()):
        return "none"
    return f"`{as_text(each.default)}`"
