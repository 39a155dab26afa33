"""Lists of operators as files for a spreadsheet: every row that passes the page's filters, in the page's order."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_safe

from pools.selectors.alerts import alerts_past
from pools.selectors.scaling import DecisionQuery, decisions_matching
from pools.selectors.tiers import tiers_page
from pools.web.alerts import history_filters
from pools.web.requests import requests_matching
from pools.web.tiers import tier_filters
from portal.accounts.access import reads_everything
from portal.lib.clock import now
from portal.lib.tables import csv_answer

MOST_CSV = 20_000
TERMS = (
    "burst_tokens",
    "burst_kv",
    "burst_concurrency",
    "class_weight",
    "slo_ms",
    "lendable_share",
    "default_max_tokens",
    "largest_max_tokens",
)
REQUEST = (
    ("request", "pk"),
    ("tenant", "tenant__slug"),
    ("pool", "pool__slug"),
    ("asked_tokens_per_second", "asked_tokens_per_second"),
    ("asked_kv_bytes", "asked_kv_bytes"),
    ("asked_concurrency", "asked_concurrency"),
    ("state", "state"),
    ("asked_at", "created_at"),
    ("asked_by", "created_by__email"),
    ("reason", "reason"),
    ("decided_at", "decided_at"),
    ("decided_by", "decided_by__email"),
    ("decision_reason", "decision_reason"),
)
DECISION = (
    ("at", "at"),
    ("pool", "pool__slug"),
    ("before", "before"),
    ("chosen", "chosen"),
    ("code", "code"),
    ("carried_out", "applied"),
    ("ready", "ready"),
    ("pending", "pending"),
    ("promises_need", "floor"),
    ("demand_needs", "need"),
    ("dimension", "dimension"),
    ("reason", "reason"),
)


@reads_everything
@require_safe
def tiers_csv(request: HttpRequest) -> HttpResponse:
    """Tiers with the terms in force."""
    found = tiers_page(*tier_filters(request), "", now(), MOST_CSV)
    rows = (
        [
            line.tier.slug,
            line.tier.name,
            line.tier.service_class,
            line.tier.current.number if line.tier.current else None,
            line.tier.current.effective_from if line.tier.current else None,
            line.entitlements,
            line.pools,
            *(getattr(line.tier.current, name) if line.tier.current else None for name in TERMS),
        ]
        for line in found.lines
    )
    head = ("tier", "name", "class", "version", "in_force_since", "entitlements", "pools", *TERMS)
    return csv_answer("tiers", head, rows)


@reads_everything
@require_safe
def requests_csv(request: HttpRequest) -> HttpResponse:
    """Requests for more with what was decided."""
    rows = requests_matching(request.GET).order_by("-pk").values_list(*(path for _, path in REQUEST))[:MOST_CSV]
    return csv_answer("requests", [name for name, _ in REQUEST], rows)


@reads_everything
@require_safe
def scaling_csv(request: HttpRequest) -> HttpResponse:
    """Scaling decisions with what they were taken from."""
    matching = decisions_matching(DecisionQuery.of(request.GET.dict()), now())
    rows = matching.order_by("-at", "-pk").values_list(*(path for _, path in DECISION))[:MOST_CSV]
    return csv_answer("scaling", [name for name, _ in DECISION], rows)


@reads_everything
@require_safe
def alerts_csv(request: HttpRequest) -> HttpResponse:
    """Alerts that opened."""
    rule_id, _, pool_id, level = history_filters(request)
    found, _ = alerts_past(rule_id, pool_id, level, None, MOST_CSV)
    rows = (
        [
            row.opened_at,
            row.level,
            row.rule.name,
            row.pool.slug if row.pool else None,
            row.rule.metric,
            row.threshold,
            row.value,
            row.worst,
            row.cleared_at,
            row.sentence,
        ]
        for row in found
    )
    head = ("opened_at", "level", "rule", "pool", "metric", "threshold", "value", "worst", "cleared_at", "sentence")
    return csv_answer("alerts", head, rows)
