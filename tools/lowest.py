"""Print pip constraints that pin every dependency of the program to its declared lower bound.

``make test-lowest`` installs what they say and runs the quick tests on it, so that a bound which is too low
is found by us and not by whoever has that version.
"""

import re
import sys
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path

_REQUIREMENT = re.compile(r"(?P<name>[\w.-]+)(\[[\w,]+\])?>=(?P<lowest>[\w.]+)")


def lowest(dependencies: Iterable[str]) -> Iterator[str]:
    """Yield ``name==version`` for each; raises ValueError for a dependency without a lower bound."""
    for dependency in dependencies:
        found = _REQUIREMENT.match(dependency)
        if found is None:
            raise ValueError(f"{dependency} has no lower bound")
        yield f"{found['name']}=={found['lowest']}"


def main() -> None:
    """Print the constraints of the pyproject.toml in the working directory."""
    project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
    sys.stdout.writelines(f"{line}\n" for line in lowest(project["dependencies"]))


if __name__ == "__main__":
    main()
