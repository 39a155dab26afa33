"""Invitations, rules for the groups of single sign-on, and where each role comes from."""

import django.db.models.deletion
import portal.lib.clock
from django.conf import settings
from django.db import migrations, models

from portal.lib.law import tenant_policy


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0002_law"),
    ]

    operations = [
        migrations.AddField(
            model_name="membership",
            name="source",
            field=models.CharField(
                choices=[("hand", "Given by a person"), ("sso", "Follows a group of the sign-in service")],
                default="hand",
                max_length=8,
            ),
        ),
        migrations.AddField(
            model_name="user",
            name="platform_role_from",
            field=models.CharField(
                choices=[("hand", "Given by a person"), ("sso", "Follows a group of the sign-in service")],
                default="hand",
                max_length=8,
            ),
        ),
        migrations.CreateModel(
            name="GroupRule",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("group", models.CharField(max_length=200)),
                (
                    "role",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("viewer", "Viewer: sees usage and limits"),
                            ("member", "Member: also makes and revokes keys"),
                            ("admin", "Tenant admin: also manages people and requests more"),
                        ],
                        max_length=16,
                    ),
                ),
                (
                    "platform_role",
                    models.CharField(
                        choices=[
                            ("none", "No platform role"),
                            ("auditor", "Auditor: reads everything, changes nothing"),
                            ("operator", "Operator: runs pools, tiers and entitlements"),
                            ("admin", "Platform admin: everything, people included"),
                        ],
                        default="none",
                        max_length=16,
                    ),
                ),
                ("created_at", models.DateTimeField(default=portal.lib.clock.now, editable=False)),
                (
                    "tenant",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="group_rules",
                        to="accounts.tenant",
                    ),
                ),
            ],
            options={
                "ordering": ["group", "tenant__slug", "id"],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(
                                ("role", ""),
                                ("tenant__isnull", True),
                                models.Q(("platform_role", "none"), _negated=True),
                            ),
                            models.Q(
                                ("platform_role", "none"),
                                ("tenant__isnull", False),
                                models.Q(("role", ""), _negated=True),
                            ),
                            _connector="OR",
                        ),
                        name="group_rule_to_one_thing",
                    ),
                    models.UniqueConstraint(fields=("group", "tenant"), name="group_rule_once_per_tenant"),
                    models.UniqueConstraint(
                        condition=models.Q(("tenant__isnull", True)), fields=("group",), name="group_rule_once_platform"
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Invitation",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("email", models.EmailField(max_length=254)),
                (
                    "role",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("viewer", "Viewer: sees usage and limits"),
                            ("member", "Member: also makes and revokes keys"),
                            ("admin", "Tenant admin: also manages people and requests more"),
                        ],
                        max_length=16,
                    ),
                ),
                (
                    "platform_role",
                    models.CharField(
                        choices=[
                            ("none", "No platform role"),
                            ("auditor", "Auditor: reads everything, changes nothing"),
                            ("operator", "Operator: runs pools, tiers and entitlements"),
                            ("admin", "Platform admin: everything, people included"),
                        ],
                        default="none",
                        max_length=16,
                    ),
                ),
                ("digest", models.CharField(max_length=64, unique=True)),
                ("created_at", models.DateTimeField(default=portal.lib.clock.now, editable=False)),
                ("expires_at", models.DateTimeField()),
                ("sent_at", models.DateTimeField(blank=True, null=True)),
                ("mail_error", models.CharField(blank=True, max_length=200)),
                ("accepted_at", models.DateTimeField(blank=True, null=True)),
                ("revoked_at", models.DateTimeField(blank=True, null=True)),
                (
                    "accepted_by",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "created_by",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "tenant",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="invitations",
                        to="accounts.tenant",
                    ),
                ),
            ],
            options={
                "ordering": ["-created_at", "-id"],
                "indexes": [models.Index(fields=["tenant", "-created_at"], name="invitation_by_tenant")],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(
                                ("role", ""),
                                ("tenant__isnull", True),
                                models.Q(("platform_role", "none"), _negated=True),
                            ),
                            models.Q(
                                ("platform_role", "none"),
                                ("tenant__isnull", False),
                                models.Q(("role", ""), _negated=True),
                            ),
                            _connector="OR",
                        ),
                        name="invitation_to_one_thing",
                    ),
                    models.UniqueConstraint(
                        condition=models.Q(
                            ("accepted_at__isnull", True), ("revoked_at__isnull", True), ("tenant__isnull", False)
                        ),
                        fields=("email", "tenant"),
                        name="invitation_once_open_tenant",
                    ),
                    models.UniqueConstraint(
                        condition=models.Q(
                            ("accepted_at__isnull", True), ("revoked_at__isnull", True), ("tenant__isnull", True)
                        ),
                        fields=("email",),
                        name="invitation_once_open_platform",
                    ),
                ],
            },
        ),
        migrations.RunSQL(tenant_policy("accounts_invitation"), migrations.RunSQL.noop),
        migrations.RunSQL(tenant_policy("accounts_grouprule"), migrations.RunSQL.noop),
    ]
