"""The page of one entitlement: after ``pools.urls``, whose own addresses beside it come first (new, bulk, jobs …)."""

from __future__ import annotations

from django.urls import path

from portal.dashboards.views import entitlement

urlpatterns = [
    path("entitlements/<slug:slug>/", entitlement.entitlement, name="entitlement"),
    path("entitlements/<slug:slug>/charts/", entitlement.charts, name="entitlement-charts"),
    path("entitlements/<slug:slug>/live/", entitlement.live, name="entitlement-live"),
]
