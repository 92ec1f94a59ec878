"""``python -m opentill`` is the command ``opentill``."""

from opentill.cli import main

main()
