"""Requests for more, the tenant's side: ask, see what became of it, withdraw."""

from __future__ import annotations

from typing import Any, cast

from django import forms
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST

from pools.choices import EntitlementState
from pools.mechanism.amounts import Rate
from pools.models import Entitlement, EntitlementRequest, Pool
from pools.models.requests import RequestState
from pools.services.lease_check import lease_check
from pools.services.request_undo import TENANTS, last_decision, request_undo
from pools.services.requests import asked_entitlement, entitlement_held, request_create, request_withdraw
from pools.web.common import size_write
from pools.web.entitlement_form import LARGEST, MOST_SLOTS, SizeField
from pools.web.requests import amounts_of
from portal.accounts.access import may_in_tenant, tenant_page
from portal.accounts.choices import TenantRole
from portal.accounts.models import Tenant, User
from portal.audit.actors import page_actor
from portal.lib.clock import now
from portal.lib.errors import DomainError
from portal.lib.forms import refusal_shown
from portal.lib.pages import note, page, refusal_noted

MOST_SHOWN = 100


class AskForm(forms.Form):
    """The whole promise a tenant would like to have in a pool, and why."""

    pool = forms.CharField(label="Pool", max_length=63, help_text="Where you would like to have more.")
    concurrency = forms.IntegerField(
        label="Slots",
        required=False,
        min_value=0,
        max_value=MOST_SLOTS,
        help_text="Requests in flight at the same time.",
    )
    tokens_per_second = forms.IntegerField(
        label="Tokens per second",
        required=False,
        min_value=0,
        max_value=LARGEST,
        help_text="Input and output together.",
    )
    kv_bytes = SizeField(label="KV cache", required=False, help_text="Such as 3.5 GiB.")
    reason = forms.CharField(
        label="What it is for", max_length=1000, help_text="The operator decides by it.", widget=forms.Textarea
    )

    def clean_pool(self) -> Pool:
        """The pool by its slug."""
        slug = self.cleaned_data["pool"]
        found = Pool.objects.select_related("current_profile").filter(slug=slug, archived_at__isnull=True).first()
        if found is None:
            raise forms.ValidationError(f"There is no pool “{slug}”.")
        return found

    @property
    def asked(self) -> Rate:
        """What is asked, as one amount."""
        data = self.cleaned_data
        return Rate(data.get("tokens_per_second") or 0, data.get("kv_bytes") or 0, data.get("concurrency") or 0)


@tenant_page(TenantRole.VIEWER)
@require_http_methods(["GET", "HEAD", "POST"])
def requests(request: HttpRequest, tenant: Tenant) -> HttpResponseBase:
    """The tenant's requests, and the form to ask for more."""
    if request.method == "POST":
        return _ask(request, slug=tenant.slug)
    held = _held(tenant)
    chosen = next((row for row in held if row.pool.slug == request.GET.get("pool")), held[0] if held else None)
    return _page(request, tenant, AskForm(initial=_initial(chosen, request.GET.get("pool", ""))), held)


@tenant_page(TenantRole.ADMIN, change=True)
def _ask(request: HttpRequest, tenant: Tenant) -> HttpResponseBase:
    form = AskForm(request.POST)
    if form.is_valid():
        with refusal_shown(form):
            request_create(
                actor=page_actor(request),
                now=now(),
                tenant=tenant,
                pool=form.cleaned_data["pool"],
                asked=form.asked,
                reason=form.cleaned_data["reason"],
            )
            note(request, "Your request is with the operators; you see here what becomes of it.")
            return redirect("tenant-requests", slug=tenant.slug)
    return _page(request, tenant, form, _held(tenant), status=422)


