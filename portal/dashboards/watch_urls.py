"""Pages that watch over the platform itself: the audit trail and the health of the system."""

from __future__ import annotations

from django.urls import path

from portal.dashboards.views import alert_chart, audit, system

urlpatterns = [
    path("alerts/chart/", alert_chart.chart, name="alert-chart"),
    path("system/", system.system, name="system"),
    path("system/now/", system.now_part, name="system-now"),
    path("system/charts/", system.charts, name="system-charts"),
    path("system/recount/<slug:slug>/", system.recount, name="system-recount"),
    path("audit/", audit.audit, name="audit"),
    path("audit/<int:record_id>/", audit.record, name="audit-record"),
    path("audit/export.<slug:form>", audit.export_file, name="audit-export"),
    path("audit/verify/", audit.verify_now, name="audit-verify"),
    path("t/<slug:slug>/audit/", audit.tenant_audit, name="tenant-audit"),
]
