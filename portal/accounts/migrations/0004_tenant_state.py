"""Why a tenant is in its state, and since when."""

from django.db import migrations, models

import portal.lib.clock


class Migration(migrations.Migration):
    dependencies = [("accounts", "0003_invitations")]
    operations = [
        migrations.AddField(
            "tenant", "state_reason", models.CharField(blank=True, default="", max_length=200), preserve_default=False
        ),
        migrations.AddField("tenant", "state_since", models.DateTimeField(default=portal.lib.clock.now)),
    ]
