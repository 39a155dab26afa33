"""Roll-ups of samples by minute and hour; deeds asked of endpoints; what an override says of itself; advice by hour."""

import django.contrib.postgres.fields
import django.db.models.deletion
from django.db import migrations, models

from portal.lib.law import default_partition, tenant_policy

ENTITLEMENT = """
CREATE TABLE pools_entitlement{span} (
    at timestamptz NOT NULL, entitlement_id bigint NOT NULL, pool_id bigint NOT NULL, tenant_id bigint NOT NULL,
    elapsed_s double precision NOT NULL,
    use_tokens_per_second double precision NOT NULL, use_kv_bytes double precision NOT NULL,
    use_concurrency double precision NOT NULL,
    limit_tokens_per_second double precision NOT NULL, limit_kv_bytes double precision NOT NULL,
    limit_concurrency double precision NOT NULL,
    demand_tokens_per_second double precision NOT NULL,
    weight double precision NOT NULL, debt double precision NOT NULL, burst double precision NOT NULL,
    gap_tokens double precision NOT NULL, admitted bigint NOT NULL, refused jsonb NOT NULL DEFAULT '{{}}',
    PRIMARY KEY (at, entitlement_id)
) PARTITION BY RANGE (at);
CREATE INDEX pools_entitlement{span}_by_entitlement ON pools_entitlement{span} (entitlement_id, at DESC);
CREATE INDEX pools_entitlement{span}_by_pool ON pools_entitlement{span} (pool_id, at DESC);
"""
POOL = """
CREATE TABLE pools_pool{span} (
    at timestamptz NOT NULL, pool_id bigint NOT NULL,
    capacity double precision[] NOT NULL, promised double precision[] NOT NULL,
    use double precision[] NOT NULL, hold double precision[] NOT NULL, headroom double precision[] NOT NULL,
    ready integer NOT NULL, ready_least integer NOT NULL, pending integer NOT NULL, wanted integer NOT NULL,
    needed integer, contended boolean NOT NULL, lag_ms integer NOT NULL, refused jsonb NOT NULL DEFAULT '{{}}',
    PRIMARY KEY (at, pool_id)
) PARTITION BY RANGE (at);
CREATE INDEX pools_pool{span}_by_pool ON pools_pool{span} (pool_id, at DESC);
"""


def table(sql, kind, span):
    """One roll-up table with its default partition; a tenant sees its own rows of its entitlements only."""
    name = f"pools_{kind}{span}"
    law = tenant_policy(name) if kind == "entitlement" else ""
    return migrations.RunSQL(sql.format(span=span) + default_partition(name) + law, f"DROP TABLE {name}")


