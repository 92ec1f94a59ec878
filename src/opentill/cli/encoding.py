"""How commands print on a terminal, or into a pipe, that can not write every character.

What merchants, payers and banks wrote may hold any of them, such as ``₦``, and a locale of another age none.
"""

import codecs
import io
import json
import sys
from typing import Final

_ESCAPED: Final = "opentill.escaped"


def _escaped(error: UnicodeError) -> tuple[str, int]:
    """Spell what can not be written as JSON does, so that a line of JSON stays one."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    return json.dumps(text)[1:-1], error.end


def escape_what_can_not_be_written() -> None:
    """Let standard output spell characters that its encoding does not have, instead of ending the command."""
    codecs.register_error(_ESCAPED, _escaped)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors=_ESCAPED)
