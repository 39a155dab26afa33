"""A tenant's API keys: search, create (shown once), rotate with overlap, change the end, revoke."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from typing import Any

from django import forms
from django.db.models import Q
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from pools.services.keys import key_create, key_expiry_set, key_revoke, key_rotate, key_undo, rotation_of
from pools.web.lists import cut
from portal.accounts.access import may_in_tenant, tenant_page
from portal.accounts.choices import KeyKind, TenantRole, TenantState
from portal.accounts.models import ApiKey, Tenant
from portal.audit.actors import page_actor
from portal.lib.clock import now
from portal.lib.forms import refusal_shown
from portal.lib.given import text_of
from portal.lib.pages import note, page, refusal_noted
from portal.people.web.common import me

DAYS = (("", "Never"), ("30", "In 30 days"), ("90", "In 90 days"), ("365", "In a year"), ("day", "On a day"))
SOON = (("1", "In a day"), ("7", "In 7 days"))
OVERLAPS = (
    ("0", "Nothing: the old key ends at once"),
    ("1", "1 hour"),
    ("24", "1 day"),
    ("168", "7 days"),
    ("720", "30 days"),
)
SHOWS = {"": "Working", "all": "All", "over": "Ended"}


class EndForm(forms.Form):
    """When a key ends: never, after some days, or on a day (its last moment, UTC)."""

    days = forms.ChoiceField(label="Expires", choices=[*DAYS, *SOON], required=False)
    day = forms.DateField(
        label="Last day (UTC)",
        required=False,
        widget=forms.DateInput({"type": "date"}),
        help_text="Only for “On a day”.",
    )

    def clean(self) -> dict[str, Any]:
        """A day where one is asked for."""
        data = super().clean() or {}
        if data.get("days") == "day" and not data.get("day") and "day" not in self.errors:
            self.add_error("day", "Give the last day, such as 2027-01-31.")
        return data

    def end(self, moment: datetime) -> datetime | None:
        """The moment it ends; None: never."""
        days, day = self.cleaned_data["days"], self.cleaned_data["day"]
        if days == "day":
            return datetime.combine(day, time.min, UTC) + timedelta(days=1)
        return moment + timedelta(days=int(days)) if days else None


class KeyForm(EndForm):
    """What a new key needs."""

    name = forms.CharField(label="Name", max_length=100, help_text="What it is for: the application or the person.")
    kind = forms.ChoiceField(
        label="Kind",
        choices=[(KeyKind.GATEWAY, "Gateway: sends requests"), (KeyKind.MANAGEMENT, "Management: calls the API")],
        initial=KeyKind.GATEWAY,
    )
    field_order = ("name", "kind", "days", "day")

    def __init__(self, *args: Any, admin: bool, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["days"] = forms.ChoiceField(label="Expires", choices=DAYS, required=False)
        if not admin:  # what changes promises is for admins
            del self.fields["kind"]


def key_state(key: ApiKey, moment: datetime) -> str:
    """active, expired or revoked."""
    if key.revoked_at is not None:
        return "revoked"
    return "expired" if key.expires_at is not None and key.expires_at <= moment else "active"


@tenant_page(TenantRole.VIEWER)
@require_safe
def keys(request: HttpRequest, tenant: Tenant) -> HttpResponse:
    """The tenant's keys; whoever may makes, rotates and revokes them here."""
    return _page(request, tenant)


def _page(
    request: HttpRequest, tenant: Tenant, form: KeyForm | None = None, status: int = 200, **more: Any
) -> HttpResponse:
    moment, text = now(), text_of(request.GET, "q", 100)
    show = request.GET.get("show", "") if request.GET.get("show", "") in SHOWS else ""
    every = ApiKey.objects.filter(tenant=tenant)
    working = Q(revoked_at__isnull=True) & (Q(expires_at__isnull=True) | Q(expires_at__gt=moment))
    rows = every.filter(working) if not show else every.exclude(working) if show == "over" else every
    if text:
        rows = rows.filter(Q(name__icontains=text) | Q(prefix__startswith=text))
    found = cut(rows.select_related("created_by"), request, newest_first=True)
    admin = may_in_tenant(me(request), tenant, TenantRole.ADMIN, change=True)
    may = tenant.state == TenantState.ACTIVE and may_in_tenant(me(request), tenant, TenantRole.MEMBER, change=True)
    context: dict[str, Any] = {
        "nav": "tenant-keys",
        "tenant": tenant,
        **found,
        "rows": [(key, key_state(key, moment)) for key in found["rows"]],
        "total": every.count(),
        "working": every.filter(working).count(),
        "q": text,
        "show": show,
        "shows": SHOWS.items(),
        "overlaps": OVERLAPS,
        "ends": [*SOON, *DAYS[:-1]],
        "may_change": may,
        "form": form or KeyForm(admin=admin),
        **more,
    }
    return page(request, "pools/keys.html", context, status=status)


