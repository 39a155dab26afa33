"""Whoever tampers with the audit trail is found out, whatever way it is done; whoever does not is left in peace."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta, timezone
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.utils import IntegrityError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from portal.accounts.models import Tenant
from portal.audit.chain import BreakKind, Head, Link, follow, record_hash, storable
from portal.audit.diff import changes
from portal.audit.models import AuditCheck, AuditRecord
from portal.audit.services import audit_import, audit_record, content_of
from portal.audit.tasks import verify
from portal.audit.verify import check_begin, check_due, check_latest, check_running, check_step
from tests.cast import NOW, OLGA, later, tenant_make

pytestmark = pytest.mark.django_db


def written(count: int) -> list[int]:
    """So many records about one tenant; their ids."""
    tenant = tenant_make("alice")
    for number in range(count - 1):
        audit_record(
            actor=OLGA,
            verb="tenant_change",
            target=tenant,
            before={"weight": number, "name": "Ålice 😀"},
            after={"weight": number + 1, "list": [1, {"a": None}]},
            reason="" if number % 2 else "because",
            now=later(number),
            tenant=tenant,
        )
    return list(AuditRecord.objects.order_by("id").values_list("id", flat=True))


def tamper(sql: str, *values: Any) -> None:
    """What somebody with rights on the database could do: the triggers are got round."""
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute(sql, values)
        cursor.execute("SET LOCAL session_replication_role = origin")


def verified(*options: str) -> tuple[int, str]:
    """Exit code and what the command says."""
    out = StringIO()
    try:
        call_command("audit_verify", *options, stdout=out)
    except CommandError as error:
        return error.returncode, f"{out.getvalue()}{error}"
    return 0, out.getvalue()


def altered(ids: list[int]) -> int:
    tamper("UPDATE audit_auditrecord SET after = '{\"weight\": 99}' WHERE id = %s", ids[4])
    return ids[4]


def renamed_actor(ids: list[int]) -> int:
    tamper("UPDATE audit_auditrecord SET actor_label = 'somebody@else' WHERE id = %s", ids[0])
    return ids[0]


def deleted(ids: list[int]) -> int:
    tamper("DELETE FROM audit_auditrecord WHERE id = %s", ids[3])
    return ids[4]


def first_deleted(ids: list[int]) -> int:
    tamper("DELETE FROM audit_auditrecord WHERE id <= %s", ids[1])
    return ids[2]


def reordered(ids: list[int]) -> int:
    tamper("UPDATE audit_auditrecord SET id = -1 WHERE id = %s", ids[3])
    tamper("UPDATE audit_auditrecord SET id = %s WHERE id = %s", ids[3], ids[4])
    tamper("UPDATE audit_auditrecord SET id = %s WHERE id = -1", ids[4])
    return ids[3]


def slipped_in(forged: AuditRecord) -> None:
    """Past the triggers, which let nobody write before the end."""
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        forged.save(force_insert=True)
        cursor.execute("SET LOCAL session_replication_role = origin")


def inserted(ids: list[int]) -> int:
    """A well-made forgery between two records: it follows the first, but the second does not follow it."""
    tamper("UPDATE audit_auditrecord SET id = id + 1000 WHERE id > %s", ids[4])
    tamper("UPDATE audit_audithead SET record_id = record_id + 1000")
    forged = AuditRecord.objects.get(pk=ids[4])
    forged.previous_hash, forged.reason, forged.pk = forged.hash, "forged", ids[4] + 1
    forged.hash = record_hash(forged.previous_hash, content_of(forged))
    slipped_in(forged)
    return int(forged.pk)


def inserted_badly(ids: list[int]) -> int:
    """A forgery that does not even follow the record before it."""
    tamper("UPDATE audit_auditrecord SET id = id + 1000 WHERE id > %s", ids[4])
    tamper("UPDATE audit_audithead SET record_id = record_id + 1000")
    forged = AuditRecord.objects.get(pk=ids[4])
    forged.previous_hash, forged.reason, forged.pk = "0" * 64, "forged", ids[4] + 1
    forged.hash = record_hash(forged.previous_hash, content_of(forged))
    slipped_in(forged)
    return int(forged.pk)


def hash_made_to_fit(ids: list[int]) -> int:
    """One record altered and its hash written anew: the next one no longer follows it."""
    record = AuditRecord.objects.get(pk=ids[4])
    record.reason = "never mind"
    tamper(
        "UPDATE audit_auditrecord SET reason = %s, hash = %s WHERE id = %s",
        record.reason,
        record_hash(record.previous_hash, content_of(record)),
        ids[4],
    )
    return ids[5]


DEEDS: list[tuple[Callable[[list[int]], int], BreakKind]] = [
    (altered, BreakKind.ALTERED),
    (renamed_actor, BreakKind.ALTERED),
    (deleted, BreakKind.DELETED),
    (first_deleted, BreakKind.DELETED),
    (reordered, BreakKind.REORDERED),
    (inserted, BreakKind.INSERTED),
    (inserted_badly, BreakKind.INSERTED),
    (hash_made_to_fit, BreakKind.DELETED),
]


def test_an_untouched_chain_is_intact() -> None:
    ids = written(9)
    code, said = verified()
    assert code == 0
    assert "9 of 9 records follow" in said and f"head {ids[-1]}:" in said


def test_an_empty_chain_is_intact() -> None:
    assert verified()[0] == 0


@pytest.mark.parametrize(("deed", "kind"), DEEDS, ids=[deed.__name__ for deed, _ in DEEDS])
def test_tampering_is_found_and_named(deed: Callable[[list[int]], int], kind: BreakKind) -> None:
    broken = deed(written(9))
    code, said = verified()
    assert code == 1
    assert f"BROKEN at #{broken} ({kind})" in said
    check = check_step(now=NOW)
    assert (check.broken_id, check.kind, check.ended_at) == (broken, kind, NOW)


def head_set(record: AuditRecord | None, count: int) -> None:
    """What somebody does who knows of the head beside the chain."""
    tamper(
        "UPDATE audit_audithead SET record_id = %s, hash = %s, count = %s",
        record.pk if record else 0,
        record.hash if record else "",
        count,
    )


def test_a_chain_written_wholly_anew_does_not_have_the_head_that_was_noted() -> None:
    written(5)
    noted = verified()[1].rpartition("head ")[2].strip()
    head = ""
    for record in AuditRecord.objects.order_by("id"):
        record.reason = "never mind"
        record.previous_hash, head = head, ""
        head = record_hash(record.previous_hash, content_of(record))
        tamper(
            "UPDATE audit_auditrecord SET reason = %s, previous_hash = %s, hash = %s WHERE id = %s",
            record.reason,
            record.previous_hash,
            head,
            record.pk,
        )
    head_set(AuditRecord.objects.latest("id"), 5)
    assert verified()[0] == 0, "the chain alone cannot tell"
    code, said = verified("--head", noted)
    assert code == 1 and "(rewritten)" in said


def test_it_may_begin_after_a_known_record_and_refuses_nonsense() -> None:
    ids = written(5)
    third = AuditRecord.objects.get(pk=ids[2])
    code, said = verified("--from", f"{ids[2]}:{third.hash}")
    assert code == 0 and "intact: 2 records" in said
    assert verified("--from", f"{ids[2]}:{'0' * 64}")[0] == 1
    assert verified("--head", "nonsense")[0] == 2


def test_the_nightly_pass_goes_in_slices_and_survives_being_broken_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("portal.audit.verify.chain_slice.__defaults__", (2,))
    written(9)
    assert check_due(NOW)
    first = check_step(now=NOW, slices=1)
    assert (first.checked, first.total, first.ended_at) == (2, 9, None)
    assert check_begin(now=later(5)).pk == first.pk, "the pass under way goes on"
    again = check_step(now=later(60), slices=1)
    assert (again.pk, again.checked) == (first.pk, 4)
    done = check_step(now=later(120), slices=50)
    assert done.intact and done.checked == 9
    assert check_running() is None
    assert not check_due(later(3600)) and check_due(later(86_400))


def test_a_record_altered_under_a_pass_is_found_by_the_next_slice() -> None:
    ids = written(9)
    check = check_begin(now=NOW)
    AuditCheck.objects.filter(pk=check.pk).update(head_id=ids[4], head_hash="f" * 64, checked=5)
    assert check_step(now=later(60)).kind == BreakKind.REWRITTEN


def test_the_task_verifies_once_a_night(caplog: pytest.LogCaptureFixture) -> None:
    ids = written(4)
    verify()
    latest = check_latest()
    assert latest is not None and latest.intact
    verify()
    assert AuditCheck.objects.count() == 1
    altered([*ids, *ids, ids[0]])
    AuditCheck.objects.update(started_at=NOW)
    verify()
    assert "the audit chain is broken" in caplog.text


def test_checks_are_never_removed() -> None:
    check_step(now=NOW)
    with pytest.raises(IntegrityError, match="never changed or removed"), connection.cursor() as cursor:
        cursor.execute("DELETE FROM audit_auditcheck")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text('aé😀"\\ '),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", max_size=3), inner, max_size=3),
    max_leaves=6,
)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(document=st.dictionaries(st.text("ab", max_size=2), JSON, max_size=3))
def test_whatever_is_recorded_can_be_verified(document: dict[str, Any]) -> None:
    """Floats that PostgreSQL writes otherwise (1e16, -0.0) included."""
    target = Tenant(pk=1, name="Alice")
    made = audit_record(actor=OLGA, verb="v", target=target, before=document, after={}, reason="", now=NOW)
    read = AuditRecord.objects.get(pk=made.pk)
    assert record_hash(read.previous_hash, content_of(read)) == read.hash


def test_records_made_elsewhere_join_the_chain() -> None:
    written(3)
    given = AuditRecord.objects.get(pk=AuditRecord.objects.latest("id").pk)
    given.pk, given.before, given.at = None, {"share": 2.0, "at": 1e16}, NOW.astimezone(timezone(timedelta(hours=2)))
    assert audit_import([given]) == 1
    assert verified()[0] == 0


def test_follow_stops_at_the_first_link_that_does_not_hold() -> None:
    good = Link(1, "", record_hash("", {"a": 1}), {"a": 1})
    bad = Link(2, good.hash, "x", {"a": 2})
    head, torn = follow(Head(), [good, bad])
    assert head == Head(1, good.hash, 1) and torn is not None and torn.altered
    assert storable({"a": [1.0, -0.0, 1e16, 0.5]}) == {"a": [1, 0, 10**16, 0.5]}


def test_diffs_are_field_by_field() -> None:
    before = {"weight": 100, "cap": {"kv_bytes": 2**30, "tokens": 5}, "gone": "x", "same": [1, 2], "flag": True}
    after = {"weight": 120, "cap": {"kv_bytes": 2**31, "tokens": 5}, "new": None, "same": [1, 2], "flag": 1}
    assert [(c.path, c.kind, c.before, c.after) for c in changes(before, after)] == [
        ("cap.kv_bytes", "changed", "1,073,741,824", "2,147,483,648"),
        ("flag", "changed", "yes", "1"),
        ("gone", "removed", "x", ""),
        ("new", "added", "", "–"),
        ("weight", "changed", "100", "120"),
    ]
    assert changes(before, after)[0].hint == "1 GiB → 2 GiB"
    assert [c.path for c in changes({}, {"a": {"b": 1}})] == ["a.b"]
    assert changes({"a": 1}, {"a": 1}) == []
    assert len(changes({}, {str(n): n for n in range(900)})) == 300
