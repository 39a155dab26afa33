"""Pages about all pools at once and about fairness."""

from __future__ import annotations

from django.urls import path

from portal.dashboards.views import explain, overview

urlpatterns = [
    path("overview/", overview.overview, name="overview"),
    path("overview/live/", overview.live, name="overview-live"),
    path("overview/charts/", overview.charts, name="overview-charts"),
    path("overview/latest/", overview.latest, name="overview-latest"),
    path("entitlements/<slug:slug>/explain/", explain.entitlement, name="explain"),
    path("t/<slug:slug>/explain/", explain.mine, name="tenant-explain"),
]
