"""What all pages share: the note on who made them, and how their parts are put together."""

import textwrap
from typing import Final

MADE_BY: Final = "<!-- Made by `make docs`, from tools/pages; do not edit. -->"


def joined(*parts: str) -> str:
    """Join paragraphs, headings and tables to the text of a page."""
    return "\n\n".join(parts) + "\n"


def wrapped(paragraph: str) -> str:
    """Break a paragraph into lines as long as those of the code, between words only."""
    return textwrap.fill(paragraph, width=110, break_long_words=False, break_on_hyphens=False)
