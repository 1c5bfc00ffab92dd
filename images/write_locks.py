"""Writes one lock file per image role: the part of requirements/dev.txt that its extras need.

Run by `make locks` after `make lock`; the contract tests fail where a file is not current.
"""

import re
import tomllib
from collections.abc import Iterable
from importlib.metadata import requires
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

REPOSITORY = Path(__file__).resolve().parents[1]
LOCKS = Path(__file__).resolve().parent / "locks"
EXTRAS_BY_ROLE = {
    "data": ("lake", "report", "serve", "record", "collect", "kfp"),
    "train": ("lake", "report", "train", "serve", "kfp"),
    "export": ("lake", "train", "export", "serve", "kfp"),
    "triton-loader": ("serve",),
}
HEADER = "# Written by images/write_locks.py from requirements/dev.txt; do not edit.\n"


def read_pins() -> dict[str, str]:
    """Return the pinned line of every distribution in requirements/dev.txt."""
    lines = (REPOSITORY / "requirements" / "dev.txt").read_text().split()
    return {canonicalize_name(re.split(r"==", line)[0]): line for line in lines}


def role_lock(role: str) -> str:
    """Return the lock of a role."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    roots = [*project["dependencies"]]
    for extra in EXTRAS_BY_ROLE[role]:
        roots += project["optional-dependencies"][extra]
    pins = read_pins()
    return HEADER + "".join(f"{pins[name]}\n" for name in sorted(closure(roots)))


def closure(roots: Iterable[str]) -> set[str]:
    """Return the names of all distributions that `roots` need, by the installed metadata."""
    found: set[str] = set()
    queue = [(Requirement(root), "") for root in roots]
    seen: set[tuple[str, str]] = set()
    while queue:
        requirement, extra = queue.pop()
        if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
            continue
        name = canonicalize_name(requirement.name)
        found.add(name)
        for wanted in ("", *sorted(requirement.extras)):
            if (name, wanted) not in seen:
                seen.add((name, wanted))
                queue += [(Requirement(line), wanted) for line in requires(name) or []]
    return found


def main() -> None:
    """Write all lock files."""
    for role in EXTRAS_BY_ROLE:
        (LOCKS / f"{role}.txt").write_text(role_lock(role))


if __name__ == "__main__":
    main()
