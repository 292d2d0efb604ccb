"""What a user sees: results as a table or as JSON, progress on a terminal, errors as one line."""

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.table import Table


@contextmanager
def progress(message: str) -> Iterator[None]:
    """Show a spinner with a message on stderr while work goes on; only on a terminal."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield
        return
    with console.status(message):
        yield


def show(result: Mapping[str, Any], as_json: bool) -> None:
    """Print a result: JSON, or a table of its plain entries (null as a dash)."""
    if as_json:
        print(json.dumps(result, indent=2))
        return
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(justify="left")
    table.add_column(justify="right")
    for key, value in result.items():
        if not isinstance(value, (list, dict)):
            table.add_row(key.replace("_", " "), _text(value))
    Console(width=None if sys.stdout.isatty() else 100).print(table)


def _text(value: object) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
