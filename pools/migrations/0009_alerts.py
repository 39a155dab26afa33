"""What alerts need to be told once: when a crossing was last seen, every try of a message, the history of the metrics."""

import django.contrib.postgres.fields
import django.utils.timezone
from django.db import migrations, models

from portal.lib.law import default_partition

READINGS = """
CREATE TABLE pools_reading (
    at timestamptz NOT NULL, pool_id bigint NOT NULL, metrics double precision[] NOT NULL, PRIMARY KEY (at, pool_id)
) PARTITION BY RANGE (at);
CREATE INDEX pools_reading_by_pool ON pools_reading (pool_id, at DESC);
"""


class Migration(migrations.Migration):
    dependencies = [("pools", "0008_shadow_runs")]

    operations = [
        migrations.AddField("alertrule", "revision", models.PositiveIntegerField(default=1)),
        migrations.AddField("alert", "worst", models.FloatField(default=0), preserve_default=False),
        migrations.AddField(
            "alert",
            "seen_at",
            models.DateTimeField(default=django.utils.timezone.now, help_text="When the crossing was last seen"),
            preserve_default=False,
        ),
        migrations.AddField("alert", "cleared_because", models.CharField(blank=True, max_length=100)),
        migrations.AddField("alertchannel", "old_secret", models.CharField(blank=True, max_length=100)),
        migrations.AddField("alertchannel", "old_secret_until", models.DateTimeField(blank=True, null=True)),
        migrations.AddField("alertdelivery", "tries", models.JSONField(default=list)),
        migrations.AddIndex("alertdelivery", models.Index(fields=["channel", "-id"], name="alertdelivery_by_channel")),
        migrations.AlterField(
            "alertrule",
            "metric",
            models.CharField(
                choices=[
                    ("headroom", "Headroom, lowest dimension (% of capacity)"),
                    ("refusal_rate", "Refused requests (% of asked)"),
                    ("debt", "Largest debt of an entitlement (% of its base)"),
                    ("tick_lag", "Tick lag (ms)"),
                    ("drift", "Counter drift (sequences)"),
                    ("endpoint_failure", "Failed endpoints of the last five minutes (count)"),
                ],
                max_length=20,
            ),
        ),
        migrations.RunSQL(READINGS, "DROP TABLE pools_reading"),
        migrations.RunSQL(default_partition("pools_reading"), migrations.RunSQL.noop),
        migrations.CreateModel(
            name="Reading",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "at", "pool_id", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("at", models.DateTimeField()),
                ("pool_id", models.BigIntegerField()),
                (
                    "metrics",
                    django.contrib.postgres.fields.ArrayField(base_field=models.FloatField(null=True), size=None),
                ),
            ],
            options={"db_table": "pools_reading", "managed": False},
        ),
    ]
