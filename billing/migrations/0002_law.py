"""Partitioned usage, the append-only ledger whose transfers sum to zero, row-level security."""

from django.db import migrations

from portal.lib.law import append_only, default_partition, tenant_policy

USAGE = """
CREATE TABLE billing_usageevent (
    settled_at timestamptz NOT NULL, event_id varchar(64) NOT NULL, request_id varchar(128) NOT NULL,
    pool_id bigint NOT NULL, entitlement_id bigint NOT NULL, tenant_id bigint NOT NULL, key_id bigint, endpoint_id bigint,
    capacity_version integer NOT NULL, outcome varchar(16) NOT NULL, source varchar(16) NOT NULL,
    reserved_tokens bigint NOT NULL, charged_tokens bigint NOT NULL, spilled_tokens bigint NOT NULL,
    overrun_tokens bigint NOT NULL, input_tokens bigint NOT NULL, output_tokens bigint NOT NULL,
    cached_tokens bigint NOT NULL, prompt_bytes bigint NOT NULL, kv_bytes bigint NOT NULL, concurrency integer NOT NULL,
    started_at timestamptz NOT NULL, ttft_ms integer, duration_ms integer NOT NULL,
    PRIMARY KEY (settled_at, event_id)
) PARTITION BY RANGE (settled_at);
CREATE INDEX billing_usageevent_by_tenant ON billing_usageevent (tenant_id, settled_at DESC);
CREATE INDEX billing_usageevent_by_pool ON billing_usageevent (pool_id, settled_at DESC);
"""


def rollup(table: str) -> str:
    return f"""
CREATE TABLE {table} (
    at timestamptz NOT NULL, entitlement_id bigint NOT NULL, key_id bigint NOT NULL,
    pool_id bigint NOT NULL, tenant_id bigint NOT NULL,
    requests bigint NOT NULL, failed bigint NOT NULL, input_tokens bigint NOT NULL, output_tokens bigint NOT NULL,
    cached_tokens bigint NOT NULL, charged_tokens bigint NOT NULL, overrun_tokens bigint NOT NULL,
    ttft_ms_sum bigint NOT NULL, ttft_count bigint NOT NULL, duration_ms_sum bigint NOT NULL,
    PRIMARY KEY (at, entitlement_id, key_id)
) PARTITION BY RANGE (at);
CREATE INDEX {table}_by_tenant ON {table} (tenant_id, at DESC);
CREATE INDEX {table}_by_pool ON {table} (pool_id, at DESC);
"""


ZERO_SUM = """
CREATE FUNCTION transfer_sums_to_zero() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE total numeric; parts integer;
BEGIN
    SELECT coalesce(sum(amount_millitokens), 0), count(*) INTO total, parts FROM billing_entry WHERE transfer_id = NEW.transfer_id;
    IF total <> 0 OR parts < 2 THEN
        RAISE EXCEPTION 'transfer % has % entries that sum to %, it needs at least 2 that sum to 0', NEW.transfer_id, parts, total
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER billing_entry_zero_sum AFTER INSERT ON billing_entry
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION transfer_sums_to_zero();
"""
TABLES = ("billing_usageevent", "billing_usageminute", "billing_usagehour")


class Migration(migrations.Migration):
    dependencies = [("billing", "0001_initial"), ("pools", "0002_law")]
    operations = [
        migrations.RunSQL(USAGE, "DROP TABLE billing_usageevent"),
        *[migrations.RunSQL(rollup(table), f"DROP TABLE {table}") for table in TABLES[1:]],
        *[migrations.RunSQL(default_partition(table), migrations.RunSQL.noop) for table in TABLES],
        *[migrations.RunSQL(tenant_policy(table), migrations.RunSQL.noop) for table in TABLES],
        migrations.RunSQL(ZERO_SUM, "DROP FUNCTION transfer_sums_to_zero CASCADE"),
        *[migrations.RunSQL(append_only(f"billing_{name}"), migrations.RunSQL.noop) for name in ("transfer", "entry")],
        migrations.RunSQL(tenant_policy("billing_account"), migrations.RunSQL.noop),
        migrations.RunSQL(tenant_policy("billing_transfer"), migrations.RunSQL.noop),
        migrations.RunSQL(
            tenant_policy(
                "billing_entry",
                "EXISTS (SELECT FROM billing_account a WHERE a.id = account_id AND a.tenant_id = {mine})",
            ),
            migrations.RunSQL.noop,
        ),
    ]
