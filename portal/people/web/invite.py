"""Inviting to platform roles, and what becomes of such invitations."""

from __future__ import annotations

from typing import Any

from django import forms
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from portal.accounts.access import administers
from portal.accounts.choices import PlatformRole
from portal.audit.actors import page_actor
from portal.lib.clock import now
from portal.lib.forms import refusal_shown
from portal.lib.pages import note, page
from portal.people.invitations import (
    NewInvitation,
    invitation_create,
    invitation_resend,
    invitation_restore,
    invitation_revoke,
)


class InviteForm(forms.Form):
    """An address and what it is invited to."""

    email = forms.EmailField(label="E-mail address", max_length=254, help_text="The link works for this address only.")
    platform_role = forms.ChoiceField(
        label="Platform role", choices=[choice for choice in PlatformRole.choices if choice[0] != PlatformRole.NONE]
    )
    reason = forms.CharField(label="Reason", max_length=500, required=False, help_text="Kept in the audit trail.")


@administers
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def invite(request: HttpRequest) -> HttpResponse:
    """The form; then the link, when no mail server would bring it."""
    form = InviteForm(request.POST or None)
    if request.method != "POST":
        return page(request, "people/invite.html", {"nav": "people", "form": form})
    if form.is_valid():
        with refusal_shown(form):
            made = invitation_create(actor=page_actor(request), now=now(), **form.cleaned_data)
            return _done(request, made)
    return page(request, "people/invite.html", {"nav": "people", "form": form}, status=422)


@administers
@never_cache
@require_POST
def resend(request: HttpRequest, number: int) -> HttpResponse:
    """A fresh link to the same address."""
    return _done(request, invitation_resend(actor=page_actor(request), now=now(), invitation_id=number))


@administers
@require_POST
def revoke(request: HttpRequest, number: int) -> HttpResponse:
    """The link stops working; offers to take that back."""
    row = invitation_revoke(actor=page_actor(request), now=now(), invitation_id=number)
    undo = reverse("people-invitation-restore", args=[number])
    note(request, f"The invitation of {row.email} is withdrawn.", undo=undo)
    return redirect("people")


@administers
@require_POST
def restore(request: HttpRequest, number: int) -> HttpResponse:
    """The link works again."""
    row = invitation_restore(actor=page_actor(request), now=now(), invitation_id=number)
    note(request, f"The invitation of {row.email} is open again.")
    return redirect("people")


def _done(request: HttpRequest, made: NewInvitation) -> HttpResponse:
    if made.delivers:
        undo = reverse("people-invitation-revoke", args=[made.invitation.pk])
        note(request, f"{made.invitation.email} is invited; the link is on its way.", undo=undo)
        return redirect("people")
    context: dict[str, Any] = {"nav": "people", "form": InviteForm(), "made": made}
    return page(request, "people/invite.html", context, status=201)
