"""History of fairness and of loans of idle reserve: samples by day, spans by month. Nothing a tenant may read."""

from django.db import migrations, models
import django.contrib.postgres.fields

from portal.lib.law import default_partition

COLUMNS = """
    at timestamptz NOT NULL, pool_id bigint NOT NULL, elapsed_s double precision NOT NULL,
    active double precision NOT NULL, satisfied double precision, jain double precision, dispersion double precision,
    lent double precision[] NOT NULL, free double precision[] NOT NULL, beyond double precision[] NOT NULL,
    loans jsonb NOT NULL DEFAULT '[]',
"""
TABLES = f"""
CREATE TABLE pools_fairnesssample ({COLUMNS} PRIMARY KEY (at, pool_id)) PARTITION BY RANGE (at);
CREATE INDEX pools_fairnesssample_by_pool ON pools_fairnesssample (pool_id, at DESC);
CREATE TABLE pools_fairnessspan (span_s integer NOT NULL, satisfied_least double precision, {COLUMNS}
    PRIMARY KEY (span_s, at, pool_id)) PARTITION BY RANGE (at);
CREATE INDEX pools_fairnessspan_by_pool ON pools_fairnessspan (pool_id, span_s, at DESC);
"""
MOMENT = [
    ("at", models.DateTimeField()),
    ("pool_id", models.BigIntegerField()),
    ("elapsed_s", models.FloatField()),
    ("active", models.FloatField(help_text="Entitlements that asked for something promised")),
    ("satisfied", models.FloatField(null=True)),
    ("jain", models.FloatField(null=True)),
    ("dispersion", models.FloatField(null=True)),
    *[
        (name, django.contrib.postgres.fields.ArrayField(base_field=models.FloatField(), size=None))
        for name in ("lent", "free", "beyond")
    ],
    ("loans", models.JSONField(default=list)),
]


class Migration(migrations.Migration):
    dependencies = [("pools", "0004_grid")]
    operations = [
        migrations.RunSQL(TABLES, "DROP TABLE pools_fairnesssample, pools_fairnessspan"),
        migrations.RunSQL(default_partition("pools_fairnesssample"), migrations.RunSQL.noop),
        migrations.RunSQL(default_partition("pools_fairnessspan"), migrations.RunSQL.noop),
        migrations.CreateModel(
            name="FairnessSample",
            fields=[
                *MOMENT,
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "at", "pool_id", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
            ],
            options={"db_table": "pools_fairnesssample", "managed": False},
        ),
        migrations.CreateModel(
            name="FairnessSpan",
            fields=[
                *MOMENT,
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "span_s", "at", "pool_id", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("span_s", models.IntegerField()),
                ("satisfied_least", models.FloatField(null=True)),
            ],
            options={"db_table": "pools_fairnessspan", "managed": False},
        ),
    ]
