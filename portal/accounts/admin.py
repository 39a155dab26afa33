"""The back office: superusers look at rows. Changes belong to the portal, whose services keep the audit trail."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.auth.models import Group
from django.http import HttpRequest
from unfold.admin import ModelAdmin

from portal.accounts.models import ApiKey, Membership, Tenant, User


class ReadOnly(ModelAdmin):  # type: ignore[misc]  # unfold has no annotations
    """Rows are shown, never changed: a change here would leave no record and reach no gateway."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Never."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Never."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Never."""
        return False

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Superusers only."""
        return bool(request.user.is_superuser)

    def has_module_permission(self, request: HttpRequest) -> bool:
        """Superusers only."""
        return bool(request.user.is_superuser)


@admin.register(Tenant)
class TenantAdmin(ReadOnly):
    """Tenants."""

    list_display = ("slug", "name", "state", "created_at")
    search_fields = ("slug", "name")


@admin.register(User)
class UserAdmin(ReadOnly):
    """People."""

    list_display = ("email", "platform_role", "is_active", "last_login")
    search_fields = ("email",)
    exclude = ("password", "groups", "user_permissions")


@admin.register(Membership)
class MembershipAdmin(ReadOnly):
    """Who belongs where."""

    list_display = ("tenant", "user", "role")
    list_select_related = ("tenant", "user")


@admin.register(ApiKey)
class ApiKeyAdmin(ReadOnly):
    """Keys by their visible beginning."""

    list_display = ("prefix", "name", "tenant", "kind", "created_at", "revoked_at")
    list_select_related = ("tenant",)
    exclude = ("digest",)


admin.site.unregister(Group)
