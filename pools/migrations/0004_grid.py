"""Indexes of the entitlement grid (search by trigrams, sorting), and how far a bulk job was published."""

import django.contrib.postgres.indexes
from django.contrib.postgres.operations import TrigramExtension
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("pools", "0003_operators")]

    operations = [
        TrigramExtension(),
        migrations.AddField(
            model_name="bulkjob",
            name="published",
            field=models.PositiveIntegerField(
                default=0,
                help_text="Items up to this position are in the hot store: a resumed job publishes the rest first",
            ),
        ),
        migrations.AddIndex("entitlement", models.Index(fields=["tier", "id"], name="entitlement_by_tier")),
        migrations.AddIndex("entitlement", models.Index(fields=["pool", "id"], name="entitlement_by_pool_id")),
        migrations.AddIndex(
            "entitlement", models.Index(fields=["base_tokens_per_second", "id"], name="entitlement_by_tokens")
        ),
        migrations.AddIndex("entitlement", models.Index(fields=["valid_until", "id"], name="entitlement_by_end")),
        migrations.AddIndex("entitlement", models.Index(fields=["updated_at", "id"], name="entitlement_by_change")),
        migrations.AddIndex(
            "entitlement",
            django.contrib.postgres.indexes.GinIndex(
                fields=["slug"], name="entitlement_slug_trigrams", opclasses=["gin_trgm_ops"]
            ),
        ),
    ]
