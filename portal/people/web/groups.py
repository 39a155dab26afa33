"""Rules for the groups of single sign-on."""

from __future__ import annotations

from typing import Any

from django import forms
from django.conf import settings
from django.core import signing
from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from portal.accounts.access import administers, is_admin, reads_everything
from portal.accounts.choices import PlatformRole, TenantRole
from portal.accounts.models import GroupRule
from portal.audit.actors import page_actor
from portal.lib.clock import now
from portal.lib.errors import DomainError
from portal.lib.forms import refusal_shown
from portal.lib.given import number_of, text_of
from portal.lib.pages import note, page
from portal.people.groups import group_rule_add, group_rule_remove, terms
from portal.people.web.common import me

PAGE = 100
SALT = "group rule"
ROLES = [
    ("In one tenant", [(f"t:{value}", label) for value, label in TenantRole.choices]),
    ("Across the platform", [(f"p:{value}", label) for value, label in PlatformRole.choices if value != "none"]),
]


class RuleForm(forms.Form):
    """A group and what it gives."""

    group = forms.CharField(label="Group", max_length=200, help_text="Exactly as the sign-in service writes it.")
    role = forms.ChoiceField(label="Gives the role", choices=[("", "Choose"), *ROLES])
    tenant = forms.SlugField(
        label="In the tenant", max_length=63, required=False, help_text="Its short name; empty for a platform role."
    )


@reads_everything
@require_safe
def groups(request: HttpRequest) -> HttpResponse:
    """All rules, with search; platform admins add and remove."""
    return page(request, "people/groups.html", _context(request, RuleForm()))


@administers
@require_POST
def add(request: HttpRequest) -> HttpResponse:
    """One more rule."""
    form = RuleForm(request.POST)
    if form.is_valid():
        kind, _, value = form.cleaned_data["role"].partition(":")
        tenant = form.cleaned_data["tenant"] if kind == "t" else ""
        if kind == "t" and not tenant:
            form.add_error("tenant", "Which tenant? A role in a tenant needs its short name.")
        elif kind == "p" and form.cleaned_data["tenant"]:
            form.add_error("tenant", "A platform role is for all tenants; leave this empty.")
        else:
            given = {"role": value} if kind == "t" else {"platform_role": value}
            with refusal_shown(form):
                row = group_rule_add(
                    actor=page_actor(request), now=now(), group=form.cleaned_data["group"], tenant=tenant, **given
                )
                undo = reverse("people-group-remove", args=[row.pk])
                note(request, f"“{row.group}” counts at the next sign-in of its people.", undo=undo)
                return redirect("people-groups")
    return page(request, "people/groups.html", _context(request, form), status=422)


@administers
@require_POST
def remove(request: HttpRequest, number: int) -> HttpResponse:
    """Ends a rule; the toast brings it back."""
    row = group_rule_remove(actor=page_actor(request), now=now(), rule_id=number)
    undo = reverse("people-group-restore", args=[signing.dumps(terms(row), salt=SALT)])
    note(request, f"The rule for “{row.group}” is removed; its people lose the role at their next sign-in.", undo=undo)
    return redirect("people-groups")


@administers
@require_POST
def restore(request: HttpRequest, token: str) -> HttpResponse:
    """Adds a removed rule anew; what it said is in the address, signed."""
    try:
        given: dict[str, str] = signing.loads(token, salt=SALT, max_age=86400)
    except signing.BadSignature:
        raise DomainError("bad_undo", "That can no longer be undone; add the rule again.", status=409) from None
    row = group_rule_add(actor=page_actor(request), now=now(), **given)
    note(request, f"The rule for “{row.group}” is back.")
    return redirect("people-groups")


def _context(request: HttpRequest, form: RuleForm) -> dict[str, Any]:
    text = text_of(request.GET, "q", 200)
    rows = GroupRule.objects.select_related("tenant")
    if text:
        rows = rows.filter(Q(group__icontains=text) | Q(tenant__slug__icontains=text) | Q(tenant__name__icontains=text))
    after = request.GET.get("after", "")
    if (key := number_of(after)) is not None:
        rows = rows.filter(pk__gt=key)
    found = list(rows.order_by("pk")[: PAGE + 1])
    return {
        "nav": "people",
        "form": form,
        "q": text,
        "rows": found[:PAGE],
        "next": found[PAGE - 1].pk if len(found) > PAGE else None,
        "paged": bool(after),
        "sso": settings.OIDC,
        "may_change": is_admin(me(request)),
    }
