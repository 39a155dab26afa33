"""Roles of people and states of tenants."""

from __future__ import annotations

from django.db import models


class PlatformRole(models.TextChoices):
    """What a person may do across all tenants."""

    NONE = "none", "No platform role"
    AUDITOR = "auditor", "Auditor: reads everything, changes nothing"
    OPERATOR = "operator", "Operator: runs pools, tiers and entitlements"
    ADMIN = "admin", "Platform admin: everything, people included"


PLATFORM_ORDER = [PlatformRole.NONE, PlatformRole.AUDITOR, PlatformRole.OPERATOR, PlatformRole.ADMIN]


class TenantRole(models.TextChoices):
    """What a person may do inside one tenant."""

    VIEWER = "viewer", "Viewer: sees usage and limits"
    MEMBER = "member", "Member: also makes and revokes keys"
    ADMIN = "admin", "Tenant admin: also manages people and requests more"


class Given(models.TextChoices):
    """Where a role comes from; single sign-on only ever touches what single sign-on gave."""

    HAND = "hand", "Given by a person"
    SSO = "sso", "Follows a group of the sign-in service"


class TenantState(models.TextChoices):
    """active → suspended → active, or offboarded for good (history is kept)."""

    ACTIVE = "active", "Active"
    SUSPENDED = "suspended", "Suspended"
    OFFBOARDED = "offboarded", "Offboarded"


class KeyKind(models.TextChoices):
    """A gateway key sends requests; a management key calls the provisioning API. Neither does the other's work."""

    GATEWAY = "gateway", "Gateway"
    MANAGEMENT = "management", "Management"
