"""The onboarding wizard: four steps, a review of everything that will happen, one deed, the key shown once."""

from __future__ import annotations

import json as plain_json
import shlex
from typing import Any

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from pools.mechanism.amounts import Rate
from pools.models import Pool
from pools.services.amounts import replica_of
from pools.services.lease_check import LeaseCheck, lease_check
from pools.services.onboarding import FirstPromise, Onboarded, Onboarding, tenant_onboard
from pools.web.common import MIB, size_write
from portal.accounts.access import operates, reads_everything
from portal.accounts.models import Tenant
from portal.audit.actors import page_actor
from portal.dashboards.onboarding_draft import REVIEW, STEPS, Draft, draft_name
from portal.dashboards.onboarding_forms import PromiseStep, proposed
from portal.dashboards.tenant_tabs import living
from portal.lib.clock import now
from portal.lib.errors import DomainError
from portal.lib.forms import refused
from portal.lib.given import number_of
from portal.lib.mail import mail_delivers
from portal.lib.pages import note, page


@operates
@require_safe
def begin(request: HttpRequest) -> HttpResponseBase:
    """A fresh draft."""
    return redirect("onboard-step", draft=draft_name(), step="tenant")


@operates
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def step(request: HttpRequest, draft: str, step: str) -> HttpResponseBase:
    """One step; what was typed is kept, right or wrong."""
    if step not in STEPS and step != REVIEW:
        raise Http404("There is no such step.")
    kept = Draft.of(request, draft)
    if kept.done:
        note(request, "That was done already; its key was shown once, then.")
        return redirect("tenant", slug=kept.done)
    if step == REVIEW:
        return _review(request, kept)
    if request.method == "POST":
        kept.take(step, request.POST)
        kept.keep(request)
        form = kept.form(step)
        if form.is_valid():
            return redirect("onboard-step", draft=draft, step=_after(step))
        return page(request, "dashboards/onboarding/step.html", _context(kept, step, form), status=422)
    form = kept.form(step)
    return page(request, "dashboards/onboarding/step.html", _context(kept, step, form))


def _after(step: str) -> str:
    names = [*STEPS, REVIEW]
    return names[names.index(step) + 1]


def _context(kept: Draft, step: str, form: Any) -> dict[str, Any]:
    names = list(STEPS)
    missing = kept.missing()
    reached = names.index(missing) if missing in names else len(names)
    rail = [(key, label, index <= reached, index < reached) for index, (key, (label, _)) in enumerate(STEPS.items())]
    return {
        "nav": "tenants",
        "draft": kept.name,
        "step": step,
        "number": names.index(step) + 1 if step in names else len(names) + 1,
        "rail": [*rail, (REVIEW, "Review", missing == REVIEW, False)],
        "before": names[names.index(step) - 1] if step in names and names.index(step) else "",
        "form": form,
        "fit": fit_of(form) if isinstance(form, PromiseStep) else None,
        "delivers": mail_delivers(),
    }


def fit_of(form: PromiseStep) -> dict[str, Any]:
    """Whether the promise of a form would fit, and what a slot of its pool carries."""
    found: dict[str, Any] = {"check": None, "pool": None, "slot": None, "share": None}
    if form.is_bound and form.is_valid() and form.promise is not None:
        found["check"] = _check(form.promise)
        found["pool"] = form.promise.pool
    elif form.is_bound:
        found["pool"] = (
            Pool.objects.select_related("current_profile")
            .filter(slug=str(form.data.get("pool", "")).replace("\x00", ""))
            .first()
        )
    profile = found["pool"].current_profile if found["pool"] is not None else None
    if profile is not None:
        most = replica_of(profile)
        each = Rate(most.tokens_per_second // most.concurrency, most.kv_bytes // most.concurrency, 1)
        slots = form.data.get("base_concurrency") or form.data.get("cap_concurrency") or ""
        count = number_of(slots, 6) or 0
        share = each.times(count) if count else None
        found.update(slot=each, share=share, kv_text=size_write(share.kv_bytes // MIB * MIB) if share else "")
        found["side"] = "base" if form.data.get("base_concurrency") else "cap"
    return found


def _check(promise: FirstPromise) -> LeaseCheck:
    moment = now()
    return lease_check(proposed(promise, Tenant(slug="new", name="The new tenant"), moment), moment)


@operates
@never_cache
@require_POST
def check(request: HttpRequest) -> HttpResponse:
    """The live fit check of what is typed; writes nothing."""
    form = PromiseStep(request.POST)
    return render(request, "dashboards/onboarding/_fit.html", {"fit": fit_of(form), "form": form})


def _review(request: HttpRequest, kept: Draft) -> HttpResponseBase:
    missing = kept.missing()
    if missing != REVIEW:
        return redirect("onboard-step", draft=kept.name, step=missing)
    moment, forms, status = now(), kept.forms(), 200
    for form in forms.values():
        form.is_valid()
    promise: FirstPromise | None = forms["promise"].promise
    key = forms["key"].key(moment)
    problems: dict[str, str] = {}
    if request.method == "POST":
        tenant, admin = forms["tenant"].cleaned_data, forms["admin"].cleaned_data
        email = "" if admin["later"] else admin["email"]
        plan = Onboarding(**tenant, admin_email=email, promise=promise, key=key)
        try:
            made = tenant_onboard(actor=page_actor(request), now=moment, plan=plan)
        except DomainError as error:
            status, problems = 422, error.fields or {"": error.sentence}
            for part, form in forms.items():
                if any(name.partition(".")[0] == part for name in problems):
                    refused(form, error, prefix=f"{part}.")
        else:
            kept.done, kept.typed = made.tenant.slug, {}
            kept.keep(request)
            return page(request, "dashboards/onboarding/done.html", _done(made), status=201)
    context = {
        **_context(kept, REVIEW, None),
        "tenant_step": forms["tenant"].cleaned_data,
        "admin_step": forms["admin"].cleaned_data,
        "promise": promise,
        "key": key,
        "fit": {"check": _check(promise)} if promise is not None else None,
        "problems": [(name.partition(".")[0], sentence) for name, sentence in problems.items()],
    }
    return page(request, "dashboards/onboarding/review.html", context, status=status)


def _done(made: Onboarded) -> dict[str, Any]:
    entitlement = made.promise.entitlement if made.promise is not None else None
    model = entitlement.pool.model_name if entitlement is not None else ""
    return {
        "nav": "tenants",
        "shown": made.tenant,
        "made": made,
        "entitlement": entitlement,
        "curl": curl_line(made.key.plaintext, model) if made.key is not None and model else "",
        "gateway": settings.GATEWAY_URL,
    }


def curl_line(key: str, model: str) -> str:
    """A command that sends a first request."""
    body = {"model": model, "max_tokens": 64, "messages": [{"role": "user", "content": "Hello"}]}
    words = [
        "curl",
        "-s",
        f"{settings.GATEWAY_URL}/v1/chat/completions",
        "-H",
        f"Authorization: Bearer {key}",
        "-H",
        "Content-Type: application/json",
        "-d",
        plain_json.dumps(body, ensure_ascii=False),
    ]
    return shlex.join(words)


@reads_everything
@require_safe
def bound(request: HttpRequest, slug: str) -> HttpResponse:
    """Whether the first promise of a tenant is bound yet; asked by the last page until it is."""
    tenant = get_object_or_404(Tenant, slug=slug)
    row = living(tenant).select_related("pool").order_by("pk").first()
    return render(request, "dashboards/onboarding/_bound.html", {"shown": tenant, "entitlement": row})
