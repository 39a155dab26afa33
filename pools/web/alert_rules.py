"""Rules as pages: make and change with a preview of what would fire now, mute with undo, switch, remove."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_http_methods as methods
from django.views.decorators.http import require_POST, require_safe

from pools.mechanism.alerting import levels_crossed
from pools.models import Alert, AlertRule, Pool
from pools.selectors.alert_values import alert_values
from pools.selectors.alerts import alerts_past, values_latest
from pools.services.alert_rules import (
    RuleInput,
    alert_rule_change,
    alert_rule_create,
    alert_rule_delete,
    alert_rule_mute,
    alert_rule_switch,
    alert_rules_recommend,
    alert_rules_take_back,
    input_of,
    rule_of,
)
from pools.services.alert_words import INFO, LEVELS, rule_text, terms_of, value_text
from pools.web.alert_form import MUTES, RuleForm, initial_of, mute_until
from pools.web.alerts import chart_address, operates, range_context
from portal.accounts.access import operates as operators_only
from portal.accounts.access import reads_everything
from portal.audit.actors import page_actor
from portal.audit.models import AuditRecord
from portal.lib.clock import now
from portal.lib.errors import DomainError
from portal.lib.given import number_of, reason_of
from portal.lib.pages import note, page, refusal_noted

SHOWN_POOLS = 12
FRESH = {"metric": "headroom", "warning": "10", "hysteresis": "5", "for_seconds": 60, "enabled": True}
GET_POST = ["GET", "HEAD", "POST"]


def rule_or_404(rule_id: int) -> AlertRule:
    """The rule, or a page that says it is gone."""
    found = AlertRule.objects.select_related("pool").filter(pk=rule_id).first()
    if found is None:
        raise Http404(f"There is no alert rule {rule_id}; it may have been removed.")
    return found


@reads_everything
@require_safe
def rule(request: HttpRequest, rule_id: int) -> HttpResponse:
    """One rule: what it says, the values now, its metric's history, what it opened."""
    found, moment = rule_or_404(rule_id), now()
    rows, _ = alerts_past(found.pk, None, "", None)
    living = Alert.objects.filter(rule=found, cleared_at__isnull=True)
    open_count = living.filter(opened_at__isnull=False).count()
    context = {
        "nav": "alerts",
        "rule": found,
        "says": rule_text(found),
        "info": INFO[found.metric],
        "channels": list(found.channels.all()[:100]),
        "muted": found.muted_until is not None and found.muted_until > moment,
        "open_count": open_count,
        "past": [(row, value_text(found.metric, row.worst)) for row in rows[:15]],
        "touches": f"{open_count} open and {Alert.objects.filter(rule=found).count() - open_count} past alerts",
        "mutes": MUTES,
        "chart": chart_address(found),
        **range_context(request),
        "may_change": operates(request),
        **would_fire(found),
    }
    return page(request, "pools/alert_rule.html", context, charts=True)


def would_fire(found: AlertRule) -> dict[str, Any]:
    """Each pool's value now and the level it is beyond, the worst first: what the preview shows."""
    slugs = dict(Pool.objects.filter(archived_at__isnull=True).values_list("pk", "slug")[:5000])
    seen = values_latest()
    if not seen:  # the watch is not running: look once ourselves
        seen = {key: dict(one.values) for key, one in alert_values(now()).items()}
    ids = [found.pool_id] if found.pool_id is not None else list(slugs)
    terms, rows = terms_of(found), []
    for pool_id in ids:
        value = seen.get(pool_id, {}).get(found.metric)
        crossed = levels_crossed(terms, value)
        rows.append((slugs.get(pool_id, "–"), value, crossed[-1].name if crossed else ""))
    known = [row for row in rows if row[1] is not None]
    known.sort(key=lambda row: row[1] or 0.0, reverse=not found.below)
    firing = sum(bool(level) for _, _, level in known)
    shown = [*known, *(row for row in rows if row[1] is None)][:SHOWN_POOLS]
    return {
        "now_rows": [(slug, value_text(found.metric, value), level) for slug, value, level in shown],
        "now_more": len(rows) - len(shown),
        "now_sentence": _now_sentence(firing, len(known), len(rows), found),
        "firing": firing,
    }


def _now_sentence(firing: int, known: int, total: int, found: AlertRule) -> str:
    if not total:
        return "There is no pool to watch yet."
    if not known:
        return "Nothing is known of this metric right now, so nothing would fire."
    where = "here" if total == 1 else f"in {firing} of {total} pools"
    if not firing:
        return "It would not fire now." if total == 1 else f"It would fire in none of {total} pools now."
    wait = f", once it has lasted {found.for_seconds} s" if found.for_seconds else ", at once"
    return f"It would fire {where} now{wait}."


