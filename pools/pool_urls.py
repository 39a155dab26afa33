"""Pages about pools and how they scale."""

from __future__ import annotations

from django.urls import path

from pools.web import pool_hold, pool_profiles, pool_promise, pool_settings, scaling, wizard

urlpatterns = [
    path("pools/new/", wizard.wizard, name="new-pool"),
    path("pools/new/preview/", wizard.preview, name="new-pool-preview"),
    path("pools/<slug:slug>/settings/", pool_settings.settings, name="pool-settings"),
    path("pools/<slug:slug>/settings/preview/", pool_settings.preview, name="pool-settings-preview"),
    path("pools/<slug:slug>/settings/save/", pool_settings.save, name="pool-settings-save"),
    path("pools/<slug:slug>/archive/", pool_settings.archive, name="pool-archive"),
    path("pools/<slug:slug>/restore/", pool_settings.restore, name="pool-restore"),
    path("pools/<slug:slug>/undo/<int:record_id>/", pool_settings.undo, name="pool-undo"),
    path("pools/<slug:slug>/profiles/", pool_profiles.profiles, name="pool-profiles"),
    path("pools/<slug:slug>/profiles/new/", pool_profiles.edit, name="pool-profile-new"),
    path("pools/<slug:slug>/profiles/preview/", pool_profiles.preview, name="pool-profile-preview"),
    path("pools/<slug:slug>/profiles/<int:version>/undo/", pool_profiles.undo, name="pool-profile-undo"),
    path("pools/<slug:slug>/promise/", pool_promise.promise, name="pool-promise"),
    path("pools/<slug:slug>/hold/", pool_hold.hold, name="pool-hold"),
    path("pools/<slug:slug>/hold/preview/", pool_hold.preview, name="pool-hold-preview"),
    path("pools/<slug:slug>/hold/save/", pool_hold.save, name="pool-hold-save"),
    path("pools/<slug:slug>/hold/lift/", pool_hold.lift, name="pool-hold-lift"),
    path("scaling/", scaling.scaling, name="scaling"),
]
