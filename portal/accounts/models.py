"""Tenant, User, Membership, Invitation, GroupRule, ApiKey."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib.auth.base_user import BaseUserManager
from django.contrib.auth.models import AbstractUser
from django.db import models

from portal.accounts.choices import Given, KeyKind, PlatformRole, TenantRole, TenantState
from portal.lib.clock import now


class Tenant(models.Model):
    """A team that is promised capacity and sees only its own."""

    slug = models.SlugField(max_length=63, unique=True)
    name = models.CharField(max_length=200)
    state = models.CharField(max_length=16, choices=TenantState.choices, default=TenantState.ACTIVE)
    state_reason = models.CharField(max_length=200, blank=True)
    state_since = models.DateTimeField(default=now)
    contact_email = models.EmailField(blank=True)
    currency = models.CharField(max_length=3, default="EUR")
    created_at = models.DateTimeField(default=now, editable=False)

    class Meta:
        ordering = ["slug"]

    def __str__(self) -> str:
        return self.name


class UserManager(BaseUserManager["User"]):
    """People sign in with their e-mail address; there are no user names."""

    def create_user(self, email: str, password: str | None = None, **fields: Any) -> User:
        """A person without platform rights unless ``platform_role`` says otherwise."""
        if not email:
            raise ValueError("a user needs an e-mail address")
        user = self.model(email=self.normalize_email(email).lower(), **fields)
        user.set_password(password)
        user.save(using=self._db)
        return user

    def create_superuser(self, email: str, password: str | None = None, **fields: Any) -> User:
        """A platform admin who may also open the back office."""
        return self.create_user(
            email,
            password,
            **{"is_staff": True, "is_superuser": True, "platform_role": PlatformRole.ADMIN, **fields},
        )


class User(AbstractUser):
    """A person. Rights come from ``platform_role`` and from memberships, never from Django permissions."""

    username = None  # type: ignore[assignment]
    email = models.EmailField(unique=True)
    platform_role = models.CharField(max_length=16, choices=PlatformRole.choices, default=PlatformRole.NONE)
    platform_role_from = models.CharField(max_length=8, choices=Given.choices, default=Given.HAND)
    time_zone = models.CharField(max_length=64, blank=True)

    USERNAME_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = []
    objects = UserManager()  # type: ignore[misc,assignment]

    class Meta:
        ordering = ["email"]

    def __str__(self) -> str:
        return self.email

    @property
    def reads_everything(self) -> bool:
        """Operators, admins and auditors see all tenants."""
        return self.platform_role != PlatformRole.NONE

    @property
    def operates(self) -> bool:
        """Operators and admins may change pools, tiers and entitlements."""
        return self.platform_role in {PlatformRole.OPERATOR, PlatformRole.ADMIN}


class Membership(models.Model):
    """One person's role in one tenant."""

    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="memberships")
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=16, choices=TenantRole.choices, default=TenantRole.VIEWER)
    source = models.CharField(max_length=8, choices=Given.choices, default=Given.HAND)
    created_at = models.DateTimeField(default=now, editable=False)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["tenant", "user"], name="membership_once")]

    def __str__(self) -> str:
        return f"{self.role} #{self.pk}"


class Invitation(models.Model):
    """A one-time link to an e-mail address: into a tenant with a role, or to a platform role. Only its digest is kept.

    Open until it is accepted, revoked or expired.
    """

    email = models.EmailField()
    tenant = models.ForeignKey(Tenant, null=True, blank=True, on_delete=models.CASCADE, related_name="invitations")
    role = models.CharField(max_length=16, choices=TenantRole.choices, blank=True)
    platform_role = models.CharField(max_length=16, choices=PlatformRole.choices, default=PlatformRole.NONE)
    digest = models.CharField(max_length=64, unique=True)
    created_at = models.DateTimeField(default=now, editable=False)
    created_by = models.ForeignKey(User, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    expires_at = models.DateTimeField()
    sent_at = models.DateTimeField(null=True, blank=True)
    mail_error = models.CharField(max_length=200, blank=True)
    accepted_at = models.DateTimeField(null=True, blank=True)
    accepted_by = models.ForeignKey(User, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    revoked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-created_at", "-id"]
        constraints = [
            models.CheckConstraint(
                condition=(models.Q(tenant__isnull=True, role="") & ~models.Q(platform_role="none"))
                | (models.Q(tenant__isnull=False, platform_role="none") & ~models.Q(role="")),
                name="invitation_to_one_thing",
            ),
            models.UniqueConstraint(
                fields=["email", "tenant"],
                condition=models.Q(accepted_at__isnull=True, revoked_at__isnull=True, tenant__isnull=False),
                name="invitation_once_open_tenant",
            ),
            models.UniqueConstraint(
                fields=["email"],
                condition=models.Q(accepted_at__isnull=True, revoked_at__isnull=True, tenant__isnull=True),
                name="invitation_once_open_platform",
            ),
        ]
        indexes = [models.Index(fields=["tenant", "-created_at"], name="invitation_by_tenant")]

    def __str__(self) -> str:
        return self.email


class GroupRule(models.Model):
    """Who is in this group of the sign-in service gets this role: in one tenant, or across the platform."""

    group = models.CharField(max_length=200)
    tenant = models.ForeignKey(Tenant, null=True, blank=True, on_delete=models.CASCADE, related_name="group_rules")
    role = models.CharField(max_length=16, choices=TenantRole.choices, blank=True)
    platform_role = models.CharField(max_length=16, choices=PlatformRole.choices, default=PlatformRole.NONE)
    created_at = models.DateTimeField(default=now, editable=False)

    class Meta:
        ordering = ["group", "tenant__slug", "id"]
        constraints = [
            models.CheckConstraint(
                condition=(models.Q(tenant__isnull=True, role="") & ~models.Q(platform_role="none"))
                | (models.Q(tenant__isnull=False, platform_role="none") & ~models.Q(role="")),
                name="group_rule_to_one_thing",
            ),
            models.UniqueConstraint(fields=["group", "tenant"], name="group_rule_once_per_tenant"),
            models.UniqueConstraint(
                fields=["group"], condition=models.Q(tenant__isnull=True), name="group_rule_once_platform"
            ),
        ]

    def __str__(self) -> str:
        return self.group


class ApiKey(models.Model):
    """A secret that was shown once; here only its keyed digest and the visible beginning."""

    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="api_keys")
    name = models.CharField(max_length=100)
    kind = models.CharField(max_length=16, choices=KeyKind.choices, default=KeyKind.GATEWAY)
    prefix = models.CharField(max_length=24)
    digest = models.CharField(max_length=64, unique=True)
    created_at = models.DateTimeField(default=now, editable=False)
    created_by = models.ForeignKey(User, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-created_at", "-id"]
        indexes = [models.Index(fields=["tenant", "-created_at"], name="apikey_by_tenant")]

    def __str__(self) -> str:
        return f"{self.prefix}…"
