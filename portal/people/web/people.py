"""The platform's people: who is here, with which roles; platform admins change that."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from allauth.mfa.models import Authenticator
from allauth.usersessions.models import UserSession
from django.db.models import Count, Q
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from portal.accounts.access import administers, is_admin, reads_everything
from portal.accounts.choices import PlatformRole
from portal.accounts.models import GroupRule, Membership, User
from portal.audit.actors import page_actor
from portal.audit.models import AuditRecord
from portal.lib.clock import now
from portal.lib.errors import DomainError
from portal.lib.given import reason_of
from portal.lib.pages import note, page
from portal.lib.tables import csv_answer
from portal.people.account import sessions_end
from portal.people.agents import agent_words
from portal.people.invitations import invitation_list
from portal.people.roles import platform_role_set, second_factors_reset, user_active_set
from portal.people.selectors import SHOWS, people_found, people_page
from portal.people.web.common import me

MOST_CSV = 20_000


@reads_everything
@require_safe
def people(request: HttpRequest) -> HttpResponse:
    """Everybody with an account, one page at a time; open invitations to platform roles."""
    text, show, after = (request.GET.get(name, "").strip() for name in ("q", "show", "after"))
    rows, following = people_page(text, show if show in SHOWS else "", after)
    moment = now()
    context = {
        "nav": "people",
        "q": text,
        "show": show,
        "shows": SHOWS,
        "rows": rows,
        "next": following,
        "paged": bool(after),
        "counts": _counts(),
        "invitations": invitation_list(None, moment, 50),
        "may_change": is_admin(me(request)),
    }
    return page(request, "people/people.html", context)


@reads_everything
@require_safe
def people_csv(request: HttpRequest) -> HttpResponse:
    """Everybody who passes the page's filters, in its order."""
    text, show = (request.GET.get(name, "").strip() for name in ("q", "show"))
    found: Iterable[Any] = people_found(text, show if show in SHOWS else "")[:MOST_CSV]
    rows = (
        [
            who.email,
            who.get_full_name(),
            who.platform_role if who.reads_everything else None,
            " ".join(f"{one.tenant.slug}:{one.role}" for one in who.held),
            who.has_factor,
            who.last_login,
            who.is_active,
        ]
        for who in found
    )
    return csv_answer(
        "people", ("email", "name", "platform_role", "tenants", "second_factor", "last_login", "active"), rows
    )


@reads_everything
@require_safe
def person(request: HttpRequest, user_id: int) -> HttpResponse:
    """One person: roles and where they come from, second factors, sessions, what was changed last."""
    who = User.objects.filter(pk=user_id).first()
    if who is None:
        raise Http404(f"There is no person {user_id}.")
    context = {
        "nav": "people",
        "who": who,
        "memberships": list(
            Membership.objects.filter(user=who).select_related("tenant").order_by("tenant__slug")[:200]
        ),
        "factors": list(Authenticator.objects.filter(user=who).values_list("type", flat=True)[:50]),
        "sessions": [
            (row, agent_words(row.user_agent))
            for row in UserSession.objects.filter(user=who).order_by("-last_seen_at")[:20]
        ],
        "changes": list(
            AuditRecord.objects.filter(object_type="accounts.user", object_id=str(who.pk)).select_related("tenant")[:15]
        ),
        "roles": PlatformRole.choices,
        "may_change": is_admin(me(request)),
        "is_me": who.pk == me(request).pk,
    }
    return page(request, "people/person.html", context)


@administers
@require_POST
def role(request: HttpRequest, user_id: int) -> HttpResponse:
    """Another platform role."""
    return _role(request, user_id, request.POST.get("role", ""), reason_of(request, 2000), undone=False)


@administers
@require_POST
def role_undo(request: HttpRequest, user_id: int, before: str) -> HttpResponse:
    """Back to the role before."""
    return _role(request, user_id, before, "Undone.", undone=True)


def _role(request: HttpRequest, user_id: int, wanted: str, reason: str, *, undone: bool) -> HttpResponse:
    try:
        who, before = platform_role_set(
            actor=page_actor(request), now=now(), user_id=user_id, role=wanted, reason=reason
        )
    except DomainError as error:
        return _refused(request, user_id, error)
    if before != wanted:
        label = PlatformRole(wanted).label.split(":")[0]
        undo = "" if undone else reverse("person-role-undo", args=[user_id, before])
        note(request, f"{who.email}: {label}, from now on.", undo=undo)
    return redirect("person", user_id=user_id)


@administers
@require_POST
def active(request: HttpRequest, user_id: int, state: str) -> HttpResponse:
    """Deactivates (``off``) or lets in again (``on``); offers the opposite."""
    if state not in {"on", "off"}:
        raise Http404("A person is on or off.")
    try:
        reason = reason_of(request, 2000)
        who = user_active_set(
            actor=page_actor(request), now=now(), user_id=user_id, active=state == "on", reason=reason
        )
    except DomainError as error:
        return _refused(request, user_id, error)
    said = "may sign in again" if who.is_active else "is deactivated; every session has ended"
    back = reverse("person-active", args=[user_id, "off" if who.is_active else "on"])
    note(request, f"{who.email} {said}.", undo=back)
    return redirect("person", user_id=user_id)


@administers
@require_POST
def factors_reset(request: HttpRequest, user_id: int) -> HttpResponse:
    """Takes second factors away from somebody who lost them; the address is typed first."""
    who = User.objects.filter(pk=user_id).first()
    if who is None or request.POST.get("confirm", "").strip() != who.email:
        note(request, "Nothing was changed: type the e-mail address to confirm.", bad=True)
        return redirect("person", user_id=user_id)
    second_factors_reset(actor=page_actor(request), now=now(), user_id=user_id)
    note(request, f"{who.email} signs in with the password alone now, and is signed out everywhere.")
    return redirect("person", user_id=user_id)


@administers
@require_POST
def sessions(request: HttpRequest, user_id: int) -> HttpResponse:
    """Signs somebody out everywhere."""
    who = User.objects.filter(pk=user_id).first()
    if who is None:
        raise Http404(f"There is no person {user_id}.")
    but = (request.session.session_key or "") if who.pk == me(request).pk else ""
    count = sessions_end(actor=page_actor(request), now=now(), user=who, but=but)
    note(request, f"{count} session{'' if count == 1 else 's'} of {who.email} ended.")
    return redirect("person", user_id=user_id)


def _refused(request: HttpRequest, user_id: int, error: DomainError) -> HttpResponse:
    if error.status == 404:
        raise error
    note(request, error.sentence, bad=True)
    return redirect("person", user_id=user_id)


def _counts() -> dict[str, Any]:
    found: dict[str, Any] = User.objects.aggregate(
        active=Count("pk", filter=Q(is_active=True)),
        platform=Count("pk", filter=Q(is_active=True) & ~Q(platform_role=PlatformRole.NONE)),
        admins=Count("pk", filter=Q(is_active=True, platform_role=PlatformRole.ADMIN)),
    )
    return {**found, "rules": GroupRule.objects.count()}
