"""Write the pages of ``docs/`` that are made from the code.

``PYTHONPATH=tests python -m tools.pages`` writes them into ``docs`` below the working directory; with
``--check`` it writes nothing and exits 1 when one is stale. The examples come from the tests' golden files.
"""

import argparse
import sys
from pathlib import Path

from tools.pages.http_api import http_api_page
from tools.pages.refusals import refusals_page
from tools.pages.settings import settings_page
from tools.pages.statements import statements_page
from tools.pages.states import states_page


def pages() -> dict[str, str]:
    """Make the text of every generated page, by its file name in ``docs/``."""
    return {
        "http-api.md": http_api_page(),
        "refusals.md": refusals_page(),
        "settings.md": settings_page(),
        "statements.md": statements_page(),
        "states.md": states_page(),
    }


def stale(folder: Path) -> list[str]:
    """Name the generated pages whose file in ``folder`` is missing or says something else."""
    return [
        name
        for name, text in pages().items()
        if not (folder / name).is_file() or (folder / name).read_text(encoding="utf-8") != text
    ]


def main(arguments: list[str] | None = None) -> int:
    """Write the pages, or with ``--check`` say which are stale; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tools.pages", description=main.__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when a page is stale")
    parser.add_argument("--into", type=Path, default=Path("docs"), help="the folder of the pages")
    chosen = parser.parse_args(arguments)
    old = stale(chosen.into)
    if not chosen.check:
        chosen.into.mkdir(parents=True, exist_ok=True)
        for name, text in pages().items():
            (chosen.into / name).write_text(text, encoding="utf-8")
    for name in old:
        sys.stdout.write(f"{chosen.into / name}: {'stale' if chosen.check else 'written'}\n")
    return 1 if chosen.check and old else 0


if __name__ == "__main__":
    sys.exit(main())
