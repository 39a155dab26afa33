"""Print the summary of a run: one line of totals, refusals by code, and a table by class and by tenant."""

from __future__ import annotations

from typing import Any

from rich.console import Console, Group
from rich.table import Table

from pools.choices import ServiceClass

_ORDER = {service_class.value: index for index, service_class in enumerate(ServiceClass)}


def show(console: Console, summary: dict[str, Any], notes: list[str]) -> None:
    """Writes the summary of :meth:`Tally.summary` as people read it."""
    console.print(Group(_totals(summary), _groups("class", by_class(summary)), _groups("tenant", _tenants(summary))))
    for note in notes:
        console.print(note, style="dim", highlight=False)


def by_class(summary: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The class rows, strongest promise first."""
    rows: dict[str, dict[str, Any]] = summary["by_class"]
    return {name: rows[name] for name in sorted(rows, key=lambda name: _ORDER.get(name, len(_ORDER)))}


def _tenants(summary: dict[str, Any]) -> dict[str, dict[str, Any]]:
    rows: dict[str, dict[str, Any]] = summary["by_tenant"]
    ordered = sorted(rows, key=lambda name: (_ORDER.get(rows[name]["class"], len(_ORDER)), name))
    return {f"{name} ({rows[name]['class']})": rows[name] for name in ordered}


def _totals(summary: dict[str, Any]) -> Table:
    table = Table(title="Replay", title_justify="left", show_header=False, box=None, padding=(0, 2, 0, 0))
    rows = [
        ("time", f"{summary['seconds']:,.1f} s"),
        ("requests sent", f"{summary['sent']:,} in {summary['attempts']:,} attempts ({summary['retried']:,} retries)"),
        ("skipped", f"{summary['skipped']:,} (no place left to wait)" if summary["skipped"] else "0"),
        ("admitted", f"{summary['admitted']:,}"),
        ("completed", f"{summary['completed']:,}"),
        ("refused for good", _codes(summary["refused"], summary["refused_by_code"])),
        ("attempts refused", _codes(None, summary["attempts_turned_away_by_code"])),
        ("failed", _codes(summary["failed"], summary["failed_by_code"])),
        ("preempted", f"{summary['preempted']:,}"),
        ("abandoned by us", f"{summary['abandoned']:,}"),
        ("unfinished at the end", f"{summary['unfinished']:,}"),
        ("tokens in / out", f"{summary['input_tokens']:,} / {summary['output_tokens']:,}"),
        ("goodput", f"{summary['goodput_tokens_per_second']:,} output tokens/s of completed requests"),
        ("sent late", f"{_times(summary['late_ms'])} ms (p50 / p95 / p99)"),
    ]
    over = summary.get("over_commit")
    if over is not None:
        worst = f"at worst {over['worst_sequences']} over capacity, {over['lent_sequences']} may be lent"
        rows.append(("over-commit", f"{over['sequences']} sequences beyond the rule ({worst})"))
    for name, value in rows:
        table.add_row(name, value)
    return table


def _codes(total: int | None, codes: dict[str, int]) -> str:
    listed = ", ".join(f"{code} {count:,}" for code, count in codes.items()) or "none"
    return listed if total is None or not codes else f"{total:,}: {listed}"


def _groups(name: str, rows: dict[str, dict[str, Any]]) -> Table:
    table = Table(title=f"By {name} (times in ms, p50 / p95 / p99)", title_justify="left", padding=(0, 1))
    table.add_column(name, no_wrap=True)
    for column in ("sent", "admitted", "refused", "retries", "TTFT", "ITL", "e2e", "tok in", "tok out", "goodput/s"):
        table.add_column(column, justify="right", no_wrap=True)
    for label, row in rows.items():
        table.add_row(
            label,
            f"{row['sent']:,}",
            f"{row['admitted']:,}",
            f"{row['refused']:,}",
            f"{row['retried']:,}",
            _times(row["ttft_ms"]),
            _times(row["itl_ms"]),
            _times(row["e2e_ms"]),
            f"{row['input_tokens']:,}",
            f"{row['output_tokens']:,}",
            f"{row['goodput_tokens_per_second']:,}",
        )
    return table


def _times(values: dict[str, float | None]) -> str:
    return "/".join("–" if value is None else f"{value:,.0f}" for value in values.values())
