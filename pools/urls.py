"""Pages of the capacity domain."""

from __future__ import annotations

from django.urls import path

from pools import entitlement_urls, pool_urls
from pools.web import alert_urls, exports, own_urls, tier_draft, tier_edit, tier_history, tier_shadow, tiers

urlpatterns = [
    *alert_urls.urlpatterns,
    *entitlement_urls.urlpatterns,
    path("tiers/", tiers.tiers, name="tiers"),
    path("tiers.csv", exports.tiers_csv, name="tiers-csv"),
    path("requests.csv", exports.requests_csv, name="requests-csv"),
    path("scaling.csv", exports.scaling_csv, name="scaling-csv"),
    path("alerts.csv", exports.alerts_csv, name="alerts-csv"),
    path("tiers/new/", tiers.create, name="tier-new"),
    path("tiers/<slug:slug>/", tiers.tier, name="tier"),
    path("tiers/<slug:slug>/edit/", tier_edit.edit, name="tier-edit"),
    path("tiers/<slug:slug>/preview/", tier_edit.preview, name="tier-preview"),
    path("tiers/<slug:slug>/diff/", tier_history.diff, name="tier-diff"),
    path("tiers/<slug:slug>/revert/<int:number>/", tier_history.revert, name="tier-revert"),
    path("tiers/<slug:slug>/draft/undo/<int:revision>/", tier_draft.draft_undo, name="tier-draft-undo"),
    path("tiers/<slug:slug>/undo/<int:number>/", tier_history.undo, name="tier-undo"),
    path("tiers/<slug:slug>/plans/<int:number>/cancel/", tier_history.plan_cancel, name="tier-plan-cancel"),
    path("tiers/<slug:slug>/plans/<int:number>/again/", tier_history.plan_again, name="tier-plan-again"),
    path("tiers/<slug:slug>/shadow/stop/", tier_shadow.stop, name="tier-shadow-stop"),
    path("tiers/<slug:slug>/shadow/publish/", tier_shadow.publish, name="tier-shadow-publish"),
    path("tiers/<slug:slug>/shadow/<int:number>/resume/", tier_shadow.resume, name="tier-shadow-resume"),
    path("tiers/<slug:slug>/archive/", tiers.archive, name="tier-archive"),
    path("tiers/<slug:slug>/restore/", tiers.restore, name="tier-restore"),
    *pool_urls.urlpatterns,
    *own_urls.urlpatterns,
]
