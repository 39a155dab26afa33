"""Pages that join the domains."""

from __future__ import annotations

from django.urls import path

from portal.dashboards import fair_urls, tenant_urls, watch_urls
from portal.dashboards.views import (
    endpoint_deeds,
    pool,
    pool_charts,
    rolling,
    search,
    tenant,
    tenant_usage,
    tier_shadow,
)

urlpatterns = [
    path("search/", search.results, name="search"),
    path("search/drop/", search.drop, name="search-drop"),
    *watch_urls.urlpatterns,
    *fair_urls.urlpatterns,
    path("pools/", pool.pools, name="pools"),
    path("pools.csv", pool.pools_csv, name="pools-csv"),
    path("pools/<slug:slug>/", pool.pool, name="pool"),
    path("pools/<slug:slug>/charts/", pool_charts.charts, name="pool-charts"),
    path("pools/<slug:slug>/live/", pool.live, name="pool-live"),
    path("pools/<slug:slug>/endpoints/", pool.endpoints, name="pool-endpoints"),
    path("pools/<slug:slug>/decisions/", pool.decisions, name="pool-decisions"),
    path("pools/<slug:slug>/rows/", pool.rows, name="pool-rows"),
    path("pools/<slug:slug>/endpoints/rolling/", rolling.ask, name="pool-rolling"),
    path("pools/<slug:slug>/endpoints/rolling/<int:rolling_id>/cancel/", rolling.cancel, name="pool-rolling-cancel"),
    path("pools/<slug:slug>/endpoints/<int:endpoint_id>/resume/", endpoint_deeds.resume, name="pool-endpoint-resume"),
    path("pools/<slug:slug>/endpoints/<int:endpoint_id>/<slug:deed>/", endpoint_deeds.ask, name="pool-endpoint-ask"),
    *tenant_urls.urlpatterns,
    path("tiers/<slug:slug>/shadow/chart/", tier_shadow.chart, name="tier-shadow-chart"),
    path("tiers/<slug:slug>/what-if/", tier_shadow.what_if, name="tier-what-if"),
    path("t/<slug:slug>/", tenant.home, name="tenant-home"),
    path("t/<slug:slug>/charts/", tenant.charts, name="tenant-charts"),
    path("t/<slug:slug>/live/", tenant.live, name="tenant-live"),
    path("t/<slug:slug>/wait/", tenant.wait, name="tenant-wait"),
    path("t/<slug:slug>/usage/", tenant_usage.usage, name="tenant-usage"),
    path("t/<slug:slug>/usage/chart/", tenant_usage.chart, name="tenant-usage-chart"),
    path("t/<slug:slug>/usage.csv", tenant_usage.usage_csv, name="tenant-usage-csv"),
    path("t/<slug:slug>/debt/", tenant.debt, name="tenant-debt"),
    path("t/<slug:slug>/debt/chart/", tenant.debt_chart, name="tenant-debt-chart"),
]
