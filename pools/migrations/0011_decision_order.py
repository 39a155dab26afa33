"""Scaling decisions are read by time: over all pools, by pool, by what was decided."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("pools", "0010_tier_spread"),
    ]

    operations = [
        migrations.RemoveIndex(
            model_name="scalingdecision",
            name="decision_by_pool_id",
        ),
        migrations.RemoveIndex(
            model_name="scalingdecision",
            name="decision_by_code",
        ),
        migrations.AddIndex(
            model_name="scalingdecision",
            index=models.Index(fields=["-at", "-id"], name="decision_by_time"),
        ),
        migrations.AddIndex(
            model_name="scalingdecision",
            index=models.Index(fields=["code", "-at"], name="decision_by_code"),
        ),
    ]
