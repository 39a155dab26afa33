"""The head of the chain outside the table of records: it follows every append, so that a cut at the end can be told.

The database moves it, whoever appends: a portal that still runs the release before is followed as well.
"""

from django.db import migrations, models

from portal.lib.law import append_only

FOLLOW = """
CREATE FUNCTION audit_head_follow() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE newest record; more bigint;
BEGIN
    SELECT id, hash INTO newest FROM added ORDER BY id DESC LIMIT 1;
    IF NOT FOUND THEN RETURN NULL; END IF;
    SELECT count(*) INTO more FROM added;
    UPDATE audit_audithead SET record_id = newest.id, hash = newest.hash, count = count + more;
    IF NOT FOUND THEN
        INSERT INTO audit_audithead (id, record_id, hash, count)
        SELECT 1, newest.id, newest.hash, count(*) FROM audit_auditrecord;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER audit_auditrecord_head AFTER INSERT ON audit_auditrecord REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION audit_head_follow();

CREATE FUNCTION audit_head_forward() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.record_id <= OLD.record_id OR NEW.count <= OLD.count THEN
        RAISE EXCEPTION 'records of the audit trail are only appended: #% does not come after #%',
            NEW.record_id, OLD.record_id USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER audit_audithead_forward BEFORE UPDATE ON audit_audithead
    FOR EACH ROW EXECUTE FUNCTION audit_head_forward();
"""
BEGIN = """
LOCK TABLE audit_auditrecord IN SHARE ROW EXCLUSIVE MODE;
INSERT INTO audit_audithead (id, record_id, hash, count)
SELECT 1, coalesce(max(id), 0), coalesce((SELECT hash FROM audit_auditrecord ORDER BY id DESC LIMIT 1), ''), count(*)
FROM audit_auditrecord;
"""
GONE = """
DROP TRIGGER audit_auditrecord_head ON audit_auditrecord;
DROP FUNCTION audit_head_follow;
DROP FUNCTION audit_head_forward CASCADE;
"""


class Migration(migrations.Migration):
    dependencies = [("audit", "0003_reading")]

    operations = [
        migrations.CreateModel(
            name="AuditHead",
            fields=[
                ("id", models.SmallIntegerField(default=1, primary_key=True, serialize=False)),
                ("record_id", models.BigIntegerField()),
                ("hash", models.CharField(blank=True, max_length=64)),
                ("count", models.BigIntegerField()),
            ],
            options={
                "constraints": [models.CheckConstraint(condition=models.Q(("id", 1)), name="audithead_one_row")],
            },
        ),
        migrations.RunSQL("ALTER TABLE audit_audithead SET (fillfactor = 10)", migrations.RunSQL.noop),
        migrations.RunSQL(BEGIN, migrations.RunSQL.noop),
        migrations.RunSQL(FOLLOW, GONE),
        migrations.RunSQL(append_only("audit_audithead", updates=True), migrations.RunSQL.noop),
    ]
