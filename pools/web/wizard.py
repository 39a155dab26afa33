"""A new pool, step by step. Every step is a GET form that carries the others along; only the last one writes."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.utils.http import urlencode
from django.views.decorators.http import require_http_methods, require_safe

from pools.mechanism.capacity_words import capacity_told
from pools.mechanism.ceiling import Ceiling
from pools.models import Pool
from pools.models.pools import ProviderKind
from pools.services.ceiling import ceiling_now
from pools.services.pool_rows import PoolDeed
from pools.services.pools import pool_create
from pools.web.fields import field_groups
from pools.web.pool_common import done
from pools.web.pool_fields import provider_config
from pools.web.wizard_fields import GROUPS, LEDES, NAMES, STEPS, TITLES, Draft, draft_read, fields_of
from portal.accounts.access import operates
from portal.audit.actors import page_actor
from portal.audit.models import AuditRecord
from portal.lib.clock import now
from portal.lib.errors import DomainError
from portal.lib.given import reason_of
from portal.lib.pages import page


@operates
@require_http_methods(["GET", "HEAD", "POST"])
def wizard(request: HttpRequest) -> HttpResponseBase:
    """The step in the address. A step is reached once those before it are right; else the first wrong one is shown."""
    if request.method == "POST":
        return _create(request)
    draft = draft_read(request.GET.dict())
    step = request.GET.get("step", "")
    step = step if step in STEPS else STEPS[0]
    wrong = draft.first_wrong(step)
    if not wrong and step != STEPS[0]:
        wrong = _names_taken(draft)
    if wrong:
        return _form(request, draft, wrong, errors=draft.wrong_in(wrong), status=422)
    return _form(request, draft, step)


@operates
@require_safe
def preview(request: HttpRequest) -> HttpResponse:
    """The capacity beside the form, as it is typed."""
    draft = draft_read(request.GET.dict())
    return page(request, "pools/_wizard_preview.html", _preview(draft), kept=False)


def _create(request: HttpRequest) -> HttpResponseBase:
    draft = draft_read(request.POST.dict())
    wrong = draft.first_wrong("review")
    if wrong or draft.profile is None:
        wrong = wrong or "replica"
        return _form(request, draft, wrong, errors=draft.wrong_in(wrong), status=422)
    parsed = draft.parsed
    try:
        pool = pool_create(
            actor=page_actor(request),
            now=now(),
            slug=parsed["slug"],
            name=parsed["name"],
            model_name=parsed["model_name"],
            upstream_model=parsed["upstream_model"],
            provider=parsed["provider"],
            provider_config=provider_config(parsed["provider"], parsed),
            profile=draft.profile,
            reason=reason_of(request),
            **{name: parsed[name] for name in ("min_replicas", "max_replicas", "scaling_mode")},
            accelerators_per_replica=parsed["accelerators_per_replica"],
        )
    except DomainError as error:
        draft.errors |= error.fields
        step = next((step for step in STEPS[:-1] if draft.wrong_in(step)), "review")
        problem = "" if draft.wrong_in(step) else error.sentence
        return _form(request, draft, step, errors=draft.wrong_in(step), problem=problem, status=error.status)
    record = AuditRecord.objects.filter(object_type="pools.pool", object_id=str(pool.pk), verb="pool_create").first()
    starts = f"{pool.min_replicas} replicas start" if pool.min_replicas != 1 else "1 replica starts"
    said = f"{pool.name} is there; {starts if pool.min_replicas else 'no replica starts until somebody asks'}."
    done(request, said, PoolDeed(pool, record))
    return redirect("pool", pool.slug)


def _names_taken(draft: Draft) -> str:
    """The step with a name that another pool has already; "" when they are free."""
    slug, model = draft.parsed.get("slug"), draft.parsed.get("model_name")
    for name, value in (("slug", slug), ("model_name", model)):
        if value and Pool.objects.filter(**{name: value}).exists():
            label = "Slug" if name == "slug" else "Clients ask for"
            draft.errors[name] = f"{label}: there is a pool with “{value}” already; choose another."
    return "model" if draft.wrong_in("model") else ""


def _form(
    request: HttpRequest,
    draft: Draft,
    step: str,
    *,
    errors: dict[str, str] | None = None,
    problem: str = "",
    status: int = 200,
) -> HttpResponse:
    fields = fields_of(step, draft.texts)
    own = {one.name for one in fields}
    place = STEPS.index(step)
    context: dict[str, Any] = {
        "nav": "pools",
        "step": step,
        "title": TITLES[step],
        "lede": LEDES[step],
        "steps": [(name, TITLES[name], index < place, _address(draft, name)) for index, name in enumerate(STEPS)],
        "before": STEPS[place - 1] if place else "",
        "after": STEPS[place + 1] if place + 1 < len(STEPS) else "",
        "groups": list(field_groups(fields, GROUPS[step], draft.texts, errors or {}, draft.placeholders)),
        "carried": [(name, value) for name, value in sorted(draft.texts.items()) if name not in own and value],
        "errors": errors or {},
        "problem": problem,
        "draft": draft,
        "reason": reason_of(request) if request.method == "POST" else "",
        **_preview(draft),
    }
    return page(request, "pools/wizard.html", context, status=status)


def _preview(draft: Draft) -> dict[str, Any]:
    """What a replica and the pool would carry; what is wrong instead, as far as it keeps that from being computed."""
    least, most = draft.parsed.get("min_replicas"), draft.parsed.get("max_replicas")
    each = draft.parsed.get("accelerators_per_replica") or 1
    ceiling = ceiling_now()
    found: dict[str, Any] = {
        "guess": draft.guess,
        "guess_problem": draft.guess_problem,
        "shape": draft.shape,
        "estimates": draft.placeholders,
        "ceiling": ceiling,
        "provider_label": ProviderKind(draft.parsed["provider"]).label if draft.parsed.get("provider") else "",
        "parsed": draft.parsed,
    }
    if draft.planned is None or draft.rate is None:
        return {**found, "waits": list({**draft.wrong_in("model"), **draft.wrong_in("replica")}.values())}
    found |= {"told": capacity_told(draft.planned), "replica": draft.rate, "profile": draft.profile}
    if least is not None and most is not None:
        found |= {
            "pool_least": draft.rate.times(least),
            "pool_most": draft.rate.times(most),
            "takes": least * each,
            "takes_most": most * each,
            "passes": ceiling.refuses(0, least * each),
            "tight": _tight(ceiling, most * each),
        }
    return found


def _tight(ceiling: Ceiling, accelerators: int) -> bool:
    """Whether the pool could not grow to its largest number under the ceiling as it is used now."""
    return ceiling.left is not None and accelerators > ceiling.left


def _address(draft: Draft, step: str) -> str:
    kept = {name: value for name, value in draft.texts.items() if name in NAMES and value}
    return f"?{urlencode({'step': step, **kept})}"
