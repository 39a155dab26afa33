"""The head of the audit chain, kept beside it: it follows every append, and tells whoever cuts off the end."""

from __future__ import annotations

import importlib
import json
from typing import Any

import pytest
from django.db import connection, transaction
from django.db.utils import IntegrityError

from portal.accounts.models import Tenant
from portal.audit.chain import BreakKind, record_hash
from portal.audit.export import json_lines
from portal.audit.models import AuditHead, AuditRecord
from portal.audit.services import audit_import, audit_record, content_of
from portal.audit.verify import check_step
from tests.cast import NOW, OLGA, later
from tests.services.test_audit_chain import head_set, tamper, verified, written

pytestmark = pytest.mark.django_db
OTHER: dict[str, Any] = {
    "at": NOW,
    "actor_label": "somebody",
    "source": "task",
    "object_type": "t",
    "object_id": "1",
    "object_label": "t",
}


def test_the_head_follows_every_append_and_nothing_else() -> None:
    ids = written(4)
    head, newest = AuditHead.objects.get(), AuditRecord.objects.get(pk=ids[-1])
    assert (head.record_id, head.hash, head.count) == (newest.pk, newest.hash, 4)
    audit_import([AuditRecord(**OTHER, verb=f"v{number}") for number in range(3)])
    head, newest = AuditHead.objects.get(), AuditRecord.objects.latest("id")
    assert (head.record_id, head.hash, head.count) == (newest.pk, newest.hash, 7)
    with pytest.raises(RuntimeError), transaction.atomic():
        audit_import([AuditRecord(**OTHER, verb="lost")])
        raise RuntimeError
    assert AuditHead.objects.get().count == 7 and verified()[0] == 0


def test_the_head_goes_forward_only() -> None:
    ids = written(4)
    for sql in (
        f"UPDATE audit_audithead SET record_id = {ids[2]}, count = 3",
        f"UPDATE audit_audithead SET record_id = {ids[-1] + 9}",
        "DELETE FROM audit_audithead",
        "TRUNCATE audit_audithead",
    ):
        with pytest.raises(IntegrityError), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(sql)
    with pytest.raises(IntegrityError, match="only appended"), transaction.atomic():
        AuditRecord(**OTHER, verb="v", pk=ids[0] - 1, hash="x").save(force_insert=True)


@pytest.mark.parametrize("verified_before", [False, True])
def test_records_cut_off_at_the_end_are_missed(verified_before: bool) -> None:
    ids = written(9)
    if verified_before:
        assert check_step(now=NOW).intact
    tamper("DELETE FROM audit_auditrecord WHERE id >= %s", ids[7])
    code, said = verified()
    assert (
        code == 1 and f"BROKEN at #{ids[8]} (cut): 2 records were cut off" in said and f"#{ids[6]} is the last" in said
    )
    assert check_step(now=later(1)).kind == BreakKind.CUT


def test_the_whole_trail_cut_off_is_missed() -> None:
    written(3)
    tamper("DELETE FROM audit_auditrecord")
    code, said = verified()
    assert code == 1 and "(cut): 3 records were cut off" in said and "none is there" in said


def test_what_is_appended_after_a_cut_leaves_the_gap_open() -> None:
    ids = written(9)
    tamper("DELETE FROM audit_auditrecord WHERE id >= %s", ids[7])
    made = audit_record(
        actor=OLGA, verb="v", target=Tenant(pk=1, name="A"), before={}, after={}, reason="", now=later(99)
    )
    code, said = verified()
    assert code == 1 and f"BROKEN at #{made.pk} (deleted): Between #{ids[6]} and #{made.pk}" in said


def test_whoever_sets_the_head_back_too_is_caught_by_the_last_good_pass() -> None:
    ids = written(9)
    assert check_step(now=NOW).intact
    tamper("DELETE FROM audit_auditrecord WHERE id >= %s", ids[7])
    head_set(AuditRecord.objects.get(pk=ids[6]), 7)
    code, said = verified()
    assert code == 1 and f"BROKEN at #{ids[8]} (deleted)" in said
    assert check_step(now=later(1)).kind == BreakKind.DELETED


def test_whoever_sets_the_head_back_before_any_pass_is_caught_by_an_exported_head() -> None:
    ids = written(9)
    *_, line = "".join(json_lines(AuditRecord.objects.order_by("id"))).splitlines()
    exported = json.loads(line)
    tamper("DELETE FROM audit_auditrecord WHERE id >= %s", ids[7])
    head_set(AuditRecord.objects.get(pk=ids[6]), 7)
    assert verified()[0] == 0, "nothing inside the database can tell"
    code, said = verified("--head", f"{exported['id']}:{exported['hash']}")
    assert code == 1 and f"BROKEN at #{ids[8]} (deleted)" in said


def test_a_head_that_was_set_back_or_removed_alone_is_told() -> None:
    ids = written(5)
    head_set(AuditRecord.objects.get(pk=ids[2]), 3)
    code, said = verified()
    assert code == 1 and f"BROKEN at #{ids[3]} (inserted)" in said and "set back" in said
    tamper("DELETE FROM audit_audithead")
    code, said = verified()
    assert code == 1 and f"BROKEN at #{ids[4]} (cut)" in said and "gone" in said


def test_a_forged_end_does_not_pass_the_head() -> None:
    """The last record written anew with a hash that fits: the chain holds, the head does not."""
    ids = written(5)
    last = AuditRecord.objects.get(pk=ids[4])
    last.reason = "never mind"
    forged = record_hash(last.previous_hash, content_of(last))
    tamper("UPDATE audit_auditrecord SET reason = %s, hash = %s WHERE id = %s", last.reason, forged, last.pk)
    code, said = verified()
    assert code == 1 and f"BROKEN at #{ids[4]} (rewritten)" in said


def test_the_head_of_a_trail_that_was_there_before() -> None:
    """The migration begins it; where the row was lost with the records of a restored copy, the next append does."""
    written(3)
    tamper("DELETE FROM audit_audithead")
    migration = importlib.import_module("portal.audit.migrations.0004_head")
    with connection.cursor() as cursor:
        cursor.execute(migration.BEGIN)
    assert verified()[0] == 0 and AuditHead.objects.get().count == 3
    tamper("DELETE FROM audit_audithead")
    audit_import([AuditRecord(**OTHER, verb="v")])
    assert verified()[0] == 0 and AuditHead.objects.get().count == 4
