"""Channels as pages: make (the secret is shown once), test at once, change, new secret, remove; try a message again."""

from __future__ import annotations

from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods as methods
from django.views.decorators.http import require_POST, require_safe

from pools.models import AlertChannel
from pools.models.alerts import DeliveryState
from pools.services.alert_channels import (
    ChannelMade,
    alert_channel_change,
    alert_channel_create,
    alert_channel_delete,
    alert_channel_secret,
)
from pools.services.alert_deliveries import delivery_retry, delivery_test
from pools.services.alert_secrets import UNREADABLE, secret_readable
from pools.web.alert_form import ChannelForm
from pools.web.alerts import operates
from portal.accounts.access import operates as operators_only
from portal.accounts.access import reads_everything
from portal.audit.actors import page_actor
from portal.audit.models import AuditRecord
from portal.lib.clock import now
from portal.lib.forms import refusal_shown
from portal.lib.given import reason_of
from portal.lib.pages import note, page, refusal_noted

GET_POST = ["GET", "HEAD", "POST"]
SHOWN = 20


def channel_or_404(channel_id: int) -> AlertChannel:
    """The channel, or a page that says it is gone."""
    found = AlertChannel.objects.filter(pk=channel_id).first()
    if found is None:
        raise Http404(f"There is no channel {channel_id}; it may have been removed.")
    return found


@reads_everything
@require_safe
def channel(request: HttpRequest, channel_id: int) -> HttpResponse:
    """One channel: its address, the rules that use it, its last messages."""
    return _page(request, channel_or_404(channel_id))


def _page(request: HttpRequest, found: AlertChannel, made: ChannelMade | None = None) -> HttpResponse:
    moment = now()
    rows = list(found.deliveries.select_related("alert__rule", "alert__pool").order_by("-pk")[:SHOWN])
    context = {
        "nav": "alerts",
        "channel": found,
        "rules": list(found.rules.order_by("name")[:100]),
        "rows": rows,
        "secret": made.secret if made else "",
        "unreadable": "" if secret_readable(found) else UNREADABLE,
        "overlap": found.old_secret_until if found.old_secret_until and found.old_secret_until > moment else None,
        "touches": found.deliveries.count(),
        "may_change": operates(request),
    }
    return page(request, "pools/alert_channel.html", context, status=201 if made else 200)


@operators_only
@never_cache
@methods(GET_POST)
def create(request: HttpRequest) -> HttpResponseBase:
    """A new channel; the secret of a webhook stands on the answer and nowhere else."""
    form = ChannelForm(request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        data = form.cleaned_data
        with refusal_shown(form):
            made = alert_channel_create(
                actor=page_actor(request),
                now=now(),
                name=data["name"],
                kind=data["kind"],
                target=data["target"],
                reason=data["reason"],
            )
            return _page(request, made.channel, made)
    context = {"nav": "alerts", "form": form, "channel": None}
    return page(request, "pools/alert_channel_form.html", context, status=422 if form.errors else 200)


@operators_only
@methods(GET_POST)
def edit(request: HttpRequest, channel_id: int) -> HttpResponseBase:
    """Another name or address."""
    found = channel_or_404(channel_id)
    initial = {"name": found.name, "target": found.target}
    form = ChannelForm(request.POST if request.method == "POST" else None, initial=initial, channel=found)
    if request.method == "POST" and form.is_valid():
        data = form.cleaned_data
        with refusal_shown(form):
            alert_channel_change(
                actor=page_actor(request),
                now=now(),
                channel_id=channel_id,
                name=data["name"],
                target=data["target"],
                reason=data["reason"],
            )
            record = AuditRecord.objects.filter(object_type="pools.alertchannel", object_id=str(channel_id)).first()
            undo = reverse("alert-channel-restore", args=[channel_id, record.pk]) if record else ""
            note(request, f"“{data['name']}” was changed.", undo=undo)
            return redirect("alert-channel", channel_id)
    context = {"nav": "alerts", "form": form, "channel": found}
    return page(request, "pools/alert_channel_form.html", context, status=422 if form.errors else 200)


@operators_only
@require_POST
def restore(request: HttpRequest, channel_id: int, number: int) -> HttpResponseBase:
    """Takes a change back: name and address before it, as the audit trail kept them."""
    record = AuditRecord.objects.filter(
        pk=number, object_type="pools.alertchannel", object_id=str(channel_id), verb="alert_channel_change"
    ).first()
    if record is None:
        raise Http404("There is no such change to take back.")
    before = record.before
    alert_channel_change(
        actor=page_actor(request),
        now=now(),
        channel_id=channel_id,
        name=before["name"],
        target=before["target"],
        reason="Undone.",
    )
    note(request, f"“{before['name']}” is as it was before.")
    return redirect("alert-channel", channel_id)


@operators_only
@require_POST
def test(request: HttpRequest, channel_id: int) -> HttpResponseBase:
    """Sends a test at once and says what came of it."""
    row = delivery_test(actor=page_actor(request), now=now(), channel_id=channel_id)
    if row.state == DeliveryState.DELIVERED:
        note(request, f"The test arrived: {row.answer}")
    else:
        note(request, f"The test did not arrive: {row.answer}", bad=True)
    return redirect("alert-channel", channel_id)


@operators_only
@never_cache
@require_POST
def secret(request: HttpRequest, channel_id: int) -> HttpResponseBase:
    """A new secret, shown on this answer only; the old one signs beside it for a day."""
    channel_or_404(channel_id)
    made = alert_channel_secret(actor=page_actor(request), now=now(), channel_id=channel_id, reason=reason_of(request))
    return _page(request, made.channel, made)


@operators_only
@require_POST
def delete(request: HttpRequest, channel_id: int) -> HttpResponseBase:
    """Removes it with its messages; the word must be typed."""
    found = channel_or_404(channel_id)
    if request.POST.get("confirm", "").strip() != found.name:
        note(request, f"Nothing was removed: type “{found.name}” to confirm.", bad=True)
        return redirect("alert-channel", channel_id)
    alert_channel_delete(actor=page_actor(request), now=now(), channel_id=channel_id)
    note(request, f"The channel “{found.name}” is gone.")
    return redirect("alerts")


@operators_only
@require_POST
def retry(request: HttpRequest, delivery_id: int) -> HttpResponseBase:
    """Tries a failed message again."""
    with refusal_noted(request):
        delivery_retry(actor=page_actor(request), now=now(), delivery_id=delivery_id)
        note(request, "It is tried again within seconds.")
    return redirect("alert-delivery", delivery_id)
