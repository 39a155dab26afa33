"""Secrets of webhooks no longer lie open: they are sealed under a key derived from SECRET_KEY."""

from django.db import migrations, models

from portal.lib.boxes import Purpose, seal, unseal

FIELDS = ("sealed_secret", "sealed_old_secret")
OPEN = "whsec_"


def close(apps, schema_editor):
    for channel in apps.get_model("pools", "AlertChannel").objects.all():
        for name in FIELDS:
            if getattr(channel, name).startswith(OPEN):
                setattr(channel, name, seal(getattr(channel, name), Purpose.WEBHOOK_SECRETS))
        channel.save(update_fields=FIELDS)


def open_again(apps, schema_editor):
    for channel in apps.get_model("pools", "AlertChannel").objects.all():
        for name in FIELDS:
            setattr(channel, name, unseal(getattr(channel, name), Purpose.WEBHOOK_SECRETS) or "")
        channel.save(update_fields=FIELDS)


class Migration(migrations.Migration):
    dependencies = [("pools", "0011_decision_order")]

    operations = [
        migrations.RenameField("alertchannel", "secret", "sealed_secret"),
        migrations.RenameField("alertchannel", "old_secret", "sealed_old_secret"),
        migrations.AlterField("alertchannel", "sealed_secret", models.CharField(blank=True, max_length=300)),
        migrations.AlterField("alertchannel", "sealed_old_secret", models.CharField(blank=True, max_length=300)),
        migrations.RunPython(close, open_again),
        migrations.AddConstraint(
            "alertchannel",
            models.CheckConstraint(
                condition=models.Q(
                    models.Q(("sealed_secret__startswith", "whsec_"), _negated=True),
                    models.Q(("sealed_old_secret__startswith", "whsec_"), _negated=True),
                ),
                name="alertchannel_secrets_sealed",
            ),
        ),
    ]
