"""Settings of a pool: every field with its sentence, what a change does before it is saved, undo, archive.

The form remembers the values it began with. What somebody else changed meanwhile is shown and taken over where it does
not meet one's own change; where both changed a field, one's own stands until it is changed again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from django.http import HttpRequest, HttpResponse, QueryDict
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.views.decorators.http import require_POST, require_safe

from pools.choices import ScalingMode
from pools.models import Pool
from pools.models.pools import ProviderKind
from pools.services.ceiling import ceiling_now
from pools.services.outlook import capacity_with, pool_outlook
from pools.services.pool_rows import pool_check
from pools.services.pool_undo import pool_undo
from pools.services.pools import (
    WEIGHTS,
    accelerators,
    archive_hindrances,
    change_check,
    changed_apply,
    pool_archive,
    pool_change,
    pool_restore,
)
from pools.services.preview_state import pool_token_make
from pools.services.profiles import profile_reweighed
from pools.services.supply import supply_of
from pools.web.fields import Field, Typed, field_groups, typed_of, typed_read, value_words
from pools.web.pool_common import (
    done,
    outlook_context,
    pool_context,
    pool_for_change,
    pool_of,
)
from pools.web.pool_fields import PROVIDERS, SETTING_GROUPS, SETTINGS, provider_config, provider_values
from portal.accounts.access import operates, reads_everything
from portal.audit.actors import page_actor
from portal.audit.models import AuditRecord
from portal.lib.clock import now
from portal.lib.errors import DomainError
from portal.lib.given import reason_of
from portal.lib.pages import note, page, refusal_noted


class Moved(NamedTuple):
    """A field that changed while the form was open."""

    label: str
    was: str
    theirs: str
    ours: str
    both: bool


@dataclass
class Sheet:
    """The form on its way to the page."""

    pool: Pool
    typed: Typed
    base: dict[str, str]
    reason: str = ""
    problem: str = ""
    errors: dict[str, str] = field(default_factory=dict)
    moved: list[Moved] = field(default_factory=list)
    by: str = ""


def fields_of(pool: Pool) -> tuple[Field, ...]:
    """Every field of a pool's settings; the provider's depend on which it is."""
    return (*SETTINGS, *PROVIDERS.get(pool.provider, ()))


def values_of(pool: Pool) -> dict[str, str]:
    """The form's texts of the pool as it stands."""
    stored = {one.name: getattr(pool, one.name) for one in SETTINGS}
    return typed_of(fields_of(pool), {**stored, **provider_values(pool.provider_config)})


def changes_of(pool: Pool, typed: Typed) -> dict[str, Any]:
    """What differs from the pool; only readable fields count. An unchanged text is never a change."""
    stood = values_of(pool)
    changes = {
        one.name: typed.parsed[one.name]
        for one in SETTINGS
        if one.name in typed.parsed
        and typed.values[one.name] != stood[one.name]
        and typed.parsed[one.name] != getattr(pool, one.name)
    }
    provider = [one.name for one in PROVIDERS.get(pool.provider, ())]
    if any(typed.values.get(name, "") != stood.get(name, "") for name in provider):
        config = provider_config(pool.provider, typed.parsed, pool.provider_config)
        if config != pool.provider_config:
            changes["provider_config"] = config
    return changes


@reads_everything
@require_safe
def settings(request: HttpRequest, slug: str) -> HttpResponse:
    """The form; for auditors, and of an archived pool, its values."""
    pool = pool_of(slug)
    values = values_of(pool)
    return _form(request, Sheet(pool, Typed(values), values))


@operates
@require_POST
def preview(request: HttpRequest, slug: str) -> HttpResponse:
    """The panel beside the form. Changes nothing."""
    pool = pool_for_change(slug)
    typed = typed_read(fields_of(pool), request.POST)
    return page(request, "pools/_pool_preview.html", _preview(pool, typed), kept=False)


@operates
@require_POST
def save(request: HttpRequest, slug: str) -> HttpResponseBase:
    """Saves what differs; a form that began at other values is shown again with what moved."""
    pool = pool_for_change(slug)
    sheet = Sheet(pool, typed_read(fields_of(pool), request.POST), _base(request.POST, pool), reason_of(request))
    sheet.errors = dict(sheet.typed.errors)
    if _met(sheet):
        return _form(request, sheet, status=409)
    changes = changes_of(pool, sheet.typed)
    if sheet.errors:
        return _form(request, sheet, status=422)
    if not changes:
        note(request, "Nothing was changed.")
        return redirect("pool-settings", pool.slug)
    try:
        deed = pool_change(
            actor=page_actor(request),
            now=now(),
            pool_id=pool.pk,
            changes=changes,
            reason=sheet.reason,
            preview_token=request.POST.get("token", ""),
        )
    except DomainError as error:
        sheet.errors, sheet.problem = dict(error.fields), "" if error.fields else error.sentence
        sheet.pool = pool_for_change(slug)
        return _form(request, sheet, status=422 if error.fields else error.status)
    named = ", ".join(one.label.lower() for one in SETTINGS if one.name in changes)
    done(request, f"{deed.pool.name}: changed {named or 'the provider'}; in force within two seconds.", deed)
    return redirect("pool-settings", pool.slug)


@operates
@require_POST
def archive(request: HttpRequest, slug: str) -> HttpResponseBase:
    """Puts the pool away once its slug was typed."""
    pool = pool_for_change(slug)
    if request.POST.get("confirm", "").strip() != pool.slug:
        note(request, f"Nothing was archived: type {pool.slug} to confirm.", bad=True)
        return redirect("pool-settings", pool.slug)
    deed = pool_archive(actor=page_actor(request), now=now(), pool_id=pool.pk, reason=reason_of(request))
    done(request, f"{pool.name} is archived; its endpoints drain and stop.", deed)
    return redirect("pools")


