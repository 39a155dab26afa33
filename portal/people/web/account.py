"""The signed-in person's own page."""

from __future__ import annotations

from typing import Any

from allauth.mfa.models import Authenticator
from allauth.usersessions.models import UserSession
from django import forms
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_http_methods, require_POST

from portal.accounts.access import signed_in
from portal.accounts.models import Membership, User
from portal.audit.actors import page_actor
from portal.lib.clock import now
from portal.lib.forms import refusal_shown
from portal.lib.pages import note, page
from portal.people.account import LONGEST_NAME, profile_update, sessions_end, zones
from portal.people.agents import agent_words
from portal.people.second_factor import needs_one
from portal.people.web.common import me


class ProfileForm(forms.Form):
    """Name and time zone."""

    name = forms.CharField(label="Name", max_length=LONGEST_NAME, required=False)
    time_zone = forms.ChoiceField(
        label="Time zone", required=False, help_text="Times are shown in it; UTC is shown on hover."
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        named = [(zone, zone.replace("_", " ")) for zone in sorted(zones()) if "/" in zone]
        self.fields["time_zone"].choices = [("", "As this browser"), ("UTC", "UTC"), *named]  # type: ignore[attr-defined]
        self.fields["name"].widget.attrs["autocomplete"] = "name"


@signed_in
@require_http_methods(["GET", "HEAD", "POST"])
def account(request: HttpRequest) -> HttpResponse:
    """Who one is here, how one signs in, where one is signed in; POST keeps name and time zone."""
    user = me(request)
    if request.method != "POST":
        form = ProfileForm(initial={"name": user.get_full_name(), "time_zone": user.time_zone})
        return page(request, "people/account.html", _context(request, user, form))
    form = ProfileForm(request.POST)
    if form.is_valid():
        with refusal_shown(form):
            profile_update(actor=page_actor(request), now=now(), user=user, **form.cleaned_data)
            note(request, "Kept.")
            return redirect("account")
    return page(request, "people/account.html", _context(request, user, form), status=422)


@signed_in
@require_POST
def end_sessions(request: HttpRequest) -> HttpResponse:
    """Signs the person out everywhere else."""
    here = request.session.session_key or ""
    count = sessions_end(actor=page_actor(request), now=now(), user=me(request), but=here)
    note(
        request, f"{count} other session{'' if count == 1 else 's'} ended." if count else "There was no other session."
    )
    return redirect("account")


def _context(request: HttpRequest, user: User, form: ProfileForm) -> dict[str, Any]:
    found = list(Authenticator.objects.filter(user=user).order_by("type", "created_at")[:50])
    by_type = {item.type: item for item in found}
    codes = by_type.get(Authenticator.Type.RECOVERY_CODES)
    return {
        "nav": "account",
        "form": form,
        "app": by_type.get(Authenticator.Type.TOTP),
        "passkeys": [item.wrap() for item in found if item.type == Authenticator.Type.WEBAUTHN],
        "codes_left": len(codes.wrap().get_unused_codes()) if codes else None,
        "sso_name": settings.OIDC.get("name", ""),
        "must_have_one": needs_one(user),
        "lacks_one": needs_one(user) and not {"totp", "webauthn"} & set(by_type),
        "sessions": [
            (row, agent_words(row.user_agent), row.session_key == request.session.session_key)
            for row in UserSession.objects.filter(user=user).order_by("-last_seen_at")[:50]
        ],
        "memberships": list(
            Membership.objects.filter(user=user).select_related("tenant").order_by("tenant__slug")[:200]
        ),
    }
