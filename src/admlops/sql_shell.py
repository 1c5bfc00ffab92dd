"""Answers to SQL about a dataset, and a prompt with history to ask for them."""

import csv
import json
import math
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
from rich.console import Console
from rich.table import Table

from admlops.errors import DataError
from admlops.lake.store import Dataset

Layout = Literal["table", "csv", "json"]
MAX_SHOWN = 100
"""Rows that a table on the screen shows; files of values are complete."""
VIEWS = ("frames", "boxes", "boxes_2d")
_PROMPT, _GOES_ON = "sql> ", "...> "
_HELP = """End a query with a semicolon. The views are frames, boxes and boxes_2d.
.tables  the views and their columns
.help    this text
.quit    leave; so does the end of input"""


@dataclass(frozen=True, slots=True)
class SqlShell:
    """A dataset version that answers in SQL.

    Attributes:
        dataset: who is asked.
        layout: how answers are printed.
    """

    dataset: Dataset
    layout: Layout = "table"

    def answer(self, sql: str) -> None:
        """Print the answer to one query.

        Raises:
            DataError: the SQL is wrong.
        """
        table = self.dataset.query(sql.strip().rstrip(";"))
        if self.layout == "csv":
            _print_csv(table)
        elif self.layout == "json":
            _print_json(table)
        else:
            _print_table(table)

    def converse(self) -> None:
        """Ask for queries until the end of input; a wrong one is explained and does not end it."""
        console = Console(stderr=True)
        if sys.stdin.isatty():
            _use_history()
            console.print(f"{self.dataset!r}. Type .help for help.", highlight=False)
        for sql in _read_queries():
            try:
                self._obey(sql, console)
            except DataError as error:
                console.print(f"[bold red]{type(error).__name__}[/]", end=" ")
                console.print(str(error), markup=False, highlight=False, soft_wrap=True)

    def _obey(self, sql: str, console: Console) -> None:
        if sql == ".tables":
            for view in VIEWS:
                described = self.dataset.query(f"DESCRIBE {view}").to_pylist()
                columns = ", ".join(f"{row['column_name']}" for row in described)
                console.print(f"[bold]{view}[/]: {columns}", highlight=False)
        elif sql.startswith("."):
            console.print(_HELP, highlight=False, markup=False)
        else:
            self.answer(sql)


def _read_queries() -> Iterator[str]:
    """Yield queries, which end with a semicolon, and commands, which are one line with a dot."""
    lines: list[str] = []
    prompted = sys.stdin.isatty()
    while True:
        try:
            line = input((_GOES_ON if lines else _PROMPT) if prompted else "")
        except EOFError:
            break
        except KeyboardInterrupt:
            lines.clear()
            print(file=sys.stderr)
            continue
        if not lines and line.strip() in (".quit", ".exit"):
            return
        if not lines and line.strip().startswith("."):
            yield line.strip()
            continue
        lines.append(line)
        if line.rstrip().endswith(";"):
            yield "\n".join(lines)
            lines.clear()
    if any(line.strip() for line in lines):
        yield "\n".join(lines)


def _use_history() -> None:
    """Let the prompt be edited, and remember queries between calls where that is possible."""
    import atexit
    import readline

    state = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    file = Path(state) / "admlops" / "query_history"
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch(mode=0o600)
        readline.read_history_file(file)
    except OSError:
        return  # a home that cannot be written: the prompt works without memory
    readline.set_history_length(1000)
    atexit.register(readline.write_history_file, file)


def _print_table(table: pa.Table) -> None:
    shown = Table(*table.column_names, highlight=False)
    for row in table.slice(0, MAX_SHOWN).to_pylist():
        shown.add_row(*(_as_text(value) for value in row.values()))
    console = Console()
    console.print(shown)
    more = table.num_rows - MAX_SHOWN
    rest = f"; {more} more: use LIMIT, --csv or --json" if more > 0 else ""
    noun = "row" if table.num_rows == 1 else "rows"
    Console(stderr=True).print(f"{table.num_rows} {noun}{rest}", highlight=False)


def _print_csv(table: pa.Table) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(table.column_names)
    for batch in table.to_batches():
        for row in batch.to_pylist():
            writer.writerow(
                [_as_json(v) if isinstance(v, list | dict) else v for v in row.values()]
            )


def _print_json(table: pa.Table) -> None:
    for batch in table.to_batches():
        for row in batch.to_pylist():
            print(_as_json(row))


def _as_json(value: Any) -> str:  # noqa: ANN401 - whatever SQL answers
    """Return valid JSON: numbers that are not finite are null, times are text."""
    return json.dumps(_finite(value), default=str)


def _finite(value: Any) -> Any:  # noqa: ANN401 - whatever SQL answers
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, list):
        return [_finite(item) for item in value]
    if isinstance(value, dict):
        return {name: _finite(item) for name, item in value.items()}
    return value


def _as_text(value: Any) -> str:  # noqa: ANN401 - whatever SQL answers
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.6g}"
    return _as_json(value) if isinstance(value, list | dict) else str(value)
