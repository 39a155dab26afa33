"""The operators' pages of tenants: the list, one tenant, and the deeds on it."""

from __future__ import annotations

from django.urls import path

from portal.dashboards.views import tenant_detail, tenants

urlpatterns = [
    path("tenants/", tenants.tenants, name="tenants"),
    path("tenants.csv", tenants.tenants_csv, name="tenants-csv"),
    path("tenants/<slug:slug>/", tenant_detail.tenant, name="tenant"),
]
