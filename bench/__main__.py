"""Every benchmark, one after the other: ``python -m bench [NAME ...]``."""

import sys
from importlib import import_module

from rich.console import Console

NAMES = (
    "evaluator",
    "simulation",
    "ingest",
    "label_files",
    "nuscenes",
    "lake",
    "scale",
    "analysis",
    "annotation",
    "voxelization",
    "loader",
    "training",
    "inference",
    "local_runner",
)


def main(names: list[str]) -> None:
    console = Console()
    for name in names or NAMES:
        console.rule(name)
        sys.argv = [f"bench.{name}"]
        import_module(f"bench.{name}").main()


if __name__ == "__main__":
    main(sys.argv[1:])