@operates
@require_POST
def restore(request: HttpRequest, slug: str) -> HttpResponseBase:
    """Brings an archived pool back."""
    pool = pool_of(slug)
    if pool.archived_at is None:
        note(request, f"{pool.name} is not archived.")
        return redirect("pool", pool.slug)
    pool_restore(actor=page_actor(request), now=now(), pool_id=pool.pk, reason=reason_of(request))
    note(request, f"{pool.name} is back; {pool.min_replicas} replicas are started.")
    return redirect("pool", pool.slug)


@operates
@require_POST
def undo(request: HttpRequest, slug: str, record_id: int) -> HttpResponseBase:
    """Takes a deed on the pool back."""
    pool = pool_of(slug)
    with refusal_noted(request):
        deed = pool_undo(actor=page_actor(request), now=now(), pool_id=pool.pk, record_id=record_id)
        if deed.pool.archived_at is not None:
            note(request, f"{pool.name} is archived again.")
            return redirect("pools")
        note(request, f"{pool.name}: taken back.")
        return redirect("pool", pool.slug)
    return redirect("pool-settings", pool.slug)


def _base(given: QueryDict, pool: Pool) -> dict[str, str]:
    """The texts the form began with; the present ones for a form that does not say."""
    try:
        told = json.loads(given.get("base", ""))
    except ValueError:
        told = None
    names = {one.name for one in fields_of(pool)}
    if not isinstance(told, dict) or not all(isinstance(value, str) for value in told.values()):
        return values_of(pool)
    return {name: value for name, value in told.items() if name in names}


def _met(sheet: Sheet) -> bool:
    """Whether somebody changed the pool meanwhile; then the form takes over what does not meet one's own change."""
    stood = values_of(sheet.pool)
    for one in fields_of(sheet.pool):
        was, theirs, ours = sheet.base.get(one.name, ""), stood[one.name], sheet.typed.values[one.name]
        if was == theirs or ours == theirs:
            continue
        both = ours != was
        sheet.moved.append(Moved(one.label, was or "–", theirs or "–", ours or "–", both))
        if not both:
            sheet.typed.values[one.name] = theirs
            sheet.errors.pop(one.name, None)
    if sheet.moved:
        last = AuditRecord.objects.filter(
            object_type="pools.pool", object_id=str(sheet.pool.pk), verb="pool_change"
        ).first()
        sheet.by = last.actor_label if last is not None else "Somebody"
        sheet.base = stood
    return bool(sheet.moved)


def _preview(pool: Pool, typed: Typed) -> dict[str, Any]:
    """Context of the panel: what is wrong, what would be refused, what the change does."""
    if typed.errors:
        return {"problems": list(typed.errors.values())}
    changes = changes_of(pool, typed)
    if not changes:
        return {"unchanged": True, "ceiling": ceiling_now()}
    token = pool_token_make(pool.pk, "settings", changes)
    after = changed_apply(copy(pool), changes)
    problems = _problems(pool, after, changes)
    weighed = profile_reweighed(after) if set(changes) & set(WEIGHTS) else after
    capacity = capacity_with(weighed, supply_of(pool).ready_replicas, anew=True) if weighed is not after else None
    outlook = pool_outlook(pool, weighed, now(), capacity=capacity)
    return {
        "token": token,
        "problems": problems,
        "refused": bool(problems),
        "mode": _mode_words(pool, after, outlook.wanted_after),
        "changed": [
            (one.label, value_words(one, getattr(pool, one.name)), value_words(one, getattr(after, one.name)))
            for one in SETTINGS
            if one.name in changes
        ],
        "ceiling": ceiling_now().with_change(accelerators(pool), accelerators(after)),
        **outlook_context(outlook),
    }


def _mode_words(pool: Pool, after: Pool, wanted: int | None) -> str:
    """What another mode of scaling means now; empty while the mode stays."""
    if after.scaling_mode == pool.scaling_mode:
        return ""
    if after.scaling_mode == ScalingMode.ADVISORY.value:
        stay = "1 replica stays" if after.wanted_replicas == 1 else f"{after.wanted_replicas} replicas stay"
        return f"Decisions are only written down from then on; {stay} until somebody acts."
    would = f"the rules want {wanted}, {after.wanted_replicas} are there or coming" if wanted is not None else ""
    return f"Decisions are carried out from then on{': ' if would else ''}{would}."


def _problems(pool: Pool, after: Pool, changes: Mapping[str, Any]) -> list[str]:
    """The sentences with which a save would be refused."""
    try:
        pool_check(after, provider=bool({"provider_config", "max_replicas"} & set(changes)))
        change_check(pool, after, changes, now())
    except DomainError as error:
        return list(error.fields.values()) or [error.sentence]
    return []


def _form(request: HttpRequest, sheet: Sheet, status: int = 200) -> HttpResponse:
    pool = sheet.pool
    fresh = _preview(pool, typed_read(fields_of(pool), sheet.typed.values)) if request.method == "POST" else {}
    context = {
        **fresh,
        "fresh": bool(fresh),
        **pool_context(request, pool, "pool-settings"),
        "groups": list(field_groups(fields_of(pool), SETTING_GROUPS, sheet.typed.values, sheet.errors)),
        "base": json.dumps(sheet.base),
        "errors": sheet.errors,
        "problem": sheet.problem,
        "moved": sheet.moved,
        "moved_by": sheet.by,
        "reason": sheet.reason,
        "hindrances": archive_hindrances(pool) if pool.archived_at is None else [],
        "provider_note": ProviderKind(pool.provider).label,
        "ceiling": fresh.get("ceiling") or ceiling_now(),
    }
    return page(request, "pools/pool_settings.html", context, status=status)
