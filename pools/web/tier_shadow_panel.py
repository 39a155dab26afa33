"""The shadow's panel on a tier's page: what it would have refused in a span of time, in a sentence and a table."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, NamedTuple

from pools.models import ShadowRun, Tier, TierVersion
from pools.selectors.shadow import ShadowTotal, shadow_rows, shadow_run_of, shadow_total


class Range(NamedTuple):
    """A span of time: its name in the address, in words."""

    name: str
    span: timedelta
    words: str


RANGES = (
    Range("15m", timedelta(minutes=15), "15 minutes"),
    Range("1h", timedelta(hours=1), "hour"),
    Range("24h", timedelta(hours=24), "24 hours"),
    Range("7d", timedelta(days=7), "7 days"),
)
USUAL = RANGES[1]


def shadow_context(tier: Tier, range_name: str, now: datetime) -> dict[str, Any]:
    """What the panel shows; empty where no version ever ran in shadow."""
    run = shadow_run_of(tier)
    version = tier.shadow if tier.shadow is not None else run.version if run is not None else None
    if version is None:
        return {}
    chosen = next((each for each in RANGES if each.name == range_name), USUAL)
    end = run.ended_at if run is not None and run.ended_at is not None else now
    context: dict[str, Any] = {
        "shadow": version,
        "shadow_runs": tier.shadow_id == version.pk,
        "shadow_run": run,
        "ranges": RANGES,
        "range": chosen,
        "judged": run is not None and run.judged_until > run.since,
    }
    if run is None or run.judged_until <= run.since:
        return {**context, "shadow_sentence": _waiting(version, tier.shadow_id == version.pk)}
    start = end - chosen.span
    total = shadow_total(version.pk, start, end)
    rows, count = shadow_rows(version.pk, start, end)
    return {
        **context,
        "shadow_total": total,
        "shadow_rows": rows,
        "shadow_count": count,
        "shadow_sentence": _sentence(version, run, total, chosen),
    }


def _waiting(version: TierVersion, runs: bool) -> str:
    if runs:
        return f"{version} watches; its first minute is judged soon after it is over."
    return f"{version} was stopped before its first minute was over, so nothing was judged."


def _sentence(version: TierVersion, run: ShadowRun, total: ShadowTotal, chosen: Range) -> str:
    when = f"In the last {chosen.words}{' it watched' if run.ended_at is not None else ''}"
    if not total.asked:
        return f"{when} nobody asked for anything, so {version} had nothing to judge."
    return (
        f"{when} {version} would have refused {total.would:,} of {total.asked:,} requests "
        f"({_percent(total.would, total.asked)}); the terms in force refused {total.refused_now:,} "
        f"({_percent(total.refused_now, total.asked)})."
    )


def _percent(part: int, whole: int) -> str:
    share = 100 * part / whole
    return f"{share:.1f} %" if 0 < share < 10 else f"{share:.0f} %"
