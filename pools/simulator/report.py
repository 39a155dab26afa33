"""Print the summary of a run: totals, then counts and times by class and by tenant."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.console import Console
from rich.table import Table

from pools.choices import ServiceClass

NARROWEST = 118
_ORDER = {service_class.value: index for index, service_class in enumerate(ServiceClass)}
_TIMES = (("TTFT ms", "ttft_ms"), ("ITL ms", "itl_ms"), ("e2e s", "e2e_ms"))


def wide_console(*, stderr: bool = False) -> Console:
    """A console that does not squeeze tables where there is no terminal to fit."""
    console = Console(stderr=stderr)
    return console if console.is_terminal else Console(stderr=stderr, width=max(NARROWEST, console.width))


def show(console: Console, summary: dict[str, Any], notes: list[str]) -> None:
    """Writes the summary of :meth:`Tally.summary` as people read it."""
    console.print(_totals(summary), _counts(summary), _times(summary))
    for note in notes:
        console.print(note, style="dim", highlight=False)


def by_class(summary: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The class rows, strongest promise first."""
    rows: dict[str, dict[str, Any]] = summary["by_class"]
    return {name: rows[name] for name in sorted(rows, key=lambda name: _ORDER.get(name, len(_ORDER)))}


def _tenants(summary: dict[str, Any]) -> dict[str, dict[str, Any]]:
    rows: dict[str, dict[str, Any]] = summary["by_tenant"]
    return {name: rows[name] for name in sorted(rows, key=lambda name: (_ORDER.get(rows[name]["class"], 9), name))}


def _totals(summary: dict[str, Any]) -> Table:
    table = Table(title="What clients saw", title_justify="left", show_header=False, box=None, padding=(0, 2, 0, 0))
    for name, value in _total_rows(summary):
        table.add_row(name, value)
    return table


def _total_rows(summary: dict[str, Any]) -> Iterator[tuple[str, str]]:
    late = "/".join(_milliseconds(value) for value in summary["late_ms"].values())
    yield "time", f"{summary['seconds']:,.1f} s"
    yield (
        "requests sent",
        f"{summary['sent']:,} in {summary['attempts']:,} attempts ({summary['retried']:,} retries); {late} ms late",
    )
    yield "skipped", f"{summary['skipped']:,}" + (" (no place left to wait)" if summary["skipped"] else "")
    yield "admitted", f"{summary['admitted']:,}"
    yield "completed", f"{summary['completed']:,}"
    yield "refused for good", _codes(summary["refused"], summary["refused_by_code"])
    yield "attempts refused", _codes(None, summary["attempts_turned_away_by_code"])
    yield "failed", _codes(summary["failed"], summary["failed_by_code"])
    yield "preempted", f"{summary['preempted']:,}"
    yield "abandoned by us", f"{summary['abandoned']:,}"
    yield "unfinished at the end", f"{summary['unfinished']:,}"
    yield "tokens in / out", f"{summary['input_tokens']:,} / {summary['output_tokens']:,}"
    yield "goodput", f"{summary['goodput_tokens_per_second']:,} output tokens/s of completed requests"
    if over := summary.get("over_commit"):
        worst = f"at worst {over['worst_sequences']} over capacity, {over['lent_sequences']} may be lent"
        yield "over-commit", f"{over['sequences']} sequences beyond the rule ({worst})"


def _codes(total: int | None, codes: dict[str, int]) -> str:
    listed = ", ".join(f"{code} {count:,}" for code, count in codes.items()) or "none"
    return listed if total is None or not codes else f"{total:,}: {listed}"


def _counts(summary: dict[str, Any]) -> Table:
    table = Table(title="Requests and tokens", title_justify="left", padding=(0, 1))
    table.add_column("by class, by tenant", no_wrap=True)
    for column in ("sent", "admitted", "refused", "preempted", "retries", "tokens in", "tokens out", "goodput/s"):
        table.add_column(column, justify="right")
    for rows in (by_class(summary), _tenants(summary)):
        for label, row in rows.items():
            table.add_row(
                label,
                f"{row['sent']:,}",
                f"{row['admitted']:,}",
                f"{row['refused']:,}",
                f"{row['preempted']:,}",
                f"{row['retried']:,}",
                f"{row['input_tokens']:,}",
                f"{row['output_tokens']:,}",
                f"{row['goodput_tokens_per_second']:,}",
            )
        table.add_section()
    return table


def _times(summary: dict[str, Any]) -> Table:
    table = Table(title="Times", title_justify="left", padding=(0, 1))
    table.add_column("by class, by tenant", no_wrap=True)
    for name, _ in _TIMES:
        for percent in ("p50", "p95", "p99"):
            table.add_column(f"{name} {percent}", justify="right")
    for rows in (by_class(summary), _tenants(summary)):
        for label, row in rows.items():
            table.add_row(label, *(_time(name, value) for name, key in _TIMES for value in row[key].values()))
        table.add_section()
    return table


def _time(name: str, milliseconds: float | None) -> str:
    if milliseconds is not None and name.endswith(" s"):
        return f"{milliseconds / 1000:,.1f}"
    return _milliseconds(milliseconds)


def _milliseconds(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f}"
