"""The operator's list of tenants."""

from __future__ import annotations

from django.db.models import Count, Q
from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_safe

from pools.choices import EntitlementState
from pools.web.lists import cut
from portal.accounts.access import reads_everything
from portal.accounts.models import Tenant
from portal.dashboards.views.common import page


@reads_everything
@require_safe
def tenants(request: HttpRequest) -> HttpResponse:
    """Tenants with what they hold; a row opens the tenant's own home page."""
    text = request.GET.get("q", "").strip()
    rows = Tenant.objects.annotate(
        living=Count("entitlements", filter=~Q(entitlements__state=EntitlementState.EXPIRED), distinct=True),
        keys=Count("api_keys", filter=Q(api_keys__revoked_at__isnull=True), distinct=True),
        people=Count("memberships", distinct=True),
    )
    if text:
        rows = rows.filter(Q(slug__icontains=text) | Q(name__icontains=text))
    return page(request, "dashboards/tenants.html", {"nav": "tenants", "q": text, **cut(rows, request)})