@operators_only
@methods(GET_POST)
def create(request: HttpRequest) -> HttpResponseBase:
    """A new rule."""
    form = RuleForm(request.POST if request.method == "POST" else None, initial=_initial(request))
    if request.method == "POST" and form.is_valid():
        try:
            made = alert_rule_create(
                actor=page_actor(request), now=now(), given=form.given(), reason=form.cleaned_data["reason"]
            )
        except DomainError as error:
            form.take_errors(error.fields or {"name": error.sentence})
        else:
            note(request, f"“{made.name}” is watched from now on.", undo=_take_back([made.pk]))
            return redirect("alert-rule", made.pk)
    return _form_page(request, form, None)


def _initial(request: HttpRequest) -> dict[str, Any]:
    chosen = request.GET.get("metric", "")
    pool = request.GET.get("pool", "")[:63]
    return {**FRESH, "pool": pool, **({"metric": chosen} if chosen in INFO else {})}


@operators_only
@methods(GET_POST)
def edit(request: HttpRequest, rule_id: int) -> HttpResponseBase:
    """Other terms. When somebody was faster the form keeps what was typed and shows the terms of now beside it."""
    found = rule_or_404(rule_id)
    form = RuleForm(request.POST if request.method == "POST" else None, initial=initial_of(found))
    moved_on = ""
    if request.method == "POST" and form.is_valid():
        data = form.cleaned_data
        try:
            alert_rule_change(
                actor=page_actor(request),
                now=now(),
                rule_id=rule_id,
                given=form.given(),
                revision=data["revision"],
                reason=data["reason"],
            )
        except DomainError as error:
            if error.code == "moved_on":
                moved_on = error.sentence
            else:
                form.take_errors(error.fields or {"name": error.sentence})
        else:
            record = AuditRecord.objects.filter(object_type="pools.alertrule", object_id=str(rule_id)).first()
            undo = reverse("alert-rule-restore", args=[rule_id, record.pk]) if record else ""
            note(request, f"“{data['name']}” has new terms.", undo=undo)
            return redirect("alert-rule", rule_id)
    return _form_page(request, form, found, moved_on)


def _form_page(request: HttpRequest, form: RuleForm, found: AlertRule | None, moved_on: str = "") -> HttpResponse:
    context = {
        "nav": "alerts",
        "form": form,
        "rule": found,
        "moved_on": moved_on,
        "present": rule_text(rule_or_404(found.pk)) if found and moved_on else "",
        "infos": [(key, info.unit, info.below, info.meaning) for key, info in INFO.items()],
        "preview": preview_context(form),
    }
    status = 409 if moved_on else 422 if form.errors else 200
    return page(request, "pools/alert_rule_form.html", context, charts=True, status=status)


def preview_context(form: RuleForm) -> dict[str, Any]:
    """What the rule in the form would do now; the first thing that is missing while it is not complete."""
    if form.is_bound:
        form.is_valid()
        data = {name: form.cleaned_data.get(name) for name in form.fields}
    else:
        bound = RuleForm({key: value for key, value in form.initial.items() if value is not None})
        bound.is_valid()
        data = {name: bound.cleaned_data.get(name) for name in bound.fields}
    pool = Pool.objects.filter(slug=data["pool"]).first() if data.get("pool") else None
    metric = data.get("metric") or ""
    if metric not in INFO:
        return {"missing": "Choose what to watch."}
    levels = [(level, float(value)) for level in LEVELS if (value := data.get(level)) is not None]
    given = RuleInput("preview", metric, levels, pool, data.get("hysteresis") or 0.0, data.get("for_seconds") or 0)
    query = {"metric": metric, "pool": pool.slug if pool else "", **{level: f"{value:g}" for level, value in levels}}
    context: dict[str, Any] = {"info": INFO[metric], "chart": f"{reverse('alert-chart')}?{urlencode(query)}"}
    try:
        found = rule_of(given)
    except DomainError as error:
        return {**context, "missing": error.sentence}
    return {**context, "says": rule_text(found), **would_fire(found)}


@operators_only
@require_safe
def preview(request: HttpRequest) -> HttpResponse:
    """The panel beside the form, fetched while one types."""
    form = RuleForm(request.GET)
    return page(request, "pools/_alert_preview.html", {"preview": preview_context(form)})


