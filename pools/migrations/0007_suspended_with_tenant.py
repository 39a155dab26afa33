"""Entitlements that were suspended with their tenant are resumed with it."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("pools", "0006_operations")]
    operations = [
        migrations.AddField(
            "entitlement",
            "suspended_with_tenant",
            models.BooleanField(default=False, help_text="Resumed when its tenant is"),
        ),
    ]
