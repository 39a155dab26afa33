"""A tenant's usage: sums over a range by key, model or time, and the same over time. Call inside ``tenant_scope``.

An hour and less is read by the minute, everything longer by the hour, so that a month of two hundred entitlements is
thousands of rows and not millions.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.db import connection
from django.db.models import F, Sum

from billing.models import UsageHour, UsageMinute
from pools.models import Pool
from portal.accounts.models import ApiKey, Tenant
from portal.dashboards.series import Range

GROUPS = {"": "Key and model", "key": "Key", "model": "Model", "time": "Time"}
BY_MINUTE_UP_TO_S = 3600
STEPS_S = {900: 60, 3600: 60, 86_400: 3600, 604_800: 10_800, 2_592_000: 43_200}
DAY_S = 86_400
SHOWN = 200
MOST_CSV = 20_000
LAYERS = 4
SUMS = ("requests", "failed", "input_tokens", "output_tokens", "cached_tokens", "charged_tokens")
ORIGIN = "TIMESTAMPTZ '2020-01-01'"


class UsageRow(NamedTuple):
    """Usage of one key, model or span of time; what the grouping leaves out is empty."""

    key: str
    model: str
    pool: str
    at: datetime | None
    requests: int
    failed: int
    input_tokens: int
    output_tokens: int
    cached_tokens: int
    charged_tokens: int
    ttft_ms: float | None


def group_of(name: str | None) -> str:
    """A grouping from its name in the address; by key and model for anything else."""
    return name if name in GROUPS else ""


def start_of(span: Range, now: datetime) -> datetime:
    """Where a range begins: on the hour where hours are read, so that the first bar is whole."""
    start = now - timedelta(seconds=span.seconds)
    return start if span.seconds <= BY_MINUTE_UP_TO_S else start.replace(minute=0, second=0, microsecond=0)


def _model(span: Range) -> type[UsageMinute] | type[UsageHour]:
    return UsageMinute if span.seconds <= BY_MINUTE_UP_TO_S else UsageHour


def usage_rows(tenant: Tenant, span: Range, now: datetime, group: str = "", most: int = SHOWN) -> list[UsageRow]:
    """Sums over a range, most tokens first (by time: the newest first). Three queries at most."""
    if group == "time":
        return _by_time(tenant, span, now, most)
    columns = {"key": ("key_id",), "model": ("pool_id",)}.get(group, ("key_id", "pool_id"))
    found: Any = (
        _model(span)
        .objects.filter(tenant_id=tenant.pk, at__gte=start_of(span, now))
        .values(*columns)
        .annotate(**{f"sum_{name}": Sum(name) for name in SUMS}, ttft=Sum("ttft_ms_sum"), ttft_n=Sum("ttft_count"))
        .order_by(F("sum_charged_tokens").desc(), *columns)[:most]
    )
    rows = list(found)
    keys = key_names(tenant, {row["key_id"] for row in rows} if "key_id" in columns else set())
    pools = pool_names({row["pool_id"] for row in rows} if "pool_id" in columns else set())
    return [
        _row(
            keys.get(row["key_id"], "no key") if "key_id" in columns else "",
            pools.get(row["pool_id"], ("?", "?")) if "pool_id" in columns else ("", ""),
            None,
            [row[f"sum_{name}"] for name in SUMS],
            (row["ttft"], row["ttft_n"]),
        )
        for row in rows
    ]


def _row(key: str, pool: tuple[str, str], at: datetime | None, sums: list[Any], ttft: tuple[Any, Any]) -> UsageRow:
    requests, failed, taken, made, cached, charged = (int(value) for value in sums)
    mean = float(ttft[0]) / float(ttft[1]) if ttft[1] else None
    return UsageRow(key, *pool, at, requests, failed, taken, made, cached, charged, mean)


def _by_time(tenant: Tenant, span: Range, now: datetime, most: int) -> list[UsageRow]:
    step_s = DAY_S if span.seconds > DAY_S else 3600 if span.seconds > BY_MINUTE_UP_TO_S else 60
    sums = ", ".join(f"sum({name})::bigint" for name in SUMS)
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT date_bin(%s, at, {ORIGIN}) AS bin, {sums}, sum(ttft_ms_sum), sum(ttft_count)"  # noqa: S608
            f" FROM {_model(span)._meta.db_table} WHERE tenant_id = %s AND at >= %s"
            " GROUP BY bin ORDER BY bin DESC LIMIT %s",
            [f"{step_s} seconds", tenant.pk, start_of(span, now), most],
        )
        return [_row("", ("", ""), row[0], list(row[1:7]), (row[7], row[8])) for row in cursor.fetchall()]


def usage_totals(tenant: Tenant, span: Range, now: datetime) -> dict[str, int]:
    """The sums of everything, however it is grouped."""
    rows = _model(span).objects.filter(tenant_id=tenant.pk, at__gte=start_of(span, now))
    found: dict[str, Any] = rows.aggregate(**{f"sum_{name}": Sum(name) for name in SUMS})
    return {name: int(found[f"sum_{name}"] or 0) for name in SUMS}


def key_names(tenant: Tenant, ids: set[int]) -> dict[int, str]:
    """Key id → name and visible beginning."""
    rows = ApiKey.objects.filter(tenant=tenant, pk__in=ids) if ids else ()
    return {key.pk: f"{key.name} ({key.prefix}…)" for key in rows}


def pool_names(ids: set[int]) -> dict[int, tuple[str, str]]:
    """Pool id → (model name, slug)."""
    rows = Pool.objects.filter(pk__in=ids).values_list("pk", "model_name", "slug") if ids else ()
    return {pk: (model, slug) for pk, model, slug in rows}


Series = list[tuple[str, dict[datetime, float]]]


def usage_series(tenant: Tenant, span: Range, now: datetime, group: str = "") -> tuple[int, Series]:
    """(seconds per step, [(name, {step: tokens})]): input and output, or the largest keys or models and the others."""
    step_s = STEPS_S.get(span.seconds, 43_200)
    column = {"key": "key_id", "model": "pool_id"}.get(group)
    named = f", {column}" if column else ""
    sums = "sum(charged_tokens)" if column else "sum(input_tokens), sum(output_tokens)"
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT date_bin(%s, at, {ORIGIN}) AS bin{named}, {sums} FROM {_model(span)._meta.db_table}"  # noqa: S608
            f" WHERE tenant_id = %s AND at >= %s GROUP BY bin{named} ORDER BY bin",
            [f"{step_s} seconds", tenant.pk, start_of(span, now)],
        )
        rows = cursor.fetchall()
    if not column:
        return step_s, [
            (name, {row[0]: float(row[place]) for row in rows}) for place, name in ((1, "Input"), (2, "Output"))
        ] if rows else []
    return step_s, _layers(rows, _names(tenant, column, rows))


def _names(tenant: Tenant, column: str, rows: list[Any]) -> dict[int, str]:
    ids = {row[1] for row in rows}
    if column == "key_id":
        return key_names(tenant, ids)
    return {pk: model for pk, (model, _) in pool_names(ids).items()}


def _layers(rows: list[Any], names: dict[int, str]) -> Series:
    """The largest few by name, the rest as one."""
    totals: dict[int, float] = {}
    for _, identity, tokens in rows:
        totals[identity] = totals.get(identity, 0.0) + float(tokens)
    largest = sorted(totals, key=lambda key: (-totals[key], key))[:LAYERS]
    found: dict[int | None, dict[datetime, float]] = {key: {} for key in largest}
    for at, identity, tokens in rows:
        layer = found.setdefault(identity if identity in largest else None, {})
        layer[at] = layer.get(at, 0.0) + float(tokens)
    return [("others" if key is None else names.get(key, "no key"), layer) for key, layer in found.items()]
