"""What shadows counted, for pages: totals and reasons of a span, steps for a chart, the entitlements most concerned."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import connection

from pools.models import Entitlement, ShadowRun, Tier

MOST_ROWS = 50
Value = int | str | datetime


@dataclass(frozen=True, slots=True)
class ShadowTotal:
    """Requests judged in a span, refused by the terms in force, and refused by those in shadow, by reason."""

    asked: int
    refused_now: int
    refused: dict[str, int]

    @property
    def would(self) -> int:
        """Refused in shadow, all reasons."""
        return sum(self.refused.values())


@dataclass(frozen=True, slots=True)
class ShadowRow:
    """One entitlement's part."""

    entitlement: Entitlement
    total: ShadowTotal


@dataclass(frozen=True, slots=True)
class ShadowStep:
    """One step of the chart."""

    at: datetime
    total: ShadowTotal


_WHERE = "FROM pools_shadowminute WHERE version_id = %s AND at >= %s AND at < %s"
_REASONS = (
    "FROM pools_shadowminute, LATERAL jsonb_each_text(refused) AS r WHERE version_id = %s AND at >= %s AND at < %s"
)
_BIN = "date_bin(%s::interval, at, timestamptz 'epoch')"
_WOULD = "(SELECT coalesce(sum(value::bigint), 0) FROM jsonb_each_text(refused))"


def shadow_run_of(tier: Tier) -> ShadowRun | None:
    """The run of the version in shadow, else the latest one that was; None where nothing was ever judged."""
    runs = ShadowRun.objects.filter(version__tier=tier).select_related("version")
    if tier.shadow_id is not None:
        return runs.filter(pk=tier.shadow_id).first()
    return runs.order_by("-since", "-pk").first()


def shadow_total(version_id: int, start: datetime, end: datetime) -> ShadowTotal:
    """Everything in a span. Two queries."""
    values: list[Value] = [version_id, start, end]
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT coalesce(sum(asked), 0), coalesce(sum(refused_now), 0) {_WHERE}", values)
        asked, now = cursor.fetchone() or (0, 0)
        cursor.execute(f"SELECT r.key, sum(r.value::bigint) {_REASONS} GROUP BY 1 ORDER BY 2 DESC", values)
        return ShadowTotal(int(asked), int(now), {code: int(count) for code, count in cursor.fetchall()})


def shadow_steps(version_id: int, start: datetime, end: datetime, step: timedelta) -> list[ShadowStep]:
    """The span step by step, steps without a request left out. Two queries."""
    values: list[Value] = [f"{step.total_seconds()} seconds", version_id, start, end]
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {_BIN}, r.key, sum(r.value::bigint) {_REASONS} GROUP BY 1, 2", values)
        refused: dict[datetime, dict[str, int]] = {}
        for at, code, count in cursor.fetchall():
            refused.setdefault(at, {})[code] = int(count)
        cursor.execute(f"SELECT {_BIN}, sum(asked), sum(refused_now) {_WHERE} GROUP BY 1 ORDER BY 1", values)
        return [
            ShadowStep(at, ShadowTotal(int(asked), int(now), refused.get(at, {})))
            for at, asked, now in cursor.fetchall()
        ]


def shadow_rows(version_id: int, start: datetime, end: datetime) -> tuple[list[ShadowRow], int]:
    """The entitlements that would be refused most, and how many were judged. Three queries."""
    values: list[Value] = [version_id, start, end]
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT entitlement_id, sum(asked), sum(refused_now), sum({_WOULD}) AS would, count(*) OVER ()"
            f" {_WHERE} GROUP BY 1 ORDER BY would DESC, 2 DESC, 1 LIMIT %s",
            [*values, MOST_ROWS],
        )
        found = cursor.fetchall()
        ids = [row[0] for row in found]
        cursor.execute(
            f"SELECT entitlement_id, r.key, sum(r.value::bigint) {_REASONS} AND entitlement_id = ANY(%s)"
            " GROUP BY 1, 2 ORDER BY 1, 3 DESC",
            [*values, ids],
        )
        reasons: dict[int, dict[str, int]] = {}
        for identity, code, count in cursor.fetchall():
            reasons.setdefault(identity, {})[code] = int(count)
    known = Entitlement.objects.select_related("tenant", "pool").in_bulk(ids)
    rows = [
        ShadowRow(known[identity], ShadowTotal(int(asked), int(now), reasons.get(identity, {})))
        for identity, asked, now, _, _ in found
        if identity in known
    ]
    return rows, int(found[0][4]) if found else 0
