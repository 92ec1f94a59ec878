"""What all pages share: the note on who made them, and how their parts are put together."""

from typing import Final

MADE_BY: Final = "<!-- Made by `python -m tools.pages`; do not edit. -->"


def joined(*parts: str) -> str:
    """Join paragraphs, headings and tables to the text of a page."""
    return "\n\n".join(parts) + "\n"