def _page(
    request: HttpRequest, tenant: Tenant, form: AskForm, held: list[Entitlement], *, status: int = 200
) -> HttpResponse:
    rows = list(EntitlementRequest.objects.filter(tenant=tenant).select_related("pool").order_by("-pk")[:MOST_SHOWN])
    by_pool = {row.pool_id: row for row in held}
    pools = Pool.objects.filter(archived_at__isnull=True, current_profile__isnull=False).order_by("slug")
    mine = {row.pool.slug: row for row in held}
    context: dict[str, Any] = {
        "nav": "tenant-requests",
        "tenant": tenant,
        "form": form,
        "may_ask": may_in_tenant(cast(User, request.user), tenant, TenantRole.ADMIN, change=True),
        "rows": [(row, amounts_of(row, by_pool.get(row.pool_id))) for row in rows],
        "waiting": sum(row.state == RequestState.OPEN for row in rows),
        "held": [(row, row.pool) for row in held],
        "others": [pool for pool in pools[:500] if pool.slug not in mine],
    }
    return page(request, "pools/tenant_requests.html", context, status=status)


def _held(tenant: Tenant) -> list[Entitlement]:
    rows = Entitlement.objects.filter(tenant=tenant).exclude(state=EntitlementState.EXPIRED.value)
    return list(rows.select_related("pool", "tier").order_by("pool__slug", "pk")[:200])


def _initial(held: Entitlement | None, slug: str) -> dict[str, Any]:
    """What is promised now is where the asking begins."""
    if held is None:
        return {"pool": slug[:63]}
    side = "base" if held.base_concurrency or held.base_tokens_per_second else "cap"
    return {
        "pool": held.pool.slug,
        "concurrency": getattr(held, f"{side}_concurrency"),
        "tokens_per_second": getattr(held, f"{side}_tokens_per_second"),
        "kv_bytes": size_write(getattr(held, f"{side}_kv_bytes")),
    }


@tenant_page(TenantRole.ADMIN, change=True)
@require_POST
def check(request: HttpRequest, tenant: Tenant) -> HttpResponse:
    """Whether what is being typed could be promised, in words that tell nothing of others' promises."""
    form = AskForm(request.POST)
    form.is_valid()
    context: dict[str, Any] = {"tenant": tenant}
    pool = form.cleaned_data.get("pool")
    if isinstance(pool, Pool) and not {"concurrency", "tokens_per_second", "kv_bytes"} & set(form.errors):
        held, asked = entitlement_held(tenant, pool), form.asked
        wanted = EntitlementRequest(
            tenant=tenant,
            pool=pool,
            asked_tokens_per_second=asked.tokens_per_second,
            asked_kv_bytes=asked.kv_bytes,
            asked_concurrency=asked.concurrency,
        )
        after = asked_entitlement(wanted, held, None)
        context.update(held=held, amounts=amounts_of(wanted, held), pool=pool)
        context["check"] = lease_check(after, now()) if after is not None and any(asked.as_tuple()) else None
    return page(request, "pools/_ask_check.html", context)


@tenant_page(TenantRole.ADMIN, change=True)
@require_POST
def withdraw(request: HttpRequest, tenant: Tenant, request_id: int) -> HttpResponseBase:
    """Takes an open request back."""
    _own(tenant, request_id)
    with refusal_noted(request):
        request_withdraw(actor=page_actor(request), now=now(), request_id=request_id)
        record = last_decision(request_id)
        undo_at = reverse("tenant-request-undo", args=[tenant.slug, request_id, record.pk]) if record else ""
        note(request, "The request is withdrawn; ask again at any time.", undo=undo_at)
    return redirect("tenant-requests", slug=tenant.slug)


@tenant_page(TenantRole.ADMIN, change=True)
@require_POST
def undo(request: HttpRequest, tenant: Tenant, request_id: int, record_id: int) -> HttpResponseBase:
    """Lets a request that was withdrawn wait again. What an operator decided is not the tenant's to take back."""
    _own(tenant, request_id)
    with refusal_noted(request):
        request_undo(actor=page_actor(request), now=now(), request_id=request_id, record_id=record_id, kinds=TENANTS)
        note(request, "Your request waits for an operator again.")
    return redirect("tenant-requests", slug=tenant.slug)


def _own(tenant: Tenant, request_id: int) -> None:
    """Another tenant's request does not exist here. Raises DomainError ``not_found``."""
    if not EntitlementRequest.objects.filter(tenant=tenant, pk=request_id).exists():
        raise DomainError("not_found", "There is no such request of this tenant.", status=404)
