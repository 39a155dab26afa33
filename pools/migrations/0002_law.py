"""Immutable versions, append-only decisions, partitioned samples, row-level security."""

from django.db import migrations

from portal.lib.law import append_only, default_partition, readable, tenant_policy

SAMPLES = """
CREATE TABLE pools_entitlementsample (
    at timestamptz NOT NULL, entitlement_id bigint NOT NULL, pool_id bigint NOT NULL, tenant_id bigint NOT NULL,
    elapsed_s double precision NOT NULL,
    use_tokens_per_second double precision NOT NULL, use_kv_bytes bigint NOT NULL, use_concurrency double precision NOT NULL,
    limit_tokens_per_second double precision NOT NULL, limit_kv_bytes bigint NOT NULL, limit_concurrency integer NOT NULL,
    demand_tokens_per_second double precision NOT NULL,
    weight double precision NOT NULL, debt double precision NOT NULL, burst double precision NOT NULL,
    gap_tokens double precision NOT NULL, admitted integer NOT NULL, refused jsonb NOT NULL DEFAULT '{}',
    PRIMARY KEY (at, entitlement_id)
) PARTITION BY RANGE (at);
CREATE INDEX pools_entitlementsample_by_entitlement ON pools_entitlementsample (entitlement_id, at DESC);
CREATE INDEX pools_entitlementsample_by_pool ON pools_entitlementsample (pool_id, at DESC);
CREATE TABLE pools_poolsample (
    at timestamptz NOT NULL, pool_id bigint NOT NULL,
    capacity double precision[] NOT NULL, promised double precision[] NOT NULL,
    use double precision[] NOT NULL, hold double precision[] NOT NULL,
    ready integer NOT NULL, pending integer NOT NULL, wanted integer NOT NULL, contended boolean NOT NULL,
    lag_ms integer NOT NULL, refused jsonb NOT NULL DEFAULT '{}',
    PRIMARY KEY (at, pool_id)
) PARTITION BY RANGE (at);
CREATE INDEX pools_poolsample_by_pool ON pools_poolsample (pool_id, at DESC);
"""


class Migration(migrations.Migration):
    dependencies = [("pools", "0001_initial"), ("accounts", "0002_law")]
    operations = [
        migrations.RunSQL(SAMPLES, "DROP TABLE pools_entitlementsample, pools_poolsample"),
        migrations.RunSQL(default_partition("pools_entitlementsample"), migrations.RunSQL.noop),
        migrations.RunSQL(default_partition("pools_poolsample"), migrations.RunSQL.noop),
        migrations.RunSQL(append_only("pools_tierversion"), migrations.RunSQL.noop),
        migrations.RunSQL(append_only("pools_capacityprofile"), migrations.RunSQL.noop),
        migrations.RunSQL(append_only("pools_scalingdecision"), migrations.RunSQL.noop),
        migrations.RunSQL(tenant_policy("pools_entitlement"), migrations.RunSQL.noop),
        migrations.RunSQL(tenant_policy("pools_entitlementsample"), migrations.RunSQL.noop),
        *[
            migrations.RunSQL(readable(table), migrations.RunSQL.noop)
            for table in ("pools_tier", "pools_tierversion", "pools_pool", "pools_capacityprofile")
        ],
    ]
