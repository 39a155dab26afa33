"""Alerts as pages: what is open, what was, who was told; the rules and channels at a glance."""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple, cast

import orjson
from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import reverse
from django.views.decorators.http import require_safe

from pools.mechanism.alerting import levels_crossed
from pools.models import Alert, AlertChannel, AlertDelivery, AlertRule, Pool
from pools.models.alerts import DeliveryState
from pools.selectors.alerts import (
    SEVERE_FIRST,
    alerts_past,
    deliveries,
    open_alerts,
    open_by_level,
    open_counts,
    rules,
    values_latest,
)
from pools.services.alert_secrets import secret_readable
from pools.services.alert_words import INFO, rule_text, terms_of, value_text
from portal.accounts.access import reads_everything
from portal.accounts.models import User
from portal.lib.clock import now
from portal.lib.given import number_of
from portal.lib.pages import page

EVENTS = ("opened", "cleared", "test")


class OpenLine(NamedTuple):
    """An open alert with its numbers in words."""

    alert: Alert
    value: str
    threshold: str
    worst: str
    age: str
    muted: bool


class RuleLine(NamedTuple):
    """A rule, what it says, its worst value now and the level that crosses, the worst level that is open."""

    rule: AlertRule
    says: str
    value: str
    level: str
    opened: str
    muted: bool


def operates(request: HttpRequest) -> bool:
    """Whether the person may change things."""
    return cast(User, request.user).operates


def age_text(seconds: float) -> str:
    """ "40 s", "12 min", "3 h", "5 d"."""
    for span, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= span:
            return f"{int(seconds // span)}\u00a0{unit}"
    return f"{int(max(0, seconds))}\u00a0s"


def open_lines(moment: datetime) -> list[OpenLine]:
    """Open alerts as rows."""
    found = []
    for alert in open_alerts():
        rule, since = alert.rule, alert.opened_at or alert.since
        value, threshold, worst = (value_text(rule.metric, n) for n in (alert.value, alert.threshold, alert.worst))
        muted = rule.muted_until is not None and rule.muted_until > moment
        found.append(OpenLine(alert, value, threshold, worst, age_text((moment - since).total_seconds()), muted))
    return found


def rule_lines(moment: datetime, lines: list[OpenLine]) -> list[RuleLine]:
    """Rules as rows, each with the worst value of the pools it watches and the worst level of what is open."""
    seen = values_latest()
    opened = {line.alert.rule_id: line.alert.level for line in reversed(lines)}  # the severe come first in lines
    found = []
    for rule in rules():
        worst = worst_value(rule, seen)
        crossed = levels_crossed(terms_of(rule), worst)
        muted = rule.muted_until is not None and rule.muted_until > moment
        level = crossed[-1].name if crossed else ""
        found.append(
            RuleLine(
                rule, rule_text(rule), value_text(rule.metric, worst), level, opened.get(rule.pk, "warning"), muted
            )
        )
    return found


def worst_value(rule: AlertRule, seen: dict[int, dict[str, float | None]]) -> float | None:
    """The value nearest to an alert, of the pools a rule watches; None when none is known."""
    places = seen.values() if rule.pool_id is None else [seen.get(rule.pool_id, {})]
    known = [value for one in places if (value := one.get(rule.metric)) is not None]
    return (min if rule.below else max)(known, default=None)


def sentence(counts: dict[str, int], rule_count: int, watched: bool) -> str:
    """What the page was opened for: is anything wrong?"""
    if counts:
        total = sum(counts.values())
        parts = [f"{counts[level]:,} {level}" for level in SEVERE_FIRST if level in counts]
        return f"{total:,} alert{' is' if total == 1 else 's are'} open: {', '.join(parts)}."
    if not rule_count:
        return "Nothing is watched yet."
    if not watched:
        return "Nothing is open as far as is known: the watch has not looked for a minute."
    return f"All quiet: {rule_count} rule{' watches' if rule_count == 1 else 's watch'} the platform."


@reads_everything
@require_safe
def alerts(request: HttpRequest) -> HttpResponse:
    """Open alerts first, then rules and channels, then the last messages."""
    moment = now()
    lines, seen, counts = open_lines(moment), open_counts(), open_by_level()
    rule_rows = rule_lines(moment, lines)
    last, _ = deliveries("", None, "", None)
    channels = list(AlertChannel.objects.order_by("name")[:200])
    context = {
        "nav": "alerts",
        "lines": lines,
        "rules": rule_rows,
        "channels": channels,
        "mute_channels": {channel.pk for channel in channels if not secret_readable(channel)},
        "deliveries": last[:8],
        "more": sum(counts.values()) - len(lines),
        "watched": seen is not None,
        "sentence": sentence(counts, len(rule_rows), seen is not None),
        "may_change": operates(request),
    }
    return page(request, "pools/alerts.html", context)


@reads_everything
@require_safe
def open_part(request: HttpRequest) -> HttpResponse:
    """The open alerts alone, fetched every few seconds by the page."""
    moment, seen, counts = now(), open_counts(), open_by_level()
    lines = open_lines(moment)
    rule_count = AlertRule.objects.filter(enabled=True).count()
    context = {
        "lines": lines,
        "more": sum(counts.values()) - len(lines),
        "watched": seen is not None,
        "sentence": sentence(counts, rule_count, seen is not None),
        "may_change": operates(request),
        "rules": rule_count,
    }
    return page(request, "pools/_alerts_open.html", context)


