"""The operators' pages of tenants: the list, one tenant, and the deeds on it."""

from __future__ import annotations

from django.urls import path

from portal.dashboards.views import onboarding, tenant_deeds, tenant_detail, tenants

urlpatterns = [
    path("tenants/", tenants.tenants, name="tenants"),
    path("tenants.csv", tenants.tenants_csv, name="tenants-csv"),
    path("tenants-live/", tenants.tenants_live, name="tenants-live"),
    path("onboard/", onboarding.begin, name="onboard"),
    path("onboard/check/", onboarding.check, name="onboard-check"),
    path("onboard/bound/<slug:slug>/", onboarding.bound, name="onboard-bound"),
    path("onboard/<slug:draft>/<slug:step>/", onboarding.step, name="onboard-step"),
    path("tenants/<slug:slug>/", tenant_detail.tenant, name="tenant"),
    path("tenants/<slug:slug>/edit/", tenant_deeds.edit, name="tenants-edit"),
    path("tenants/<slug:slug>/undo/<int:record_id>/", tenant_deeds.undo, name="tenants-undo"),
    path("tenants/<slug:slug>/suspend/", tenant_deeds.suspend, name="tenants-suspend"),
    path("tenants/<slug:slug>/resume/", tenant_deeds.resume, name="tenants-resume"),
    path("tenants/<slug:slug>/export/", tenant_deeds.export, name="tenants-export"),
    path("tenants/<slug:slug>/offboard/", tenant_deeds.offboard, name="tenants-offboard"),
]
