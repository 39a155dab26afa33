"""What an operator asks of an endpoint: drain, restart, stop, and to take it back. The wish is written; the endpoint
reconciler acts. The pool still wants as many replicas as before, so whatever goes is replaced:

    drain      no new requests, the last stream ends, then it stops; another starts in the meantime
    restart    the same, but the next one starts in its place when it is gone (no accelerator more is needed)
    stop       waits for nothing: its streams are cut, and settled with what they had streamed
    resume     takes a drain or restart back while the endpoint still runs
"""

from __future__ import annotations

from datetime import datetime

from django.db import transaction

from pools.choices import EndpointDeed, EndpointState
from pools.models import Endpoint
from pools.services.configuring import counters_configure
from pools.services.endpoint_rows import SUPPLY, endpoint_set
from pools.services.routes import route_publish
from portal.audit.services import Actor, recorded
from portal.lib.errors import DomainError

SAID = {
    EndpointDeed.DRAIN: "Drained by an operator.",
    EndpointDeed.RESTART: "Restarted by an operator: it drains, then another starts in its place.",
    EndpointDeed.STOP: "Stopped by an operator, streams and all.",
}


@recorded()
def endpoint_ask(*, actor: Actor, now: datetime, endpoint_id: int, deed: EndpointDeed, reason: str = "") -> Endpoint:
    """Writes the wish; capacity and new requests leave at once. A draining endpoint may still be stopped.

    Raises DomainError ``not_found``, ``not_running``.
    """
    endpoint = _locked(endpoint_id)
    may = (*SUPPLY, EndpointState.DRAINING.value) if deed is EndpointDeed.STOP else SUPPLY
    if endpoint.state not in may or endpoint.asked == deed:
        raise DomainError(
            "not_running", f"{endpoint.name} is {endpoint.state}; there is nothing to {deed.value}.", status=409
        )
    endpoint.asked = deed.value
    endpoint_set(endpoint, EndpointState.DRAINING, _said(deed, reason), now, actor, "asked")
    _publish_soon(endpoint.pool_id, now)
    return endpoint


@recorded()
def endpoint_resume(*, actor: Actor, now: datetime, endpoint_id: int, reason: str = "") -> Endpoint:
    """Puts a draining endpoint back into service; a replacement that was started is given up by the reconciler.

    Raises DomainError ``not_found``, ``not_draining`` when it has stopped already, ``not_asked`` when it drains because
    fewer replicas are wanted.
    """
    endpoint = _locked(endpoint_id)
    if endpoint.state != EndpointState.DRAINING.value or endpoint.asked == EndpointDeed.STOP:
        raise DomainError(
            "not_draining",
            f"{endpoint.name} is {endpoint.state}{', and its streams are cut' if endpoint.asked else ''}; it cannot be "
            "resumed. The pool starts another one by itself when it wants one.",
            status=409,
        )
    if not endpoint.asked:
        raise DomainError(
            "not_asked",
            f"{endpoint.name} drains because fewer replicas are wanted; hold the pool at more of them to keep it.",
            status=409,
        )
    endpoint.asked = ""
    back = EndpointState.READY if endpoint.ready_at is not None else EndpointState.STARTING
    endpoint_set(endpoint, back, reason or "Resumed by an operator.", now, actor, "asked")
    _publish_soon(endpoint.pool_id, now)
    return endpoint


def endpoint_drain(*, actor: Actor, now: datetime, endpoint_id: int, reason: str = "") -> Endpoint:
    """:func:`endpoint_ask` to drain."""
    return endpoint_ask(actor=actor, now=now, endpoint_id=endpoint_id, deed=EndpointDeed.DRAIN, reason=reason)


def _said(deed: EndpointDeed, reason: str) -> str:
    return f"{SAID[deed]} {reason}".strip()


def _locked(endpoint_id: int) -> Endpoint:
    endpoint = Endpoint.objects.select_for_update(of=("self",), no_key=True).filter(pk=endpoint_id).first()
    if endpoint is None:
        raise DomainError("not_found", f"There is no endpoint {endpoint_id}.", status=404)
    return endpoint


def _publish_soon(pool_id: int, now: datetime) -> None:
    """Gateways and counters hear of it right after the commit; should that fail, the reconciler's next pass tells."""

    def publish() -> None:
        route_publish(pool_id, now)
        counters_configure(pool_id, now)

    transaction.on_commit(publish, robust=True)
