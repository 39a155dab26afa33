"""A tier's shadow from its page: stop it, let it watch on, put its terms in force."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST

from pools.models import TierVersion
from pools.services.tier_shadow import tier_shadow_publish, tier_shadow_resume, tier_shadow_stop
from pools.web.tier_edit import tier_for_change
from pools.web.tier_history import confirm_page, confirmed, done
from portal.accounts.access import operates
from portal.audit.actors import page_actor
from portal.lib.clock import now
from portal.lib.given import number_of, reason_of
from portal.lib.pages import note


@operates
@require_POST
def stop(request: HttpRequest, slug: str) -> HttpResponseBase:
    """Ends the shadow; what it counted stays."""
    found = tier_for_change(slug)
    shadow = found.shadow
    if shadow is None:
        note(request, f"{found.name} has no version in shadow.")
        return redirect("tier", found.slug)

    def deed() -> str:
        tier_shadow_stop(actor=page_actor(request), now=now(), tier_id=found.pk, reason=reason_of(request))
        return f"The shadow {shadow} of {found.name} is stopped; what it counted stays."

    return done(request, found, deed, undo=reverse("tier-shadow-resume", args=[slug, shadow.number]))


@operates
@require_POST
def resume(request: HttpRequest, slug: str, number: int) -> HttpResponseBase:
    """Lets a stopped shadow watch on."""
    found = tier_for_change(slug)

    def deed() -> str:
        tier_shadow_resume(actor=page_actor(request), now=now(), tier_id=found.pk, number=number)
        return f"v{number} of {found.name} watches on in shadow."

    return done(request, found, deed, undo=reverse("tier-shadow-stop", args=[slug]))


@operates
@require_http_methods(["GET", "HEAD", "POST"])
def publish(request: HttpRequest, slug: str) -> HttpResponseBase:
    """Puts the terms in shadow in force: what would change, the preview, a reason, one button."""
    found = tier_for_change(slug)
    shadow = found.shadow
    if shadow is None:
        note(request, f"{found.name} has no version in shadow.")
        return redirect("tier", found.slug)
    context: dict[str, Any] = {
        "title": f"Put the shadow {shadow} in force",
        "lede": f"{shadow} was judged on the requests that really came; now its terms are enforced as a new version.",
        "button": "Put in force",
    }
    if request.method != "POST":
        return confirm_page(request, found, shadow, context)

    def deed() -> TierVersion:
        return tier_shadow_publish(
            actor=page_actor(request),
            now=now(),
            tier_id=found.pk,
            reason=reason_of(request),
            expected_version=number_of(request.POST.get("base", ""), 9),
            preview_token=request.POST.get("token", ""),
        )

    return confirmed(request, found, shadow, context, deed)
