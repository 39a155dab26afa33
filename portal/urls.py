"""The doors of the portal."""

from __future__ import annotations

from django.contrib import admin
from django.urls import URLPattern, URLResolver, include, path

from portal.health import livez, readyz

urlpatterns: list[URLPattern | URLResolver] = [
    path("livez", livez, name="livez"),
    path("readyz", readyz, name="readyz"),
    path("", include("portal.people.urls")),
    path("", include("pools.urls")),  # before the dashboards: pools/new/ is no pool's page
    path("", include("portal.dashboards.urls")),
    path("", include("portal.dashboards.entitlement_urls")),
    path("back-office/", admin.site.urls),
]

handler400 = "portal.errors.bad_request"
handler403 = "portal.errors.forbidden"
handler404 = "portal.errors.not_found"
handler429 = "portal.errors.too_many"  # called by django-allauth's own limits
handler500 = "portal.errors.server_error"
