"""Print an audit."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from portal.smoke.checks import Check


def show_checks(console: Console, checks: Sequence[Check]) -> None:
    """A table of every check with both figures, and one line that counts them."""
    table = Table(title="Books", title_justify="left")
    table.add_column("")
    table.add_column("what must agree")
    table.add_column("expected", justify="right")
    table.add_column("found", justify="right")
    for check in checks:
        mark = "[green]✔[/]" if check.passed else "[bold red]✘ WRONG[/]"
        table.add_row(mark, check.name, check.expected, check.found)
    console.print(table)
    wrong = sum(not check.passed for check in checks)
    console.print(f"{len(checks)} checks, {wrong} wrong." if wrong else f"{len(checks)} checks, all agree.")
