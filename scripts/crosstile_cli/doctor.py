"""What `crosstile doctor` tells: the tools that are found, and how to get the rest."""

from collections.abc import Sequence

from rich.table import Table

from .toolchain import TOOLS, Tool, find


def doctor() -> list[Tool]:
    """Look for every tool that Crosstile can use, in the order of `toolchain.TOOLS`."""
    return [find(name) for name in TOOLS]


def tool_table(tools: Sequence[Tool]) -> Table:
    """Lay tools out as a table: name, version or "missing", purpose, and where it is or how to get it."""
    table = Table("tool", "version", "for")
    table.add_column("where, or how to get it", overflow="fold")
    for tool in tools:
        version = tool.version or "yes" if tool.found else "[red]missing[/red]"
        # Square brackets in a command or a path are not markup.
        where = str(tool.path) if tool.found else tool.install
        table.add_row(tool.name, version, tool.purpose, where.replace("[", "\\["))
    return table
