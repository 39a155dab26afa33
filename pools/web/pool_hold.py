"""Replicas by hand: hold a pool at a number until a moment, with what that does shown first; lift it; undo."""

from __future__ import annotations

from copy import copy
from datetime import timedelta
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.views.decorators.http import require_POST, require_safe

from pools.models import Pool, ScalingDecision
from pools.services.ceiling import ceiling_now
from pools.services.outlook import capacity_with, pool_outlook
from pools.services.overrides import pool_set_replicas
from pools.services.preview_state import pool_token_make
from pools.web.fields import Field, FieldView, Typed, typed_read
from pools.web.pool_common import done, outlook_context, pool_context, pool_for_change, pool_of
from portal.accounts.access import operates, reads_everything
from portal.audit.actors import page_actor
from portal.lib.clock import now
from portal.lib.errors import DomainError
from portal.lib.given import reason_of
from portal.lib.pages import note, page

LASTS: tuple[tuple[str, str, timedelta | None], ...] = (
    ("15m", "15 minutes", timedelta(minutes=15)),
    ("1h", "1 hour", timedelta(hours=1)),
    ("4h", "4 hours", timedelta(hours=4)),
    ("24h", "24 hours", timedelta(hours=24)),
    ("7d", "7 days", timedelta(days=7)),
    ("open", "until somebody lifts it", None),
)
USUAL = "1h"


def fields_of(pool: Pool) -> tuple[Field, Field]:
    """How many, and for how long."""
    return (
        Field("replicas", "", "Replicas", "So many run, whatever the autoscaler thinks; 0 stops the pool.",
              "replicas", 0, pool.max_replicas),
        Field("lasts", "", "For", "Then the rules decide again by themselves.",
              kind="choice", choices=tuple((key, words) for key, words, _ in LASTS)),
    )  # fmt: skip


@reads_everything
@require_safe
def hold(request: HttpRequest, slug: str) -> HttpResponse:
    """The form, and what stands."""
    pool = pool_of(slug)
    replicas = pool.manual_replicas if pool.manual_replicas is not None else pool.wanted_replicas
    return _form(request, pool, {"replicas": str(replicas), "lasts": USUAL}, {})


@operates
@require_POST
def preview(request: HttpRequest, slug: str) -> HttpResponse:
    """The panel beside the form. Changes nothing."""
    pool = pool_for_change(slug)
    typed = typed_read(fields_of(pool), request.POST)
    return page(request, "pools/_hold_preview.html", _preview(pool, typed), kept=False)


@operates
@require_POST
def save(request: HttpRequest, slug: str) -> HttpResponseBase:
    """Holds the pool."""
    pool = pool_for_change(slug)
    typed, reason = typed_read(fields_of(pool), request.POST), reason_of(request)
    if not reason:
        typed.errors["reason"] = "Reason: say why, for whoever finds the pool held."
    if typed.errors:
        return _form(request, pool, typed.values, typed.errors, reason=reason, status=422)
    lasts = next(span for key, _, span in LASTS if key == typed.parsed["lasts"])
    try:
        deed = pool_set_replicas(
            actor=page_actor(request),
            now=now(),
            pool_id=pool.pk,
            replicas=typed.parsed["replicas"],
            lasts=lasts,
            reason=reason,
            preview_token=request.POST.get("token", ""),
        )
    except DomainError as error:
        pool = pool_for_change(slug)
        return _form(
            request,
            pool,
            typed.values,
            dict(error.fields),
            reason=reason,
            problem="" if error.fields else error.sentence,
            status=422 if error.fields else error.status,
        )
    until = f"until {deed.pool.manual_until:%Y-%m-%d %H:%M} UTC" if deed.pool.manual_until else "until it is lifted"
    done(request, f"{pool.name} is held at {typed.parsed['replicas']} replicas {until}.", deed)
    return redirect("pool-hold", pool.slug)


@operates
@require_POST
def lift(request: HttpRequest, slug: str) -> HttpResponseBase:
    """Ends the override now."""
    pool = pool_for_change(slug)
    if pool.manual_replicas is None:
        note(request, f"{pool.name} is not held by hand.")
    else:
        deed = pool_set_replicas(
            actor=page_actor(request), now=now(), pool_id=pool.pk, replicas=None, reason=reason_of(request)
        )
        done(request, f"{pool.name}: the override is lifted; the rules decide again.", deed)
    return redirect("pool-hold", pool.slug)


def _preview(pool: Pool, typed: Typed) -> dict[str, Any]:
    """Context of the panel: what that number does, what would be refused."""
    replicas, problems = typed.parsed.get("replicas"), list(typed.errors.values())
    if replicas is None:
        return {"problems": problems}
    token = pool_token_make(pool.pk, "hold", replicas)
    after = copy(pool)
    after.manual_replicas, after.wanted_replicas = replicas, replicas
    each = pool.accelerators_per_replica
    ceiling = ceiling_now()
    before, then = pool.wanted_replicas * each, replicas * each
    if ceiling.refuses(before, then):
        problems = [
            f"{then:,} accelerators beside {ceiling.used - before:,} of other pools pass the ceiling of "
            f"{ceiling.limit:,}."
        ]
    return {
        "token": token,
        "problems": problems,
        "refused": bool(problems),
        "replicas": replicas,
        "rules": pool.current_profile and _rules_want(pool),
        "ceiling": ceiling.with_change(before, then),
        **outlook_context(pool_outlook(pool, after, now(), capacity=capacity_with(pool, replicas))),
    }


def _rules_want(pool: Pool) -> int | None:
    """What the rules wanted at their last written look."""
    last = ScalingDecision.objects.filter(pool=pool).order_by("-at", "-pk").first()
    found = (last.inputs or {}).get("wanted") if last is not None else None
    return found if isinstance(found, int) else None


def _form(
    request: HttpRequest,
    pool: Pool,
    values: dict[str, str],
    errors: dict[str, str],
    *,
    reason: str = "",
    problem: str = "",
    status: int = 200,
) -> HttpResponse:
    fresh = _preview(pool, typed_read(fields_of(pool), values)) if request.method == "POST" else {}
    context = {
        **fresh,
        "fresh": bool(fresh),
        **pool_context(request, pool, "pool-hold"),
        "views": [FieldView(one, values.get(one.name, ""), errors.get(one.name, "")) for one in fields_of(pool)],
        "errors": errors,
        "problem": problem,
        "reason": reason,
        "held": pool.manual_replicas is not None,
        "rules": _rules_want(pool),
        "ceiling": fresh.get("ceiling") or ceiling_now(),
        "decisions": list(ScalingDecision.objects.filter(pool=pool, code="manual").order_by("-pk")[:10]),
    }
    return page(request, "pools/pool_hold.html", context, status=status)
