"""An operator's deeds on one tenant: edit, suspend, resume, export, offboard."""

from __future__ import annotations

from typing import Any, cast

from django.http import HttpRequest, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from pools.services.offboarding import export_last, export_note, tenant_offboard
from pools.services.tenant_states import tenant_resume, tenant_suspend
from pools.services.tenants import tenant_change, tenant_change_undo
from portal.accounts.access import operates, reads_everything
from portal.accounts.models import Membership, Tenant, User
from portal.accounts.tenants import DETAILS, details_of
from portal.audit.actors import page_actor
from portal.dashboards import tenant_reads
from portal.dashboards.tenant_export import export_stream
from portal.dashboards.tenant_forms import DetailsForm, OffboardForm, SuspendForm
from portal.dashboards.tenant_tabs import badges, living
from portal.dashboards.tenants_now import tenants_now
from portal.lib.clock import now, now_ms
from portal.lib.errors import DomainError
from portal.lib.forms import refusal_shown, refused
from portal.lib.pages import note, page, refusal_noted
from portal.people.invitations import invitation_list

form_page = require_http_methods(["GET", "HEAD", "POST"])
SHOWN = 20


@operates
@never_cache
@form_page
def edit(request: HttpRequest, slug: str) -> HttpResponseBase:
    """Name, contact, currency; an edit that somebody else overtook is shown, not overwritten."""
    tenant = get_object_or_404(Tenant, slug=slug)
    seen = details_of(tenant)
    form = DetailsForm(request.POST or None, initial=seen)
    status = 200
    if request.method == "POST":
        status = 422
        held = {name: request.POST.get(f"seen_{name}", seen[name]) for name in DETAILS}
        if form.is_valid():
            try:
                record = tenant_change(
                    actor=page_actor(request),
                    now=now(),
                    tenant_id=tenant.pk,
                    seen=held,
                    reason=form.cleaned_data["reason"],
                    **form.details,
                )
            except DomainError as error:
                refused(form, error)
                status = 409 if error.code == "tenant_moved" else 422
                held = seen if error.code == "tenant_moved" else held
            else:
                undo = reverse("tenants-undo", args=[slug, record.pk]) if record is not None else ""
                note(request, f"{form.details['name']} is saved." if record else "Nothing was changed.", undo=undo)
                return redirect("tenant", slug=slug)
        seen = held
    context = {"nav": "tenants", "shown": tenant, "form": form, "seen": seen}
    return page(request, "dashboards/tenant/edit.html", context, status=status)


@operates
@require_POST
def undo(request: HttpRequest, slug: str, record_id: int) -> HttpResponseBase:
    """Puts the details back to what they were before one edit."""
    tenant = get_object_or_404(Tenant, slug=slug)
    with refusal_noted(request):
        back = tenant_change_undo(actor=page_actor(request), now=now(), tenant_id=tenant.pk, record_id=record_id)
        note(request, f"{back.name} is as it was before.")
    return redirect("tenant", slug=slug)


@operates
@never_cache
@form_page
def suspend(request: HttpRequest, slug: str) -> HttpResponseBase:
    """What stops, at once; then it stops. ``?undo=1`` takes a resumption back without asking again."""
    tenant = get_object_or_404(Tenant, slug=slug)
    again = request.GET.get("undo") == "1"
    data = {"reason": "Resuming it was undone.", "running": "finish"} if again else request.POST
    form = SuspendForm(data or None)
    status = 200
    if request.method == "POST":
        status = 422
        if form.is_valid():
            with refusal_shown(form):
                tenant_suspend(
                    actor=page_actor(request),
                    now=now(),
                    tenant_id=tenant.pk,
                    reason=form.cleaned_data["reason"],
                    end_running=form.cleaned_data["running"] == "end",
                )
                said = f"{tenant.name} is suspended; gateways refuse its keys within a second."
                note(request, said, undo=reverse("tenants-resume", args=[slug]))
                return redirect("tenant", slug=slug)
        elif again:
            return redirect("tenant", slug=slug)
    context = {"nav": "tenants", "shown": tenant, "form": form, **stakes(tenant)}
    return page(request, "dashboards/tenant/suspend.html", context, status=status)


def stakes(tenant: Tenant) -> dict[str, Any]:
    """What is in force and what runs, for pages that end it."""
    rows = living(tenant).select_related("pool", "tier").order_by("pool__slug", "pk")
    members = Membership.objects.filter(tenant=tenant).select_related("user").order_by("user__email")
    return {
        "counts": badges(tenant, now()),
        "live": tenants_now(now_ms()).get(tenant.pk),
        "entitlements": list(rows[:SHOWN]),
        "people": list(members[:SHOWN]),
    }


@operates
@require_POST
def resume(request: HttpRequest, slug: str) -> HttpResponseBase:
    """Lets it send again; names what could not be resumed."""
    tenant = get_object_or_404(Tenant, slug=slug)
    with refusal_noted(request):
        done = tenant_resume(actor=page_actor(request), now=now(), tenant_id=tenant.pk)
        many = f"{done.resumed} entitlement{'' if done.resumed == 1 else 's'}"
        back = f"{reverse('tenants-suspend', args=[slug])}?undo=1"
        note(request, f"{tenant.name} is resumed; {many} will be bound again.", undo=back)
        for stayed, sentence in done.stayed[:5]:
            note(request, f"{stayed} stays suspended: {sentence}", bad=True)
        if len(done.stayed) > 5:
            note(request, f"{len(done.stayed) - 5} more stay suspended; see its entitlements.", bad=True)
    return redirect("tenant", slug=slug)


@reads_everything
@never_cache
@require_POST
def export(request: HttpRequest, slug: str) -> StreamingHttpResponse:
    """Everything of a tenant as a ZIP, written while it is read; that it was taken is written down."""
    tenant, moment = get_object_or_404(Tenant, slug=slug), now()
    actor = page_actor(request)
    export_note(actor=actor, now=moment, tenant=tenant)
    answer = StreamingHttpResponse(export_stream(tenant, moment, actor.name), content_type="application/zip")
    answer["Content-Disposition"] = f'attachment; filename="{tenant.slug}-{moment:%Y%m%dT%H%M%SZ}.zip"'
    return answer


@operates
@never_cache
@form_page
def offboard(request: HttpRequest, slug: str) -> HttpResponseBase:
    """What ends for good; the export first; the slug typed."""
    tenant, moment = get_object_or_404(Tenant, slug=slug), now()
    form = OffboardForm(request.POST or None)
    status = 200
    if request.method == "POST":
        status = 422
        if form.is_valid():
            with refusal_shown(form):
                done = tenant_offboard(actor=page_actor(request), now=moment, tenant_id=tenant.pk, **form.cleaned_data)
                ended = f": {done.words} ended" if done.words else ""
                note(request, f"{tenant.name} is offboarded{ended}. Its history stays.")
                return redirect("tenant", slug=slug)
    context = {
        "nav": "tenants",
        "shown": tenant,
        "form": form,
        "last": export_last(tenant),
        "balance": tenant_reads.debt_balance(tenant),
        "invitations": len(invitation_list(tenant, moment)),
        "me": cast(User, request.user),
        **stakes(tenant),
    }
    return page(request, "dashboards/tenant/offboard.html", context, status=status)
