"""Pages about all pools at once and about fairness."""

from __future__ import annotations

from django.urls import path

from portal.dashboards.views import explain, fairness, fairness_live, overview, timeline

urlpatterns = [
    path("overview/", overview.overview, name="overview"),
    path("overview/live/", overview.live, name="overview-live"),
    path("overview/charts/", overview.charts, name="overview-charts"),
    path("overview/latest/", overview.latest, name="overview-latest"),
    path("fairness/", fairness.fairness, name="fairness"),
    path("fairness/<slug:slug>/charts/", fairness_live.charts, name="fairness-charts"),
    path("fairness/<slug:slug>/live/", fairness_live.live, name="fairness-live"),
    path("fairness/<slug:slug>/matrix/", fairness_live.matrix, name="fairness-matrix"),
    path("timeline/", timeline.timeline, name="timeline"),
    path("timeline/<slug:slug>/figure/", timeline.figure, name="timeline-figure"),
    path("timeline/<slug:slug>/events/", timeline.fresh, name="timeline-events"),
    path("entitlements/<slug:slug>/explain/", explain.entitlement, name="explain"),
    path("t/<slug:slug>/explain/", explain.mine, name="tenant-explain"),
]
