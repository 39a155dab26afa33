"""Row-level security for memberships and keys."""

from django.db import migrations

from portal.lib.law import CREATE_ROLE, tenant_policy


class Migration(migrations.Migration):
    dependencies = [("accounts", "0001_initial")]
    operations = [
        migrations.RunSQL(CREATE_ROLE, migrations.RunSQL.noop),
        migrations.RunSQL(tenant_policy("accounts_tenant", "id = {mine}"), migrations.RunSQL.noop),
        migrations.RunSQL(tenant_policy("accounts_membership"), migrations.RunSQL.noop),
        migrations.RunSQL(tenant_policy("accounts_apikey"), migrations.RunSQL.noop),
        migrations.RunSQL(
            tenant_policy(
                "accounts_user",
                "EXISTS (SELECT FROM accounts_membership m WHERE m.user_id = accounts_user.id AND m.tenant_id = {mine})",
            ),
            migrations.RunSQL.noop,
        ),
    ]
