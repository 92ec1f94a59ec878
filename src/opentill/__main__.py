"""The command ``opentill``, also as ``python -m opentill``.

This module and the two packages on its way must be readable by every Python 3, to say which one is needed.
"""

import sys

from opentill.cli import OPERATOR_ERROR


def main() -> None:
    """Run the command that the arguments name; errors of use are one sentence on stderr and exit 2."""
    if sys.version_info < (3, 11):  # noqa: UP036 - a checkout can be run by any Python
        version = ".".join(str(part) for part in sys.version_info[:2])
        sys.stderr.write("opentill: Python 3.11 or newer is needed, and this is " + version + ".\n")
        sys.exit(OPERATOR_ERROR)
    from opentill.cli.commands import run  # noqa: PLC0415 - newer Python from here on

    run()


if __name__ == "__main__":
    main()
