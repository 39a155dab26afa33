"""Indexes of the audit page (filters and cursors over millions of rows), and the record of each verification."""

from django.contrib.postgres.indexes import GinIndex, OpClass
from django.contrib.postgres.operations import TrigramExtension
from django.db import migrations, models
from django.db.models.functions import Upper

from portal.lib.law import append_only


class Migration(migrations.Migration):
    dependencies = [("audit", "0002_law")]

    operations = [
        TrigramExtension(),
        migrations.RemoveIndex("auditrecord", "audit_by_time"),
        migrations.AddIndex("auditrecord", models.Index(fields=["-at", "-id"], name="audit_by_moment")),
        migrations.AddIndex("auditrecord", models.Index(fields=["verb", "-id"], name="audit_by_verb")),
        migrations.AddIndex("auditrecord", models.Index(fields=["source", "-id"], name="audit_by_source")),
        migrations.AddIndex("auditrecord", models.Index(fields=["object_type", "-id"], name="audit_by_type")),
        migrations.AddIndex(
            "auditrecord",
            GinIndex(OpClass(Upper("actor_label"), "gin_trgm_ops"), name="audit_actor_trigrams"),
        ),
        migrations.AddIndex(
            "auditrecord",
            GinIndex(OpClass(Upper("object_label"), "gin_trgm_ops"), name="audit_object_trigrams"),
        ),
        migrations.CreateModel(
            name="AuditCheck",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("started_at", models.DateTimeField()),
                ("moved_at", models.DateTimeField()),
                ("ended_at", models.DateTimeField(null=True)),
                ("total", models.BigIntegerField(help_text="Records there were when it began")),
                ("checked", models.BigIntegerField(default=0)),
                ("head_id", models.BigIntegerField(default=0)),
                ("head_hash", models.CharField(blank=True, max_length=64)),
                ("broken_id", models.BigIntegerField(null=True)),
                ("kind", models.CharField(blank=True, max_length=16)),
                ("sentence", models.CharField(blank=True, max_length=500)),
            ],
            options={"ordering": ["-id"]},
        ),
        migrations.RunSQL(append_only("audit_auditcheck", updates=True), migrations.RunSQL.noop),
    ]