@operators_only
@require_POST
def mute(request: HttpRequest, rule_id: int) -> HttpResponseBase:
    """Quiet until a moment; undone by ending it, or by the mute there was before."""
    found, moment = rule_or_404(rule_id), now()
    given = {key: request.POST.get(key) or request.GET.get(key, "") for key in ("span", "until")}
    until = mute_until(given, moment)
    if until is None:
        note(request, "Say until when: choose a span or a moment.", bad=True)
        return redirect("alert-rule", rule_id)
    before = found.muted_until if found.muted_until and found.muted_until > moment else None
    reason = reason_of(request)
    with refusal_noted(request):
        alert_rule_mute(actor=page_actor(request), now=moment, rule_id=rule_id, until=until, reason=reason)
        note(request, f"“{found.name}” is muted until {until:%Y-%m-%d %H:%M} UTC.", undo=_mute_back(rule_id, before))
    return redirect("alert-rule", rule_id)


def _mute_back(rule_id: int, before: datetime | None) -> str:
    if before is None:
        return reverse("alert-rule-unmute", args=[rule_id])
    return f"{reverse('alert-rule-mute', args=[rule_id])}?{urlencode({'until': before.isoformat()})}"


@operators_only
@require_POST
def unmute(request: HttpRequest, rule_id: int) -> HttpResponseBase:
    """Tells again from now on; undone by the mute there was."""
    found, moment = rule_or_404(rule_id), now()
    before = found.muted_until if found.muted_until and found.muted_until > moment else None
    alert_rule_mute(actor=page_actor(request), now=moment, rule_id=rule_id, until=None)
    note(request, f"“{found.name}” is no longer muted.", undo=_mute_back(rule_id, before) if before else "")
    return redirect("alert-rule", rule_id)


@operators_only
@require_POST
def switch(request: HttpRequest, rule_id: int, state: str) -> HttpResponseBase:
    """On or off; undone by the other."""
    if state not in {"on", "off"}:
        raise Http404("A rule is on or off.")
    made = alert_rule_switch(actor=page_actor(request), now=now(), rule_id=rule_id, enabled=state == "on")
    undo = reverse("alert-rule-switch", args=[rule_id, "off" if state == "on" else "on"])
    note(request, f"“{made.name}” is switched {state}.", undo=undo)
    return redirect("alert-rule", rule_id)


@operators_only
@require_POST
def delete(request: HttpRequest, rule_id: int) -> HttpResponseBase:
    """Removes it with its history; the word must be typed."""
    found = rule_or_404(rule_id)
    if request.POST.get("confirm", "").strip() != found.name:
        note(request, f"Nothing was removed: type “{found.name}” to confirm.", bad=True)
        return redirect("alert-rule", rule_id)
    alert_rule_delete(actor=page_actor(request), now=now(), rule_id=rule_id, reason=reason_of(request))
    note(request, f"“{found.name}” is gone.")
    return redirect("alerts")


@operators_only
@require_POST
def restore(request: HttpRequest, rule_id: int, number: int) -> HttpResponseBase:
    """Takes a change back: the terms before it, as the audit trail kept them."""
    record = AuditRecord.objects.filter(
        pk=number, object_type="pools.alertrule", object_id=str(rule_id), verb="alert_rule_change"
    ).first()
    if record is None:
        raise Http404("There is no such change to take back.")
    with refusal_noted(request):
        made = alert_rule_change(
            actor=page_actor(request), now=now(), rule_id=rule_id, given=input_of(record.before), reason="Undone."
        )
        note(request, f"“{made.name}” has the terms it had before.")
        return redirect("alert-rule", rule_id)
    return redirect("alerts")


@operators_only
@require_POST
def recommended(request: HttpRequest) -> HttpResponseBase:
    """Adds the recommended rules that are not there."""
    made = alert_rules_recommend(actor=page_actor(request), now=now(), reason="Recommended rules.")
    if made:
        note(request, f"{len(made)} recommended rules were added.", undo=_take_back([rule.pk for rule in made]))
    else:
        note(request, "All recommended rules are there already.")
    return redirect("alerts")


def _take_back(ids: list[int]) -> str:
    return f"{reverse('alert-rules-take-back')}?ids={','.join(map(str, ids))}"


@operators_only
@require_POST
def take_back(request: HttpRequest) -> HttpResponseBase:
    """Undoes the making of rules a few minutes ago."""
    parts = request.GET.get("ids", "").split(",")[:50]
    ids = [key for part in parts if (key := number_of(part)) is not None]
    gone = alert_rules_take_back(actor=page_actor(request), now=now(), rule_ids=ids)
    text = (
        f"{len(gone)} rule{'s were' if len(gone) != 1 else ' was'} taken back." if gone else "Nothing was taken back."
    )
    note(request, text)
    return redirect("alerts")
