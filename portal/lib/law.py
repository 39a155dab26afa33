"""SQL that lets the database keep the law: append-only tables, immutable rows, row-level security, partitions.

Used by migrations only. Tenant-visible tables get a policy under a role without rights of its own; selectors enter that
role through :func:`portal.lib.scope.tenant_scope`, so that a forgotten filter still shows no other tenant's row.
"""

from __future__ import annotations

TENANT_ROLE = "token_pools_tenant"
TENANT_SETTING = "token_pools.tenant_id"

CREATE_ROLE = f"""
DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{TENANT_ROLE}') THEN
        CREATE ROLE {TENANT_ROLE} NOLOGIN;
    END IF;
EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;  -- another database of this server made it just now
END $$;
DO $$ BEGIN
    IF NOT pg_has_role(current_user, '{TENANT_ROLE}', 'MEMBER') THEN
        EXECUTE format('GRANT {TENANT_ROLE} TO %I', current_user);
    END IF;
END $$;
GRANT USAGE ON SCHEMA public TO {TENANT_ROLE};
"""


def append_only(table: str, *, updates: bool = False) -> str:
    """Refuse DELETE and TRUNCATE, and UPDATE unless ``updates``, on a table."""
    events = "DELETE" if updates else "UPDATE OR DELETE"
    return f"""
CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'rows of % are never changed or removed (%)', TG_TABLE_NAME, TG_OP
        USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER {table}_append_only BEFORE {events} ON {table} FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER {table}_no_truncate BEFORE TRUNCATE ON {table} EXECUTE FUNCTION refuse_change();
"""


def tenant_policy(table: str, condition: str = "") -> str:
    """Under the tenant role a table shows only rows of the tenant in the session setting (``condition`` overrides)."""
    mine = f"nullif(current_setting('{TENANT_SETTING}', true), '')::bigint"
    return f"""
ALTER TABLE {table} ENABLE ROW LEVEL SECURITY;
CREATE POLICY {table}_tenant ON {table} FOR SELECT TO {TENANT_ROLE}
    USING ({(condition or "tenant_id = {mine}").format(mine=mine)});
GRANT SELECT ON {table} TO {TENANT_ROLE};
"""


def readable(table: str) -> str:
    """A table every tenant may read whole (names and shapes, nothing of another tenant)."""
    return f"GRANT SELECT ON {table} TO {TENANT_ROLE};\n"


def default_partition(table: str) -> str:
    """Rows outside every prepared partition land here instead of being refused; maintenance moves ahead of time."""
    return f"CREATE TABLE {table}_default PARTITION OF {table} DEFAULT;\n"
