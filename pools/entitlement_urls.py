"""Pages of entitlements: grid, forms, bulk edit with its jobs, requests for more."""

from __future__ import annotations

from django.urls import path

from pools.web import bulk, entitlement_edit, entitlements, jobs, requests, saved_views, tenant_requests

urlpatterns = [
    path("entitlements/", entitlements.entitlements, name="entitlements"),
    path("entitlements/rows.csv", entitlements.entitlements_csv, name="entitlements-csv"),
    path("entitlements/live/", entitlements.entitlements_live, name="entitlements-live"),
    path("entitlements/tenants/", entitlements.tenant_choices, name="entitlement-tenants"),
    path("entitlements/views/", saved_views.view_save, name="entitlements-view-save"),
    path("entitlements/views/<int:view_id>/delete/", saved_views.view_delete, name="entitlements-view-delete"),
    path("entitlements/new/", entitlement_edit.create, name="entitlement-new"),
    path("entitlements/check/", entitlement_edit.check, name="entitlement-check"),
    path("entitlements/bulk/", bulk.bulk, name="bulk"),
    path("entitlements/bulk/preview/", bulk.preview, name="bulk-preview"),
    path("entitlements/bulk/start/", bulk.start, name="bulk-start"),
    path("entitlements/jobs/", jobs.jobs, name="bulk-jobs"),
    path("entitlements/jobs/<int:job_id>/", jobs.job, name="bulk-job"),
    path("entitlements/jobs/<int:job_id>/progress/", jobs.progress, name="bulk-job-progress"),
    path("entitlements/jobs/<int:job_id>/items/", jobs.items, name="bulk-job-items"),
    path("entitlements/jobs/<int:job_id>/cancel/", jobs.cancel, name="bulk-job-cancel"),
    path("entitlements/jobs/<int:job_id>/undo/", jobs.undo, name="bulk-job-undo"),
    path("entitlements/jobs/<int:job_id>/report.csv", jobs.report, name="bulk-job-report"),
    path("entitlements/<slug:slug>/edit/", entitlement_edit.edit, name="entitlement-edit"),
    path("entitlements/<slug:slug>/suspend/", entitlement_edit.suspend, name="entitlement-suspend"),
    path("entitlements/<slug:slug>/resume/", entitlement_edit.resume, name="entitlement-resume"),
    path("entitlements/<slug:slug>/end/", entitlement_edit.end, name="entitlement-end"),
    path("entitlements/<slug:slug>/undo/<int:record_id>/", entitlement_edit.undo, name="entitlement-undo"),
    path("requests/", requests.requests, name="requests"),
    path("requests/<int:request_id>/", requests.request_page, name="request"),
    path("requests/<int:request_id>/check/", requests.check, name="request-check"),
    path("requests/<int:request_id>/undo/<int:record_id>/", requests.undo, name="request-undo"),
    path("t/<slug:slug>/requests/", tenant_requests.requests, name="tenant-requests"),
    path("t/<slug:slug>/requests/check/", tenant_requests.check, name="tenant-request-check"),
    path("t/<slug:slug>/requests/<int:request_id>/withdraw/", tenant_requests.withdraw, name="tenant-request-withdraw"),
    path(
        "t/<slug:slug>/requests/<int:request_id>/undo/<int:record_id>/",
        tenant_requests.undo,
        name="tenant-request-undo",
    ),
]