@tenant_page(TenantRole.MEMBER, change=True)
@never_cache
@require_POST
def create(request: HttpRequest, tenant: Tenant) -> HttpResponse:
    """Makes a key and shows it: this answer is the only place where it can ever be read."""
    admin = may_in_tenant(me(request), tenant, TenantRole.ADMIN, change=True)
    form, moment = KeyForm(request.POST, admin=admin), now()
    if form.is_valid():
        with refusal_shown(form):
            made = key_create(
                actor=page_actor(request),
                now=moment,
                tenant=tenant,
                name=form.cleaned_data["name"],
                kind=form.cleaned_data.get("kind", KeyKind.GATEWAY),
                expires_at=form.end(moment),
            )
            undo = reverse("tenant-key-revoke", args=[tenant.slug, made.key.pk])
            note(request, f"{made.key.name} is made.", undo=undo)
            return _page(request, tenant, status=201, made=made)
    return _page(request, tenant, form, 422)


@tenant_page(TenantRole.MEMBER, change=True)
@never_cache
@require_POST
def rotate(request: HttpRequest, tenant: Tenant, key_id: int) -> HttpResponseBase:
    """A successor, shown here and nowhere else; the old key works on for the chosen time."""
    old, hours = _key(request, tenant, key_id), request.POST.get("overlap", "24")
    overlap = timedelta(hours=int(hours) if hours in dict(OVERLAPS) else 24)
    with refusal_noted(request):
        made = key_rotate(actor=page_actor(request), now=now(), key_id=old.pk, overlap=overlap)
        record = rotation_of(old) if overlap else None
        undo = reverse("tenant-key-undo", args=[tenant.slug, record.pk]) if record is not None else ""
        note(request, f"{old.name} is rotated.", undo=undo)
        old.refresh_from_db()
        return _page(request, tenant, status=201, made=made, old=old)
    return redirect("tenant-keys", slug=tenant.slug)


@tenant_page(TenantRole.MEMBER, change=True)
@require_POST
def end(request: HttpRequest, tenant: Tenant, key_id: int) -> HttpResponseBase:
    """Another end of a key."""
    key, form, moment = _key(request, tenant, key_id), EndForm(request.POST), now()
    if not form.is_valid():
        note(request, " ".join(str(error) for errors in form.errors.values() for error in errors), bad=True)
        return redirect("tenant-keys", slug=tenant.slug)
    with refusal_noted(request):
        ends = form.end(moment)
        record = key_expiry_set(actor=page_actor(request), now=moment, key_id=key.pk, expires_at=ends)
        undo = reverse("tenant-key-undo", args=[tenant.slug, record.pk]) if record is not None else ""
        said = f"expires on {ends:%Y-%m-%d at %H:%M} UTC" if ends else "does not expire"
        note(request, f"{key.name} {said}.", undo=undo)
    return redirect("tenant-keys", slug=tenant.slug)


@tenant_page(TenantRole.MEMBER, change=True)
@require_POST
def undo(request: HttpRequest, tenant: Tenant, record_id: int) -> HttpResponseBase:
    """Takes a rotation or another end back."""
    with refusal_noted(request):
        key = key_undo(actor=page_actor(request), now=now(), tenant=tenant, record_id=record_id)
        note(request, f"{key.name} is as it was before.")
    return redirect("tenant-keys", slug=tenant.slug)


@tenant_page(TenantRole.MEMBER, change=True)
@require_POST
def revoke(request: HttpRequest, tenant: Tenant, key_id: int) -> HttpResponseBase:
    """Ends a key at once. A key of another tenant does not exist here."""
    key = _key(request, tenant, key_id)
    key_revoke(actor=page_actor(request), now=now(), key_id=key.pk)
    note(request, f"{key.name} is revoked; gateways refuse it within half a second.")
    return redirect("tenant-keys", slug=tenant.slug)


def _key(request: HttpRequest, tenant: Tenant, key_id: int) -> ApiKey:
    key = ApiKey.objects.filter(tenant=tenant, pk=key_id).first()
    if key is None:
        raise Http404("There is no such key in this tenant.")
    if key.kind == KeyKind.MANAGEMENT and not may_in_tenant(me(request), tenant, TenantRole.ADMIN, change=True):
        raise Http404("A management key is changed by tenant admins; ask one of them.")
    return key
