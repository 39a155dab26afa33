"""Drain, restart, stop an endpoint: a dialog that shows what is in flight and who loses what, the deed, taking it back.

The deed is a wish on the row; the endpoint reconciler acts (``pools.services.endpoint_deeds``).
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any, NamedTuple

from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST

from pools.choices import EndpointDeed, EndpointState
from pools.models import Endpoint, Pool
from pools.models.pools import ProviderKind
from pools.services.amounts import mean_service_s, replica_of
from pools.services.endpoint_deeds import endpoint_ask, endpoint_resume
from pools.services.outlook import capacity_without, pool_outlook
from pools.services.overrides import pool_set_replicas
from pools.services.pool_undo import pool_undo
from pools.services.supply import supply_of
from pools.web.pool_common import outlook_context, pool_for_change
from portal.accounts.access import operates
from portal.audit.actors import page_actor
from portal.dashboards.endpoint_reads import Served, served_lately
from portal.lib.clock import now
from portal.lib.errors import DomainError
from portal.lib.given import number_of, reason_of
from portal.lib.pages import note, page, refusal_noted

HELD_FOR = timedelta(hours=1)


class Words(NamedTuple):
    """A deed in words: its title, its button, what it does in one sentence, what comes after."""

    title: str
    button: str
    does: str
    then: str


WORDS = {
    EndpointDeed.DRAIN: Words(
        "Drain",
        "Drain it",
        "It takes no new request; every stream on it ends by itself, then it stops.",
        "The pool still wants as many replicas, so another one starts in the meantime.",
    ),
    EndpointDeed.RESTART: Words(
        "Restart",
        "Restart it",
        "It takes no new request; every stream on it ends by itself, then it stops.",
        "Then a new one starts in its place; no accelerator more is needed.",
    ),
    EndpointDeed.STOP: Words(
        "Stop",
        "Stop it now",
        "Its streams are cut within seconds: clients get an error and are charged for what was streamed.",
        "The pool still wants as many replicas, so another one starts.",
    ),
}
PROVIDER_NOTES = {
    ProviderKind.STATIC.value: "Its server belongs to somebody else and runs on. As long as the pool wants it, it is "
    "used again once it is empty: to keep it out, hold one replica fewer.",
    ProviderKind.KUBERNETES.value: "Kubernetes removes the highest ordinal first: for any other its pod is deleted and "
    "made anew in the same place.",
}


@operates
@require_http_methods(["GET", "HEAD", "POST"])
def ask(request: HttpRequest, slug: str, endpoint_id: int, deed: str) -> HttpResponseBase:
    """The dialog (a page of its own without scripts), and the deed once the endpoint's name was typed."""
    pool = pool_for_change(slug)
    endpoint = _endpoint(pool, endpoint_id)
    if deed not in list(EndpointDeed):
        raise Http404(f"An endpoint cannot be told to {deed}.")
    wanted = EndpointDeed(deed)
    if request.method != "POST":
        return _dialog(request, pool, endpoint, wanted)
    if request.POST.get("confirm", "").strip() != endpoint.name:
        return _dialog(request, pool, endpoint, wanted, f"Type {endpoint.name} to confirm; nothing was done.", 422)
    try:
        return _done(request, pool, endpoint, wanted)
    except DomainError as error:
        return _dialog(request, pool, endpoint, wanted, error.sentence, error.status)


@operates
@require_POST
def resume(request: HttpRequest, slug: str, endpoint_id: int) -> HttpResponseBase:
    """Takes a drain or a restart back; ``?override=`` also takes back the number that was held with it."""
    pool = pool_for_change(slug)
    endpoint = _endpoint(pool, endpoint_id)
    held = number_of(request.GET.get("override", ""))
    with refusal_noted(request):
        with transaction.atomic():
            endpoint_resume(actor=page_actor(request), now=now(), endpoint_id=endpoint.pk)
            if held is not None:
                pool_undo(actor=page_actor(request), now=now(), pool_id=pool.pk, record_id=held)
        note(request, f"{endpoint.name} serves again.")
    return redirect("pool", pool.slug)


def _done(request: HttpRequest, pool: Pool, endpoint: Endpoint, deed: EndpointDeed) -> HttpResponseBase:
    actor, reason, override = page_actor(request), reason_of(request), 0
    fewer = request.POST.get("fewer") == "1" and deed is not EndpointDeed.RESTART and pool.wanted_replicas > 0
    with transaction.atomic():
        if fewer:
            held = pool_set_replicas(
                actor=actor,
                now=now(),
                pool_id=pool.pk,
                replicas=pool.wanted_replicas - 1,
                lasts=HELD_FOR,
                reason=reason or f"{deed.value.capitalize()} of {endpoint.name}.",
            )
            override = held.record_id
        endpoint_ask(actor=actor, now=now(), endpoint_id=endpoint.pk, deed=deed, reason=reason)
    undo = ""
    if deed is not EndpointDeed.STOP:
        undo = reverse("pool-endpoint-resume", args=[pool.slug, endpoint.pk])
        undo += f"?override={override}" if override else ""
    said = {
        EndpointDeed.DRAIN: "drains; its last stream ends by itself",
        EndpointDeed.RESTART: "drains and is then started anew",
        EndpointDeed.STOP: "is being stopped",
    }[deed]
    held_words = f"; the pool is held at {pool.wanted_replicas - 1} for an hour" if fewer else ""
    note(request, f"{endpoint.name} {said}{held_words}.", undo=undo)
    return redirect("pool", pool.slug)


def _dialog(
    request: HttpRequest, pool: Pool, endpoint: Endpoint, deed: EndpointDeed, problem: str = "", status: int = 200
) -> HttpResponse:
    moment = now()
    rate = replica_of(endpoint.profile)
    ready = endpoint.state == EndpointState.READY
    supply = supply_of(pool)
    outlook = pool_outlook(pool, pool, moment, capacity=capacity_without(pool, rate) if ready else None)
    served: list[Served] = served_lately(pool.pk, endpoint.pk, moment)
    profile = endpoint.profile or pool.current_profile
    context: dict[str, Any] = {
        "nav": "pools",
        "pool": pool,
        "endpoint": endpoint,
        "deed": deed.value,
        "words": WORDS[deed],
        "provider_says": PROVIDER_NOTES.get(pool.provider, ""),
        "served": served,
        "usual_s": mean_service_s(profile) if profile is not None else None,
        "last_one": ready and supply.ready_replicas == 1,
        "may_hold": deed is not EndpointDeed.RESTART and pool.wanted_replicas > 0,
        "fewer": request.POST.get("fewer") == "1",
        "hold_at": max(0, pool.wanted_replicas - 1),
        "problem": problem,
        "reason": reason_of(request) if request.method == "POST" else "",
        "scraped": endpoint.scraped_at,
        **outlook_context(outlook),
    }
    template = (
        "dashboards/_endpoint_deed.html" if request.headers.get("HX-Request") else "dashboards/endpoint_deed.html"
    )
    return page(request, template, context, status=status)


def _endpoint(pool: Pool, endpoint_id: int) -> Endpoint:
    found = Endpoint.objects.filter(pool=pool, pk=endpoint_id).select_related("profile").first()
    if found is None:
        raise Http404(f"{pool.name} has no endpoint {endpoint_id}.")
    return found
