"""How far shadows were judged; what the terms in force refused in the same minute."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("pools", "0007_suspended_with_tenant"),
    ]

    operations = [
        migrations.CreateModel(
            name="ShadowRun",
            fields=[
                (
                    "version",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="shadow_run",
                        serialize=False,
                        to="pools.tierversion",
                    ),
                ),
                ("since", models.DateTimeField()),
                ("judged_until", models.DateTimeField()),
                ("settled_until", models.DateTimeField()),
                ("ended_at", models.DateTimeField(blank=True, null=True)),
            ],
            options={
                "ordering": ["-since"],
            },
        ),
        migrations.AddField(
            model_name="shadowminute",
            name="refused_now",
            field=models.PositiveIntegerField(default=0),
        ),
        migrations.AddIndex(
            model_name="shadowminute",
            index=models.Index(fields=["version", "at"], name="shadowminute_by_time"),
        ),
    ]
