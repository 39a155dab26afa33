"""A draft that was thrown away or replaced can come back."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("pools", "0012_sealed_secrets")]
    operations = [
        migrations.AddField("tierdraft", "before", models.JSONField(blank=True, null=True)),
        migrations.AddField(
            "tierdraft",
            "gone",
            models.BooleanField(
                default=False, help_text="Thrown away; kept until the next draft so that it can come back"
            ),
        ),
        migrations.AddField("tierdraft", "revision", models.PositiveIntegerField(default=0)),
    ]
