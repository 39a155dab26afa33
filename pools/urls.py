"""Pages of the capacity domain."""

from __future__ import annotations

from django.urls import path

from pools.web import keys, lists

urlpatterns = [
    path("tiers/", lists.tiers, name="tiers"),
    path("tiers/<slug:slug>/", lists.tier, name="tier"),
    path("entitlements/", lists.entitlements, name="entitlements"),
    path("scaling/", lists.scaling, name="scaling"),
    path("t/<slug:slug>/keys/", keys.keys, name="tenant-keys"),
    path("t/<slug:slug>/keys/new/", keys.create, name="tenant-key-create"),
    path("t/<slug:slug>/keys/<int:key_id>/revoke/", keys.revoke, name="tenant-key-revoke"),
]
