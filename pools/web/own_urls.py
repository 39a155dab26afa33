"""Doors of a tenant's own pages of this domain: keys, members, limits."""

from __future__ import annotations

from django.urls import path

from pools.web import keys, limits, members

urlpatterns = [
    path("t/<slug:slug>/keys/", keys.keys, name="tenant-keys"),
    path("t/<slug:slug>/keys/new/", keys.create, name="tenant-key-create"),
    path("t/<slug:slug>/keys/<int:key_id>/revoke/", keys.revoke, name="tenant-key-revoke"),
    path("t/<slug:slug>/keys/<int:key_id>/rotate/", keys.rotate, name="tenant-key-rotate"),
    path("t/<slug:slug>/keys/<int:key_id>/end/", keys.end, name="tenant-key-end"),
    path("t/<slug:slug>/keys/undo/<int:record_id>/", keys.undo, name="tenant-key-undo"),
    path("t/<slug:slug>/limits/", limits.limits, name="tenant-limits"),
    path("t/<slug:slug>/members/", members.members, name="tenant-members"),
    path("t/<slug:slug>/members/invite/", members.invite, name="tenant-member-invite"),
    path("t/<slug:slug>/members/<int:user_id>/role/", members.role, name="tenant-member-role"),
    path("t/<slug:slug>/members/<int:user_id>/remove/", members.remove, name="tenant-member-remove"),
    path("t/<slug:slug>/members/undo/<int:record_id>/", members.undo, name="tenant-member-undo"),
    path("t/<slug:slug>/invitations/<int:number>/resend/", members.resend, name="tenant-invitation-resend"),
    path("t/<slug:slug>/invitations/<int:number>/revoke/", members.revoke, name="tenant-invitation-revoke"),
    path("t/<slug:slug>/invitations/<int:number>/restore/", members.restore, name="tenant-invitation-restore"),
]
