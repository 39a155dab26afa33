"""A tenant's API keys: list, create (shown once), revoke."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import cast

from django import forms
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from pools.services.keys import key_create, key_revoke
from portal.accounts.access import may_in_tenant, tenant_page
from portal.accounts.choices import TenantRole
from portal.accounts.models import ApiKey, Tenant, User
from portal.audit.models import Source
from portal.audit.services import Actor
from portal.lib.clock import now
from portal.lib.errors import DomainError

DAYS = (("", "Never"), ("30", "In 30 days"), ("90", "In 90 days"), ("365", "In a year"))


class KeyForm(forms.Form):
    """What a new key needs."""

    name = forms.CharField(label="Name", max_length=100, help_text="What it is for: the application or the person.")
    days = forms.ChoiceField(label="Expires", choices=DAYS, required=False)


def _context(request: HttpRequest, tenant: Tenant) -> dict[str, object]:
    moment = now()
    user = cast(User, request.user)
    return {
        "nav": "tenant-keys",
        "tenant": tenant,
        "rows": [(key, key_state(key, moment)) for key in ApiKey.objects.filter(tenant=tenant)[:200]],
        "may_change": may_in_tenant(user, tenant, TenantRole.MEMBER, change=True),
        "form": KeyForm(),
    }


def key_state(key: ApiKey, moment: datetime) -> str:
    """active, expired or revoked."""
    if key.revoked_at is not None:
        return "revoked"
    return "expired" if key.expires_at is not None and key.expires_at <= moment else "active"


@tenant_page(TenantRole.VIEWER)
@require_safe
def keys(request: HttpRequest, tenant: Tenant) -> HttpResponse:
    """The tenant's keys; whoever may makes and revokes them here."""
    return render(request, "pools/keys.html", _context(request, tenant))


@tenant_page(TenantRole.MEMBER, change=True)
@never_cache
@require_POST
def create(request: HttpRequest, tenant: Tenant) -> HttpResponse:
    """Makes a key and shows it: this answer is the only place where it can ever be read."""
    form, moment = KeyForm(request.POST), now()
    context = _context(request, tenant)
    if form.is_valid():
        days = form.cleaned_data["days"]
        try:
            made = key_create(
                actor=Actor(cast(User, request.user), Source.PAGE),
                now=moment,
                tenant=tenant,
                name=form.cleaned_data["name"],
                expires_at=moment + timedelta(days=int(days)) if days else None,
            )
        except DomainError as error:
            form.add_error(None, error.sentence)
        else:
            context = {**_context(request, tenant), "made": made}
            return render(request, "pools/keys.html", context, status=201)
    return render(request, "pools/keys.html", {**context, "form": form}, status=422)


@tenant_page(TenantRole.MEMBER, change=True)
@require_POST
def revoke(request: HttpRequest, tenant: Tenant, key_id: int) -> HttpResponseBase:
    """Ends a key at once. A key of another tenant does not exist here."""
    key = ApiKey.objects.filter(tenant=tenant, pk=key_id).first()
    if key is None:
        raise Http404("There is no such key in this tenant.")
    key_revoke(actor=Actor(cast(User, request.user), Source.PAGE), now=now(), key_id=key.pk)
    messages.success(request, f"{key.name} is revoked; gateways refuse it within half a second.")
    return redirect("tenant-keys", slug=tenant.slug)
