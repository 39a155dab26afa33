"""The people of a tenant: who belongs to it with which role, who is invited; its admins change that."""

from __future__ import annotations

from typing import Any

from django import forms
from django.db.models import Q
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from pools.services.tenants import membership_end, membership_record, membership_set, membership_undo
from pools.web.lists import cut
from portal.accounts.access import may_in_tenant, tenant_page
from portal.accounts.choices import TenantRole
from portal.accounts.models import Membership, Tenant, User
from portal.audit.actors import page_actor
from portal.lib.clock import now
from portal.lib.forms import refusal_shown
from portal.lib.given import text_of
from portal.lib.pages import note, page, refusal_noted
from portal.people.invitations import (
    NewInvitation,
    invitation_create,
    invitation_list,
    invitation_resend,
    invitation_restore,
    invitation_revoke,
)
from portal.people.web.common import me

MOST_OPEN = 50


class InviteForm(forms.Form):
    """An address and a role."""

    email = forms.EmailField(label="E-mail address", max_length=254, help_text="The link works for this address only.")
    role = forms.ChoiceField(label="Role", choices=TenantRole.choices, initial=TenantRole.MEMBER)


@tenant_page(TenantRole.VIEWER)
@require_safe
def members(request: HttpRequest, tenant: Tenant) -> HttpResponse:
    """Everybody sees who is here; admins change it."""
    return _page(request, tenant, InviteForm())


def _page(request: HttpRequest, tenant: Tenant, form: InviteForm, status: int = 200, **more: Any) -> HttpResponse:
    moment, text = now(), text_of(request.GET, "q", 200)
    rows = Membership.objects.filter(tenant=tenant).select_related("user")
    if text:
        named = Q(user__first_name__icontains=text) | Q(user__last_name__icontains=text)
        rows = rows.filter(Q(user__email__icontains=text) | named)
    admins = Membership.objects.filter(tenant=tenant, role=TenantRole.ADMIN).count()
    total = Membership.objects.filter(tenant=tenant).count()
    context: dict[str, Any] = {
        "nav": "tenant-members",
        "tenant": tenant,
        "q": text,
        **cut(rows, request),
        "total": total,
        "admins": admins,
        "roles": TenantRole.choices,
        "invitations": invitation_list(tenant, moment, MOST_OPEN),
        "form": form,
        "may_change": may_in_tenant(me(request), tenant, TenantRole.ADMIN, change=True),
        "self": me(request).pk,
        **more,
    }
    return page(request, "pools/members.html", context, status=status)


@tenant_page(TenantRole.ADMIN, change=True)
@never_cache
@require_POST
def invite(request: HttpRequest, tenant: Tenant) -> HttpResponseBase:
    """A one-time link to an address; shown here when no mail server would bring it."""
    form = InviteForm(request.POST)
    if form.is_valid():
        with refusal_shown(form):
            made = invitation_create(actor=page_actor(request), now=now(), tenant=tenant, **form.cleaned_data)
            return _invited(request, tenant, made)
    return _page(request, tenant, form, 422)


def _invited(request: HttpRequest, tenant: Tenant, made: NewInvitation) -> HttpResponseBase:
    email = made.invitation.email
    if not made.delivers:
        return _page(request, tenant, InviteForm(), 201, made=made)
    undo = reverse("tenant-invitation-revoke", args=[tenant.slug, made.invitation.pk])
    note(request, f"{email} is invited; the link is on its way.", undo=undo)
    return redirect("tenant-members", slug=tenant.slug)


@tenant_page(TenantRole.ADMIN, change=True)
@require_POST
def role(request: HttpRequest, tenant: Tenant, user_id: int) -> HttpResponseBase:
    """Another role."""
    user, wanted = _member(tenant, user_id), request.POST.get("role", "")
    with refusal_noted(request):
        membership_set(actor=page_actor(request), now=now(), tenant=tenant, user=user, role=wanted)
        said = f"{user.email} is {TenantRole(wanted).label.split(':')[0].lower()} from now on."
        note(request, said, undo=_undo(tenant, user))
    return redirect("tenant-members", slug=tenant.slug)


@tenant_page(TenantRole.ADMIN, change=True)
@require_POST
def remove(request: HttpRequest, tenant: Tenant, user_id: int) -> HttpResponseBase:
    """Takes somebody out; who takes themselves out leaves the tenant's pages."""
    user = _member(tenant, user_id)
    with refusal_noted(request):
        membership_end(actor=page_actor(request), now=now(), tenant=tenant, user=user)
        if user.pk == me(request).pk and not user.reads_everything:
            note(request, f"You have left {tenant.name}.")
            return redirect("home")
        note(request, f"{user.email} no longer belongs to {tenant.name}.", undo=_undo(tenant, user))
    return redirect("tenant-members", slug=tenant.slug)


@tenant_page(TenantRole.ADMIN, change=True)
@require_POST
def undo(request: HttpRequest, tenant: Tenant, record_id: int) -> HttpResponseBase:
    """Takes the latest change of somebody's role back."""
    with refusal_noted(request):
        user, again = membership_undo(actor=page_actor(request), now=now(), tenant=tenant, record_id=record_id)
        note(request, f"{user.email} is {again} again." if again else f"{user.email} no longer belongs here.")
    return redirect("tenant-members", slug=tenant.slug)


@tenant_page(TenantRole.ADMIN, change=True)
@never_cache
@require_POST
def resend(request: HttpRequest, tenant: Tenant, number: int) -> HttpResponseBase:
    """A fresh link to the same address; the old one ends."""
    made = invitation_resend(actor=page_actor(request), now=now(), invitation_id=number, tenant=tenant)
    return _invited(request, tenant, made)


@tenant_page(TenantRole.ADMIN, change=True)
@require_POST
def revoke(request: HttpRequest, tenant: Tenant, number: int) -> HttpResponseBase:
    """The link stops working; offers to take that back."""
    with refusal_noted(request):
        row = invitation_revoke(actor=page_actor(request), now=now(), invitation_id=number, tenant=tenant)
        back = reverse("tenant-invitation-restore", args=[tenant.slug, number])
        note(request, f"The invitation of {row.email} is withdrawn.", undo=back)
    return redirect("tenant-members", slug=tenant.slug)


@tenant_page(TenantRole.ADMIN, change=True)
@require_POST
def restore(request: HttpRequest, tenant: Tenant, number: int) -> HttpResponseBase:
    """The link works again."""
    with refusal_noted(request):
        row = invitation_restore(actor=page_actor(request), now=now(), invitation_id=number, tenant=tenant)
        note(request, f"The invitation of {row.email} is open again.")
    return redirect("tenant-members", slug=tenant.slug)


def _member(tenant: Tenant, user_id: int) -> User:
    """A person of this tenant; one of another tenant does not exist here."""
    found = Membership.objects.filter(tenant=tenant, user_id=user_id).select_related("user").first()
    if found is None:
        raise Http404("There is no such person in this tenant.")
    return found.user


def _undo(tenant: Tenant, user: User) -> str:
    record = membership_record(tenant, user)
    return reverse("tenant-member-undo", args=[tenant.slug, record.pk]) if record is not None else ""