class Migration(migrations.Migration):
    dependencies = [
        ("pools", "0005_fairness"),
    ]

    operations = [
        migrations.RunSQL(
            "ALTER TABLE pools_poolsample ADD COLUMN needed integer", "ALTER TABLE pools_poolsample DROP COLUMN needed"
        ),
        *[table(ENTITLEMENT, "entitlement", span) for span in ("minute", "hour")],
        *[table(POOL, "pool", span) for span in ("minute", "hour")],
        migrations.CreateModel(
            name="EntitlementHour",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "at", "entitlement_id", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("at", models.DateTimeField()),
                ("entitlement_id", models.BigIntegerField()),
                ("pool_id", models.BigIntegerField()),
                ("tenant_id", models.BigIntegerField()),
                ("elapsed_s", models.FloatField()),
                ("use_tokens_per_second", models.FloatField()),
                ("use_concurrency", models.FloatField()),
                ("limit_tokens_per_second", models.FloatField()),
                ("demand_tokens_per_second", models.FloatField()),
                ("weight", models.FloatField()),
                ("debt", models.FloatField()),
                ("burst", models.FloatField()),
                (
                    "gap_tokens",
                    models.FloatField(help_text="Tokens served below (+) or above (-) the promise in this span"),
                ),
                ("refused", models.JSONField(default=dict)),
                ("use_kv_bytes", models.FloatField()),
                ("limit_kv_bytes", models.FloatField()),
                ("limit_concurrency", models.FloatField()),
                ("admitted", models.BigIntegerField()),
            ],
            options={
                "db_table": "pools_entitlementhour",
                "managed": False,
            },
        ),
        migrations.CreateModel(
            name="EntitlementMinute",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "at", "entitlement_id", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("at", models.DateTimeField()),
                ("entitlement_id", models.BigIntegerField()),
                ("pool_id", models.BigIntegerField()),
                ("tenant_id", models.BigIntegerField()),
                ("elapsed_s", models.FloatField()),
                ("use_tokens_per_second", models.FloatField()),
                ("use_concurrency", models.FloatField()),
                ("limit_tokens_per_second", models.FloatField()),
                ("demand_tokens_per_second", models.FloatField()),
                ("weight", models.FloatField()),
                ("debt", models.FloatField()),
                ("burst", models.FloatField()),
                (
                    "gap_tokens",
                    models.FloatField(help_text="Tokens served below (+) or above (-) the promise in this span"),
                ),
                ("refused", models.JSONField(default=dict)),
                ("use_kv_bytes", models.FloatField()),
                ("limit_kv_bytes", models.FloatField()),
                ("limit_concurrency", models.FloatField()),
                ("admitted", models.BigIntegerField()),
            ],
            options={
                "db_table": "pools_entitlementminute",
                "managed": False,
            },
        ),
        migrations.CreateModel(
            name="PoolHour",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "at", "pool_id", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("at", models.DateTimeField()),
                ("pool_id", models.BigIntegerField()),
                ("capacity", django.contrib.postgres.fields.ArrayField(base_field=models.FloatField(), size=None)),
                ("promised", django.contrib.postgres.fields.ArrayField(base_field=models.FloatField(), size=None)),
                ("use", django.contrib.postgres.fields.ArrayField(base_field=models.FloatField(), size=None)),
                ("hold", django.contrib.postgres.fields.ArrayField(base_field=models.FloatField(), size=None)),
                ("ready", models.IntegerField()),
                ("pending", models.IntegerField()),
                ("wanted", models.IntegerField()),
                ("needed", models.IntegerField(null=True)),
                ("contended", models.BooleanField()),
                ("lag_ms", models.IntegerField()),
                ("refused", models.JSONField(default=dict)),
                ("ready_least", models.IntegerField()),
                ("headroom", django.contrib.postgres.fields.ArrayField(base_field=models.FloatField(), size=None)),
            ],
            options={
                "db_table": "pools_poolhour",
                "managed": False,
            },
        ),
        migrations.CreateModel(
            name="PoolMinute",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "at", "pool_id", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("at", models.DateTimeField()),
                ("pool_id", models.BigIntegerField()),
                ("capacity", django.contrib.postgres.fields.ArrayField(base_field=models.FloatField(), size=None)),
                ("promised", django.contrib.postgres.fields.ArrayField(base_field=models.FloatField(), size=None)),
                ("use", django.contrib.postgres.fields.ArrayField(base_field=models.FloatField(), size=None)),
                ("hold", django.contrib.postgres.fields.ArrayField(base_field=models.FloatField(), size=None)),
                ("ready", models.IntegerField()),
                ("pending", models.IntegerField()),
                ("wanted", models.IntegerField()),
                ("needed", models.IntegerField(null=True)),
                ("contended", models.BooleanField()),
                ("lag_ms", models.IntegerField()),
                ("refused", models.JSONField(default=dict)),
                ("ready_least", models.IntegerField()),
                ("headroom", django.contrib.postgres.fields.ArrayField(base_field=models.FloatField(), size=None)),
            ],
            options={
                "db_table": "pools_poolminute",
                "managed": False,
            },
        ),
        migrations.CreateModel(
            name="AdviceHour",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("at", models.DateTimeField()),
                ("right", models.PositiveSmallIntegerField()),
                ("few", models.PositiveSmallIntegerField()),
                ("many", models.PositiveSmallIntegerField()),
                ("ran_right", models.PositiveSmallIntegerField()),
                ("ran_few", models.PositiveSmallIntegerField()),
                ("ran_many", models.PositiveSmallIntegerField()),
            ],
        ),
        migrations.CreateModel(
            name="RollupMark",
            fields=[
                ("level", models.CharField(max_length=16, primary_key=True, serialize=False)),
                ("until", models.DateTimeField()),
            ],
        ),
        migrations.AddField(
            model_name="endpoint",
            name="asked",
            field=models.CharField(
                blank=True,
                choices=[("drain", "Drain"), ("restart", "Restart"), ("stop", "Stop")],
                help_text="What an operator asked for; empty while only the reconciler moves it",
                max_length=16,
            ),
        ),
        migrations.AddField(
            model_name="pool",
            name="manual_by",
            field=models.CharField(blank=True, max_length=254),
        ),
        migrations.AddField(
            model_name="pool",
            name="manual_reason",
            field=models.CharField(blank=True, max_length=300),
        ),
        migrations.AddIndex(
            model_name="scalingdecision",
            index=models.Index(fields=["pool", "-id"], name="decision_by_pool_id"),
        ),
        migrations.AddIndex(
            model_name="scalingdecision",
            index=models.Index(fields=["code", "-id"], name="decision_by_code"),
        ),
        migrations.AddField(
            model_name="advicehour",
            name="pool",
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name="+", to="pools.pool"),
        ),
        migrations.AddIndex(
            model_name="advicehour",
            index=models.Index(fields=["at"], name="advicehour_by_time"),
        ),
        migrations.AddConstraint(
            model_name="advicehour",
            constraint=models.UniqueConstraint(fields=("pool", "at"), name="advicehour_once"),
        ),
    ]
