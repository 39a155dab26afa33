"""Audit records are append-only; a tenant sees the records that concern it."""

from django.db import migrations

from portal.lib.law import append_only, tenant_policy


class Migration(migrations.Migration):
    dependencies = [("audit", "0001_initial"), ("accounts", "0002_law")]
    operations = [
        migrations.RunSQL(append_only("audit_auditrecord"), migrations.RunSQL.noop),
        migrations.RunSQL(tenant_policy("audit_auditrecord"), migrations.RunSQL.noop),
    ]
