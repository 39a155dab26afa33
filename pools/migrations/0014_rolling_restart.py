"""Endpoints of a pool restarted one after the other."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

import portal.lib.clock


class Migration(migrations.Migration):
    dependencies = [
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
        ("pools", "0013_draft_undo"),
    ]
    operations = [
        migrations.CreateModel(
            name="RollingRestart",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("endpoints", models.JSONField(default=list)),
                ("position", models.PositiveIntegerField(default=0)),
                (
                    "passed_over",
                    models.PositiveIntegerField(default=0, help_text="Went away by themselves or were taken back"),
                ),
                (
                    "accepted",
                    models.PositiveIntegerField(
                        default=0,
                        help_text="Promises that whoever started it saw could not be kept while one endpoint is away",
                    ),
                ),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("running", "Running"),
                            ("done", "Done"),
                            ("cancelled", "Cancelled"),
                            ("halted", "Halted"),
                        ],
                        default="running",
                        max_length=16,
                    ),
                ),
                ("said", models.CharField(blank=True, max_length=500)),
                ("reason", models.CharField(blank=True, max_length=300)),
                ("created_at", models.DateTimeField(default=portal.lib.clock.now, editable=False)),
                ("looked_at", models.DateTimeField(default=portal.lib.clock.now)),
                ("ended_at", models.DateTimeField(blank=True, null=True)),
                (
                    "actor",
                    models.ForeignKey(
                        db_constraint=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "current",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to="pools.endpoint",
                    ),
                ),
                (
                    "pool",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="rolling_restarts", to="pools.pool"
                    ),
                ),
            ],
            options={
                "ordering": ["-id"],
                "indexes": [models.Index(fields=["pool", "-id"], name="rollingrestart_by_pool")],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("state", "running")), fields=("pool",), name="rollingrestart_one_per_pool"
                    )
                ],
            },
        ),
    ]
