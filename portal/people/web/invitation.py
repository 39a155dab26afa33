"""Behind the link of an invitation: accept it, as somebody who is here already or with a new account."""

from __future__ import annotations

from typing import Any

from allauth.account.internal.flows.login import perform_login
from allauth.account.models import Login
from django import forms
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from portal.accounts.access import public
from portal.accounts.choices import PlatformRole, TenantRole
from portal.accounts.invitations import invitation_for
from portal.accounts.models import Invitation, User
from portal.lib.clock import now
from portal.lib.errors import DomainError
from portal.lib.forms import refused
from portal.lib.pages import note, page
from portal.people.invitations import invitation_accept, invitation_join


class JoinForm(forms.Form):
    """A name and a password for a new account."""

    name = forms.CharField(label="Name", max_length=150, required=False)
    password = forms.CharField(
        label="Password",
        max_length=200,
        strip=False,
        widget=forms.PasswordInput,
        help_text="At least 12 characters; a few words are better than signs.",
    )
    again = forms.CharField(label="Password once more", max_length=200, strip=False, widget=forms.PasswordInput)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["name"].widget.attrs["autocomplete"] = "name"
        for name in ("password", "again"):
            self.fields[name].widget.attrs["autocomplete"] = "new-password"

    def clean(self) -> dict[str, Any]:
        """Both passwords alike."""
        given = super().clean() or {}
        if given.get("password") and given.get("again") and given["password"] != given["again"]:
            self.add_error("again", "This is not the same password as above.")
        return given


@public
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def invitation(request: HttpRequest, token: str) -> HttpResponseBase:
    """What is offered, to whom, and the one step that accepts it."""
    row = invitation_for(token, now())
    user = request.user if isinstance(request.user, User) else None
    known = User.objects.filter(email__iexact=row.email).exists()
    form = JoinForm(request.POST or None) if user is None and not known else None
    if request.method == "POST" and user is not None:
        invitation_accept(token=token, now=now(), user=user)
        note(request, f"Welcome to {_place(row)}.")
        return redirect(_landing(row))
    if request.method == "POST" and form is not None and form.is_valid():
        try:
            made = invitation_join(
                token=token, now=now(), name=form.cleaned_data["name"], password=form.cleaned_data["password"]
            )
        except DomainError as error:
            if not error.fields:
                raise
            refused(form, error)
        else:
            entered: HttpResponseBase = perform_login(request, Login(user=made, redirect_url=_landing(row)))
            return entered
    context = {
        "row": row,
        "place": _place(row),
        "role": TenantRole(row.role).label if row.tenant else PlatformRole(row.platform_role).label,
        "form": form,
        "known": known,
        "fits": user is not None and user.email.lower() == row.email,
        "here": reverse("invitation", args=[token]),
        "nav": "",
    }
    return page(request, "people/invitation.html", context, status=422 if request.method == "POST" else 200)


def _place(row: Invitation) -> str:
    return row.tenant.name if row.tenant else "the platform"


def _landing(row: Invitation) -> str:
    return reverse("tenant-home", args=[row.tenant.slug]) if row.tenant else reverse("home")