@reads_everything
@require_safe
def alert(request: HttpRequest, alert_id: int) -> HttpResponse:
    """One alert: what happened when, who was told."""
    found = Alert.objects.filter(pk=alert_id).select_related("rule", "pool").first()
    if found is None:
        raise Http404(f"There is no alert {alert_id}; its rule may have been removed with its history.")
    rule = found.rule
    context = {
        "nav": "alerts",
        "alert": found,
        "says": rule_text(rule),
        "value": value_text(rule.metric, found.value),
        "worst": value_text(rule.metric, found.worst),
        "threshold": value_text(rule.metric, found.threshold),
        "info": INFO[rule.metric],
        "deliveries": list(found.deliveries.select_related("channel").order_by("pk")[:100]),
        "lasted": age_text(((found.cleared_at or now()) - (found.opened_at or found.since)).total_seconds()),
        "chart": chart_address(rule, found.pool),
        **range_context(request),
    }
    return page(request, "pools/alert.html", context, charts=True)


class Span(NamedTuple):
    """A range of the charts here, by its name in the address."""

    name: str


SPANS = (Span("1h"), Span("24h"), Span("7d"))


def range_context(request: HttpRequest) -> dict[str, Any]:
    """The page's one time range; the shortest for anything unknown."""
    chosen = next((span for span in SPANS if span.name == request.GET.get("range")), SPANS[0])
    return {"ranges": SPANS, "range": chosen}


def chart_address(rule: AlertRule, pool: Pool | None = None) -> str:
    """Where the chart of a rule's metric is, with its thresholds; of one pool, or of the worst ones."""
    where = pool or rule.pool
    levels = "".join(f"&{item['level']}={item['value']:g}" for item in rule.thresholds)
    return f"{reverse('alert-chart')}?metric={rule.metric}&pool={where.slug if where else ''}{levels}"


def history_filters(request: HttpRequest) -> tuple[int | None, str, int | None, str]:
    """(rule, the pool's slug, its id, level) that the address of the history asks for; an unknown pool is none's."""
    rule_id, slug = number_of(request.GET.get("rule", "")), request.GET.get("pool", "").strip()
    level = request.GET.get("level", "") if request.GET.get("level", "") in SEVERE_FIRST else ""
    pool = Pool.objects.filter(slug=slug).values_list("pk", flat=True).first() if slug else None
    return rule_id, slug, pool if pool or not slug else 0, level


@reads_everything
@require_safe
def history(request: HttpRequest) -> HttpResponse:
    """Every alert that opened, newest first."""
    rule_id, pool_slug, pool_id, level = history_filters(request)
    rows, following = alerts_past(rule_id, pool_id, level, number_of(request.GET.get("after", "")))
    context: dict[str, Any] = {
        "nav": "alerts",
        "rows": [(row, value_text(row.rule.metric, row.worst)) for row in rows],
        "next": following,
        "paged": bool(request.GET.get("after")),
        "rule_id": rule_id,
        "pool": pool_slug,
        "level": level,
        "levels": SEVERE_FIRST,
        "rules": list(AlertRule.objects.order_by("name").values_list("pk", "name")[:500]),
        "pools": list(Pool.objects.order_by("slug").values_list("slug", flat=True)[:500]),
        "filtered": bool(rule_id or pool_slug or level),
        "days": settings.ALERT_DAYS,
    }
    return page(request, "pools/alert_history.html", context)


@reads_everything
@require_safe
def delivery_list(request: HttpRequest) -> HttpResponse:
    """The log of messages: to whom, what, when, the answer."""
    state = request.GET.get("state", "") if request.GET.get("state", "") in DeliveryState.values else ""
    event = request.GET.get("event", "") if request.GET.get("event", "") in EVENTS else ""
    channel_id = number_of(request.GET.get("channel", ""))
    rows, following = deliveries(state, channel_id, event, number_of(request.GET.get("after", "")))
    context: dict[str, Any] = {
        "nav": "alerts",
        "rows": rows,
        "next": following,
        "paged": bool(request.GET.get("after")),
        "state": state,
        "states": DeliveryState.choices,
        "event": event,
        "events": EVENTS,
        "channel_id": channel_id,
        "channels": list(AlertChannel.objects.order_by("name").values_list("pk", "name")[:200]),
        "filtered": bool(state or event or channel_id),
    }
    return page(request, "pools/alert_deliveries.html", context)


@reads_everything
@require_safe
def delivery(request: HttpRequest, delivery_id: int) -> HttpResponse:
    """One message: its payload, every try with its answer."""
    rows = AlertDelivery.objects.select_related("channel", "alert__rule", "alert__pool")
    found = rows.filter(pk=delivery_id).first()
    if found is None:
        raise Http404(f"There is no delivery {delivery_id}.")
    context = {"nav": "alerts", "delivery": found, "payload": _pretty(found.payload), "may_change": operates(request)}
    return page(request, "pools/alert_delivery.html", context)


def _pretty(payload: Any) -> str:
    return orjson.dumps(payload, option=orjson.OPT_INDENT_2).decode()
