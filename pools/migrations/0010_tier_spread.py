"""Which version of a tier every pool's counters have."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("pools", "0009_alerts")]
    operations = [
        migrations.AddField(
            model_name="tier",
            name="spread",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="pools.tierversion",
            ),
        ),
    ]
